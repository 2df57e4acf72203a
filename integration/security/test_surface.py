# SPDX-License-Identifier: Apache-2.0
"""Texts, names, the socket and the HTTP edge (rows S-50 to S-57, S-70, S-73, S-76, S-91, S-94)."""

from __future__ import annotations

import gzip
import io
import os
import socket
import stat
import subprocess
import tarfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.pace import SLOWNESS
from integration.security.lab import Member, directory, file, launcher_family, link, packed
from toolkit.client import ApiError

if TYPE_CHECKING:
    from integration.security.conftest import Weaken
    from integration.security.lab import Lab

_MEBIBYTE = 1024 * 1024


# -- S-50 to S-57, in small, by import -------------------------------------------------


def escapes(canary: Path) -> dict[str, list[Member]]:
    """Return archives that try to write to the canary's directory."""
    place, up = str(canary), "../" * 12
    loophole = link("loop", place)
    return {
        "absolute": [file(f"{place}/new", "x")],
        "upwards": [file(f"{up}{place[1:]}/new", "x")],
        "upwards-in-the-middle": [directory("a"), file(f"a/{up}{place[1:]}/new", "x")],
        "link-then-file": [loophole, file("loop/new", "x")],
        "link-then-overwrite": [loophole, file("loop/secret", "x")],
        "link-then-directory": [loophole, directory("loop/new")],
        "link-then-mode": [loophole, directory("loop", 0o777)],
        "relative-link": [link("loop", f"{up}{place[1:]}"), file("loop/new", "x")],
        "link-to-link": [link("up", ".."), link("up/up", f"..{place}"), file("up/up/new", "x")],
        "hard-link-out": [Member("h", tarfile.LNKTYPE, target=f"{place}/secret"), file("h", "x")],
        "hard-link-up": [Member("h", tarfile.LNKTYPE, target=f"{up}{place[1:]}/secret")],
        "hard-link-to-link": [loophole, Member("h", tarfile.LNKTYPE, target="loop/secret")],
        "whiteout-upwards": [file(f".wh.{up}{place[1:]}/secret")],
        "whiteout-through-link": [loophole, file("loop/.wh.secret")],
        "opaque-through-link": [loophole, file("loop/.wh..wh..opq")],
        "whiteout-of-dots": [file(".wh..."), file(".wh.."), file(".wh.")],
        "deep": [link("d", "d2/" * 200 + f"..{place}"), file("d/new", "x")],
        "long-name": [file("n" * 5000, "x")],
        "fifo-over": [loophole, Member("loop/fifo", tarfile.FIFOTYPE)],
        "dots": [file("..", "x"), file(".", "x")],
    }


_CASES = tuple(escapes(Path("/nowhere")))


@pytest.mark.parametrize("case", _CASES)
def test_an_archive_writes_nothing_outside(lab: Lab, canary: Path, case: str) -> None:
    """S-50, S-51 in small: refused with 400, or landed inside; the canary is compared."""
    name = f"escape-{case}"
    loaded = lab.load(packed(escapes(canary)[case]), name)
    assert loaded.exit_code == 0 or loaded.status == 400, loaded
    if loaded.exit_code == 0:
        lab.engine.client.images.remove(name, force=True)


def test_control_a_plain_unpacker_writes_outside(tmp_path: Path) -> None:
    """S-50: the first vectors, with tarfile and no filter."""
    outside = tmp_path / "outside"
    outside.mkdir()
    members = [link("loop", str(outside)), file("loop/new", "x")]
    with tarfile.open(fileobj=packed(members)) as tar:
        tar.extraction_filter = staticmethod(lambda member, _: member)
        for member in tar:
            tar.extract(member, tmp_path / "root")
    assert (outside / "new").exists()


def resident(lab: Lab) -> int:
    """Return the memory of the engine alone."""
    with open(f"/proc/{lab.engine.pid}/status") as status:  # noqa: PTH123 - of the kernel
        return int(status.read().partition("RssAnon:")[2].split()[0]) * 1024


