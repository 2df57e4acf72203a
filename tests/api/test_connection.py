# SPDX-License-Identifier: Apache-2.0
"""One connection: heads, bodies, keep-alive, limits, gone clients, giving the socket away."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.waiting import PATIENCE_SECONDS
from toolkit.api.connection import Connection
from toolkit.api.heads import Limits
from toolkit.api.request import BodyTooSlowError, Request, Response, json_response

Serve = Callable[[Request], Awaitable[Response | None]]
Talk = Callable[["Client"], Awaitable[Any]]

GET = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"


class Client:
    """The other end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.loop = asyncio.get_running_loop()
        self.seen = b""

    async def send(self, data: bytes) -> None:
        await self.loop.sock_sendall(self.sock, data)

    async def until(self, mark: bytes) -> bytes:
        """Return everything up to *mark*; what came behind stays."""
        while mark not in self.seen:
            more = await self._more()
            assert more, f"closed before {mark!r}: {self.seen!r}"
            self.seen += more
        head, _, self.seen = self.seen.partition(mark)
        return head + mark

    async def rest(self) -> bytes:
        """Return everything up to the end."""
        while more := await self._more():
            self.seen += more
        seen, self.seen = self.seen, b""
        return seen

    async def _more(self) -> bytes:
        return await asyncio.wait_for(self.loop.sock_recv(self.sock, 65536), PATIENCE_SECONDS)


def converse(serve: Serve, talk: Talk, limits: Limits | None = None) -> Any:
    """Run a conversation between a client and a connection."""

    async def run() -> Any:
        near, far = socket.socketpair()
        far.settimeout(0)
        near.settimeout(0)
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(
            lambda: Connection(serve, headers=[("Server", "test")], limits=limits), near
        )
        try:
            return await talk(Client(far))
        finally:
            far.close()
            await asyncio.sleep(0)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    return asyncio.run(run())


async def echo(request: Request) -> Response:
    body = await request.body(limit_bytes=1024)
    return json_response({"path": request.path, "body": body.decode()})


def test_answers_requests_one_after_the_other_on_one_connection() -> None:
    async def talk(client: Client) -> tuple[bytes, bytes]:
        await client.send(GET % b"one")
        first = await client.until(b"}\n")
        await client.send(GET % b"two")
        return first, await client.until(b"}\n")

    first, second = converse(echo, talk)
    assert first.startswith(b"HTTP/1.1 200")
    assert b'"/one"' in first
    assert b"server: test" in first.lower()
    assert b'"/two"' in second


def test_answers_pipelined_requests_in_order() -> None:
    async def talk(client: Client) -> list[bytes]:
        await client.send(GET % b"1" + GET % b"2" + GET % b"3")
        return [await client.until(b"}\n") for _ in range(3)]

    answers = converse(echo, talk)
    assert [b'"/%d"' % number in answer for number, answer in enumerate(answers, 1)] == [True] * 3


def test_reads_a_body_in_chunks() -> None:
    async def talk(client: Client) -> bytes:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.send(b"3\r\nabc\r\n")
        await asyncio.sleep(0)
        await client.send(b"2\r\nde\r\n0\r\n\r\n")
        return await client.until(b"}\n")

    assert b'"abcde"' in converse(echo, talk)


def test_tells_a_waiting_client_to_go_on() -> None:
    async def talk(client: Client) -> bytes:
        await client.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        await client.until(b"100 Continue\r\n\r\n")
        await client.send(b"ok")
        return await client.until(b"}\n")

    assert b'"ok"' in converse(echo, talk)


BAD_REQUESTS = {
    "no request at all": b"\x00\x01\x02\r\n\r\n",
    "two lengths": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"
    ),
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a length that is no number": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1x\r\n\r\n",
    "a negative length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "an unknown coding": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a folded header name": b"GET / HTTP/1.1\r\nHost: x\r\nbad header: 1\r\n\r\n",
    "a bare carriage return": b"GET / HTTP/1.1\r\nHost: x\rEvil: 1\r\n\r\n",
    "too many headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: 1\r\n" * 200 + b"\r\n",
    "ten thousand headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: 12345\r\n" * 10_000 + b"\r\n",
    "a megabyte of header": b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 2**20 + b"\r\n\r\n",
    "a long target": b"GET /" + b"a" * 2**17 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a NUL in the query": b"GET /?a=%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "bad UTF-8 in the query": b"GET /?a=%ff HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("raw", BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_refuses_what_is_no_proper_request_and_closes(raw: bytes) -> None:
    """S-94."""

    async def talk(client: Client) -> bytes:
        sending = asyncio.ensure_future(client.send(raw))
        answer = await client.rest()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        return answer

    answer = converse(echo, talk, Limits(linger_seconds=0.2))
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501"))
    assert answer.count(b"HTTP/1.1 4") + answer.count(b"HTTP/1.1 5") == 1
    assert b'{"message":' in answer


