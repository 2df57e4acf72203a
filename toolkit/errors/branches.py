# SPDX-License-Identifier: Apache-2.0
"""The branches of the tree: what is caught, with the HTTP status of each."""

from __future__ import annotations

from typing import ClassVar


class ToolkitError(Exception):
    """Something went wrong that the toolkit can name.

    Attributes:
        status: HTTP status of the answer that reports it.
        exit_code: Exit code of a command that ends with it.
        hint: What a person can do next; empty if nothing.
    """

    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 125
    hint: ClassVar[str] = ""


class InvalidRequestError(ToolkitError):
    """A value that the caller gave cannot be used."""

    status = 400


class NotFoundError(ToolkitError):
    """Something that the caller named does not exist."""

    status = 404


class UnknownReferenceError(NotFoundError):
    """Nothing has the name or the id that was asked for.

    Attributes:
        words: How that is said; the reference stands in the place of the braces.
        reference: What was asked for.
    """

    words: ClassVar[str] = "No such object: {}"

    def __init__(self, reference: str) -> None:
        super().__init__(self.words.format(reference))
        self.reference = reference


class ConflictError(ToolkitError):
    """The request contradicts the present state."""

    status = 409


class NotModifiedError(ToolkitError):
    """The container is already in the state that was asked for."""

    status = 304


class HostError(ToolkitError):
    """The machine refused, or lacks something."""
