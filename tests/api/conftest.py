# SPDX-License-Identifier: Apache-2.0
"""A fake engine of the facade's shape, and a client that asks the application without sockets."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest

from tests.fakes.transfers import FakeTransfers
from tests.waiting import PATIENCE_SECONDS
from toolkit.api.application import Application
from toolkit.api.query import Query
from toolkit.api.request import Request, Response
from toolkit.api.table import ROUTES
from toolkit.config import Instance
from toolkit.engine import model
from toolkit.engine.builds import PrunedBuilds
from toolkit.engine.events import EventHub
from toolkit.engine.images import RemovedImage
from toolkit.engine.info import EngineInfo
from toolkit.engine.limits import HostLimits
from toolkit.engine.model import (
    ContainerId,
    ContainerRecord,
    ContainerSpec,
    ContainerState,
    ExecId,
    ExecSpec,
    Network,
    NetworkId,
    NetworkRecord,
    NetworkSpec,
    State,
)
from toolkit.engine.network_index import NetworkIndex, is_predefined
from toolkit.engine.ownership import Removed
from toolkit.engine.readiness import Heard
from toolkit.engine.tree import PathStat
from toolkit.engine.volumes import Volume, VolumeDirectories
from toolkit.errors import (
    ConflictError,
    ContainerNotFoundError,
    ExecNotFoundError,
    ImageNotFoundError,
    InvalidRequestError,
    NetworkInUseError,
    NotModifiedError,
)
from toolkit.images.image import Image, ImageId
from toolkit.kernel.cgroup_stats import CgroupStats
from toolkit.network.traffic import Traffic
from toolkit.runtime.logfile import LogEntry

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Coroutine,
        Mapping,
        Sequence,
    )

    from toolkit.build.ports import BuildOptions, Told
    from toolkit.engine.commit import CommitOptions
    from toolkit.engine.health import Health
    from toolkit.engine.logs import LogSelection
    from toolkit.engine.model import AttachedContainer, EndpointSpec
    from toolkit.engine.tree import CopyOptions
    from toolkit.engine.waiters import WaitResult
    from toolkit.runtime.protocol import AttachClient
    from toolkit.storage.changes import Change

CREATED = datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)
CREATED_NS = 1767323045_600000000
IMAGE_ID = ImageId("sha256:" + "ab" * 32)


def make_record(number: int = 1, **changes: Any) -> ContainerRecord:
    record = ContainerRecord(
        id=ContainerId(f"{number:02x}" * 32),
        name=f"name{number}",
        created=CREATED,
        image_id=model.ImageId(IMAGE_ID),
        path="sleep",
        args=("10",),
        spec=ContainerSpec(image="busybox"),
    )
    return replace(record, **changes)


def make_image(**changes: Any) -> Image:
    image = Image(
        id=IMAGE_ID,
        created=CREATED,
        config={"Cmd": ["sh"], "Labels": {"a": "b", "odd": 1}},
        history=({"created": "2026-01-02T03:04:05Z", "comment": "Imported from -"},),
        diff_ids=("sha256:" + "cd" * 32,),
        top=None,
        size_bytes=1000,
        layer_bytes=(1000,),
        author="",
        architecture="amd64",
        os="linux",
        references=("busybox:latest",),
    )
    return replace(image, **changes)


async def pieces(*parts: bytes) -> AsyncGenerator[bytes, None]:
    for part in parts:
        yield part


class FakeContainer:
    """A container whose verbs are remembered."""

    def __init__(self, record: ContainerRecord) -> None:
        self.record = record
        self.exec_ids: list[ExecId] = []
        self.health: Health | None = None
        self.names = [f"/{record.name}"]
        self.links: list[str] = []
        self.calls: list[tuple[str, Any]] = []
        self.exit: asyncio.Future[WaitResult] | None = None
        self.entries = [
            LogEntry("2026-01-02T03:04:05.6Z", "stdout", b"out\n"),
            LogEntry("2026-01-02T03:04:06Z", "stderr", b"err\n"),
        ]
        self.fails: Exception | None = None
        self.changed: list[Change] = []
        self.place = PathStat(
            name="d", size_bytes=4096, mode=0o40755, mtime_ns=CREATED_NS, link_target=""
        )

    def _note(self, verb: str, *details: Any) -> None:
        self.calls.append((verb, details))
        if self.fails is not None:
            raise self.fails

    async def start(self) -> None:
        self._note("start")
        if self.record.state.status is State.RUNNING:
            raise NotModifiedError("container already started")
        self.set_state(State.RUNNING)

    def set_state(self, status: State, **more: Any) -> None:
        self.record = replace(self.record, state=ContainerState(status=status, **more))

    def check_attach(self) -> None:
        if self.record.state.status is State.PAUSED:
            raise ConflictError("it is paused")

    async def attach(self, client: AttachClient) -> None:
        self.calls.append(("attach", client))
        try:
            if self.fails is not None:
                raise self.fails
            os.write(client.fd, b"attached:" + client.pending)
        finally:
            os.close(client.fd)

    def begin_wait(self, condition: str) -> asyncio.Future[WaitResult]:
        self._note("wait", condition)
        if self.exit is None:
            self.exit = asyncio.get_running_loop().create_future()
        return self.exit

    async def stop(self, timeout_seconds: int | None, stop_signal: str) -> None:
        self._note("stop", timeout_seconds, stop_signal)

    async def kill(self, signal_text: str) -> None:
        self._note("kill", signal_text)

    async def restart(self, timeout_seconds: int | None, stop_signal: str) -> None:
        self._note("restart", timeout_seconds, stop_signal)

    async def pause(self) -> None:
        self._note("pause")

    async def unpause(self) -> None:
        self._note("unpause")

    async def rename(self, name: str) -> None:
        self._note("rename", name)

    async def resize(self, rows: int, columns: int) -> None:
        self._note("resize", rows, columns)

    async def update(self, limits: Any, policy: Any) -> list[str]:
        self._note("update", limits, policy)
        return ["a warning"]

    async def remove(self, *, force: bool, volumes: bool) -> None:
        self._note("remove", force, volumes)

    async def logs(self, selection: LogSelection, *, follow: bool) -> AsyncIterator[LogEntry]:
        self._note("logs", selection, follow)
        for entry in self.entries:
            yield entry

    async def rw_size_bytes(self) -> int:
        return 24

    async def changes(self) -> list[Change]:
        return self.changed

    async def export(self) -> AsyncGenerator[bytes, None]:
        return pieces(b"tar", b"ball")

    async def stat_path(self, path: str) -> PathStat:
        self.calls.append(("stat", path))
        return self.place

    async def copy_out(self, path: str) -> tuple[PathStat, AsyncGenerator[bytes, None]]:
        self.calls.append(("copy out", path))
        return self.place, pieces(b"tar")

    async def copy_in(self, path: str, stream: BinaryIO, options: CopyOptions) -> None:
        content = await asyncio.to_thread(stream.read)
        self.calls.append(("copy in", (path, content, options)))

    async def commit(self, options: CommitOptions) -> Image:
        self.calls.append(("commit", options))
        return make_image()

    async def pids(self) -> list[int]:
        return [os.getpid()]

    async def traffic(self) -> dict[str, Traffic]:
        return {"eth0": Traffic(**dict.fromkeys(Traffic.__dataclass_fields__, 7))}

    async def stats(self) -> CgroupStats:
        return CgroupStats(memory_usage_bytes=4096, cpu_total_ns=5, pids_current=1)


class FakeExec:
    """An exec session that is remembered."""

    def __init__(self, spec: ExecSpec, container_id: str) -> None:
        self.spec = spec
        self.container_id = container_id
        self.running = False
        self.exit_code: int | None = None
        self.pid = 0
        self.clients: list[AttachClient | None] = []
        self.sizes: list[tuple[int, int]] = []
        self.fails: Exception | None = None
        self.first_size = (0, 0)

    def set_size(self, size: tuple[int, int]) -> None:
        self.first_size = size

    async def start(self, client: AttachClient | None) -> None:
        self.clients.append(client)
        try:
            if self.fails is not None:
                raise self.fails
            if client is not None:
                os.write(client.fd, b"exec output")
        finally:
            if client is not None:
                os.close(client.fd)
        self.exit_code = 0

    async def resize(self, rows: int, columns: int) -> None:
        self.sizes.append((rows, columns))


class FakeImages:
    """Images in a list."""

    def __init__(self) -> None:
        self.found = [make_image()]
        self.imported: list[dict[str, Any]] = []
        self.tags: list[tuple[str, str]] = []

    async def inspect(self, text: str) -> Image:
        for image in self.found:
            names = {*image.references, *(name.split(":")[0] for name in image.references)}
            if text in names or image.id == text:
                return image
        raise ImageNotFoundError(text)

    async def import_(self, stream: Any, **details: Any) -> Image:
        self.imported.append(details | {"size": len(await asyncio.to_thread(stream.read))})
        return self.found[0]

    async def import_url(self, url: str, **details: Any) -> Image:
        self.imported.append(details | {"url": url})
        return self.found[0]

    async def tag(self, text: str, reference: str) -> None:
        self.tags.append(((await self.inspect(text)).id, reference))

    async def remove(self, text: str, *, force: bool, noprune: bool) -> list[RemovedImage]:
        del force, noprune
        image = await self.inspect(text)
        return [RemovedImage(untagged=image.references[0]), RemovedImage(deleted=image.id)]

    async def list(self) -> list[Image]:
        return self.found


class FakeBuilds:
    """Builds that tell what a test says, and end as it says."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.tells: list[Told] = []
        self.error: Exception | None = None
        self.asked: list[tuple[BuildOptions, bytes]] = []

    async def build(
        self, options: BuildOptions, stream: BinaryIO, tell: Callable[[Told], Awaitable[None]]
    ) -> Image:
        self.asked.append((options, await asyncio.to_thread(stream.read)))
        for told in self.tells:
            await tell(told)
        if self.error is not None:
            raise self.error
        return self.image

    async def prune(self) -> PrunedBuilds:
        return PrunedBuilds(("sha256:9",), 5)


