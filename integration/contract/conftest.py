# SPDX-License-Identifier: Apache-2.0
"""What the contract of both backends is checked with: a backend, and containers of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from integration.pace import SLOWNESS
from toolkit.client import ApiError

if TYPE_CHECKING:
    from integration.conftest import Engine
    from toolkit.client.wire import HijackedConnection

BACKENDS = ("native", "lxc")
Create = Callable[..., str]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test once on each backend."""
    if "backend" in metafunc.fixturenames:
        marks = {"native": (), "lxc": (pytest.mark.needs_lxc,)}
        metafunc.parametrize(
            "backend", [pytest.param(name, marks=marks[name]) for name in BACKENDS], scope="session"
        )


@pytest.fixture(scope="session")
def working_backend(engine_of_worker: Engine, backend: str) -> str:
    """The backend's name, where it can be had; else the test is skipped with the reason."""
    if backend == "lxc" and shutil.which("lxc-start") is None:
        pytest.skip("LXC is not installed")
    client = engine_of_worker.client
    # With a set of processors: the group in which such containers have theirs stays, too.
    host = host_of(backend, CpusetCpus="0")
    wish = {"Image": "busybox", "Cmd": ["true"], "HostConfig": host}
    try:
        made = client.containers.create(wish).id
    except ApiError as error:
        pytest.skip(f"the engine refuses {backend}: {error.message}")
    try:
        client.containers.start(made)
        client.containers.wait(made).result()
    except ApiError as error:
        pytest.skip(f"{backend} does not work here: {error.message}")
    finally:
        client.containers.remove(made, force=True)
    return backend


def host_of(backend: str, **options: Any) -> dict[str, Any]:
    return {"NetworkMode": "none", "Runtime": backend, **options}


class Containers:
    """Makes containers of one backend as a user of the API does; they go after the test."""

    def __init__(self, engine: Engine, backend: str) -> None:
        self.engine = engine
        self.client = engine.client.containers
        self.backend = backend
        self.made: list[str] = []
        self._attached = ExitStack()

    def create(self, *command: str, name: str = "", host: Any = None, **fields: Any) -> str:
        wish = {
            "Image": "busybox",
            "Cmd": list(command),
            "HostConfig": host_of(self.backend, **(host or {})),
            **fields,
        }
        made = self.client.create(wish, name=name).id
        self.made.append(made)
        return made

    def start(self, *command: str, **wishes: Any) -> str:
        made = self.create(*command, **wishes)
        self.client.start(made)
        return made

    def attach(self, container: str, **streams: Any) -> HijackedConnection:
        """Attach until the test's end, however it ends.

        What a failed test holds is closed when its traceback is let go, with a warning
        that another test, which runs then, is blamed for.
        """
        return self._attached.enter_context(self.client.attach(container, **streams))

    def close(self) -> None:
        """Let go of what is attached, and remove the containers."""
        self._attached.close()
        for container in [*self.made]:
            try:
                self.remove(container)
            except ApiError as error:
                if error.status != 404:
                    raise

    def run(self, *command: str, **wishes: Any) -> tuple[int, bytes, bytes]:
        """Run to the end; return exit code, standard output and standard error."""
        made = self.start(*command, **wishes)
        code = self.client.wait(made).result().exit_code
        return code, self.output(made), self.output(made, stderr=True)

    def output(self, container: str, *, stderr: bool = False, **options: Any) -> bytes:
        chunks = self.client.logs(
            container, framed=not self.state(container, "Tty"), stdout=not stderr, stderr=stderr,
            **options,
        )  # fmt: skip
        return b"".join(chunk.payload for chunk in chunks)

    def state(self, container: str, key: str = "Running") -> Any:
        found = self.client.inspect(container)
        return found["Config"][key] if key in found["Config"] else found["State"][key]

    def await_state(self, container: str, wanted: str, seconds: float = 5) -> None:
        """Wait until docker's word for its state is so."""
        deadline = time.monotonic() + seconds * SLOWNESS
        while self.state(container, "Status") != wanted:
            assert time.monotonic() < deadline, self.client.inspect(container)["State"]
            time.sleep(0.02)

    def remove(self, container: str) -> None:
        self.client.remove(container, force=True, volumes=True)
        self.made.remove(container)


@pytest.fixture
def containers(engine: Engine, working_backend: str) -> Iterator[Containers]:
    """Containers of the backend."""
    made = Containers(engine, working_backend)
    yield made
    made.close()
