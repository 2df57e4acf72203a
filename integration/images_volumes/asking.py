# SPDX-License-Identifier: Apache-2.0
"""What these tests ask the engine, in one line each."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import time
from typing import TYPE_CHECKING, Any, Protocol

from integration.pace import SLOWNESS

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.conftest import Engine

_SECONDS = 10 * SLOWNESS


class Make(Protocol):
    """Makes a container and returns its id; `body` is docker's create body."""

    def __call__(
        self, script: str = "", *, start: bool = True, image: str = "busybox", **body: Any
    ) -> str: ...


def run(engine: Engine, container_id: str) -> int:
    pending = engine.client.containers.wait(container_id, condition="next-exit")
    engine.client.containers.start(container_id)
    return pending.result().exit_code


def logs(engine: Engine, container_id: str) -> bytes:
    chunks = engine.client.containers.logs(container_id, framed=True)
    return b"".join(chunk.payload for chunk in chunks)


def output(engine: Engine, make: Make, script: str, **body: Any) -> str:
    return logs(engine, make(script, **body)).decode()


def changes(engine: Engine, container_id: str) -> list[str]:
    found = engine.client.request("GET", f"/containers/{container_id}/changes").json()
    return ["CAD"[entry["Kind"]] + " " + entry["Path"] for entry in found or []]


def exported(engine: Engine, container_id: str) -> tarfile.TarFile:
    answer = engine.client.request("GET", f"/containers/{container_id}/export")
    return tarfile.open(fileobj=io.BytesIO(answer.read()))


def commit(engine: Engine, container_id: str, document: Any = None, **query: Any) -> str:
    answer = engine.client.request(
        "POST", "/commit", query={"container": container_id, **query}, document=document
    )
    return str(answer.json()["Id"])


def archive(**files: bytes) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    out.seek(0)
    return out


def put(engine: Engine, container_id: str, path: str, tar: io.BytesIO, **query: Any) -> None:
    engine.client.request(
        "PUT", f"/containers/{container_id}/archive", query={"path": path, **query}, upload=tar
    ).read()


def got(engine: Engine, container_id: str, path: str) -> tuple[dict[str, Any], tarfile.TarFile]:
    answer = engine.client.request(
        "GET", f"/containers/{container_id}/archive", query={"path": path}
    )
    told = json.loads(base64.b64decode(answer.headers["x-docker-container-path-stat"]))
    return told, tarfile.open(fileobj=io.BytesIO(answer.read()))


def mounts_of(engine: Engine, container_id: str) -> dict[str, dict[str, Any]]:
    """Return what is mounted in a container, by target."""
    found = engine.client.containers.inspect(container_id)["Mounts"]
    return {mount["Destination"]: mount for mount in found}


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