class FakeVolumes:
    """Volumes in a directory; a test says who has one."""

    def __init__(self, data_dir: Path) -> None:
        self.directories = VolumeDirectories(data_dir)
        self.taken: dict[str, list[str]] = {}

    async def list(self) -> list[Volume]:
        return self.directories.list()

    async def inspect(self, name: str) -> Volume:
        return self.directories.get(name)

    async def size_bytes(self, name: str) -> int:
        return self.directories.size_bytes(name)

    def users(self, name: str) -> Sequence[str]:
        return self.taken.get(name, [])

    async def create(
        self, name: str, *, driver: str, labels: Mapping[str, str], options: Mapping[str, str]
    ) -> Volume:
        del driver, options
        self.directories.create(name or "f" * 64, labels=labels)
        return self.directories.get(name or "f" * 64)

    async def remove(self, name: str, *, force: bool) -> None:
        del force
        self.directories.remove(self.directories.get(name).name)

    async def prune(self, chosen: Callable[[Volume], bool]) -> tuple[Sequence[str], int]:
        names = [volume.name for volume in self.directories.list() if chosen(volume)]
        for name in names:
            self.directories.remove(name)
        return names, 7


class FakeSessions:
    """Sessions that are noted, and their connections with a word closed."""

    def __init__(self) -> None:
        self.held: list[tuple[str, str]] = []

    def check_name(self, name: str) -> str:
        if not name:
            raise InvalidRequestError("no name")
        return name

    def check_free(self, name: str) -> str:
        if ("session", name) in self.held:
            raise ConflictError("open already")
        return self.check_name(name)

    def hold_session(self, name: str, fd: int, pending: bytes) -> None:
        self._hold("session", name, fd, pending)

    def hold_lease(self, name: str, fd: int, pending: bytes) -> None:
        self._hold("lease", name, fd, pending)

    def _hold(self, kind: str, name: str, fd: int, pending: bytes) -> None:
        self.held.append((kind, name))
        os.write(fd, b"held:" + pending)
        os.close(fd)

    async def prune(self) -> Removed:
        return Removed(containers=["c" * 64])


