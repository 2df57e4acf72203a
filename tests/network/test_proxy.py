# SPDX-License-Identifier: Apache-2.0
"""The processes of proxies: they need no root, only loopback."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.network.loopback import address_of, bound, echo, stream_server
from toolkit.errors import ProxyError
from toolkit.network import proxy
from toolkit.network.proxy import Proxies

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def proxies(tmp_path: Path) -> Iterator[Proxies]:
    made = Proxies(tmp_path / "proxies")
    made.open()
    yield made
    made.sweep(set())
    made.close()


def says_back(address: tuple[str, int]) -> bool:
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(b"hello")
        return client.recv(5, socket.MSG_WAITALL) == b"hello"


def await_end(pidfd: int) -> None:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    assert poller.poll(10_000)
    os.close(pidfd)


def test_a_proxy_serves_all_ports_of_its_container(proxies: Proxies) -> None:
    with stream_server(echo) as backend:
        listeners = [bound(socket.SOCK_STREAM) for _ in range(2)]
        front_ends = [address_of(listener) for listener in listeners]
        pid = proxies.start("a" * 64, [(listener, backend) for listener in listeners])
        assert all(says_back(front_end) for front_end in front_ends)
        assert proxies.running() == {"a" * 64: pid}
        assert proxies.stop("a" * 64)


def test_a_proxy_outlives_the_engine_and_the_next_one_finds_it(
    proxies: Proxies, tmp_path: Path
) -> None:
    with stream_server(echo) as backend:
        listener = bound(socket.SOCK_STREAM)
        front_end = address_of(listener)
        pid = proxies.start("web", [(listener, backend)])
        proxies.close()
        assert says_back(front_end)
        successor = Proxies(tmp_path / "proxies")
        successor.open()
        assert successor.running() == {"web": pid}
        assert successor.stop("web")
        successor.close()
        proxies.open()


def test_a_port_is_free_once_its_proxy_has_stopped(proxies: Proxies) -> None:
    listener = bound(socket.SOCK_STREAM)
    front_end = address_of(listener)
    proxies.start("web", [(listener, ("127.0.0.1", 9))])
    assert proxies.stop("web")
    assert not proxies.stop("web")
    with bound(socket.SOCK_STREAM, *front_end):
        pass
    assert proxies.running() == {}


def test_a_proxy_that_was_killed_is_forgotten(proxies: Proxies, tmp_path: Path) -> None:
    pid = proxies.start("web", [])
    pidfd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    await_end(pidfd)
    assert proxies.running() == {}
    assert list((tmp_path / "proxies").iterdir()) == []
    assert not proxies.stop("web")


def test_a_proxy_that_does_not_listen_any_more_is_killed(
    proxies: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = proxies.start("web", [])
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(proxy, "_STOP_SECONDS", 0.2)
    assert proxies.stop("web")
    assert proxies.running() == {}


def test_a_second_proxy_of_a_container_takes_the_first_one_s_place(proxies: Proxies) -> None:
    first = proxies.start("web", [])
    second = proxies.start("web", [])
    assert first != second
    assert proxies.running() == {"web": second}


def test_when_the_forking_process_was_killed_another_is_started(proxies: Proxies) -> None:
    assert proxies._forker is not None
    proxies._forker.kill()
    proxies._forker.wait()
    assert proxies.start("web", []) > 0


def children_of(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def waiting_of(proxies: Proxies) -> int:
    """Return the process that was forked ahead, once there is one."""
    assert proxies._forker is not None
    running, deadline = set(proxies.running().values()), time.monotonic() + 10
    while not (found := children_of(proxies._forker.pid) - running):
        assert time.monotonic() < deadline
        os.sched_yield()
    (pid,) = found
    return pid


def test_the_next_proxy_is_forked_ahead(proxies: Proxies) -> None:
    with stream_server(echo) as backend:
        for name in ("a", "b"):
            listener = bound(socket.SOCK_STREAM)
            front_end = address_of(listener)
            waiting = waiting_of(proxies)
            assert proxies.start(name, [(listener, backend)]) == waiting
            assert says_back(front_end)


def test_a_waiting_process_that_was_killed_is_replaced(proxies: Proxies) -> None:
    waiting = waiting_of(proxies)
    pidfd = os.pidfd_open(waiting)
    os.kill(waiting, signal.SIGKILL)
    await_end(pidfd)
    assert proxies.start("web", []) != waiting


def test_the_waiting_process_ends_with_the_one_that_forked_it(proxies: Proxies) -> None:
    pidfd = os.pidfd_open(waiting_of(proxies))
    assert proxies._forker is not None
    proxies._forker.kill()
    await_end(pidfd)


def test_proxies_of_unknown_containers_are_swept(proxies: Proxies) -> None:
    for name in ("a", "b", "c"):
        proxies.start(name, [])
    assert sorted(proxies.sweep({"b"})) == ["a", "c"]
    assert set(proxies.running()) == {"b"}


def test_a_proxy_tells_how_it_does(proxies: Proxies) -> None:
    with bound(socket.SOCK_STREAM) as gone:
        nobody = address_of(gone)
    listener = bound(socket.SOCK_STREAM)
    front_end = address_of(listener)
    proxies.start("web", [(listener, nobody)])
    with socket.create_connection(front_end, timeout=10) as client:
        assert client.recv(1) == b""
    report = proxies.report("web")
    assert report is not None
    assert (report.sessions, report.failures) == (0, 1)
    assert "Connection refused" in report.last_errors[0]
    assert proxies.report("nobody") is None


def test_many_ports_travel_in_several_messages(proxies: Proxies) -> None:
    with stream_server(echo) as backend:
        listeners = [bound(socket.SOCK_STREAM) for _ in range(300)]
        front_ends = [address_of(listener) for listener in listeners]
        proxies.start("web", [(listener, backend) for listener in listeners])
        assert says_back(front_ends[0])
        assert says_back(front_ends[-1])


@pytest.mark.parametrize("name", ["", "../web", "a/b", "-x", "a" * 129, "a\n"])
def test_a_name_is_no_path(proxies: Proxies, name: str) -> None:
    with pytest.raises(ProxyError):
        proxies.start(name, [])


def test_the_directory_is_for_our_user_alone(proxies: Proxies, tmp_path: Path) -> None:
    """Row S-87."""
    assert (tmp_path / "proxies").stat().st_mode & 0o777 == 0o700
    proxies.start("web", [])
    assert "@web" not in Path("/proc/net/unix").read_text(encoding="ascii")