def test_refuses_a_body_over_the_limit_before_reading_it() -> None:
    """S-94: bodies above a limit fail closed."""

    async def talk(client: Client) -> bytes:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        return await client.rest()

    async def serve(request: Request) -> Response:
        with pytest.raises(Exception, match="larger than 1024 bytes") as caught:
            await request.body(limit_bytes=1024)
        return json_response({"message": str(caught.value)}, 413)

    answer = converse(serve, talk, Limits(linger_seconds=0.1))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer.lower()


def test_refuses_a_chunked_body_as_soon_as_it_passes_the_limit() -> None:
    """S-94."""

    async def talk(client: Client) -> bytes:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.send(b"800\r\n" + b"a" * 2048 + b"\r\n")
        return await client.rest()

    async def serve(request: Request) -> Response:
        with pytest.raises(Exception, match="larger than"):
            await request.body(limit_bytes=1024)
        return Response(status=413)

    assert converse(serve, talk, Limits(linger_seconds=0.1)).startswith(b"HTTP/1.1 413")


def test_gives_up_on_a_head_that_takes_too_long() -> None:
    """S-94: slowloris."""

    async def talk(client: Client) -> bytes:
        await client.send(b"GET / HTTP/1.1\r\nHo")
        return await client.rest()

    answer = converse(echo, talk, Limits(head_seconds=0.05, linger_seconds=0.05))
    assert answer.startswith(b"HTTP/1.1 408")


def test_gives_up_on_a_small_body_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """S-94: slow bodies."""
    monkeypatch.setattr("toolkit.api.request.BODY_SECONDS", 0.05)

    async def serve(request: Request) -> Response:
        with pytest.raises(BodyTooSlowError):
            await request.body()
        return Response(status=408)

    async def talk(client: Client) -> bytes:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
        return await client.rest()

    assert converse(serve, talk, Limits(linger_seconds=0.05)).startswith(b"HTTP/1.1 408")


def test_answers_a_client_that_has_closed_its_writing_side() -> None:
    async def talk(client: Client) -> bytes:
        await client.send(GET % b"half")
        client.sock.shutdown(socket.SHUT_WR)
        return await client.rest()

    assert b'"/half"' in converse(echo, talk)


@pytest.mark.parametrize("half_first", [False, True])
def test_cancels_what_waits_for_a_client_that_is_gone(*, half_first: bool) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def serve(request: Request) -> None:
        del request
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def talk(client: Client) -> None:
        await client.send(GET % b"")
        await begun.wait()
        if half_first:
            client.sock.shutdown(socket.SHUT_WR)
            await asyncio.sleep(0.01)
            assert not ended.is_set()
        client.sock.close()
        await asyncio.wait_for(ended.wait(), PATIENCE_SECONDS)

    converse(serve, talk)
    assert ended.is_set()


def test_lets_an_act_finish_when_its_client_is_gone() -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def serve(request: Request) -> Response:
        request.cancels = False
        begun.set()
        await go_on.wait()
        done.set()
        return Response(status=204)

    async def talk(client: Client) -> None:
        await client.send(GET % b"")
        await begun.wait()
        client.sock.close()
        await asyncio.sleep(0.05)  # what waited for the client is cancelled by now
        go_on.set()
        await asyncio.wait_for(done.wait(), PATIENCE_SECONDS)

    converse(serve, talk)
    assert done.is_set()


def test_streams_each_message_when_it_is_written() -> None:
    go_on = asyncio.Event()

    async def serve(request: Request) -> None:
        out = await request.stream()
        await out.write_json({"n": 1})
        await go_on.wait()
        await out.write_json({"n": 2})

    async def talk(client: Client) -> tuple[bytes, bytes]:
        await client.send(GET % b"")
        first = await client.until(b'{"n":1}\r\n')
        go_on.set()
        return first, await client.until(b"0\r\n\r\n")

    first, second = converse(serve, talk)
    assert b"transfer-encoding: chunked" in first.lower()
    assert b'{"n":2}' in second


