# SPDX-License-Identifier: Apache-2.0
"""Files of a container that attacks: out, in, and while it swaps them (rows S-60 to S-63)."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.security.conftest import state_of
from integration.security.lab import file, link, packed
from toolkit.client import ApiError, ConnectionLostError, StreamError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.security.conftest import Weaken
    from integration.security.lab import Lab

_COPIES = 500
_SWAP_MS = 120_000


def got(lab: Lab, container: str, path: str) -> dict[str, bytes]:
    """Return the files that a copy out gives, by name; a refusal is nothing."""
    try:
        _, chunks = lab.engine.client.containers.copy_out(container, path)
        content = io.BytesIO(b"".join(chunks))
        with tarfile.open(fileobj=content) as tar:
            opened = ((one.name, tar.extractfile(one)) for one in tar if one.isreg())
            return {name: stream.read() for name, stream in opened if stream is not None}
    except ApiError as error:
        if error.status not in {400, 404}:
            raise
        return {}
    except (
        ConnectionLostError,
        StreamError,
        tarfile.TarError,
    ):  # it vanished while it was being read
        return {}


def put(lab: Lab, container: str, path: str, content: bytes = b"from outside") -> int:
    """Copy a file ``secret`` in; return the refusal's status, 0 where there was none."""
    try:
        lab.engine.client.containers.copy_in(container, path, packed([file("secret", content)]))
    except ApiError as error:
        return error.status
    return 0


@pytest.fixture(params=["created", "running"])
def attacker(request: pytest.FixtureRequest, lab: Lab, canary: Path) -> Iterator[str]:
    """A container with links to the host's canary, in both states."""
    links = [link("evil", str(canary)), link("up", f"../../../../..{canary}")]
    links += [link("magic", f"/proc/1/root{canary}"), link("self", "/proc/self/root")]
    state = lab.running if request.param == "running" else lab.created
    with lab.image(*links) as image, state("sleep", "600", image=image) as container:
        yield container


_PATHS = ("/evil", "/evil/", "/evil/.", "/evil/secret", "/up/secret", "/magic/secret", "/evil/d/..")


def test_a_link_leads_nowhere_but_into_the_container(lab: Lab, canary: Path, attacker: str) -> None:
    """S-60: out and in through every kind of link."""
    before = state_of(canary)
    for path in (*_PATHS, f"/self{canary}/secret", f"/../..{canary}/secret"):
        assert b"host-secret\n" not in got(lab, attacker, path).values(), path
    for path in ("/evil", "/up", "/magic", f"/self{canary}", f"/..{canary}"):
        assert put(lab, attacker, path) in {400, 404}, path
    assert state_of(canary) == before
    # The control of the test itself: what is the container's own does come.
    assert put(lab, attacker, "/tmp") == 0  # noqa: S108 - the container's
    assert got(lab, attacker, "/tmp/secret")["secret"] == b"from outside"  # noqa: S108 - as above


def test_control_a_directory_that_is_opened_without_its_root_is_the_hosts(
    weakened: Weaken, tmp_path: Path
) -> None:
    """S-60: 0.7.2 joined the paths and let the kernel follow the links."""
    (tmp_path / "secret").write_text("host-secret\n")
    inside = 'open_in_root(root_fd, directory or b"/", _O_PARENT)'
    by_text = 'os.open(directory or b".", _O_PARENT, dir_fd=root_fd)'
    with (
        weakened({"storage/places.py": [(inside, by_text)]}) as lab,
        lab.image(link("evil", str(tmp_path))) as image,
        lab.created("true", image=image) as container,
    ):
        assert got(lab, container, "/evil/secret") == {"secret": b"host-secret\n"}


