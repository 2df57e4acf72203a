# SPDX-License-Identifier: Apache-2.0
"""What every integration test stands on: a private engine per worker, and the leak check.

The engine of a worker is an instance of its own name, so workers do not meet.
`TOOLKIT_TEST_PREFIX` (default ``tkt``) keeps two runs on one machine apart.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

import toolkit
from integration.leaks import Ledger, leaks_after
from integration.pace import SLOWNESS
from toolkit.bootstrap import bootstrap_image
from toolkit.client import Client
from toolkit.config import Instance
from toolkit.testing import ContainerEngine
from toolkit.vm import shards
from toolkit.vm.doctor import Host, examine, is_fit
from toolkit.vm.engine_process import EngineProcess
from toolkit.vm.first_container import FirstContainer
from toolkit.vm.leftovers import Leftovers
from toolkit.vm.process import processes_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker

_COMMAND_SECONDS = 60 * SLOWNESS
_HERE = Path(__file__).parent
_SOURCE = Path(toolkit.__file__).parent.parent


class Run(Protocol):
    """Runs a command line with arguments, and what it is given on its standard input."""

    def __call__(
        self, *arguments: str, given: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]: ...


@dataclass
class Engine:
    """The worker's engine; a test may stop or kill it and start it again.

    Attributes:
        pid: Its process now.
        warm_pid: The process that has made what it keeps.
    """

    instance: Instance
    pid: int = 0
    warm_pid: int = 0
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = Client(self.url, timeout_seconds=_COMMAND_SECONDS)

    @property
    def url(self) -> str:
        """What ``DOCKER_HOST`` says."""
        return f"unix://{self.instance.socket_path}"

    @property
    def socket_path(self) -> Path:
        return self.instance.socket_path

    @property
    def data_dir(self) -> Path:
        return self.instance.data_dir

    @property
    def process(self) -> EngineProcess:
        return EngineProcess(self.instance)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a command that should use this engine."""
        own = {"DOCKER_HOST": self.url, "TOOLKIT_INSTANCE": self.instance.name}
        return {**os.environ, **own, "PYTHONPATH": str(_SOURCE), "DOCKER_CONFIG": "/nonexistent"}

    def start(self) -> None:
        self.pid = self.process.start().pid

    def ensure(self) -> None:
        """Start it again if the test before left it dead."""
        identity = self.process.find()
        if identity is None:
            self.start()
        else:
            self.pid = identity.pid

    def warm(self) -> None:
        """Have what the process keeps once it was needed, so that no test is the first."""
        if self.warm_pid != self.pid:
            warm_up(self.client)
            self.warm_pid = self.pid

    def ledger(self) -> Ledger:
        self.client.close()  # a connection kept for the next question is no leak
        return Ledger.of(self.instance, self.pid)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark and, where this machine cannot run them, skip with the reason."""
    _keep_shard(config, items)
    reason = _unfit()
    skip = pytest.mark.skip(reason=reason) if reason else None
    for item in items:
        if _HERE in item.path.parents and _HERE / "machine" not in item.path.parents:
            item.add_marker(pytest.mark.needs_root)
            if skip:
                item.add_marker(skip)
            if "docker_cli" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.needs_docker_cli)


def _keep_shard(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave only this machine's part, where several machines share the suite."""
    text = os.environ.get(shards.VARIABLE)
    if not text:
        return
    names = [_group_of(item) for item in items]
    mine = shards.Shard.parse(text).groups(names)
    others = [item for item, name in zip(items, names, strict=True) if name not in mine]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item, name in zip(items, names, strict=True) if name in mine]


def _group_of(item: pytest.Item) -> str:
    mark = item.get_closest_marker("xdist_group")
    return str(mark.args[0]) if mark and mark.args else str(item.path)


def _unfit() -> str:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "integration tests need root on Linux"
    features = examine(Host.this())
    missing = (f.line() for f in features if f.is_required and not f.is_present)
    return "" if is_fit(features) else "; ".join(missing)