class FakeReadiness:
    """Says that somebody listens on 8080."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    async def begin_listening(
        self, reference: str, port: int, *, protocol: str, timeout_seconds: float
    ) -> Coroutine[Any, Any, Heard]:
        self.asked.append((reference, port, protocol, timeout_seconds))
        is_listening = port == 8080

        async def answer() -> Heard:
            reason = "" if is_listening else "nobody"
            return Heard(is_listening=is_listening, waited_seconds=0.5, reason=reason)

        return answer()


Found = list[Network]  # named here: in the class, `list` is the method


class FakeNetworks:
    """The predefined networks and those that a test makes; what is asked is remembered."""

    def __init__(self, instance: Instance) -> None:
        self._index = NetworkIndex(instance.name)
        self.attached: dict[str, tuple[AttachedContainer, ...]] = {}
        self.calls: list[tuple[Any, ...]] = []

    def _network(self, record: NetworkRecord) -> Network:
        return Network(
            id=record.id, name=record.name, driver=record.spec.driver, created=record.created,
            internal=record.spec.internal, ipv6=record.spec.ipv6,
            attachable=record.spec.attachable, subnets=record.spec.pools,
            options=record.spec.options, labels=record.spec.labels,
            endpoints=self.attached.get(record.name, ()),
        )  # fmt: skip

    def ids(self) -> dict[str, str]:
        return {record.name: record.id for record in self._index.all()}

    async def list(self) -> Found:
        return [self._network(record) for record in self._index.all()]

    async def inspect(self, reference: str) -> Network:
        return self._network(self._index.find(reference))

    async def create(self, spec: NetworkSpec) -> tuple[Network, Sequence[str]]:
        self._index.check_free(spec.name)
        network_id = NetworkId(sha256(spec.name.encode()).hexdigest())
        self._index.put(NetworkRecord(id=network_id, created=CREATED, spec=spec))
        return await self.inspect(spec.name), []

    async def remove(self, reference: str) -> None:
        network = await self.inspect(reference)
        if network.endpoints:
            raise NetworkInUseError(network.name, network.id)
        self._index.drop(network.id)

    async def connect(self, reference: str, container: str, spec: EndpointSpec | None) -> None:
        self.calls.append(("connect", (await self.inspect(reference)).name, container, spec))

    async def disconnect(self, reference: str, container: str, *, force: bool) -> None:
        self.calls.append(("disconnect", (await self.inspect(reference)).name, container, force))

    async def prune(self, chosen: Callable[[Network], bool]) -> Sequence[str]:
        gone = [net for net in await self.list() if not is_predefined(net.name) and chosen(net)]
        for network in gone:
            self._index.drop(network.id)
        return [network.name for network in gone]

    async def repair(self) -> Sequence[str]:
        self.calls.append(("repair",))
        return ["nat: chain test-DNAT"]


class FakeEngine:
    """An engine of the facade's shape."""

    def __init__(self, data_dir: Path) -> None:
        self.instance = Instance(data_dir=data_dir / "data", run_dir=data_dir / "run")
        self.events = EventHub()
        self.images = FakeImages()
        self.transfers = FakeTransfers()
        self.builds = FakeBuilds(self.images.found[0])
        self.volumes = FakeVolumes(data_dir)
        self.sessions = FakeSessions()
        self.readiness = FakeReadiness()

        self.networks = FakeNetworks(self.instance)
        self.made: list[tuple[ContainerSpec, str]] = []
        self.all: list[FakeContainer] = []
        self.execs: dict[str, FakeExec] = {}
        self.removed_links: list[str] = []

    async def create_container(
        self, spec: ContainerSpec, name: str
    ) -> tuple[FakeContainer, list[str]]:
        await self.images.inspect(spec.image)
        self.made.append((spec, name))
        number = len(self.all) + 1
        container = FakeContainer(make_record(number, name=name or f"name{number}", spec=spec))
        self.all.insert(0, container)
        return container, []

    async def container(self, reference: str) -> FakeContainer:
        for container in self.all:
            record = container.record
            if reference in {record.name, f"/{record.name}"} or record.id.startswith(reference):
                return container
        raise ContainerNotFoundError(reference)

    async def remove_link(self, path: str) -> None:
        self.removed_links.append(path)

    async def containers(self) -> list[FakeContainer]:
        return self.all

    async def create_exec(self, reference: str, spec: ExecSpec) -> ExecId:
        container = await self.container(reference)
        exec_id = ExecId("e" * 64)
        self.execs[exec_id] = FakeExec(spec, container.record.id)
        return exec_id

    async def exec(self, reference: str) -> FakeExec:
        try:
            return self.execs[reference]
        except KeyError:
            raise ExecNotFoundError(reference) from None

    async def info(self) -> EngineInfo:
        return EngineInfo(
            id="id", instance_name="toolkit", backend="native", engine_version="0.1.0",
            data_dir="/data", containers=1, containers_running=1, containers_paused=0,
            containers_stopped=0, images=1, driver="overlay", driver_status=(("a", "b"),),
            cgroup_version=2, kernel_version="6.1", operating_system="Debian", os_version="12",
            architecture="x86_64", cpu_count=2, memory_bytes=2**30, host_name="host",
            system_time=CREATED, open_descriptors=9, tasks=3, limits=HostLimits(),
            ipv4_forwarding=True, bridge_nf_iptables=False, bridge_nf_ip6tables=False,
            insecure_registries=("lab:5000", "10.0.0.0/8"), registry_mirrors=("http://m/",),
        )  # fmt: skip


