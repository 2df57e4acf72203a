# SPDX-License-Identifier: Apache-2.0
"""The engine's socket, and who is connected to it."""

from __future__ import annotations

import asyncio
import grp
import os
import socket
import stat
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.waiting import PATIENCE_SECONDS, until
from toolkit.api.application import Application
from toolkit.api.request import Request, Response
from toolkit.api.server import (
    Server,
    SocketPathError,
    admit_group,
    notify,
    open_socket,
    passed_socket,
)
from toolkit.api.table import ROUTES
from toolkit.errors import InstanceLockedError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_socket_has_its_mode_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    """S-91."""
    path = tmp_path / "run" / "engine.sock"
    before = os.umask(0)
    try:
        with open_socket(path):
            mode = path.lstat().st_mode
            assert stat.S_ISSOCK(mode)
            assert stat.S_IMODE(mode) == 0o660
            assert list(path.parent.iterdir()) == [path]
    finally:
        os.umask(before)


@pytest.mark.parametrize(("group", "mode"), [("no-such-group", 0o700), ("", 0o710)])
def test_only_root_and_the_group_reach_the_directory(tmp_path: Path, group: str, mode: int) -> None:
    """S-91: whatever mode it was made with."""
    group = group or grp.getgrgid(os.getegid()).gr_name
    tmp_path.chmod(0o777)
    if os.geteuid() != 0 and mode == 0o710:
        pytest.skip("giving a directory to root needs root")
    admit_group(tmp_path, group=group)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == mode


def test_the_socket_is_never_seen_with_another_mode(tmp_path: Path) -> None:
    """S-91: created under umask 000 while somebody looks in a loop."""
    path = tmp_path / "engine.sock"
    seen: set[int] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            try:
                seen.add(stat.S_IMODE(path.lstat().st_mode))
            except FileNotFoundError:
                continue

    before = os.umask(0)
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(50):
            open_socket(path).close()
    finally:
        os.umask(before)
        done.set()
        watcher.join()
    assert seen <= {0o660}


def test_a_dead_engines_socket_is_replaced(tmp_path: Path) -> None:
    """S-91."""
    path = tmp_path / "engine.sock"
    open_socket(path).close()
    with open_socket(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(path))


def test_a_living_engines_socket_is_left_alone(tmp_path: Path) -> None:
    """S-91."""
    path = tmp_path / "engine.sock"
    with open_socket(path):
        with pytest.raises(InstanceLockedError, match="another engine answers"):
            open_socket(path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.fspath(path))


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_socket_is_never_removed(tmp_path: Path, kind: str) -> None:
    """S-91."""
    path = tmp_path / "engine.sock"
    target = tmp_path / "precious"
    target.write_text("content")
    match kind:
        case "file":
            path.write_text("content")
        case "directory":
            path.mkdir()
        case _:
            path.symlink_to(target)
    with pytest.raises(SocketPathError, match="not a socket"):
        open_socket(path)
    assert path.exists()
    assert target.read_text() == "content"


def test_a_path_that_no_client_could_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SocketPathError, match="longer than 107 bytes"):
        open_socket(tmp_path / ("a" * 108))


def test_a_long_directory_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / ("a" * (100 - len(os.fspath(tmp_path)))) / "e.s"
    open_socket(path).close()
    assert path.is_socket()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SocketPathError, match="cannot listen on"):
        open_socket(tmp_path / "file" / "engine.sock")


def test_only_a_socket_that_was_passed_to_us_is_taken() -> None:
    assert passed_socket({}, 5) is None
    assert passed_socket({"LISTEN_PID": "6", "LISTEN_FDS": "1"}, 5) is None


def test_the_service_manager_is_told(tmp_path: Path) -> None:
    address = os.fspath(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        notify({"NOTIFY_SOCKET": address}, "READY=1")
        assert manager.recv(100) == b"READY=1"
    notify({}, "READY=1")
    notify({"NOTIFY_SOCKET": address}, "READY=1")  # nobody listens any more: only logged


async def ask(path: Path, *requests: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(os.fspath(path))
    writer.write(b"".join(requests))
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
    writer.close()
    return answer


PING = b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"


def test_every_answer_says_which_api_it_is(engine: Any, tmp_path: Path) -> None:
    async def run() -> bytes:
        server = Server(Application(engine, ROUTES))
        await server.listen(open_socket(tmp_path / "s"))
        answer = await ask(tmp_path / "s", PING, PING.replace(b"/_ping", b"/nope"))
        await server.close(1)
        return answer

    answer = asyncio.run(run()).lower()
    assert answer.count(b"api-version: 1.44\r\n") == 2
    assert answer.count(b"ostype: linux\r\n") == 2
    assert answer.count(b"server: docker/") == 2
    assert answer.count(b"http/1.1 200") == answer.count(b"http/1.1 404") == 1


def test_closing_lets_acts_finish_and_ends_what_listens(tmp_path: Path) -> None:
    begun: list[str] = []
    ended: list[str] = []

    async def serve(request: Request) -> Response:
        request.cancels = request.path == "/listen"
        begun.append(request.path)
        try:
            await asyncio.sleep(0.1 if request.path == "/act" else 60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        ended.append("finished")
        return Response(status=204)

    async def run() -> list[bytes | BaseException]:
        server = Server(serve)
        await server.listen(open_socket(tmp_path / "s"))
        asking = [
            asyncio.ensure_future(ask(tmp_path / "s", PING.replace(b"/_ping", path)))
            for path in (b"/act", b"/listen")
        ]
        await until(lambda: len(begun) == 2)
        await server.close(PATIENCE_SECONDS)
        return await asyncio.gather(*asking, return_exceptions=True)

    answers = asyncio.run(run())
    assert sorted(ended) == ["cancelled", "finished"]
    assert any(isinstance(answer, bytes) and b"204" in answer for answer in answers)


def test_one_client_that_sends_nothing_keeps_nobody_waiting(engine: Any, tmp_path: Path) -> None:
    """S-94."""

    async def run() -> bytes:
        server = Server(Application(engine, ROUTES))
        await server.listen(open_socket(tmp_path / "s"))
        idle = [await asyncio.open_unix_connection(os.fspath(tmp_path / "s")) for _ in range(50)]
        for _, writer in idle[:25]:
            writer.write(b"GET /_ping HT")
        answer = await ask(tmp_path / "s", PING)
        for _, writer in idle:
            writer.close()
        await server.close(1)
        return answer

    assert asyncio.run(run()).endswith(b"OK")
