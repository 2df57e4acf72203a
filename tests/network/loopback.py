# SPDX-License-Identifier: Apache-2.0
"""Servers, and a proxy in a thread, on this machine's loopback."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from toolkit.network.proxy_datagrams import note_destinations
from toolkit.network.proxy_loop import Loop
from toolkit.network.proxy_main import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Address = tuple[str, int]


def bound(kind: socket.SocketKind, host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, kind)
    if kind == socket.SOCK_DGRAM:
        note_destinations(made)
    made.bind((host, port))
    if kind == socket.SOCK_STREAM:
        made.listen(1024)
    return made


def address_of(some: socket.socket) -> Address:
    host, port, *_ = some.getsockname()
    return host, port


@contextmanager
def proxied(
    backend: Address, kind: socket.SocketKind = socket.SOCK_STREAM, host: str = "127.0.0.1"
) -> Iterator[Address]:
    """A proxy to *backend*; ends with the block."""
    listener = bound(kind, host)
    front_end = address_of(listener)
    loop = Loop()
    waker, wakes = socket.socketpair()

    def end(_mask: int) -> None:
        loop.is_running = False

    loop.watch(wakes.fileno(), 1, end)
    thread = threading.Thread(target=serve, args=([listener], [backend]), kwargs={"loop": loop})
    thread.start()
    try:
        yield front_end
    finally:
        waker.send(b"x")
        thread.join()
        waker.close()
        wakes.close()


@contextmanager
def stream_server(
    handle: Callable[[socket.socket], None], host: str = "127.0.0.1"
) -> Iterator[Address]:
    """A server that gives each connection to *handle*, in a thread of its own."""
    listener = bound(socket.SOCK_STREAM, host)
    threads: list[threading.Thread] = []

    def run(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            handle(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=run, args=(connection,), daemon=True))
                threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield address_of(listener)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join()
        for thread in threads:
            thread.join(10)


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def whole(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


@contextmanager
def echo_datagrams(host: str = "127.0.0.1", port: int = 0) -> Iterator[Address]:
    """A server that sends each datagram back; an empty one ends it."""
    server = bound(socket.SOCK_DGRAM, host, port)

    def run() -> None:
        while True:
            data, client = server.recvfrom(65536)
            if not data:
                return
            server.sendto(data, client)

    thread = threading.Thread(target=run)
    thread.start()
    address = address_of(server)
    try:
        yield address
    finally:
        with socket.socket(server.family, socket.SOCK_DGRAM) as ender:
            ender.sendto(b"", address)
        thread.join()
        server.close()