def test_headers_that_claim_much_cost_nothing(lab: Lab) -> None:
    """S-56: a name of 1 GB, a header of 1 GB, a file of 8 EB; refused at once."""
    before, began = resident(lab), time.monotonic()
    for kind, size in ((b"L", 1 << 30), (b"x", 1 << 30), (b"0", 1 << 62), (b"g", 1 << 33)):
        head = tarfile.TarInfo("claims")
        head.type, head.size = kind, size
        block = head.tobuf(tarfile.GNU_FORMAT)
        loaded = lab.load(io.BytesIO(block + b"A" * _MEBIBYTE))
        assert loaded.status == 400, (kind, loaded)
    packed_zeros = gzip.compress(b"\0" * (64 * _MEBIBYTE))
    lab.load(io.BytesIO(packed_zeros * 4))
    for image in lab.engine.client.images.list():
        if not image.get("RepoTags") or image["RepoTags"] == ["<none>:<none>"]:
            lab.engine.client.images.remove(image["Id"], force=True)
    assert resident(lab) - before < 64 * _MEBIBYTE
    assert time.monotonic() - began < 30.0 * SLOWNESS


@pytest.mark.parametrize("reference", ["../../x", "UPPER", "a\nb", "-x", "a/../b", "x" * 300, "/"])
def test_a_reference_is_no_path(lab: Lab, reference: str) -> None:
    """S-52."""
    loaded = lab.load(packed([file("a")]), reference)
    assert loaded.status == 400, loaded


def test_an_image_cannot_ask_for_privileges(lab: Lab) -> None:
    """S-96 beside S-55: configuration that is not an image's to set."""
    assert lab.load(packed([file("a")]), "asks", ["PRIVILEGED true"]).status == 400
    with lab.image(changes=["LABEL Privileged=true HostConfig.Privileged=true"]) as image:
        bounding = lab.run("grep", "CapBnd", "/proc/self/status", image=image).out
        assert bounding == lab.run("grep", "CapBnd", "/proc/self/status").out


# -- S-70, S-73, S-76 ------------------------------------------------------------------

INJECTIONS = {
    "Hostname": "x\n127.0.0.1 bank",
    "Domainname": "x\nnameserver 6.6.6.6",
    "User": "root\nbob",
    "WorkingDir": "/x\0y",
    "Env": ["A=b\0C=d"],
    "Cmd": ["echo", "a\0b"],
    "StopSignal": "TERM\nKILL",
}
HOST_INJECTIONS = {
    "ExtraHosts": ["a:1.2.3.4\n6.6.6.6 bank"],
    "Dns": ["8.8.8.8\nsearch evil"],
    "DnsSearch": ["evil\nnameserver 6.6.6.6"],
    "DnsOptions": ["ndots:1\nnameserver 6.6.6.6"],
    "Binds": ["/srv:/x\nlxc.hook.pre-start = /bin/touch"],
    "CapAdd": ["SYS_ADMIN\n"],
    "Sysctls": {"net.x\n": "1"},
}


@pytest.mark.parametrize("field", INJECTIONS)
def test_a_text_that_would_be_a_line_is_refused(lab: Lab, field: str) -> None:
    """S-70, S-73: dockerd 20.10 takes a newline in a host name."""
    body = lab.wish("true") | {field: INJECTIONS[field]}
    with pytest.raises(ApiError) as refused:
        lab.engine.client.containers.create(body)
    assert refused.value.status == 400


@pytest.mark.parametrize("field", HOST_INJECTIONS)
def test_a_host_option_that_would_be_a_line_is_refused(lab: Lab, field: str) -> None:
    """S-70."""
    assert lab.run("true", host={field: HOST_INJECTIONS[field]}).status == 400


