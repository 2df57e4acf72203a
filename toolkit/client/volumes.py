# SPDX-License-Identifier: Apache-2.0
"""What can be asked about volumes. One method a route; documents are docker's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.client.jsonstream import Document
from toolkit.client.query import QueryValue, quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from toolkit.client.client import Client

Documents = list[Document]


class Volumes:
    """The engine's volumes, by name."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, *, filters: Mapping[str, Sequence[str]] | None = None) -> Documents:
        """Return the volumes by name."""
        query: dict[str, QueryValue] = {"filters": filters or None}
        found: Documents = self._client.request("GET", "/volumes", query=query).json()["Volumes"]
        return found

    def create(
        self,
        name: str = "",
        *,
        driver: str = "local",
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Document:
        """Make a volume, or return the one of that name."""
        body = {
            "Name": name,
            "Driver": driver,
            "Labels": dict(labels or {}),
            "DriverOpts": dict(options or {}),
        }
        document: Document = self._client.request("POST", "/volumes/create", document=body).json()
        return document

    def inspect(self, name: str) -> Document:
        """Return everything about one volume."""
        document: Document = self._client.request("GET", f"/volumes/{quote(name)}").json()
        return document

    def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume that no container has."""
        query = {"force": force or None}
        self._client.request("DELETE", f"/volumes/{quote(name)}", query=query).read()

    def prune(self, *, filters: Mapping[str, Sequence[str]] | None = None) -> Document:
        """Remove volumes that no container has."""
        query: dict[str, QueryValue] = {"filters": filters or None}
        document: Document = self._client.request("POST", "/volumes/prune", query=query).json()
        return document
