# SPDX-License-Identifier: Apache-2.0
"""The init of `--init`: a static program of this machine, copied once."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from toolkit.engine.inits import (
    InitMissingError,
    find_static_init,
    init_arguments,
    is_static,
    provided_init,
)

if TYPE_CHECKING:
    from pathlib import Path

HEAD_BYTES, ENTRY_BYTES = 64, 56


def program(path: Path, *kinds: int) -> Path:
    """Write what looks like a program with some program headers (elf(5))."""
    head = bytearray(HEAD_BYTES)
    head[:5] = b"\x7fELF\x02"
    struct.pack_into("<Q", head, 32, HEAD_BYTES)
    struct.pack_into("<HH", head, 54, ENTRY_BYTES, len(kinds))
    entries = b"".join(struct.pack("<I", kind).ljust(ENTRY_BYTES, b"\0") for kind in kinds)
    path.write_bytes(bytes(head) + entries)
    path.chmod(0o755)
    return path


def test_only_what_needs_no_loader_is_static(tmp_path: Path) -> None:
    assert is_static(program(tmp_path / "a", 1, 2))
    assert not is_static(program(tmp_path / "b", 1, 3))
    script = tmp_path / "c"
    script.write_text("#!/bin/sh\n")
    assert not is_static(script)
    assert not is_static(tmp_path / "none")


def test_a_copy_is_made_once(tmp_path: Path) -> None:
    binaries, run_dir = tmp_path / "bin", tmp_path / "run"
    binaries.mkdir()
    run_dir.mkdir()
    program(binaries / "tini", 1, 3)
    with pytest.raises(InitMissingError, match="tini"):
        find_static_init(str(binaries))
    program(binaries / "catatonit", 1)
    copy = provided_init(run_dir, str(binaries))
    assert copy.read_bytes() == (binaries / "catatonit").read_bytes()
    assert copy.stat().st_mode & 0o777 == 0o555
    (binaries / "catatonit").unlink()
    assert provided_init(run_dir, str(binaries)) == copy


def test_the_program_comes_behind_the_init() -> None:
    assert init_arguments(["sh", "-c", "x"]) == ["/sbin/docker-init", "--", "sh", "-c", "x"]
