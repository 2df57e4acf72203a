# SPDX-License-Identifier: Apache-2.0
"""A start played through before anybody asks for one.

What a forked process does for the first time costs it a page for each object
that it touches: of the time that our part of a start takes, most of it. So the
members of a crew play their parts once, with the default container, while they
wait. Nothing of it leaves their own mount namespaces.
"""

from __future__ import annotations

import json
import marshal
import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from toolkit.kernel import mounts
from toolkit.kernel.capabilities import CAPABILITIES
from toolkit.runtime import document as defaults
from toolkit.runtime.lxc.calls import program_table
from toolkit.runtime.lxc.stage import mount_entries, place_mounts, put_first_step
from toolkit.runtime.lxc.template import HostFacts, configuration
from toolkit.runtime.native.prepare import Prepared, prepare
from toolkit.runtime.native.program import learn_capabilities, plan_program
from toolkit.runtime.native.rootfs import cover_paths, mount_entry

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLACE: Final = "/run"  # any directory: a tmpfs covers it for the rehearsal
_V1: Final = 1


def play_shim() -> None:
    """Play what the shim does: open what is needed, plan the program, write its table."""
    with _prepared() as prepared:
        document = prepared.document
        learn_capabilities()
        root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        program = plan_program(
            document["process"], document["annotations"], root_fd,
            stdio=prepared.stdio, seccomp=b"",
        )  # fmt: skip
        program_table(program, frozenset(range(len(CAPABILITIES)))).encode()
        os.close(program.cwd_fd)
        os.close(root_fd)


def play_hand() -> None:
    """Play the part of the hand: the stage, and the mounts; in a mount namespace of its own."""
    with _prepared() as prepared, _rehearsal_root() as root_fd:
        placed = place_mounts(root_fd, prepared)
        put_first_step(prepared)
        configuration(
            prepared.document,
            root_path=_PLACE,
            mounts=mount_entries(placed, prepared.document),
            facts=HostFacts(cgroup_version=_V1),
        ).render()
        for entry in prepared.mounts:
            if entry.kind != "cgroup" and entry.target != "/dev":  # that is mounted already
                mount_entry(root_fd, entry, {})
        linux = prepared.document["linux"]
        cover_paths(root_fd, readonly=linux["readonlyPaths"], masked=linux["maskedPaths"])


@contextmanager
def _prepared() -> Iterator[Prepared]:
    """Give what a start of the default container needs of the host, as a child gets it."""
    with ExitStack() as undo:
        made = prepare(json.loads(json.dumps(_document())), "/", undo)
        for fd in (made.stdio.stdin, made.stdio.stdout, made.stdio.stderr):
            undo.callback(os.close, fd)
        fds: list[int] = []
        description = made.describe(fds)
        yield Prepared.from_description(marshal.loads(marshal.dumps(description)), fds)  # noqa: S302 - our own


def _document() -> dict[str, Any]:
    document = defaults.default_document()
    document["root"]["path"] = "."  # not looked at: the root is a tmpfs
    document["mounts"] = defaults.default_mounts(shm_size_bytes=defaults.DEFAULT_SHM_BYTES)
    document["process"]["args"] = ["/"]
    document["linux"]["cgroupsPath"] = "re/hearsal"
    document["annotations"] = {"toolkit.rootfs": "{}", "toolkit.stdin.open": "1"}
    return document


@contextmanager
def _rehearsal_root() -> Iterator[int]:
    """Give a root that is this process's alone."""
    mounts.set_propagation(b"/", mounts.MS_REC | mounts.MS_PRIVATE)
    place_fd = os.open(_PLACE, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    root_fd = mounts.new_filesystem("tmpfs", {"size": "1m", "mode": "700"})
    mounts.attach_mount(root_fd, place_fd, _PLACE)
    try:
        yield root_fd
    finally:
        mounts.unmount(_PLACE.encode(), mounts.MNT_DETACH)
        os.close(root_fd)
        os.close(place_fd)