def mounts_of(lab: Lab) -> list[str]:
    """Return the host's mounts that are this engine's; others come and go meanwhile."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if lab.engine.instance.name in line]


def swapping(canary: Path) -> str:
    """Return a program that exchanges a directory and a link to the host as fast as it can."""
    return (
        f"mkdir -p /r/dir /r/vol; echo mine > /r/dir/secret; ln -s {canary} /r/bait; echo ready; "
        f"exec /probe exchange /r/dir /r/bait {_SWAP_MS}"
    )


@pytest.mark.slow
def test_a_swap_never_makes_a_copy_the_hosts(lab: Lab, canary: Path) -> None:
    """S-61 (CVE-2018-15664): 500 copies out and 500 in during 10^5 swaps a second; S-62."""
    before, mounts = state_of(canary), mounts_of(lab)
    mine = 0
    with lab.running("sh", "-c", swapping(canary), Volumes={"/r/vol": {}}) as container:
        while "ready" not in lab.output(container):
            pass
        inside = lab.execute(container, "cat", "/proc/1/mountinfo").out
        for number in range(_COPIES):
            path = ("/r/dir/secret", "/r/dir", "/r/dir/")[number % 3]
            seen = got(lab, container, path)
            assert b"host-secret\n" not in seen.values(), number
            mine += b"mine\n" in seen.values() or b"from outside" in seen.values()
            put(lab, container, "/r/dir")
        assert lab.execute(container, "cat", "/proc/1/mountinfo").out == inside
    assert state_of(canary) == before
    assert mounts_of(lab) == mounts
    assert mine  # some of them met the directory: it was a race


def test_control_a_path_that_is_looked_at_first_and_opened_later_loses(
    weakened: Weaken, tmp_path: Path
) -> None:
    """S-61: the same race where what a path leads to is opened by its text."""
    (tmp_path / "secret").write_text("host-secret\n")
    inside = 'open_in_root(root_fd, directory or b"/", _O_PARENT)'
    by_text = 'os.open(directory or b".", _O_PARENT, dir_fd=root_fd)'
    with weakened({"storage/places.py": [(inside, by_text)]}) as lab:
        command = swapping(tmp_path)
        with lab.running("sh", "-c", command) as container:
            while "ready" not in lab.output(container):
                pass
            seen = [got(lab, container, "/r/dir/secret") for _ in range(200)]
    assert {"secret": b"host-secret\n"} in seen


def test_a_hundred_copies_leave_no_mount(lab: Lab) -> None:
    """S-62: of both states, with a volume, in the host's and in the container's namespace."""
    mounts = mounts_of(lab)
    with (
        lab.running(Volumes={"/v": {}}) as running,
        lab.created("true", Volumes={"/v": {}}) as created,
    ):
        inside = lab.execute(running, "cat", "/proc/1/mountinfo").out
        for _ in range(25):
            for container in (running, created):
                assert put(lab, container, "/v") == 0
                assert got(lab, container, "/v/secret") == {"secret": b"from outside"}
        assert lab.execute(running, "cat", "/proc/1/mountinfo").out == inside
        assert mounts_of(lab) == mounts


def kinds_of(lab: Lab, container: str, path: str) -> dict[str, bytes]:
    _, chunks = lab.engine.client.containers.copy_out(container, path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        return {one.name: one.type for one in tar}


def test_what_cannot_be_copied_is_said_at_once(lab: Lab, tmp_path: Path) -> None:
    """S-63: a pipe and a device come as such, a socket is refused by name; nothing hangs."""
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "socket"))
    with lab.running(host={"Binds": [f"{tmp_path}:/s"]}) as container:
        assert kinds_of(lab, container, "/s/") == {".": b"5", "./fifo": b"6"}
        assert kinds_of(lab, container, "/s/fifo") == {"fifo": b"6"}
        assert kinds_of(lab, container, "/dev/null") == {"null": b"3"}
        with pytest.raises(ApiError, match="/s/socket is a socket"):
            lab.engine.client.containers.copy_out(container, "/s/socket")


@pytest.mark.parametrize(("size", "end"), [("1T", 10**12), ("5G", 5 * 10**9)])
def test_a_sparse_file_is_small_on_the_way(lab: Lab, size: str, end: int) -> None:
    """S-63: holes are told, not sent; they come back as holes, if that is not too much."""
    script = f"truncate -s {size} /big; echo end | dd of=/big bs=1 seek={end} conv=notrunc"
    with lab.running("sh", "-c", f"{script} 2>/dev/null; echo ready; sleep 600") as container:
        while "ready" not in lab.output(container):
            pass
        _, chunks = lab.engine.client.containers.copy_out(container, "/big")
        content = b"".join(chunks)
        assert len(content) < 100_000
        put_back = lab.engine.client.containers.copy_in
        if size == "1T":  # more than one archive may unpack to, holes included (S-56)
            with pytest.raises(ApiError, match="more than the"):
                put_back(container, "/root", io.BytesIO(content))
            return
        put_back(container, "/root", io.BytesIO(content))
        look = f"stat -c '%s %b' /root/big; dd if=/root/big bs=1 skip={end} count=4 2>/dev/null"
        shown = lab.execute(container, "sh", "-c", look).lines
    assert int(shown[0].split()[0]) == 5 << 30
    assert int(shown[0].split()[1]) < 1000
    assert shown[1] == "end"


def test_a_file_that_changes_while_it_is_read_has_one_size(lab: Lab) -> None:
    """S-63: growing, shrinking and vanishing; each archive is whole."""
    script = (
        "mkdir /w; while :; do dd if=/dev/zero of=/w/grows bs=64k count=40 2>/dev/null; "
        ": > /w/grows; echo x > /w/goes; rm /w/goes; done"
    )
    with lab.running("sh", "-c", script) as container:
        for _ in range(40):
            try:
                _, chunks = lab.engine.client.containers.copy_out(container, "/w")
                content = b"".join(chunks)
            except ApiError as error:
                assert error.status == 404  # noqa: PT017 - not yet there
                continue
            with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                for one in filter(tarfile.TarInfo.isreg, tar):
                    stream = tar.extractfile(one)
                    assert stream is not None
                    assert len(stream.read()) == one.size