@dataclass
class FakeWire:
    """What a request needs of a connection, kept in memory; a real socket when given away."""

    parts: list[bytes] = field(default_factory=list)
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    sent: bytearray = field(default_factory=bytearray)
    taken: socket.socket | None = None
    pending: bytes = b""
    on_head: Callable[[], None] | None = None

    async def receive_body(self) -> bytes:
        return self.parts.pop(0) if self.parts else b""

    async def send_head(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        if self.on_head is not None:
            self.on_head()

    async def send_data(self, data: bytes) -> None:
        self.sent += data

    def send_soon(self, data: bytes) -> None:
        self.sent += data

    async def hijack(self, head: bytes, gap_seconds: float) -> tuple[int, bytes]:
        del gap_seconds
        ours, theirs = socket.socketpair()
        self.taken = ours
        self.sent += head
        return theirs.detach(), self.pending


@dataclass
class Answer:
    """What the application answered, in whichever of the three ways."""

    status: int
    body: bytes
    wire: FakeWire
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def objects(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]

    def stream(self) -> bytes:
        """Return what the new owner of the socket wrote."""
        assert self.wire.taken is not None
        self.wire.taken.settimeout(PATIENCE_SECONDS)
        seen = b""
        while part := self.wire.taken.recv(4096):
            seen += part
        self.wire.taken.close()
        return seen


class Api:
    """A client of the application."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self._application = Application(engine, ROUTES)

    def __call__(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        wire: FakeWire | None = None,
        **headers: str,
    ) -> Answer:
        return asyncio.run(self.ask(method, target, body, wire=wire, **headers))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)

    async def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        wire: FakeWire | None = None,
        **headers: str,
    ) -> Answer:
        raw = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        wire = wire or FakeWire()
        wire.parts = [raw] if raw else []
        names = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        if raw and not isinstance(body, bytes):
            names.setdefault("content-type", "application/json")
        path, _, query = target.partition("?")
        request = Request(method, path, Query(query), names, wire)
        response: Response | None = await self._application(request)
        if response is None:
            return Answer(wire.status, bytes(wire.sent), wire, wire.headers)
        found = {name.lower(): value for name, value in response.headers}
        return Answer(response.status, response.body, wire, found)


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    return FakeEngine(tmp_path)


@pytest.fixture
def api(engine: FakeEngine) -> Api:
    return Api(engine)


@pytest.fixture
def add_container(engine: FakeEngine) -> Callable[..., FakeContainer]:
    """Put containers into the engine, the last one newest."""

    def add(status: State = State.RUNNING, **changes: Any) -> FakeContainer:
        container = FakeContainer(make_record(len(engine.all) + 1, **changes))
        if "state" not in changes:
            container.set_state(status, started_at=CREATED, pid=42)
        engine.all.insert(0, container)
        return container

    return add


@pytest.fixture
def make_wire() -> type[FakeWire]:
    return FakeWire


@pytest.fixture
def record() -> Callable[..., ContainerRecord]:
    return make_record


@pytest.fixture
def image() -> Callable[..., Image]:
    return make_image


@pytest.fixture
def recorded() -> Callable[[str], bytes]:
    """Return a body that the docker CLI 28 sent."""
    return lambda name: (Path(__file__).parent / "data" / f"{name}.json").read_bytes()
