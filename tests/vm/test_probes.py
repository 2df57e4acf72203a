# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from toolkit.vm import probes

if TYPE_CHECKING:
    from pathlib import Path

linux = pytest.mark.skipif(sys.platform != "linux", reason="asks a Linux kernel")


def elf(path: Path, *kinds: int) -> Path:
    """Write the head of a 64-bit ELF program with program headers of these kinds."""
    head = bytearray(64)
    head[:5] = b"\x7fELF\x02"
    head[32:40] = (64).to_bytes(8, "little")
    head[54:56] = (56).to_bytes(2, "little")
    head[56:58] = len(kinds).to_bytes(2, "little")
    table = b"".join(kind.to_bytes(4, "little") + bytes(52) for kind in kinds)
    path.write_bytes(bytes(head) + table)
    return path


def test_a_program_without_an_interpreter_is_static(tmp_path: Path) -> None:
    assert probes.is_static_program(elf(tmp_path / "static", 1, 1))
    assert not probes.is_static_program(elf(tmp_path / "dynamic", 1, 3, 1))


def test_what_is_no_program_is_not_static(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    assert not probes.is_static_program(tmp_path / "script")
    assert not probes.is_static_program(tmp_path / "missing")
    assert not probes.is_static_program(elf(tmp_path / "empty"))


@linux
def test_an_unknown_system_call_is_told_from_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(probes.SYSTEM_CALLS, "none", 9999)
    assert not probes.has_system_call("none")
    assert probes.has_system_call("pidfd_open")
    assert probes.has_system_call("clone3")


@linux
def test_a_missing_library_is_told() -> None:
    assert not probes.has_library("libnosuchthing.so.9")
    assert probes.has_library("libc.so.6")
