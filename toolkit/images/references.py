# SPDX-License-Identifier: Apache-2.0
"""How images are called: docker's grammar of references, and its two spellings.

Stored and compared is the canonical spelling (``docker.io/library/busybox:1``),
shown is the familiar one (``busybox:1``). Grammar and normal form are those of
https://github.com/distribution/reference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, Self

from toolkit.errors import InvalidReferenceError

DEFAULT_TAG: Final = "latest"
_DEFAULT_DOMAIN: Final = "docker.io"
_OLD_DEFAULT_DOMAIN: Final = "index.docker.io"
_DEFAULT_NAMESPACE: Final = "library/"
_LONGEST_NAME: Final = 255
_LONGEST_TEXT: Final = 1024

_DOMAIN_PART: Final = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN: Final = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH_PART: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST: Final = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE: Final = re.compile(
    rf"(?P<domain>{_DOMAIN})/(?P<path>{_PATH_PART}(?:/{_PATH_PART})*)"
    rf"(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?"
)
_HEX_ID: Final = re.compile(r"[a-f0-9]{64}")
_DIGEST_HEX_DIGITS: Final = {"sha256": 64, "sha384": 96, "sha512": 128}


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A name of an image, in normal form.

    Attributes:
        domain: Registry host, with its port if any.
        path: Repository there, ``library/busybox``.
        tag: None where none was given.
        digest: ``sha256:<hex>`` of a manifest; None where none was given.
    """

    domain: str
    path: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a text names; the default host and namespace are filled in.

        Raises:
            InvalidReferenceError: The text is no reference; the message is docker's.
        """
        if len(text) > _LONGEST_TEXT:
            raise InvalidReferenceError("invalid reference format")
        if _HEX_ID.fullmatch(text):
            raise InvalidReferenceError(
                f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            )
        domain, rest = _split_domain(text)
        name = rest.partition(":")[0].partition("@")[0]
        if name != name.lower():
            raise InvalidReferenceError(
                f"invalid reference format: repository name ({name}) must be lowercase"
            )
        match = _REFERENCE.fullmatch(f"{domain}/{rest}")
        if match is None:
            raise InvalidReferenceError("invalid reference format")
        reference = cls(**match.groupdict())
        if len(reference.name) > _LONGEST_NAME:
            raise InvalidReferenceError(
                f"repository name must not be more than {_LONGEST_NAME} characters"
            )
        _check_digest(reference.digest)
        return reference

    @property
    def name(self) -> str:
        """Host and repository, in full."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """Host and repository as people write them."""
        if self.domain != _DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(_DEFAULT_NAMESPACE)
        # Left as it is when the short form would be read as something else.
        return self.path if "/" in short and short != self.path else short

    @property
    def canonical(self) -> str:
        """The whole reference, in full."""
        return self.name + self._suffix

    @property
    def familiar(self) -> str:
        """The whole reference as people write it."""
        return self.familiar_name + self._suffix

    def with_tag(self, tag: str) -> Self:
        """Return the same repository with a tag and without a digest.

        Raises:
            InvalidReferenceError: The text cannot be a tag.
        """
        if not re.fullmatch(_TAG, tag):
            raise InvalidReferenceError("invalid tag format")
        return replace(self, tag=tag, digest=None)

    def with_default_tag(self) -> Self:
        """Return the reference with the tag ``latest`` where it has neither tag nor digest."""
        if self.tag is None and self.digest is None:
            return replace(self, tag=DEFAULT_TAG)
        return self

    @property
    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        return tag + (f"@{self.digest}" if self.digest is not None else "")

    def __str__(self) -> str:
        return self.familiar


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    looks_like_host = "." in first or ":" in first or first == "localhost" or first != first.lower()
    if not slash or not looks_like_host:
        domain, rest = _DEFAULT_DOMAIN, text
    else:
        domain = first
    if domain == _OLD_DEFAULT_DOMAIN:
        domain = _DEFAULT_DOMAIN
    if domain == _DEFAULT_DOMAIN and "/" not in rest:
        rest = _DEFAULT_NAMESPACE + rest
    return domain, rest


def _check_digest(digest: str | None) -> None:
    if digest is None:
        return
    algorithm, _, digits = digest.partition(":")
    wanted = _DIGEST_HEX_DIGITS.get(algorithm)
    if wanted is None:
        raise InvalidReferenceError("unsupported digest algorithm")
    if len(digits) != wanted:
        raise InvalidReferenceError("invalid checksum digest length")
    if digits != digits.lower():
        raise InvalidReferenceError("invalid checksum digest format")
