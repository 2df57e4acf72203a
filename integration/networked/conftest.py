# SPDX-License-Identifier: Apache-2.0
"""A whole engine in a network namespace of its own, and a neighbour on the same link.

Nothing here touches the machine's links or rules, and no packet leaves the
namespaces, which are made with pyroute2 as a second opinion: it is not what the
engine speaks netlink with.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from pyroute2 import IPRoute, NetNS, netns

from integration.conftest import Engine, clear
from integration.network.conftest import comes_true
from integration.pace import SLOWNESS
from toolkit.bootstrap import bootstrap_image
from toolkit.client import ApiError
from toolkit.config import Instance
from toolkit.network.netlink import in_network_namespace
from toolkit.vm.engine_process import EngineProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BACKENDS: Final = ("native", "lxc")
HOST: Final = "10.99.0.1"
NEIGHBOUR: Final = "10.99.0.2"
SUBNETS: Final = "172.16.0.0/12"
PATIENCE_SECONDS: Final = 1.0 * SLOWNESS
_COUNTERS: Final = re.compile(r" \[\d+:\d+\]$")
ECHO: Final = ("nc", "-ll", "-p", "80", "-e", "cat")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that names a backend once on each."""
    if "backend" in metafunc.fixturenames:
        marks = {"native": (), "lxc": (pytest.mark.needs_lxc,)}
        metafunc.parametrize("backend", [pytest.param(b, marks=marks[b]) for b in BACKENDS])


@dataclass
class Place:
    """A network namespace of the test's, by its name."""

    name: str

    @property
    def path(self) -> Path:
        return Path(netns.NETNS_RUN_DIR) / self.name

    def make(self) -> None:
        self.remove()
        netns.create(self.name)
        with NetNS(self.name) as inside:
            inside.link("set", index=1, state="up")

    def remove(self) -> None:
        with suppress(OSError):
            netns.remove(self.name)

    def do(self, act: Callable[[], Any]) -> Any:
        """Return what *act* returns in a thread of this namespace."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return in_network_namespace(fd, act)
        finally:
            os.close(fd)

    def run(self, *command: str) -> str:
        """Run a program in this namespace, and return what it wrote."""
        entered = ("nsenter", f"--net={self.path}", *command)
        return subprocess.run(entered, check=True, capture_output=True, text=True).stdout

    def links(self) -> dict[str, str]:
        """Return the aliases of the links, by name, as pyroute2 sees them."""
        with NetNS(self.name) as inside:
            return {
                link.get_attr("IFLA_IFNAME"): link.get_attr("IFLA_IFALIAS") or ""
                for link in inside.get_links()
            }

    def rules(self) -> str:
        """Return every rule of both families, without counters and the time of asking."""
        saved = "".join(self.run(f"{kind}-save") for kind in ("iptables", "ip6tables"))
        lines = (_COUNTERS.sub("", line) for line in saved.splitlines() if line[:1] != "#")
        return "".join(f"{line}\n" for line in lines)

    def ask(self, address: str, port: int, text: bytes = b"hello\n") -> bytes:
        """Connect, send, and return what comes back; empty when there is no connection."""
        answer: bytes = self.do(lambda: ask_here(address, port, text))
        return answer

    def ask_datagram(self, address: str, port: int, text: bytes = b"hello") -> bytes:
        answer: bytes = self.do(lambda: _ask_datagram(address, port, text))
        return answer


def ask_here(address: str, port: int, text: bytes = b"hello\n") -> bytes:
    """Ask from this thread's namespace."""
    try:
        with socket.create_connection((address, port), PATIENCE_SECONDS) as connection:
            connection.sendall(text)
            return connection.recv(4096)
    except OSError:
        return b""


def _ask_datagram(address: str, port: int, text: bytes) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(PATIENCE_SECONDS)
        try:
            asking.sendto(text, (address, port))
            return asking.recvfrom(4096)[0]
        except OSError:
            return b""


