# SPDX-License-Identifier: Apache-2.0
"""What can be asked about images. One method a route; documents are docker's."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from toolkit.client.jsonstream import Document, check_progress
from toolkit.client.logins import encoded
from toolkit.client.query import QueryValue, quote
from toolkit.client.registries import auth_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from toolkit.client.client import Client, Response


# Named here: in the class, `list` is the method.
Documents = list[Document]


class Images:
    """The engine's images, by reference, id or unique prefix."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(
        self, *, every: bool = False, filters: Mapping[str, Sequence[str]] | None = None
    ) -> list[Document]:
        """Return the images, newest first; *every* one shows those between, too."""
        query: dict[str, QueryValue] = {"all": every or None, "filters": filters or None}
        documents: list[Document] = self._client.request("GET", "/images/json", query=query).json()
        return documents

    def inspect(self, reference: str) -> Document:
        """Return everything about one image."""
        document: Document = self._client.request("GET", f"/images/{quote(reference)}/json").json()
        return document

    def import_tar(
        self,
        stream: BinaryIO,
        *,
        reference: str = "",
        message: str = "",
        changes: Sequence[str] = (),
    ) -> str:
        """Make an image of a root file system; return its id.

        Args:
            stream: A tar, plain or compressed; read to its end.
            reference: Name and tag to give it.
            message: Comment for its history.
            changes: Dockerfile lines that set its configuration.
        """
        query = _import_query("-", reference, message, changes)
        answer = self._client.request("POST", "/images/create", query=query, upload=stream)
        return _imported(answer)

    def import_url(
        self, url: str, *, reference: str = "", message: str = "", changes: Sequence[str] = ()
    ) -> str:
        """Let the engine fetch a root file system's tar, and make an image of it."""
        query = _import_query(url, reference, message, changes)
        return _imported(self._client.request("POST", "/images/create", query=query))

    def pull(
        self, name: str, tag: str, *, platform: str = "", login: Mapping[str, str] | None = None
    ) -> Iterator[Document]:
        """Fetch an image from its registry, without a tag all of them; return the progress.

        Raises:
            StreamError: The registry did not give it.
        """
        query = {"fromImage": name, "tag": tag or None, "platform": platform or None}
        headers = auth_header(login)
        answer = self._client.request("POST", "/images/create", query=query, headers=headers)
        return _progress(answer)

    def push(
        self, name: str, tag: str, *, login: Mapping[str, str] | None = None
    ) -> Iterator[Document]:
        """Send an image to its registry, without a tag all of them; return the progress.

        Raises:
            StreamError: The registry did not take it.
        """
        path = f"/images/{quote(name)}/push"
        query = {"tag": tag or None}
        headers = auth_header(login)
        return _progress(self._client.request("POST", path, query=query, headers=headers))

    def load(self, stream: BinaryIO, *, quiet: bool = False) -> Iterator[Document]:
        """Take over the images of an archive; return the progress.

        Raises:
            StreamError: Something in it cannot be used.
        """
        query = {"quiet": quiet}
        return _progress(self._client.request("POST", "/images/load", query=query, upload=stream))

    def save(self, references: Sequence[str]) -> Response:
        """Return an archive of images; iterate over the answer for its bytes."""
        return self._client.request("GET", "/images/get", query={"names": references})

    def build(
        self,
        context: BinaryIO,
        *,
        query: Mapping[str, QueryValue] | None = None,
        logins: Mapping[str, Mapping[str, str]] | None = None,
    ) -> Iterator[Document]:
        """Build an image of a context; return the progress.

        Dropping the progress before its end ends the build.

        Args:
            context: A tar with the Dockerfile in it; read to its end.
            query: Docker's parameters; one that is an object is sent as JSON.
            logins: For registries that base images come from, by address.

        Raises:
            StreamError: A step failed; its code is the program's.
        """
        headers = {"X-Registry-Config": encoded(logins)} if logins else {}
        answer = self._client.request(
            "POST", "/build", query=query, upload=context, headers=headers
        )
        return _progress(answer)

    def prune_builds(self) -> Document:
        """Remove the images that builds have made and nothing has a name for."""
        document: Document = self._client.request("POST", "/build/prune").json()
        return document

    def history(self, reference: str) -> Documents:
        """Return the steps that it was made in, newest first."""
        path = f"/images/{quote(reference)}/history"
        found: Documents = self._client.request("GET", path).json()
        return found

    def prune(self, *, filters: Mapping[str, Sequence[str]] | None = None) -> Document:
        """Remove images that have no name and that nothing stands on."""
        query: dict[str, QueryValue] = {"filters": filters or None}
        document: Document = self._client.request("POST", "/images/prune", query=query).json()
        return document

    def tag(self, reference: str, repository: str, tag: str) -> None:
        """Give an image another name."""
        path = f"/images/{quote(reference)}/tag"
        self._client.request("POST", path, query={"repo": repository, "tag": tag}).read()

    def remove(
        self, reference: str, *, force: bool = False, noprune: bool = False
    ) -> Sequence[Document]:
        """Remove a name or an image; return what was ``Untagged`` and ``Deleted``."""
        query = {"force": force or None, "noprune": noprune or None}
        path = f"/images/{quote(reference)}"
        documents: Sequence[Document] = self._client.request("DELETE", path, query=query).json()
        return documents


def _progress(answer: Response) -> Iterator[Document]:
    with answer:
        yield from check_progress(answer.objects())


def _import_query(
    source: str, reference: str, message: str, changes: Sequence[str]
) -> dict[str, QueryValue]:
    return {
        "fromSrc": source,
        "repo": reference or None,
        "message": message or None,
        "changes": changes,
    }


def _imported(answer: Response) -> str:
    image_id = ""
    for progress in _progress(answer):
        image_id = str(progress.get("status", image_id))
    return image_id
