# SPDX-License-Identifier: Apache-2.0
"""What can be asked about registries, through the engine. Documents are docker's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.client.logins import encoded
from toolkit.client.query import quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from toolkit.client.client import Client
    from toolkit.client.jsonstream import Document
    from toolkit.client.query import QueryValue

    Login = Mapping[str, str]


class Registries:
    """Registries as the engine reaches them; a login is docker's `AuthConfig`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def log_in(self, login: Login) -> Document:
        """Try a login; return docker's ``Status`` and ``IdentityToken``."""
        document: Document = self._client.request("POST", "/auth", document=login).json()
        return document

    def look(self, reference: str, *, login: Login | None = None) -> Document:
        """Return the digest and the platforms that a registry has under a name."""
        path = f"/distribution/{quote(reference)}/json"
        document: Document = self._client.request("GET", path, headers=auth_header(login)).json()
        return document

    def search(
        self,
        term: str,
        *,
        limit: int = 0,
        filters: Mapping[str, Sequence[str]] | None = None,
        login: Login | None = None,
    ) -> Sequence[Document]:
        """Return the repositories that a registry finds."""
        query: dict[str, QueryValue] = {
            "term": term,
            "limit": limit or None,
            "filters": filters or None,
        }
        found: Sequence[Document] = self._client.request(
            "GET", "/images/search", query=query, headers=auth_header(login)
        ).json()
        return found


def auth_header(login: Login | None) -> dict[str, str]:
    """Return the header that carries a login; nobody's is an empty object."""
    return {"X-Registry-Auth": encoded(login or {})}
