# SPDX-License-Identifier: Apache-2.0
"""Proxies under load: real processes, on loopback of a network namespace of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.needs_root

BEGIN = """
import asyncio, ctypes, os, resource, signal, socket, sys, tempfile, threading, time
from pathlib import Path
ctypes.CDLL(None).unshare(0x40000000)
from toolkit.kernel.namespaces import bring_loopback_up
bring_loopback_up()
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
from ipaddress import ip_address
from toolkit.network.port_sockets import open_socket
from toolkit.network.ports import HostPort
from toolkit.network.proxy import Proxies

def listener(port, protocol="tcp"):
    return open_socket(HostPort(protocol, ip_address("127.0.0.1"), port))

def private_kib(pid):
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))

def fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))

proxies = Proxies(Path(sys.argv[1]) / "proxies")
proxies.open()
"""
END = """
proxies.sweep(set())
proxies.close()
"""
THOUSAND = """
async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()

async def one(number):
    reader, writer = await asyncio.open_connection("127.0.0.1", 8000)
    sent = number.to_bytes(4, "big") * 256
    writer.write(sent)
    writer.write_eof()
    received = await reader.read(-1)
    writer.close()
    return received == sent

async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 9000, backlog=4096)
    pid = proxies.start("web", [(listener(8000), ("127.0.0.1", 9000))])
    before = fds(pid)
    print("private", private_kib(pid))
    assert private_kib(pid) < 3 * 1024, private_kib(pid)
    for _ in range(3):
        assert all(await asyncio.gather(*(one(n) for n in range(1000))))
    for _ in range(100):
        if fds(pid) == before:
            break
        await asyncio.sleep(0.05)
    assert fds(pid) == before, (fds(pid), before)
    print("after", private_kib(pid))
    assert private_kib(pid) < 6 * 1024, private_kib(pid)
    server.close()

asyncio.run(main())
"""
KILLED = """
def echo(server):
    while True:
        connection, _ = server.accept()
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data)

server = socket.create_server(("127.0.0.1", 9000))
threading.Thread(target=echo, args=(server,), daemon=True).start()
read_fd, write_fd = os.pipe()
engine = os.fork()
if engine == 0:
    own = Proxies(Path(sys.argv[1]) / "proxies")
    own.open()
    own.start("web", [(listener(8000), ("127.0.0.1", 9000))])
    os.write(write_fd, b"x")
    signal.pause()
os.read(read_fd, 1)
client = socket.create_connection(("127.0.0.1", 8000))
client.sendall(b"before")
assert client.recv(6, socket.MSG_WAITALL) == b"before"
os.kill(engine, signal.SIGKILL)
os.waitpid(engine, 0)
client.sendall(b"after!")
assert client.recv(6, socket.MSG_WAITALL) == b"after!"
client.close()
with socket.create_connection(("127.0.0.1", 8000)) as another:
    another.sendall(b"again!")
    assert another.recv(6, socket.MSG_WAITALL) == b"again!"
assert set(proxies.running()) == {"web"}
assert proxies.stop("web")
listener(8000).close()
"""
THROUGHPUT = """
TOTAL = 2 << 30

def sink(server):
    while True:
        connection, _ = server.accept()
        with connection:
            buffer = bytearray(1 << 20)
            while connection.recv_into(buffer):
                pass

def measure(port):
    with socket.create_connection(("127.0.0.1", port)) as client:
        begun = time.monotonic()
        chunk, left = bytes(1 << 20), TOTAL
        while left:
            client.sendall(chunk)
            left -= len(chunk)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        return TOTAL / (time.monotonic() - begun) / (1 << 30)

server = socket.create_server(("127.0.0.1", 9000))
sinking = os.fork()
if sinking == 0:
    sink(server)
pid = proxies.start("web", [(listener(8000), ("127.0.0.1", 9000))])
direct, proxied = measure(9000), measure(8000)
os.kill(sinking, signal.SIGKILL)
os.waitpid(sinking, 0)
print(f"direct {direct:.2f} GiB/s, proxied {proxied:.2f} GiB/s, private {private_kib(pid)} KiB")
assert private_kib(pid) < 4 * 1024
"""


def run(body: str, tmp_path: os.PathLike[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + body + END, str(tmp_path)],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    sys.stdout.write(done.stdout)  # figures, which pytest shows with a failure or with -s
    assert done.returncode == 0, done.stderr


def test_a_thousand_connections_at_once_leave_no_descriptor(tmp_path: os.PathLike[str]) -> None:
    """Row S-90: three storms, bytes equal, fds back to base, memory of a proxy small."""
    run(THOUSAND, tmp_path)


def test_a_proxy_goes_on_when_the_engine_is_killed(tmp_path: os.PathLike[str]) -> None:
    """Old and new connections both; the next engine finds and stops it."""
    run(KILLED, tmp_path)


def test_two_gibibytes_pass_without_memory_of_ours(tmp_path: os.PathLike[str]) -> None:
    """Row S-90: what passes stands in the kernel's pipes."""
    run(THROUGHPUT, tmp_path)