@dataclass
class World:
    """A host with an engine, and its neighbour."""

    host: Place
    neighbour: Place
    engine: Engine
    made: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)

    @property
    def instance(self) -> Instance:
        return self.engine.instance

    def start_engine(self, *flags: str, **environ: str) -> None:
        """Start the engine, with what is set for it by flags and by the environment."""
        settings = [f"{name}={value}" for name, value in environ.items()]
        program = (sys.executable, "-m", "toolkit.cli.main")
        command = ("nsenter", f"--net={self.host.path}", "env", *settings, *program)
        process = EngineProcess(self.instance)
        name = self.instance.name
        self.engine.pid = process.start((*command, "engine", "--instance", name, *flags)).pid

    def stop_engine(self) -> None:
        """End the engine in good order."""
        self.engine.client.close()
        EngineProcess(self.instance).stop()

    def kill_engine(self) -> None:
        """End the engine by SIGKILL."""
        identity = EngineProcess(self.instance).find()
        assert identity is not None
        self.engine.client.close()
        os.kill(identity.pid, signal.SIGKILL)
        os.waitpid(identity.pid, 0)

    def run(self, *command: str, backend: str = "native", name: str = "", **host: Any) -> str:
        """Create and start a container of busybox."""
        made = self.create(*command, backend=backend, name=name, **host)
        self.engine.client.containers.start(made)
        return made

    def create(self, *command: str, backend: str = "native", name: str = "", **host: Any) -> str:
        ports = host.pop("ports", {})
        endpoints = host.pop("endpoints", {})
        own = host.pop("config", {})
        wish = {
            "Image": "busybox",
            "Cmd": list(command),
            "ExposedPorts": {port: {} for port in ports},
            "HostConfig": {
                "NetworkMode": "default",
                "Runtime": backend,
                "PortBindings": {port: [_binding(each)] for port, each in ports.items()},
                **host,
            },
            "NetworkingConfig": {"EndpointsConfig": endpoints},
            **own,
        }
        made = self.engine.client.containers.create(wish, name=name).id
        self.made.append(made)
        return made

    def settings(self, container: str) -> Any:
        return self.engine.client.containers.inspect(container)["NetworkSettings"]

    def address(self, container: str) -> str:
        """Return a running container's first address, as the kernel has it."""
        with closing(self.inside(container)) as inside:
            found = inside.get_addr(family=socket.AF_INET, label="eth0")
            return str(found[0].get_attr("IFA_ADDRESS"))

    def inside(self, container: str) -> IPRoute:
        """Return pyroute2's view of a running container's network."""
        return NetNS(f"/proc/{self.pid(container)}/ns/net", flags=0)

    def do_inside(self, container: str, act: Callable[[], Any]) -> Any:
        return do_in(self.pid(container), act)

    def pid(self, container: str) -> int:
        return int(self.engine.client.containers.inspect(container)["State"]["Pid"])

    def clean(self) -> None:
        for container in self.made:
            self.engine.client.containers.remove(container, force=True)
        self.made.clear()

    def traces(self) -> list[str]:
        """Return what running containers would have on the host: links, rules, proxies."""
        links = [name for name, alias in self.host.links().items() if alias.count(":") == 3]
        rules = [line for line in self.host.rules().splitlines() if "--comment" in line]
        proxies = [path.name for path in (self.instance.run_dir / "proxies").glob("*")]
        return [*links, *rules, *proxies]


def do_in(pid: int, act: Callable[[], Any]) -> Any:
    """Return what *act* returns in a thread of a process's network namespace."""
    fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return in_network_namespace(fd, act)
    finally:
        os.close(fd)


def _binding(text: str) -> dict[str, str]:
    address, _, port = text.rpartition(":")
    return {"HostIp": address, "HostPort": port}


@pytest.fixture(autouse=True)
def _no_leaks() -> None:
    """Take the place of the check that starts an engine on the machine's own network."""


@pytest.fixture(scope="session")
def world_of_worker(worker_id: str) -> Iterator[World]:
    """A host with an engine that has the image busybox."""
    with opened_world(f"n{worker_id.replace('master', 'm')[-3:]}") as world:
        yield world


@contextmanager
def opened_world(suffix: str, *flags: str, **environ: str) -> Iterator[World]:
    """Give a host with an engine, started with settings of its own, that has busybox."""
    name = f"{os.environ.get('TOOLKIT_TEST_PREFIX', 'tkt')}{suffix}"
    host, neighbour = Place(f"{name}-host"), Place(f"{name}-lan")
    instance = Instance(name=name)
    world = World(host, neighbour, Engine(instance))
    clear(instance)
    try:
        for place in (host, neighbour):
            place.make()
        _join(host, neighbour)
        world.start_engine(*flags, **environ)
        bootstrap_image(world.engine.client, "busybox")
        yield world
    finally:
        world.engine.client.close()
        clear(instance)
        for place in (host, neighbour):
            place.remove()


def _join(host: Place, neighbour: Place) -> None:
    """Make a cable between the two, and give the neighbour a way to the containers."""
    with NetNS(host.name) as here, NetNS(neighbour.name) as there:
        peer = {"ifname": "eth0", "net_ns_fd": neighbour.name}
        here.link("add", ifname="lan0", kind="veth", peer=peer)
        for side, name, address in ((here, "lan0", HOST), (there, "eth0", NEIGHBOUR)):
            [index] = side.link_lookup(ifname=name)
            side.addr("add", index=index, address=address, prefixlen=24)
            side.link("set", index=index, state="up")
        there.route("add", dst=SUBNETS, gateway=HOST)


@pytest.fixture
def world(world_of_worker: World) -> Iterator[World]:
    """The host with its engine, running; what containers leave on it fails the test."""
    world = world_of_worker
    if EngineProcess(world.instance).find() is None:
        world.start_engine()
    yield world
    if EngineProcess(world.instance).find() is None:
        world.start_engine()
    world.clean()
    assert comes_true(lambda: not world.traces()), world.traces()


@pytest.fixture
def make_network(world: World) -> Iterator[Callable[..., str]]:
    """Make networks that go with the test."""
    made: list[str] = []

    def make(name: str, subnet: str = "", **more: Any) -> str:
        config = [{"Subnet": subnet}] if subnet else []
        body = {"Name": name, "IPAM": {"Config": config}, **more}
        made.append(world.engine.client.networks.create(body)["Id"])
        return made[-1]

    yield make
    world.clean()
    for network in made:
        with suppress(ApiError):
            world.engine.client.networks.remove(network)


class EchoDatagrams:
    """Answers datagrams in a container's namespace with what came, until it is closed."""

    def __init__(self, world: World, container: str, port: int) -> None:
        self._socket: socket.socket = world.do_inside(container, lambda: _bound(port))
        self._is_open = True
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering; the thread notices within its patience."""
        self._is_open = False
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while self._is_open:
            with suppress(TimeoutError):
                data, sender = self._socket.recvfrom(4096)
                self._socket.sendto(data, sender)


def _bound(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("", port))
    made.settimeout(0.2)
    return made