def test_variables_keep_their_bytes(lab: Lab) -> None:
    """S-73: a newline is one variable's; what is too long or has no name is refused."""
    shown = lab.run("sh", "-c", 'printf %s "$A"; env | grep -c ^B=', Env=["A=x\nB=y", "C=z"])
    assert shown.out == "x\nB=y1\n"
    assert lab.run("true", Env=["A=" + "x" * 140_000]).status == 400
    assert lab.run("true", Env=["=x"]).status == 400
    assert lab.run("true", Env=[f"A{n}=" + "x" * 100_000 for n in range(22)]).status == 400


@pytest.mark.parametrize(
    "name", ["..", ".", "a/b", "/a/b", "a b", "a\nb", "-a", "x" * 65536, "\u0430bc", "a\0"]
)
def test_a_name_is_a_name(lab: Lab, name: str) -> None:
    """S-76."""
    with pytest.raises(ApiError) as refused:
        lab.engine.client.containers.create(lab.wish("true"), name=name)
    assert refused.value.status == (431 if len(name) > 60_000 else 400)


def test_a_name_that_is_the_beginning_of_anothers_id_means_its_bearer(lab: Lab) -> None:
    """S-76."""
    containers = lab.engine.client.containers
    with lab.created("true") as one:
        other = containers.create(lab.wish("true"), name=one[:6]).id
        try:
            assert containers.inspect(one[:6])["Id"] == other
            assert containers.inspect(one[:8])["Id"] == one
        finally:
            containers.remove(other, force=True)


# -- S-91: the socket, and where it is -------------------------------------------------

CONNECT = (
    "import os, socket, sys\n"
    "os.setgroups([]); os.setgid(1000); os.setuid(1000)\n"
    "try:\n socket.socket(socket.AF_UNIX).connect(sys.argv[1])\n"
    "except OSError as error:\n print(type(error).__name__)\n"
    "else:\n print('connected')\n"
)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_instance_is_closed_to_others_whatever_the_umask(weakened: Weaken, umask: int) -> None:
    """S-91, S-58: modes of the instance's tree; a container's files have the usual ones."""
    with weakened({}, f"os.umask({umask})") as lab:
        instance = lab.engine.instance
        assert stat.S_IMODE(instance.data_dir.stat().st_mode) == 0o700
        assert stat.S_IMODE(instance.run_dir.stat().st_mode) in {0o700, 0o710}
        assert stat.S_IMODE(instance.bundles_dir.stat().st_mode) == 0o700
        assert stat.S_IMODE(instance.socket_path.stat().st_mode) == 0o660
        shown = lab.run(
            "sh", "-c", "umask; stat -c %a / /v; touch /v/f; stat -c %a /v/f", Volumes={"/v": {}}
        )
        assert shown.lines == ["0022", "755", "755", "644"]
        seen = lab.run("sh", "-c", "ls / >/dev/null && id -u", User="1000")
        assert seen.out == "1000\n"
        command = ["python3", "-c", CONNECT, str(instance.socket_path)]
        tried = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        assert tried.stdout == "PermissionError\n", tried.stderr


def test_control_an_open_socket_is_connected_to(tmp_path: Path) -> None:
    """S-91: the same user at a socket that anybody may use."""
    place = f"/run/{tmp_path.name[:40]}-{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        try:
            os.chmod(place, 0o777)  # noqa: PTH101, S103 - a text, and that is the point
            listener.listen()
            command = ["python3", "-c", CONNECT, place]
            tried = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
            assert tried.stdout == "connected\n", tried.stderr
        finally:
            os.unlink(place)  # noqa: PTH108 - a text


ROUGH = """
import resource, signal
os.umask(0o077)
os.setgroups([27, 999])
for number in (signal.SIGPIPE, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGCHLD])
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for number in range(50):
    os.set_inheritable(os.open("/", os.O_RDONLY), True)
os.chdir("/tmp")
os.environ["LD_PRELOAD"] = ""
os.environ["SECRET"] = "of-the-operator"
"""


