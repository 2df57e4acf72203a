# SPDX-License-Identifier: Apache-2.0
"""The name server with the network namespaces of real containers' kind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.pace import SLOWNESS
from toolkit.network.dns import sockets
from toolkit.network.dns.table import Asking, NameRecord
from toolkit.network.names_server import NamesServer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.needs_root

HOLD = """
import ctypes, os, sys
ctypes.CDLL(None).unshare(0x40000000)
from toolkit.kernel.namespaces import bring_loopback_up
bring_loopback_up()
print("ready", flush=True)
sys.stdin.read()
"""
ASK = """
import socket, sys
import dns.message, dns.query
name, kind, how = sys.argv[1:]
query = dns.message.make_query(name, kind)
send = dns.query.tcp if how == "tcp" else dns.query.udp
answer = send(query, "127.0.0.11", timeout=5)
print(" ".join(str(r) for rrset in answer.answer for r in rrset))
"""
SERVE_53 = """
import socket
server = socket.create_server(("0.0.0.0", 53))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("0.0.0.0", 53))
print("bound")
"""


@dataclass
class Namespace:
    """A process in a network namespace of its own."""

    process: subprocess.Popen[str]

    def open(self) -> int:
        return os.open(f"/proc/{self.process.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def run(self, code: str, *arguments: str) -> str:
        enter = ["nsenter", f"--net=/proc/{self.process.pid}/ns/net"]
        done = subprocess.run(
            [*enter, sys.executable, "-c", code, *arguments],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def ask(self, name: str, kind: str = "A", how: str = "udp") -> str:
        return self.run(ASK, name, kind, how)


def environment() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]}


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def namespace(undo: ExitStack) -> Namespace:
    return held_namespace(undo)


def held_namespace(undo: ExitStack) -> Namespace:
    process = undo.enter_context(
        subprocess.Popen(
            [sys.executable, "-c", HOLD],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    undo.callback(process.kill)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return Namespace(process)


@pytest.fixture
def names(undo: ExitStack, tmp_path: Path) -> NamesServer:
    made = NamesServer(tmp_path / "names")
    assert made.open()
    undo.callback(made.stop)
    return made


@pytest.fixture
def attached(names: NamesServer, namespace: Namespace) -> Namespace:
    netns_fd = namespace.open()
    names.attach("1", netns_fd, Asking(networks=("n",)))
    os.close(netns_fd)
    names.publish("n", "back", NameRecord("2", ("db",), (ip_address("172.18.0.3"),)))
    return namespace


@pytest.mark.parametrize("how", ["udp", "tcp"])
def test_names_are_asked_at_docker_s_address(attached: Namespace, how: str) -> None:
    assert attached.ask("db", how=how) == "172.18.0.3"
    assert attached.ask("3.0.18.172.in-addr.arpa", "PTR", how) == "db.back."


def test_a_server_in_the_container_may_have_port_53(attached: Namespace) -> None:
    assert attached.run(SERVE_53) == "bound"


def test_the_next_server_takes_the_container_over(attached: Namespace, names: NamesServer) -> None:
    names.stop()
    assert names.open()
    netns_fd = attached.open()
    names.attach("1", netns_fd, Asking(networks=("n",)))
    os.close(netns_fd)
    names.publish("n", "back", NameRecord("2", ("db",), (ip_address("172.18.0.4"),)))
    assert attached.ask("db") == "172.18.0.4"
    assert attached.ask("db", how="tcp") == "172.18.0.4"


def test_it_is_not_reachable_from_the_host(attached: Namespace, names: NamesServer) -> None:
    """Row S-88: never reachable from outside the namespace."""
    pid = names.state().pid
    for kind in ("udp", "tcp"):
        inside = Path(f"/proc/{attached.process.pid}/net/{kind}").read_text()
        outside = Path(f"/proc/{pid}/net/{kind}").read_text()
        assert " 0B00007F:" in inside
        assert " 0B00007F:" not in outside


@pytest.mark.parametrize("tool", ["iptables-restore", ""])
def test_without_nft_other_ways_lead_there(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    def which(name: str, path: str | None = None) -> str | None:
        found = name == tool or (tool and name == "iptables")
        return real(name, path=path) if found else None

    real = shutil.which
    if tool and not real(tool, path=sockets._PATH):
        pytest.skip(f"{tool} is not installed")
    monkeypatch.setattr(shutil, "which", which)
    netns_fd = namespace.open()
    pair = sockets.open_in(netns_fd)
    port = pair.datagrams.getsockname()[1]
    assert (port == 53) is (tool == "")
    send = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.11', 53))"
    namespace.run(send)
    pair.datagrams.settimeout(10)
    assert pair.datagrams.recv(9) == b"x"
    pair.close()
    again = sockets.open_in(netns_fd)  # as a later server does it
    namespace.run(send)
    again.datagrams.settimeout(10)
    assert again.datagrams.recv(9) == b"x"
    again.close()
    os.close(netns_fd)


def test_a_container_that_ends_is_let_go_without_an_engine(
    names: NamesServer, namespace: Namespace
) -> None:
    netns_fd = namespace.open()
    pidfd = os.pidfd_open(namespace.process.pid)
    names.attach("1", netns_fd, Asking(networks=("n",)), pidfd=pidfd)
    inode = os.fstat(netns_fd).st_ino
    os.close(netns_fd)
    os.close(pidfd)
    namespace.process.kill()
    namespace.process.wait()
    deadline = time.monotonic() + 10 * SLOWNESS
    while names.state().containers:
        assert time.monotonic() < deadline
    pid = names.state().pid
    assert Path(f"/proc/{pid}/ns/net").stat().st_ino != inode


def test_many_questions_leave_its_memory_where_it_was(
    attached: Namespace, names: NamesServer
) -> None:
    """Row S-88: 10^4 questions, no crash, bounded memory."""
    code = """
