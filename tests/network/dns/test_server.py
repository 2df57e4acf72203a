# SPDX-License-Identifier: Apache-2.0
"""The name server in a thread, with sockets on this machine's loopback instead of a container's."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

from tests.waiting import PATIENCE_SECONDS
from toolkit.errors import InvalidNameError, NameServerError
from toolkit.kernel.process import start_time_ticks
from toolkit.network.dns import upstream
from toolkit.network.dns.server import NameServer
from toolkit.network.dns.sockets import ResolverSockets
from toolkit.network.dns.table import Asking, NameRecord
from toolkit.network.names_server import NamesServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOCAL = ip_address("127.0.0.1")
NOWHERE = os.open("/dev/null", os.O_RDONLY)  # stands for a network namespace


def loopback_pair() -> ResolverSockets:
    """Open both at one number: one that is free for TCP may be somebody's for UDP."""
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    while True:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(0)
        try:
            datagrams.bind(listener.getsockname())
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return ResolverSockets(datagrams, listener)


@dataclass
class Rig:
    """A running server and what it is asked by."""

    names: NamesServer
    opened: list[ResolverSockets]
    server: NameServer
    thread: threading.Thread

    def attach(self, container: str, *networks: str, forwards: bool = True) -> None:
        resolvers = (LOCAL,) if forwards else ()
        self.names.attach(container, NOWHERE, Asking(networks=networks, resolvers=resolvers))

    def publish(self, container: str, *names: str, address: str, network: str = "n") -> None:
        record = NameRecord(container, names, (ip_address(address),))
        self.names.publish(network, "back", record)

    def ask(self, name: str, kind: str = "A", *, tcp: bool = False) -> dns.message.Message:
        port = self.opened[-1].datagrams.getsockname()[1]
        query = dns.message.make_query(name, kind)
        send = dns.query.tcp if tcp else dns.query.udp
        return send(query, "127.0.0.1", timeout=10, port=port)

    def texts(self, name: str, kind: str = "A", *, tcp: bool = False) -> list[str]:
        return [str(r) for rrset in self.ask(name, kind, tcp=tcp).answer for r in rrset]


@contextmanager
def rigged(directory: Path, resolver_port: int = 9, lonely_seconds: float = 60) -> Iterator[Rig]:
    directory.mkdir(mode=0o700)
    opened: list[ResolverSockets] = []

    def open_sockets(_netns_fd: int) -> ResolverSockets:
        opened.append(loopback_pair())
        return opened[-1]

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(directory / "names.sock"))
    listener.listen()
    server = NameServer(
        listener,
        open_sockets=open_sockets,
        resolver_port=resolver_port,
        lonely_seconds=lonely_seconds,
    )
    thread = threading.Thread(target=server.serve)
    thread.start()
    names = NamesServer(directory)
    try:
        assert not names.open()
        yield Rig(names, opened, server, thread)
    finally:
        server.loop.is_running = False
        thread.join(10)
        names.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rigged(tmp_path / "names") as made:
        yield made


class Resolver:
    """A resolver of the host at a port of loopback, udp and tcp."""

    def __init__(
        self,
        answer: Callable[[dns.message.Message], dns.message.Message | None],
        *,
        with_tcp: bool,
    ) -> None:
        self._answer = answer
        self._pair = loopback_pair()
        self._pair.datagrams.settimeout(0.05)
        self._pair.listener.settimeout(0.05)
        self.port: int = self._pair.datagrams.getsockname()[1]
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._serve, args=(self._answer_datagram,))]
        if with_tcp:
            self._threads.append(threading.Thread(target=self._serve, args=(self._answer_client,)))
        else:
            self._pair.listener.close()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._pair.close()

    def _serve(self, answer_one: Callable[[], None]) -> None:
        while not self._over.is_set():
            with suppress(TimeoutError):
                answer_one()

    def _answer_datagram(self) -> None:
        raw, client = self._pair.datagrams.recvfrom(65535)
        made = self._answer(dns.message.from_wire(raw))
        if made is not None:
            self._pair.datagrams.sendto(made.to_wire(), client)

    def _answer_client(self) -> None:
        connection, _ = self._pair.listener.accept()
        with connection:
            connection.settimeout(PATIENCE_SECONDS)
            query, _ = dns.query.receive_tcp(connection)
            made = self._answer(query)
            if made is not None:
                dns.query.send_tcp(connection, made.to_wire(max_size=65535))


@contextmanager
def resolver(
    answer: Callable[[dns.message.Message], dns.message.Message | None], *, with_tcp: bool = True
) -> Iterator[int]:
    made = Resolver(answer, with_tcp=with_tcp)
    made.start()
    try:
        yield made.port
    finally:
        made.stop()


