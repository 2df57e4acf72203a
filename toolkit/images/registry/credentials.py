# SPDX-License-Identifier: Apache-2.0
"""Who asks a registry: what a client sends along with a pull, push or login."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from toolkit.images.image import InvalidImageError
from toolkit.images.strictjson import parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST: Final = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A login, or nobody. Never shown, never written down.

    Attributes:
        identity_token: Stands for a login, and is exchanged for access tokens.
        registry_token: An access token as it is.
        server: The address that the login is for, as the client spells it.
    """

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    server: str = ""

    @classmethod
    def from_header(cls, text: str) -> Self:
        """Return what a header ``X-Registry-Auth`` holds; one that is unusable is nobody."""
        if len(text) > _LONGEST:
            return cls()
        padded = text + "=" * (-len(text) % 4)
        try:
            content = base64.urlsafe_b64decode(padded.replace("+", "-").replace("/", "_"))
            return cls.from_document(parse_object(content, "the login", limit_bytes=_LONGEST))
        except (binascii.Error, ValueError, InvalidImageError):
            return cls()

    @classmethod
    def from_document(cls, document: Mapping[str, object]) -> Self:
        """Return what docker's `AuthConfig` holds."""

        def text(key: str) -> str:
            value = document.get(key)
            return value if isinstance(value, str) else ""

        username, password = text("username"), text("password")
        if text("auth") and not username:
            pair = base64.b64decode(text("auth")).decode()
            username, _, password = pair.partition(":")
        return cls(
            username=username,
            password=password,
            identity_token=text("identitytoken"),
            registry_token=text("registrytoken"),
            server=text("serveraddress"),
        )

    @property
    def basic(self) -> str:
        """Value of an ``Authorization`` header; empty without a login."""
        if not self.username and not self.password:
            return ""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


NOBODY: Final = Credentials()
