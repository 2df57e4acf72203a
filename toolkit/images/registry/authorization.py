# SPDX-License-Identifier: Apache-2.0
"""Proving who we are to one registry: access tokens, or name and password.

A login goes to the registry's own host and to the realm that it names over a
channel as safe as its own, and nowhere else (row S-59).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from toolkit.errors import RegistryAuthError, RegistryError
from toolkit.images.strictjson import parse_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.images.registry.challenge import Challenge
    from toolkit.images.registry.credentials import Credentials
    from toolkit.images.registry.transport import Answer, Transport

_CLIENT_ID: Final = "container-toolkit"
_OK: Final = 200
_REFUSED: Final = frozenset({401, 403})


class Authorizer:
    """What stands in the header ``Authorization`` of requests to one registry."""

    def __init__(self, transport: Transport, url: str, credentials: Credentials) -> None:
        self._transport = transport
        self._url = url
        self._credentials = credentials
        self._lock = threading.Lock()
        self._header = ""

    @property
    def header(self) -> str:
        """What to send now; empty for nothing."""
        return self._header

    def answer(self, challenges: Sequence[Challenge], scopes: Sequence[str], sent: str) -> bool:
        """Find what satisfies a registry that refused *sent*; False if nothing new is there.

        Raises:
            RegistryAuthError: The login is refused, or one is needed.
        """
        with self._lock:
            if self._header != sent:  # another thread was here
                return True
            header = self._find(challenges, scopes)
            is_new = header not in {"", sent}
            self._header = header
            return is_new

    def _find(self, challenges: Sequence[Challenge], scopes: Sequence[str]) -> str:
        for challenge in challenges:
            if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                return f"Bearer {self._token(challenge, scopes)}"
            if challenge.scheme == "basic":
                if not self._credentials.basic:
                    raise RegistryAuthError("no basic auth credentials")
                return self._credentials.basic
        raise RegistryAuthError(f"{self._url}: unauthorized: authentication required")

    def _token(self, challenge: Challenge, scopes: Sequence[str]) -> str:
        if self._credentials.registry_token:
            return self._credentials.registry_token
        realm = challenge.parameters["realm"]
        self._check_realm(realm)
        with self._ask(realm, challenge.parameters.get("service", ""), scopes) as answer:
            content = answer.body(self._transport.settings.most_answer_bytes)
        if answer.status in _REFUSED:
            raise RegistryAuthError(
                f"{realm.partition('?')[0]}: unauthorized: incorrect username or password"
            )
        if answer.status != _OK:
            raise RegistryError(f"{realm.partition('?')[0]}: answered {answer.status}")
        document = parse_object(
            content, "the token", limit_bytes=self._transport.settings.most_answer_bytes
        )
        token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise RegistryError(f"{realm.partition('?')[0]}: gave no usable token")
        return token

    def _ask(self, realm: str, service: str, scopes: Sequence[str]) -> Answer:
        if self._credentials.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "client_id": _CLIENT_ID,
                "scope": " ".join(scopes),
                "refresh_token": self._credentials.identity_token,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            body = urlencode(form).encode()
            return self._transport.request("POST", realm, headers=headers, body=body)
        query = [("scope", scope) for scope in scopes]
        if service:
            query.append(("service", service))
        if self._credentials.username:
            query.append(("account", self._credentials.username))
        basic = self._credentials.basic
        url = realm + ("&" if "?" in realm else "?") + urlencode(query)
        return self._transport.request(
            "GET", url, headers={"Authorization": basic} if basic else None
        )

    def _check_realm(self, realm: str) -> None:
        try:
            parts = urlsplit(realm)
        except ValueError:
            parts = urlsplit("")
        allowed = {"https"}
        if self._url.startswith("http://") or self._transport.settings.is_insecure(parts.netloc):
            allowed.add("http")
        if parts.scheme not in allowed or not parts.hostname or parts.username or parts.fragment:
            raise RegistryAuthError(
                f"{self._url}: names a realm that no login may go to: {realm[:200]!r}"
            )
