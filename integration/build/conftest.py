# SPDX-License-Identifier: Apache-2.0
"""Builds on an engine of each backend; the images that they make go after the test."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tarfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from integration.conftest import Engine, clear
from integration.pace import SLOWNESS
from toolkit.bootstrap import bootstrap_image
from toolkit.client import ApiError, StreamError
from toolkit.config import Instance
from toolkit.vm.first_container import FirstContainer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MOMENT_SECONDS = 2.0 * SLOWNESS
Content = bytes | str | tarfile.TarInfo


@dataclass
class Built:
    """What a build told.

    Attributes:
        error: Empty for one that went well.
        code: Of the program that failed.
    """

    text: str = ""
    id: str = ""
    error: str = ""
    code: int | None = None


@dataclass
class Builder:
    """Builds on one engine, as a user of the API does."""

    engine: Engine
    backend: str
    kept: set[str] = field(default_factory=set)

    def build(
        self, dockerfile: str = "", files: dict[str, Content] | None = None, **query: Any
    ) -> Built:
        """Build a context of a Dockerfile and files: bytes, links (texts) or members."""
        members: dict[str, Content] = dict(files or {})
        if dockerfile:
            members["Dockerfile"] = dockerfile.encode()
        return self.send(context(members), **query)

    def send(self, stream: io.BytesIO, **query: Any) -> Built:
        built = Built()
        try:
            for message in self.engine.client.images.build(
                stream, query={"networkmode": "none", **query}
            ):
                built.text += str(message.get("stream", ""))
                built.id = str(message.get("aux", {}).get("ID", built.id))
        except StreamError as error:
            built.error, built.code = str(error), error.code
        return built

    def good(self, dockerfile: str, files: dict[str, Content] | None = None, **query: Any) -> str:
        """Build, see that it went well, and return the image's id."""
        built = self.build(dockerfile, files, **query)
        assert not built.error, f"{built.text}\n{built.error}"
        return built.id

    def config(self, image: str) -> dict[str, Any]:
        found: dict[str, Any] = self.engine.client.images.inspect(image)["Config"]
        return found

    def run(self, image: str, *command: str) -> str:
        return FirstContainer(self.engine.client).run(image, list(command))

    def tidy(self) -> None:
        """Remove the images that were not there before."""
        images = self.engine.client.images
        for _ in range(50):
            left = [one for one in images.list(every=True) if one["Id"] not in self.kept]
            if not left:
                break
            for one in left:
                with suppress(ApiError):  # a parent goes with its last child
                    images.remove(one["Id"], force=True)
        self.engine.client.close()


def context(members: dict[str, Content]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o644
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                archive.addfile(content)
            elif isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    out.seek(0)
    return out


@pytest.fixture(
    scope="session", params=["native", pytest.param("lxc", marks=pytest.mark.needs_lxc)]
)
def engine_of_backend(
    request: pytest.FixtureRequest, engine_of_worker: Engine, worker_id: str
) -> Iterator[Engine]:
    """The worker's engine, or one whose default is the other backend."""
    if request.param == "native":
        warm(engine_of_worker)
        yield engine_of_worker
        return
    if shutil.which("lxc-start") is None:
        pytest.skip("LXC is not installed")
    prefix = os.environ.get("TOOLKIT_TEST_PREFIX", "tkt")
    instance = Instance(name=f"{prefix}l{worker_id.replace('master', 'm')}", backend="lxc")
    engine = Engine(instance)
    clear(instance)
    try:
        words = ["--instance", instance.name, "--backend", "lxc"]
        command = [sys.executable, "-m", "toolkit.cli.main", "engine", *words]
        engine.pid = engine.process.start(command).pid
        bootstrap_image(engine.client, "busybox")
        warm(engine)
        yield engine
    finally:
        engine.client.close()
        clear(instance)


def warm(engine: Engine) -> None:
    """Have what every container on nothing stands on made, and kept, before leaks are counted."""
    kept = {one["Id"] for one in engine.client.images.list(every=True)}
    once = Builder(engine, "", kept)
    once.good("FROM scratch\nCOPY f /\n", {"f": b""})
    once.tidy()


@pytest.fixture
def builder(request: pytest.FixtureRequest, engine_of_backend: Engine) -> Iterator[Builder]:
    engine = engine_of_backend
    before = {one["Id"] for one in engine.client.images.list(every=True)}
    made = Builder(engine, request.node.callspec.params["engine_of_backend"], before)
    yield made
    assert engine.client.containers.list(every=True) == [], "containers are left"
    assert_empty(engine.instance.builds_dir)  # a build whose client has gone may still tidy up
    made.tidy()
    assert_empty(engine.data_dir / "layers" / engine.instance.storage_driver / "rw")


def assert_empty(directory: Path) -> None:
    """Wait until a directory is empty, a moment at most."""
    began = time.monotonic()
    while left := list(directory.iterdir()):
        assert time.monotonic() - began < _MOMENT_SECONDS, f"left: {left}"
        time.sleep(0.02)
