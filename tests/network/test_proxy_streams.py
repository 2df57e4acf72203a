# SPDX-License-Identifier: Apache-2.0
"""TCP through a proxy, on loopback."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import threading
from pathlib import Path

import pytest

from tests.network.loopback import (
    Address,
    bound,
    echo,
    proxied,
    stream_server,
    whole,
)
from toolkit.network.proxy_loop import Loop
from toolkit.network.proxy_streams import StreamForward


def open_fds() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def connect(address: Address) -> socket.socket:
    return socket.create_connection(address, timeout=20)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_is_sent_comes_back(host: str) -> None:
    """Rows RT-097 and RT-098."""
    message = os.urandom(64)
    with (
        stream_server(echo, host) as backend,
        proxied(backend, host=host) as front_end,
        connect(front_end) as client,
    ):
        client.sendall(message)
        assert client.recv(64, socket.MSG_WAITALL) == message


def test_an_ipv6_front_end_may_lead_to_an_ipv4_backend() -> None:
    """Row RT-099's aim: the families of both sides need not agree."""
    with (
        stream_server(echo) as backend,
        proxied(backend, host="::1") as front_end,
        connect(front_end) as client,
    ):
        client.sendall(b"over")
        assert client.recv(4, socket.MSG_WAITALL) == b"over"


def test_the_end_of_a_request_is_passed_on_and_the_answer_still_comes() -> None:
    """Row S-90, defect D-9: half-close from the client."""

    def answer_at_end(connection: socket.socket) -> None:
        request = whole(connection)
        connection.sendall(b"answer to " + request)

    with (
        stream_server(answer_at_end) as backend,
        proxied(backend) as front_end,
        connect(front_end) as client,
    ):
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert whole(client) == b"answer to question"


def test_the_end_of_an_answer_is_passed_on_and_the_client_may_go_on() -> None:
    """Row S-90, defect D-9: half-close from the backend."""
    heard: list[bytes] = []
    done = threading.Event()

    def end_first(connection: socket.socket) -> None:
        connection.sendall(b"hello")
        connection.shutdown(socket.SHUT_WR)
        heard.append(whole(connection))
        done.set()

    with (
        stream_server(end_first) as backend,
        proxied(backend) as front_end,
        connect(front_end) as client,
    ):
        assert whole(client) == b"hello"
        client.sendall(b"still here")
        client.shutdown(socket.SHUT_WR)
        assert done.wait(10)
    assert heard == [b"still here"]


def test_much_goes_both_ways_at_once() -> None:
    """Row S-90: bytes equal."""
    sent = os.urandom(1 << 16) * 128
    with (
        stream_server(echo) as backend,
        proxied(backend) as front_end,
        connect(front_end) as client,
    ):

        def send_all() -> None:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send_all)
        sender.start()
        received = whole(client)
        sender.join()
    assert hashlib.sha256(received).digest() == hashlib.sha256(sent).digest()


def test_a_reader_that_is_slow_stops_the_sender() -> None:
    """Row S-90: what is under way is bounded by buffers of the kernel."""
    stopped_at: list[int] = []
    done = threading.Event()

    def send_for_ever(connection: socket.socket) -> None:
        connection.settimeout(0.5)
        total = 0
        try:
            while total < 1 << 28:
                total += connection.send(bytes(1 << 16))
        except TimeoutError:
            pass
        stopped_at.append(total)
        done.set()

    with (
        stream_server(send_for_ever) as backend,
        proxied(backend) as front_end,
        connect(front_end),
    ):
        assert done.wait(20)
    assert stopped_at[0] < 1 << 26


def test_a_reset_is_passed_on_as_a_reset() -> None:
    """Row S-90: in both directions."""
    seen: list[type[BaseException]] = []
    done = threading.Event()

    def wait_for_reset(connection: socket.socket) -> None:
        connection.sendall(b"ready")
        try:
            connection.recv(1)
        except ConnectionResetError as error:
            seen.append(type(error))
        done.set()

    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with stream_server(wait_for_reset) as backend, proxied(backend) as front_end:
        client = connect(front_end)
        assert client.recv(5, socket.MSG_WAITALL) == b"ready"
        reset(client)
        client.close()
        assert done.wait(10)
    assert seen == [ConnectionResetError]
    with (
        stream_server(reset) as backend,
        proxied(backend) as front_end,
        pytest.raises(ConnectionResetError),  # it may come before connect(2) has returned
        connect(front_end) as client,
    ):
        client.recv(1)


def test_a_backend_that_is_not_there_closes_the_client_and_is_told() -> None:
    """Rule 6.27."""
    with bound(socket.SOCK_STREAM) as gone:
        nobody = gone.getsockname()
    loop = Loop()
    listener = bound(socket.SOCK_STREAM)
    forward = StreamForward(loop, listener, nobody, 10)
    with connect(listener.getsockname()) as client:
        for _ in range(100):
            for fd, mask in loop._epoll.poll(0.1):
                loop._watched[fd][1](mask)
            if forward.failures:
                break
        assert client.recv(1) == b""
    assert forward.last_error == (
        f"Can't forward traffic to backend tcp/127.0.0.1:{nobody[1]}: Connection refused"
    )
    assert forward.sessions == 0
    forward.close()


def test_at_the_limit_clients_wait_for_their_turn() -> None:
    """Row S-90: a storm of connections takes no more descriptors than there are."""
    loop = Loop()
    listener = bound(socket.SOCK_STREAM)
    front_end = listener.getsockname()

    with stream_server(echo) as backend:
        forward = StreamForward(loop, listener, backend, 1)
        thread = threading.Thread(target=loop.run)
        thread.start()
        first, second = connect(front_end), connect(front_end)
        with first, second:
            second.sendall(b"2")
            first.sendall(b"1")
            assert first.recv(1) == b"1"
            second.settimeout(0.1)
            with pytest.raises(TimeoutError):
                second.recv(1)
            assert forward.sessions == 1
            first.close()
            second.settimeout(10)
            assert second.recv(1) == b"2"
            loop.is_running = False
        thread.join()
        forward.close()


def test_no_descriptor_is_left_when_all_is_over() -> None:
    """Row S-90: fds back to base."""
    before = open_fds()
    with stream_server(echo) as backend, proxied(backend) as front_end:
        for number in range(20):
            with connect(front_end) as client:
                if number % 2:
                    client.sendall(b"x")
                    assert client.recv(1) == b"x"
    assert len(open_fds() - before) <= 2  # the epoll, until it is collected