import socket, dns.message
asker = socket.socket(type=socket.SOCK_DGRAM)
asker.connect(("127.0.0.11", 53))
asker.settimeout(5)
query = dns.message.make_query("db", "A").to_wire()
answered = 0
for _ in range(10_000):
    asker.send(query)
    answered += bool(asker.recv(512))
print(answered)
"""
    pid = names.state().pid
    attached.ask("db")
    before = private_kib(pid)
    assert attached.run(code) == "10000"
    assert private_kib(pid) - before < 2048


FLOOD = """
import random, socket, struct, time
import dns.message
asker = socket.socket(type=socket.SOCK_DGRAM)
asker.connect(("127.0.0.11", 53))
asker.settimeout(10)
good = dns.message.make_query("db", "A").to_wire()[2:]
asker.send(b"\\0\\0" + good)
expected = asker.recv(512)[2:]
asker.setblocking(False)
chance = random.Random(7)
sent = answered = wrong = 0
began, ends = time.process_time(), time.monotonic() + 4
while time.monotonic() < ends:
    for _ in range(16):
        spoilt = bytearray(good)
        spoilt[chance.randrange(len(good))] = chance.randrange(256)
        for body in (good, bytes(spoilt)):
            sent += 1
            try:
                asker.send(struct.pack("!H", sent & 0xFFFF) + body)
            except BlockingIOError:
                pass
    try:
        while True:
            raw = asker.recv(4096)
            if struct.unpack_from("!H", raw)[0] & 1:
                answered += 1
                wrong += raw[2:] != expected
    except BlockingIOError:
        pass
print(int(sent / (time.process_time() - began)), answered, wrong)
"""


def test_a_flood_from_one_container_leaves_the_others_their_answers(
    attached: Namespace, names: NamesServer, undo: ExitStack
) -> None:
    """Row S-88: 10^4 questions a second, half of them spoilt: no crash, bounded memory, all right.

    The rate is that of the sender's own processor time: a busy machine gives it less.
    """
    other = held_namespace(undo)
    netns_fd = other.open()
    names.attach("3", netns_fd, Asking(networks=("n",)))
    os.close(netns_fd)
    pid = names.state().pid
    attached.ask("db")
    before = private_kib(pid)
    with ThreadPoolExecutor(1) as threads:
        flood = threads.submit(attached.run, FLOOD)
        asked = 0
        while not flood.done():
            assert other.ask("db") == "172.18.0.3"
            asked += 1
    rate, answered, wrong = map(int, flood.result().split())
    assert asked > 1
    assert rate >= 10_000
    assert answered > 1000
    assert wrong == 0
    assert names.state().pid == pid
    assert private_kib(pid) - before < 2048


def private_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