def test_an_engine_that_was_started_roughly_serves_as_any_other(weakened: Weaken) -> None:
    """S-02, S-07, S-67: descriptors, groups, ignored and blocked signals, 64 files, a secret."""
    with weakened({}, ROUGH) as lab:
        signals = lab.run("grep", "Sig[BI]", "/proc/self/status").lines
        assert [line.split()[1] for line in signals] == ["0" * 16, "0" * 16]
        assert "of-the-operator" not in lab.run("env").out
        assert lab.run("/probe", "groups").out == "ids 0 0:\n"
        assert lab.run("sh", "-c", "yes | head -1").out == "y\n"
        containers = [lab.wish("sleep", "60") for _ in range(10)]
        made = [lab.engine.client.containers.create(body).id for body in containers]
        for container in made:
            lab.engine.client.containers.start(container)
        assert len(lab.engine.client.containers.list()) == 10
        for pid in launcher_family(lab.engine):
            with open(f"/proc/{pid}/environ", "rb") as environ:  # noqa: PTH123 - of the kernel
                assert b"of-the-operator" not in environ.read()
        for container in made:
            lab.engine.client.containers.remove(container, force=True)


# -- S-94: bytes that are no request ---------------------------------------------------

HEAD = b"POST /v1.44/containers/create HTTP/1.1\r\nHost: x\r\n"
REQUESTS = {
    "two-lengths": HEAD
    + b"Content-Length: 2\r\nContent-Length: 30\r\n\r\n{}GET /_ping HTTP/1.1\r\n\r\n",
    "length-and-chunks": HEAD
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET",
    "negative-length": HEAD + b"Content-Length: -1\r\n\r\n",
    "huge-length": HEAD + b"Content-Length: 99999999999999999999\r\n\r\n{}",
    "header-of-a-megabyte": HEAD + b"X: " + b"a" * _MEBIBYTE + b"\r\n\r\n",
    "ten-thousand-headers": HEAD + b"".join(b"X%d: y\r\n" % n for n in range(10_000)) + b"\r\n",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "space-in-header": HEAD + b"Content-Length : 2\r\n\r\n{}",
    "folded-header": HEAD + b"X: a\r\n b: c\r\nContent-Length: 2\r\n\r\n{}",
    "nul": b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "no-http": b"\x16\x03\x01\x02\x00\x01\x00" + b"\0" * 500,
    "bad-chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "unknown-coding": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "nested": HEAD + b"Content-Length: 200000\r\n\r\n" + b"[" * 200_000,
}


@pytest.mark.parametrize("case", REQUESTS)
def test_bytes_that_are_no_request_are_refused_and_the_connection_closed(
    lab: Lab, case: str
) -> None:
    """S-94: 4xx, one answer and no second, and others are served meanwhile."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(10)
        raw.connect(str(lab.engine.socket_path))
        answer = b""
        with suppress(OSError):  # it may be refused before everything was said
            raw.sendall(REQUESTS[case])
        began = time.monotonic()
        lab.engine.client.system.ping()
        assert time.monotonic() - began < 1.0 * SLOWNESS
        with suppress(OSError):
            raw.shutdown(socket.SHUT_WR)
        while data := _received(raw):
            answer += data
    statuses = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert len(statuses) <= 1, answer
    assert all(status.startswith(b"4") for status in statuses) or statuses == [b"501"], answer


def _received(raw: socket.socket) -> bytes:
    try:
        return raw.recv(65536)
    except ConnectionResetError:
        return b""


def test_control_a_request_is_answered(lab: Lab) -> None:
    """S-94: the same socket, two whole requests, two answers."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(10)
        raw.connect(str(lab.engine.socket_path))
        raw.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        raw.shutdown(socket.SHUT_WR)
        answer = b""
        while data := _received(raw):
            answer += data
    assert answer.count(b"HTTP/1.1 200") == 2
