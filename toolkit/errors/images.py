# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with images, what they are made of, and where they come from."""

from __future__ import annotations

from toolkit.errors.branches import (
    ConflictError,
    InvalidRequestError,
    ToolkitError,
    UnknownReferenceError,
)


class InvalidReferenceError(InvalidRequestError):
    """A text is not an image reference."""


class DockerfileError(InvalidRequestError):
    """A Dockerfile says something that cannot be.

    Attributes:
        line: Number of the line, from 1; 0 for the file as a whole.
    """

    def __init__(self, message: str, line: int) -> None:
        where = f"dockerfile parse error line {line}: " if line else ""
        super().__init__(f"{where}{message}")
        self.line = line


class UnsafeArchiveError(InvalidRequestError):
    """An archive holds a member that would leave its root, or is not an archive.

    Attributes:
        member: Name of the member, as it stands in the archive.
    """

    hint = "Do not trust this archive; make it again with tar from a known tree."

    def __init__(self, member: str, reason: str) -> None:
        super().__init__(f"archive member {member!r}: {reason}" if member else reason)
        self.member = member


class ImageNotFoundError(UnknownReferenceError):
    """No image has that reference or id."""

    words = "No such image: {}"


class ImageInUseError(ConflictError):
    """An image cannot be removed while something stands on it."""


class RegistryError(ToolkitError):
    """A registry did not give or take what it should."""


class RegistryAuthError(RegistryError):
    """A registry wants a login, or refuses the one that it was given."""

    status = 401
    hint = "Log in to that registry first."


class RegistryUnreachableError(RegistryError):
    """A registry does not answer, or not in time."""

    hint = (
        "Look at the engine's network and proxies. Images without a registry: "
        "toolkit image bootstrap, load, import"
    )


class RemoteImageNotFoundError(RegistryError):
    """A registry has no such repository or tag, or does not show it to us."""

    status = 404


class DigestMismatchError(RegistryError):
    """What a registry sent is not what its digest or size says.

    Attributes:
        expected: The digest or size that was asked for.
        found: What came.
    """

    def __init__(self, expected: str, found: str, subject: str = "content") -> None:
        super().__init__(f"{subject}: expected {expected}, got {found}")
        self.expected = expected
        self.found = found


class WrongContentError(DigestMismatchError):
    """An archive holds something that is not what its digest says."""

    status = 400
