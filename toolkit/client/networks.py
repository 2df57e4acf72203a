# SPDX-License-Identifier: Apache-2.0
"""What can be asked about networks. One method a route; documents are docker's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.client.jsonstream import Document
from toolkit.client.query import QueryValue, quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from toolkit.client.client import Client

Documents = list[Document]


class Networks:
    """The engine's networks, by name or id."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, *, filters: Mapping[str, Sequence[str]] | None = None) -> Documents:
        """Return the networks, without the containers on them."""
        query: dict[str, QueryValue] = {"filters": filters or None}
        found: Documents = self._client.request("GET", "/networks", query=query).json()
        return found

    def create(self, body: Mapping[str, Any]) -> Document:
        """Make a network of docker's create body; return its id and the warning."""
        made: Document = self._client.request("POST", "/networks/create", document=body).json()
        return made

    def inspect(self, name: str) -> Document:
        """Return everything about one network, the running containers on it too."""
        document: Document = self._client.request("GET", f"/networks/{quote(name)}").json()
        return document

    def remove(self, name: str) -> None:
        """Remove a network that no running container is on."""
        self._client.request("DELETE", f"/networks/{quote(name)}").read()

    def connect(self, name: str, container: str, endpoint: Mapping[str, Any] | None = None) -> None:
        """Connect a container, at once if it runs.

        Args:
            name: The network.
            container: The container.
            endpoint: docker's ``EndpointConfig``: what is asked for.
        """
        body = {"Container": container, "EndpointConfig": dict(endpoint or {})}
        self._client.request("POST", f"/networks/{quote(name)}/connect", document=body).read()

    def disconnect(self, name: str, container: str, *, force: bool = False) -> None:
        """Take a container off a network."""
        body = {"Container": container, "Force": force}
        self._client.request("POST", f"/networks/{quote(name)}/disconnect", document=body).read()

    def prune(self, *, filters: Mapping[str, Sequence[str]] | None = None) -> Document:
        """Remove the networks that nobody is on; return their names."""
        query: dict[str, QueryValue] = {"filters": filters or None}
        document: Document = self._client.request("POST", "/networks/prune", query=query).json()
        return document
