# SPDX-License-Identifier: Apache-2.0
"""What can be asked about containers and about programs started in them.

One method a route; documents are docker's, as they stand on the wire.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from toolkit.client.errors import StreamError
from toolkit.client.frames import Chunk, FrameDecoder
from toolkit.client.pending import PendingAnswer
from toolkit.client.query import QueryValue, quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from toolkit.client.client import Client, Response
    from toolkit.client.jsonstream import Document
    from toolkit.client.wire import HijackedConnection

_NOT_MODIFIED = 304


class Created(NamedTuple):
    """A container that was made."""

    id: str
    warnings: list[str]


class Exit(NamedTuple):
    """How a program ended; ``error`` says why it could not be waited for."""

    exit_code: int
    error: str


class PendingExit(PendingAnswer):
    """A wait that the engine has taken up; it answers when the program has ended."""

    def result(self) -> Exit:
        """Wait for the end.

        Raises:
            ConnectionLostError: The engine went away meanwhile.
        """
        document = self._answer.json() or {}
        error = (document.get("Error") or {}).get("Message", "")
        return Exit(int(document.get("StatusCode", 0)), error)


# Named here: in the class, `list` is the method.
Documents = list["Document"]


def _path_stat(answer: Response) -> Document:
    header = answer.headers.get("x-docker-container-path-stat", "")
    try:
        found = json.loads(base64.b64decode(header))
    except ValueError as error:
        raise StreamError("the engine does not tell what is at the path") from error
    if not isinstance(found, dict):
        raise StreamError("the engine does not tell what is at the path")
    return found


class Containers:
    """The engine's containers, by name, id or unique prefix."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, body: Mapping[str, Any], *, name: str = "", platform: str = "") -> Created:
        """Make a container from docker's create body."""
        query = {"name": name or None, "platform": platform or None}
        document = self._client.request(
            "POST", "/containers/create", query=query, document=body
        ).json()
        return Created(document["Id"], document.get("Warnings") or [])

    def list(
        self,
        *,
        every: bool = False,
        limit: int | None = None,
        with_sizes: bool = False,
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> list[Document]:
        """Return the running containers, or *every* one, newest first."""
        query: dict[str, QueryValue] = {
            "all": every or None,
            "limit": limit,
            "size": with_sizes or None,
            "filters": filters or None,
        }
        documents: list[Document] = self._client.request(
            "GET", "/containers/json", query=query
        ).json()
        return documents

    def inspect(self, reference: str, *, with_sizes: bool = False) -> Document:
        """Return everything about one container."""
        query = {"size": with_sizes or None}
        document: Document = self._get(reference, "json", query).json()
        return document

    def start(self, reference: str, *, detach_keys: str = "") -> bool:
        """Start a container; return whether it was not running before."""
        return self._changed(reference, "start", {"detachKeys": detach_keys or None})

    def stop(self, reference: str, *, timeout_seconds: int | None = None, signal: str = "") -> bool:
        """Stop a container; return whether it was running."""
        return self._changed(reference, "stop", {"t": timeout_seconds, "signal": signal or None})

    def restart(
        self, reference: str, *, timeout_seconds: int | None = None, signal: str = ""
    ) -> None:
        """Stop a container if it runs, then start it."""
        self._post(reference, "restart", {"t": timeout_seconds, "signal": signal or None})

    def kill(self, reference: str, *, signal: str = "") -> None:
        """Send a signal; SIGKILL if none is named."""
        self._post(reference, "kill", {"signal": signal or None})

    def pause(self, reference: str) -> None:
        """Freeze every process of a container."""
        self._post(reference, "pause")

    def unpause(self, reference: str) -> None:
        """Let a frozen container go on."""
        self._post(reference, "unpause")

    def rename(self, reference: str, name: str) -> None:
        """Give a container another name."""
        self._post(reference, "rename", {"name": name})

    def resize(self, reference: str, *, rows: int, columns: int) -> None:
        """Tell a container's terminal its size."""
        self._post(reference, "resize", {"h": rows, "w": columns})

    def remove(
        self, reference: str, *, force: bool = False, volumes: bool = False, link: bool = False
    ) -> None:
        """Remove a container; *force* kills it first, *volumes* takes its unnamed ones along."""
        query = {"force": force or None, "v": volumes or None, "link": link or None}
        self._client.request("DELETE", f"/containers/{quote(reference)}", query=query).read()

    def changes(self, reference: str) -> Documents:
        """Return what differs from its image: ``Path``, and ``Kind`` 0, 1 or 2."""
        path = f"/containers/{quote(reference)}/changes"
        return self._client.request("GET", path).json() or []

    def export(self, reference: str) -> Iterator[bytes]:
        """Return its whole tree as a tar."""
        return iter(self._client.request("GET", f"/containers/{quote(reference)}/export"))

    def stat_path(self, reference: str, path: str) -> Document:
        """Return what is at a path of it: ``name size mode mtime linkTarget``; Go's mode.

        Raises:
            ApiError: Nothing is there (404).
        """
        answer = self._client.request(
            "HEAD", f"/containers/{quote(reference)}/archive", query={"path": path}
        )
        answer.read()
        return _path_stat(answer)

    def copy_out(self, reference: str, path: str) -> tuple[Document, Iterator[bytes]]:
        """Return what is at a path of it, and it as a tar."""
        answer = self._client.request(
            "GET", f"/containers/{quote(reference)}/archive", query={"path": path}
        )
        return _path_stat(answer), iter(answer)

    def copy_in(
        self, reference: str, path: str, stream: BinaryIO, *, as_user: bool = False
    ) -> None:
        """Unpack a tar in a directory of it; *as_user* gives everything to its user."""
        query: dict[str, QueryValue] = {"path": path, "noOverwriteDirNonDir": "true"}
        query["copyUIDGID"] = "true" if as_user else None
        url = f"/containers/{quote(reference)}/archive"
        self._client.request("PUT", url, query=query, upload=stream).read()

    def commit(  # docker's own parameters
        self,
        reference: str,
        *,
        repository: str = "",
        tag: str = "",
        message: str = "",
        author: str = "",
        changes: Sequence[str] = (),
        pause: bool = True,
    ) -> str:
        """Make an image of what it has changed; return the image's id."""
        query: dict[str, QueryValue] = {
            "container": reference,
            "repo": repository or None,
            "tag": tag or None,
            "comment": message or None,
            "author": author or None,
            "changes": changes,
            "pause": None if pause else False,
        }
        return str(self._client.request("POST", "/commit", query=query).json()["Id"])

    def prune(self, *, filters: Mapping[str, Sequence[str]] | None = None) -> Document:
        """Remove the containers that do not run; say which, and what that freed."""
        query: dict[str, QueryValue] = {"filters": filters or None}
        document: Document = self._client.request("POST", "/containers/prune", query=query).json()
        return document

    def wait(self, reference: str, *, condition: str = "") -> PendingExit:
        """Begin to wait for a container; the engine has taken it up when this returns."""
        path = f"/containers/{quote(reference)}/wait"
        return PendingExit(
            self._client.request("POST", path, query={"condition": condition or None})
        )

    def attach(  # docker's own parameters
        self,
        reference: str,
        *,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        logs: bool = False,
        stream: bool = True,
        detach_keys: str = "",
    ) -> HijackedConnection:
        """Connect to the streams of a container, running or about to be started."""
        query: dict[str, QueryValue] = {
            "stream": stream,
            "stdin": stdin or None,
            "stdout": stdout or None,
            "stderr": stderr or None,
            "logs": logs or None,
            "detachKeys": detach_keys or None,
        }
        return self._client.hijack(f"/containers/{quote(reference)}/attach", query=query)

    def logs(  # docker's own parameters
        self,
        reference: str,
        *,
        framed: bool,
        follow: bool = False,
        timestamps: bool = False,
        tail: str = "all",
        since: str = "",
        until: str = "",
        stdout: bool = True,
        stderr: bool = True,
    ) -> Iterator[Chunk]:
        """Return what a container wrote; *framed* unless it has a terminal."""
        query: dict[str, QueryValue] = {
            "follow": follow or None,
            "stdout": stdout or None,
            "stderr": stderr or None,
            "timestamps": timestamps or None,
            "tail": tail,
            "since": since or None,
            "until": until or None,
        }
        answer = self._get(reference, "logs", query)
        return _chunks(answer, framed=framed)

    def top(self, reference: str, *, ps_arguments: str = "") -> Document:
        """Return the processes of a container: ``Titles`` and ``Processes``."""
        document: Document = self._get(reference, "top", {"ps_args": ps_arguments or None}).json()
        return document

    def stats(self, reference: str, *, stream: bool = True) -> Iterator[Document]:
        """Return what a container uses, once or again and again."""
        return self._get(reference, "stats", {"stream": stream}).objects()

    def _get(self, reference: str, verb: str, query: Mapping[str, QueryValue]) -> Response:
        return self._client.request("GET", f"/containers/{quote(reference)}/{verb}", query=query)

    def _post(
        self, reference: str, verb: str, query: Mapping[str, QueryValue] | None = None
    ) -> None:
        self._client.request("POST", f"/containers/{quote(reference)}/{verb}", query=query).read()

    def _changed(self, reference: str, verb: str, query: Mapping[str, QueryValue]) -> bool:
        path = f"/containers/{quote(reference)}/{verb}"
        answer = self._client.request("POST", path, query=query)
        answer.read()
        return answer.status != _NOT_MODIFIED


def _chunks(answer: Response, *, framed: bool) -> Iterator[Chunk]:
    decoder = FrameDecoder()
    with answer:
        for data in answer:
            if framed:
                yield from decoder.feed(data)
            else:
                yield Chunk(1, data)
    decoder.finish()


class Execs:
    """Programs started in running containers."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, reference: str, body: Mapping[str, Any]) -> str:
        """Prepare a program from docker's exec body; return the session's id."""
        path = f"/containers/{quote(reference)}/exec"
        document = self._client.request("POST", path, document=body).json()
        if not isinstance(document, dict) or "Id" not in document:
            raise StreamError("the engine made an exec session without an id")
        return str(document["Id"])

    def start(
        self, exec_id: str, *, has_tty: bool, size: tuple[int, int] | None = None
    ) -> HijackedConnection:
        """Start the program, connected to its streams; *size*: its terminal's rows and columns."""
        body: dict[str, Any] = {"Detach": False, "Tty": has_tty}
        if size is not None:
            body["ConsoleSize"] = list(size)
        return self._client.hijack(f"/exec/{quote(exec_id)}/start", document=body)

    def start_detached(self, exec_id: str, *, has_tty: bool = False) -> None:
        """Start the program and leave it alone."""
        body = {"Detach": True, "Tty": has_tty}
        self._client.request("POST", f"/exec/{quote(exec_id)}/start", document=body).read()

    def inspect(self, exec_id: str) -> Document:
        """Return everything about a session; ``ExitCode`` is None while it runs."""
        document: Document = self._client.request("GET", f"/exec/{quote(exec_id)}/json").json()
        return document

    def resize(self, exec_id: str, *, rows: int, columns: int) -> None:
        """Tell the program's terminal its size."""
        query = {"h": rows, "w": columns}
        self._client.request("POST", f"/exec/{quote(exec_id)}/resize", query=query).read()