def one_address(query: dns.message.Message) -> dns.message.Message:
    response = dns.message.make_response(query)
    response.answer.append(dns.rrset.from_text(query.question[0].name, 5, "IN", "A", "9.9.9.9"))
    return response


@pytest.mark.parametrize("tcp", [False, True])
def test_names_of_the_network_are_answered(rig: Rig, tcp: bool) -> None:  # noqa: FBT001 - a table
    rig.attach("1", "n")
    rig.publish("2", "db", "222222222222", address="172.18.0.3")
    assert rig.texts("db", tcp=tcp) == ["172.18.0.3"]
    assert rig.texts("222222222222", tcp=tcp) == ["172.18.0.3"]
    assert rig.texts("3.0.18.172.in-addr.arpa", "PTR", tcp=tcp) == ["db.back."]


def test_a_change_is_visible_when_the_call_returns(rig: Rig) -> None:
    rig.attach("1", "n", forwards=False)
    for number in range(2, 20):
        rig.publish("2", "db", address=f"172.18.0.{number}")
        assert rig.texts("db") == [f"172.18.0.{number}"]
    rig.names.withdraw("n", "2")
    assert rig.ask("db").rcode() == dns.rcode.SERVFAIL


def test_other_names_are_asked_of_the_host_s_resolver(tmp_path: Path) -> None:
    with resolver(one_address) as port, rigged(tmp_path / "n", port) as rig:
        rig.attach("1", "n")
        assert rig.texts("example.com") == ["9.9.9.9"]
        assert rig.texts("example.com", tcp=True) == ["9.9.9.9"]


def test_without_tcp_at_the_resolver_udp_will_do(tmp_path: Path) -> None:
    with resolver(one_address, with_tcp=False) as port, rigged(tmp_path / "n", port) as rig:
        rig.attach("1", "n")
        assert rig.texts("example.com", tcp=True) == ["9.9.9.9"]


def test_nobody_is_asked_where_the_networks_lead_nowhere(tmp_path: Path) -> None:
    """Row S-88: CVE-2024-29018."""
    asked: list[str] = []

    def note(query: dns.message.Message) -> dns.message.Message:
        asked.append(str(query.question[0].name))
        return one_address(query)

    with resolver(note) as port, rigged(tmp_path / "n", port) as rig:
        rig.attach("1", "n", forwards=False)
        assert rig.ask("secret.example.com").rcode() == dns.rcode.SERVFAIL
    assert asked == []


def test_a_long_answer_comes_by_tcp(tmp_path: Path) -> None:
    def long_answer(query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        texts = [f"10.0.{n // 250}.{n % 250}" for n in range(2000)]
        name = query.question[0].name
        response.answer.append(dns.rrset.from_text(name, 5, "IN", "A", *texts))
        return response

    with resolver(long_answer) as port, rigged(tmp_path / "n", port) as rig:
        rig.attach("1", "n")
        assert len(rig.texts("many.example", tcp=True)) == 2000


def test_a_silent_resolver_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "ANSWER_SECONDS", 0.1)
    with resolver(lambda _query: None) as port, rigged(tmp_path / "n", port) as rig:
        rig.attach("1", "n")
        assert rig.ask("example.com").rcode() == dns.rcode.SERVFAIL


