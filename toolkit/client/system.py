# SPDX-License-Identifier: Apache-2.0
"""What can be asked about the engine itself. Documents are docker's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from toolkit.client.client import Client
    from toolkit.client.jsonstream import Document
    from toolkit.client.query import QueryValue


class System:
    """The engine and the machine that it runs on."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def ping(self) -> str:
        """Return ``OK`` from an engine that works."""
        return self._client.request("GET", "/_ping").read().decode()

    def version(self) -> Document:
        """Return the engine's version and those of its parts."""
        document: Document = self._client.request("GET", "/version").json()
        return document

    def info(self) -> Document:
        """Return what the engine has and can do."""
        document: Document = self._client.request("GET", "/info").json()
        return document

    def repair(self) -> list[str]:
        """Have the engine put links and rules right; return a line for each thing it mended."""
        document: Document = self._client.request("POST", "/toolkit/repair").json()
        return [str(line) for line in document["Repaired"]]

    def disk_usage(self) -> Document:
        """Return what images, containers and volumes take on disk."""
        document: Document = self._client.request("GET", "/system/df").json()
        return document

    def events(
        self,
        *,
        since: str = "",
        until: str = "",
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> Iterator[Document]:
        """Return what happens, from *since* on, as it happens."""
        query: dict[str, QueryValue] = {
            "since": since or None,
            "until": until or None,
            "filters": filters or None,
        }
        return self._client.request("GET", "/events", query=query).objects()