@pytest.fixture(scope="session")
def engine_of_worker(worker_id: str) -> Iterator[Engine]:
    """One engine for all tests of a worker, with the image busybox and everything warm."""
    prefix = os.environ.get("TOOLKIT_TEST_PREFIX", "tkt")
    instance = Instance(name=f"{prefix}{worker_id.replace('master', 'main')}")
    engine = Engine(instance)
    clear(instance)
    try:
        engine.start()
        first = FirstContainer(engine.client)
        bootstrap_image(engine.client, "busybox")
        assert first.run("busybox", ["echo", "warm"]) == "warm"
        engine.warm()
        yield engine
    finally:
        engine.client.close()
        clear(instance)


def warm_up(client: Client) -> None:
    """Have the default bridge, its rules, proxies, names, and who fills volumes: they stay."""
    client.networks.create({"Name": "warm"})
    wish: dict[str, Any] = {
        "Image": "busybox",
        "Cmd": ["true"],
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/warm": {}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}},
    }
    for mode in ("bridge", "warm"):
        wish["HostConfig"]["NetworkMode"] = mode
        container = client.containers.create(wish).id
        client.containers.start(container)
        client.containers.remove(container, force=True, volumes=True)
    client.networks.remove("warm")


@pytest.fixture(scope="session")
def container_engine(engine_of_worker: Engine, testrun_uid: str) -> Iterator[ContainerEngine]:
    """The plugin's engine is the worker's: ``run_container`` and its like use that."""
    client = engine_of_worker.client
    features = client.extensions.features()
    engine = ContainerEngine(client, features=features, run_id=testrun_uid, source="worker")
    engine.begin()
    yield engine
    engine.close()


def clear(instance: Instance) -> None:
    """Take away an engine and all that it left; also what a run that was killed left."""
    EngineProcess(instance).stop()
    leftovers = Leftovers(instance)
    leftovers.end_processes()
    leftovers.remove(keep_data=False)


@pytest.fixture(autouse=True)
def _no_leaks(engine_of_worker: Engine, container_engine: ContainerEngine) -> Iterator[None]:
    """Fail a test that leaves something behind, in its teardown, and say what."""
    engine = engine_of_worker

    def ledger() -> Ledger:
        container_engine.ending.close()  # as the engine's own: a kept connection is no leak
        return engine.ledger()

    engine.ensure()
    engine.warm()
    before = ledger()
    yield
    engine.ensure()
    name = engine.instance.name
    leaks = leaks_after(before, ledger, lambda: processes_of(name))
    if leaks:
        pytest.fail("left behind:\n" + "\n".join(sorted(leaks)), pytrace=False)


@pytest.fixture
def engine(engine_of_worker: Engine) -> Engine:
    """The engine, running; containers that the test leaves are a leak."""
    return engine_of_worker


@pytest.fixture
def busybox(engine: Engine) -> str:
    """The name of an image that the engine has."""
    engine.client.images.inspect("busybox")
    return "busybox"


def _runner(engine: Engine, command: list[str]) -> Run:
    def run(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*command, *arguments],
            input=given,
            capture_output=True,
            env=engine.environ,
            timeout=_COMMAND_SECONDS,
            check=False,
        )

    return run


@pytest.fixture
def docker_cli(engine: Engine) -> Run:
    """Run docker's own command against the engine."""
    program = shutil.which("docker")
    if program is None:
        pytest.skip("no docker command here (a client is enough)")
    return _runner(engine, [program])


@pytest.fixture
def toolkit_cli(engine: Engine) -> Run:
    """Run the toolkit's own command against the engine."""
    return _runner(engine, [sys.executable, "-m", "toolkit.cli.main"])


@pytest.fixture
def sdk(engine: Engine) -> Iterator[docker.DockerClient]:
    """Docker's Python SDK on the engine."""
    import docker  # noqa: PLC0415 - 400 ms, only where it is used

    client = docker.DockerClient(base_url=engine.url, timeout=_COMMAND_SECONDS)
    try:
        yield client
    finally:
        client.close()
