# SPDX-License-Identifier: Apache-2.0
"""Which lines the mounts of a document become."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from toolkit.runtime.document import default_mounts
from toolkit.runtime.lxc.stage import Placed, copy_configuration, mount_entries
from toolkit.runtime.native.prepare import read_mount

if TYPE_CHECKING:
    from pathlib import Path


def lines(*mounts: dict[str, Any], inside: bool = False) -> list[str]:
    placed = []
    for mount in mounts:
        entry = read_mount(mount)
        if entry.kind == "bind" or entry.target == "/dev":
            entry = entry.with_fd(99)
        placed.append(Placed(entry=entry, path=entry.target.lstrip("/"), is_inside=inside))
    return [entry.text() for entry in mount_entries(placed, {"mounts": list(mounts)})]


def bind(target: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": "bind", "source": "/host/a b", "options": list(options)}


def test_lxc_mounts_what_the_kernel_fills() -> None:
    """Rule 4.3, rows 15, 16 and 18; /dev is staged, devpts and cgroups are dressed."""
    assert lines(*default_mounts(shm_size_bytes=65536)) == [
        "proc proc proc nosuid,nodev,noexec 0 0",
        "sysfs sys sysfs nosuid,nodev,noexec 0 0",
        "mqueue dev/mqueue mqueue nosuid,nodev,noexec 0 0",
        "tmpfs dev/shm tmpfs nosuid,nodev,noexec,mode=1777,size=65536 0 0",
    ]


def test_volumes_are_bound_as_they_may_be_used() -> None:
    """Rule 4.3, row 22."""
    assert lines(bind("/v", "rbind", "ro"), bind("/w", "bind", "rw", "nosuid")) == [
        "/host/a\\040b v none rbind,ro 0 0",
        "/host/a\\040b w none bind,rw,nosuid 0 0",
    ]


def test_a_mount_point_in_an_empty_filesystem_is_made_by_lxc() -> None:
    assert lines(bind("/t/x", "bind"), inside=True) == [
        "/host/a\\040b t/x none bind,rw,create=dir 0 0"
    ]


def test_the_configuration_is_waited_for_and_copied_whole(tmp_path: Path) -> None:
    """For an LXC that cannot read a pipe; more than a pipe holds at once."""
    pipe, target = tmp_path / "pipe", tmp_path / "file"
    os.mkfifo(pipe)
    text = b"lxc.uts.name = x\n" * 10_000
    writer = threading.Thread(target=pipe.write_bytes, args=(text,))
    writer.start()
    copy_configuration(str(pipe), str(target))
    writer.join()
    assert target.read_bytes() == text