def test_small_pieces_at_once_leave_together_and_before_the_next_wait() -> None:
    go_on = asyncio.Event()

    async def serve(request: Request) -> None:
        out = await request.stream()
        await out.put(b"a")
        await out.put(b"b")
        await go_on.wait()
        await out.put(b"c")
        await out.flush()

    async def talk(client: Client) -> bytes:
        await client.send(GET % b"")
        await client.until(b"2\r\nab\r\n")
        go_on.set()
        return await client.until(b"0\r\n\r\n")

    assert converse(serve, talk) == b"1\r\nc\r\n0\r\n\r\n"


def test_a_slow_reader_makes_the_writer_wait() -> None:
    written = 0

    async def serve(request: Request) -> None:
        nonlocal written
        out = await request.stream()
        while True:
            await out.write(b"x" * 65536)
            written += 65536

    async def talk(client: Client) -> int:
        await client.send(GET % b"")
        await asyncio.sleep(0.1)
        return written

    assert converse(serve, talk) < 4 * 2**20


def test_unread_pipelined_bytes_stop_being_taken() -> None:
    async def serve(request: Request) -> None:
        del request
        await asyncio.Event().wait()

    async def talk(client: Client) -> None:
        await client.send(GET % b"")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.send(b"x" * 2**23), 0.2)

    converse(serve, talk)


def test_a_broken_stream_does_not_look_whole() -> None:
    async def serve(request: Request) -> None:
        out = await request.stream()
        await out.write(b"begin")
        raise RuntimeError("broken")

    async def talk(client: Client) -> bytes:
        await client.send(GET % b"")
        await client.until(b"begin\r\n")
        try:
            return await client.rest()
        except ConnectionResetError:
            return b""

    assert b"0\r\n\r\n" not in converse(serve, talk)


def test_head_has_headers_and_no_body() -> None:
    async def talk(client: Client) -> bytes:
        await client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return await client.rest()

    answer = converse(echo, talk)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304])
def test_no_body_comes_with_a_status_that_has_none(status: int) -> None:
    async def serve(request: Request) -> Response:
        del request
        return Response(status=status, body=b"ignored")

    async def talk(client: Client) -> bytes:
        await client.send(GET % b"a" + b"GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return await client.rest()

    answer = converse(serve, talk)
    assert b"ignored" not in answer
    assert b"content-length" not in answer.lower()
    assert answer.count(b"HTTP/1.1 %d" % status) == 2


UPGRADE = (
    b"POST /attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
    b"Content-Length: 2\r\n\r\n{}"
)


def hijacker(taken: list[tuple[int, bytes]]) -> Serve:
    async def serve(request: Request) -> None:
        taken.append(await request.hijack("application/vnd.docker.raw-stream", data_follows=True))

    return serve


def test_gives_the_socket_away_with_what_came_behind_the_head() -> None:
    taken: list[tuple[int, bytes]] = []

    async def talk(client: Client) -> tuple[bytes, bytes]:
        await client.send(UPGRADE + b"early ")
        head = await client.until(b"\r\n\r\n")
        await client.send(b"late")
        fd, early = taken[0]
        os.write(fd, b"from the new owner")
        late = os.read(fd, 100)
        os.close(fd)
        assert await client.rest() == b"from the new owner"
        return head, early + late

    head, data = converse(hijacker(taken), talk)
    assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\n")
    assert b"Upgrade: tcp\r\n" in head
    assert data == b"early late"


def test_a_half_closed_socket_can_still_be_written_after_it_was_given_away() -> None:
    taken: list[tuple[int, bytes]] = []

    async def talk(client: Client) -> bytes:
        await client.send(UPGRADE)
        client.sock.shutdown(socket.SHUT_WR)
        await client.until(b"\r\n\r\n")
        fd, _ = taken[0]
        await asyncio.sleep(0.02)
        assert os.read(fd, 1) == b""
        os.write(fd, b"output")
        os.close(fd)
        return await client.rest()

    assert converse(hijacker(taken), talk) == b"output"


def test_a_client_that_asks_for_no_upgrade_gets_200() -> None:
    taken: list[tuple[int, bytes]] = []

    async def talk(client: Client) -> bytes:
        await client.send(b"POST /attach HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        head = await client.until(b"\r\n\r\n")
        os.close(taken[0][0])
        return head

    head = converse(hijacker(taken), talk)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Upgrade" not in head


def test_the_connection_s_own_descriptor_is_closed_after_the_socket_was_given_away() -> None:
    taken: list[tuple[int, bytes]] = []

    async def talk(client: Client) -> bytes:
        await client.send(UPGRADE)
        await client.until(b"\r\n\r\n")
        await asyncio.sleep(0.01)
        os.close(taken[0][0])
        return await client.rest()

    assert converse(hijacker(taken), talk) == b""
