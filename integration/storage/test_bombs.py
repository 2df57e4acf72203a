# SPDX-License-Identifier: Apache-2.0
"""Archives that ask for too much, on a small file system and with memory watched."""

from __future__ import annotations

import gzip
import itertools
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from integration.pace import SLOWNESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.needs_root

# Runs in a mount namespace of its own with 64 MiB; tells what happened and what it cost.
_UNPACK = """
import resource, sys
from pathlib import Path
from toolkit.errors import ToolkitError
from toolkit.storage.layers import LayerStore

data = Path(sys.argv[1])
store = LayerStore(data, sys.argv[3])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    with open(sys.argv[2], "rb") as archive:
        store.unpack(archive, None)
    print("unpacked")
except ToolkitError as error:
    print(f"{type(error).__name__}: {error}")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
base = data / "layers" / sys.argv[3]
print(sum(1 for name in ("l", "staging", "trash") for _ in (base / name).iterdir()))
"""
_IN_SMALL_SPACE = 'mount -t tmpfs -o size=64m,nr_inodes=20000 none "$1" && shift && exec "$@"'


_PIECE_BYTES = 1 << 20


def nothing(size: int) -> Iterator[bytes]:
    """Yield so many zero bytes, which nobody holds at once."""
    whole, rest = divmod(size, _PIECE_BYTES)
    yield from itertools.repeat(bytes(_PIECE_BYTES), whole)
    yield bytes(rest)


def zeros(size: int) -> Iterator[bytes]:
    info = tarfile.TarInfo("zeros")
    info.size = size
    yield info.tobuf()
    yield from nothing(size)


def many_files(count: int, behind: int = 1024) -> Iterator[bytes]:
    yield from (tarfile.TarInfo(f"d{n % 7}/f{n}").tobuf() for n in range(count))
    yield from nothing(behind)


def claims(kind: bytes, size: int) -> Iterator[bytes]:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, size
    yield info.tobuf(tarfile.GNU_FORMAT)
    yield from nothing(10_000)


BOMBS: dict[str, tuple[Callable[[], Iterator[bytes]], str]] = {
    "content": (lambda: zeros(200_000_000), "UnsafeArchiveError"),
    "inodes": (lambda: many_files(60_000), "StorageError"),
    "after the end": (lambda: many_files(3, 300_000_000), "UnsafeArchiveError"),
    "long name": (lambda: claims(b"L", 10**9), "UnsafeArchiveError"),
    "pax header": (lambda: claims(b"x", 10**9), "UnsafeArchiveError"),
}


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_is_an_error_that_leaves_nothing(tmp_path: Path, what: str, driver: str) -> None:
    """Row S-56: error, all partial data removed, memory bounded."""
    pieces, error = BOMBS[what]
    bomb = tmp_path / "bomb.tar.gz"
    with gzip.open(bomb, mode="wb", compresslevel=1) as writer:
        for piece in pieces():
            writer.write(piece)
    space = tmp_path / "space"
    space.mkdir()
    told = subprocess.run(
        ["unshare", "--mount", "sh", "-c", _IN_SMALL_SPACE, "sh", space,
         sys.executable, "-c", _UNPACK, space, bomb, driver],
        check=True, capture_output=True, text=True, timeout=60 * SLOWNESS,
    ).stdout.splitlines()  # fmt: skip
    assert told[0].startswith(error), told
    assert int(told[1]) < 64 * 1024
    assert told[2] == "0"