def test_a_silent_resolver_holds_up_no_more_than_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row S-88: bounded memory; names of networks are answered all the same."""
    monkeypatch.setattr(upstream, "ANSWER_SECONDS", 30)
    with (
        resolver(lambda _query: None) as port,
        rigged(tmp_path / "n", port) as rig,
        socket.socket(type=socket.SOCK_DGRAM) as asker,
    ):
        rig.attach("1", "n")
        rig.publish("2", "db", address="172.18.0.3")
        asker.connect(rig.opened[-1].datagrams.getsockname())
        for number in range(upstream.MOST_PENDING_OF_CONTAINER + 20):
            asker.send(dns.message.make_query(f"{number}.example", "A").to_wire())
        asker.settimeout(PATIENCE_SECONDS)
        for _ in range(20):
            assert dns.message.from_wire(asker.recv(4096)).rcode() == dns.rcode.SERVFAIL
        assert rig.texts("db") == ["172.18.0.3"]
        assert len(rig.server._upstream._pending) == upstream.MOST_PENDING_OF_CONTAINER
        rig.names.detach("1")
        assert len(rig.server._upstream._pending) == 0


def test_garbage_ends_nothing(rig: Rig) -> None:
    """Row S-88."""
    rig.attach("1", "n")
    rig.publish("2", "db", address="172.18.0.3")
    address = rig.opened[-1].datagrams.getsockname()
    with ExitStack() as undo:
        asker = undo.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        for length in range(0, 600, 7):
            asker.sendto(os.urandom(length), address)
        for frame in (b"\xff\xff" + bytes(100), struct.pack("!H", 20) + os.urandom(20), b"\0"):
            client = undo.enter_context(socket.create_connection(address))
            client.sendall(frame)
        assert rig.texts("db") == ["172.18.0.3"]
        assert rig.texts("db", tcp=True) == ["172.18.0.3"]


def test_tcp_clients_are_few_and_the_oldest_gives_way(rig: Rig) -> None:
    """Row S-88: bounded memory."""
    rig.attach("1", "n")
    rig.publish("2", "db", address="172.18.0.3")
    with ExitStack() as undo:
        for _ in range(40):
            undo.enter_context(socket.create_connection(rig.opened[-1].listener.getsockname()))
        assert rig.texts("db", tcp=True) == ["172.18.0.3"]
        assert len(rig.server._resolvers["1"]._clients) <= 16


def test_a_container_that_ended_is_let_go(rig: Rig) -> None:
    """Its sockets hold its network namespace: without an engine somebody must close them."""
    read_fd, write_fd = os.pipe()
    rig.names.attach("1", NOWHERE, Asking(networks=("n",)), pidfd=read_fd)
    assert rig.names.state().containers == {"1"}
    os.write(write_fd, b"x")  # as a pidfd becomes readable
    deadline = time.monotonic() + PATIENCE_SECONDS
    while rig.names.state().containers:
        assert time.monotonic() < deadline
    assert rig.opened[-1].datagrams.fileno() == -1
    os.close(read_fd)
    os.close(write_fd)


def test_the_state_tells_what_is_known(rig: Rig) -> None:
    rig.attach("1", "n")
    rig.publish("2", "db", address="172.18.0.3")
    state = rig.names.state()
    assert state.pid == os.getpid()
    assert state.containers == {"1"}
    assert state.published == {"n": {"2"}}


def test_a_seat_on_another_network_counts_at_once(rig: Rig) -> None:
    rig.attach("1", "n", forwards=False)
    rig.publish("2", "db", address="10.0.0.1", network="other")
    assert rig.texts("db") == []
    rig.names.seat("1", Asking(networks=("n", "other"), private_names={"store": "db"}))
    assert rig.texts("db") == ["10.0.0.1"]
    assert rig.texts("store") == ["10.0.0.1"]
    with pytest.raises(NameServerError, match="not attached"):
        rig.names.seat("9", Asking(networks=("n",)))


def test_a_seat_says_whether_questions_are_passed_on(tmp_path: Path) -> None:
    with resolver(one_address) as port, rigged(tmp_path / "names", port) as rig:
        rig.attach("1", "inside", forwards=False)
        assert rig.ask("example.org").rcode() == dns.rcode.SERVFAIL
        rig.names.seat("1", Asking(networks=("inside", "n"), resolvers=(LOCAL,)))
        assert rig.texts("example.org") == ["9.9.9.9"]
        rig.names.seat("1", Asking(networks=("inside",)))
        assert rig.ask("example.org").rcode() == dns.rcode.SERVFAIL


def test_a_program_that_is_named_later_is_watched(rig: Rig) -> None:
    """When a container is attached its program does not run yet."""
    first, second = (subprocess.Popen(["sleep", "600"]) for _ in range(2))
    rig.attach("1", "n")
    rig.publish("1", "db", address="172.18.0.3")
    for program in (first, second):
        rig.names.watch("1", program.pid, start_time_ticks(program.pid) or 0)
    with pytest.raises(NameServerError, match="not attached"):
        rig.names.watch("2", second.pid, start_time_ticks(second.pid) or 0)
    rig.names.watch("1", first.pid, 1)  # the number is somebody else's by now
    first.kill()
    first.wait()
    assert rig.names.state().containers == {"1"}
    second.kill()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while rig.names.state().containers:
        assert time.monotonic() < deadline
    assert rig.names.state().published == {}, "nobody is found at an address that is free"
    second.wait()


def test_what_is_not_understood_is_refused_and_the_server_goes_on(rig: Rig) -> None:
    for message in ({"op": "none"}, {"op": "attach"}, {"op": "publish", "container": 1}, {}):
        with pytest.raises((NameServerError, KeyError)):
            rig.names._ask(message)
    with pytest.raises(InvalidNameError):
        rig.publish("2", "a b", address="10.0.0.1")
    assert rig.names.state().containers == frozenset()


def test_with_neither_engine_nor_container_it_ends(tmp_path: Path) -> None:
    with rigged(tmp_path / "n", lonely_seconds=0.1) as rig:
        rig.attach("1", "n")
        time.sleep(0.6)
        assert rig.thread.is_alive()
        rig.names.detach("1")
        rig.names.close()
        rig.thread.join(10)
        assert not rig.thread.is_alive()
