# SPDX-License-Identifier: Apache-2.0
"""Hostile archives: one table for each way in (rows S-50, S-51, S-56)."""

from __future__ import annotations

import copy
import tarfile
from typing import TYPE_CHECKING

from tests.storage.archives import archive, directory, hard_link, member, symlink

if TYPE_CHECKING:
    import io
    from pathlib import Path

Members = list[tuple[tarfile.TarInfo, bytes]]

# What stands for the canary's directory in a name or link of the tables below.
CANARY = "@CANARY@"

REFUSED = "refused"
INSIDE = "inside"

# (what, members, what becomes of it): the ideas of S-50; @CANARY@ is an absolute path outside.
HOSTILE: list[tuple[str, Members, str]] = [
    ("dotdot file", [member("../canary/f", b"x")], REFUSED),
    ("dotdot new file", [member("../canary/new", b"x")], REFUSED),
    ("absolute dotdot file", [member("/../canary/f", b"x")], REFUSED),
    ("deep dotdot file", [member("a/b/../../../canary/f", b"x")], REFUSED),
    ("dotdot directory", [directory("../canary/d2")], REFUSED),
    ("dotdot directory to chmod", [directory("../canary", mode=0o777)], REFUSED),
    ("dotdot symlink", [symlink("../canary/l", "f")], REFUSED),
    ("dotdot hard link", [member("a"), hard_link("../canary/l", "a")], REFUSED),
    ("dotdot fifo", [member("../canary/p", type=tarfile.FIFOTYPE)], REFUSED),
    ("dotdot alone", [directory("..", mode=0o777)], REFUSED),
    ("absolute file", [member(f"{CANARY}/f", b"x")], INSIDE),
    ("absolute directory", [directory(CANARY, mode=0o700)], INSIDE),
    ("absolute symlink", [symlink(f"{CANARY}/l", "/etc")], INSIDE),
    ("double slash", [member(f"/{CANARY}/f", b"x")], INSIDE),
    ("hard link to dotdot", [hard_link("h", "../canary/f")], REFUSED),
    ("hard link to absolute", [hard_link("h", f"{CANARY}/f")], REFUSED),
    ("hard link to deep dotdot", [directory("a"), hard_link("h", "a/../../canary/f")], REFUSED),
    ("hard link then write", [hard_link("h", f"{CANARY}/f"), member("h", b"x")], REFUSED),
    ("hard link to root", [hard_link("h", ".")], REFUSED),
    ("hard link to directory", [directory("d"), hard_link("h", "d")], REFUSED),
    ("hard link to itself", [member("f"), hard_link("f", "./f")], REFUSED),
    ("hard link to nothing", [hard_link("h", "nothing")], REFUSED),
    ("hard link to no name", [hard_link("h", "")], REFUSED),
    ("symlink then file below", [symlink("l", CANARY), member("l/f", b"x")], REFUSED),
    ("symlink then new file", [symlink("l", CANARY), member("l/new", b"x")], REFUSED),
    ("relative symlink then file", [symlink("l", "../canary"), member("l/f", b"x")], REFUSED),
    ("symlink then directory below", [symlink("l", CANARY), directory("l/d")], REFUSED),
    ("symlink then symlink below", [symlink("l", CANARY), symlink("l/s", "/")], REFUSED),
    ("symlink then hard link below", [member("a"), symlink("l", CANARY), hard_link("l/h", "a")],
     REFUSED),
    ("hard link through symlink", [symlink("l", CANARY), hard_link("h", "l/f")], REFUSED),
    ("hard link through dotdot symlink", [symlink("l", "../canary"), hard_link("h", "l/f")],
     REFUSED),
    ("file over symlink", [symlink("l", f"{CANARY}/f"), member("l", b"x")], INSIDE),
    ("file over dangling symlink", [symlink("l", f"{CANARY}/new"), member("l", b"x")], INSIDE),
    ("directory over symlink", [symlink("l", CANARY), directory("l", mode=0o777)], INSIDE),
    ("directory over symlink, file", [symlink("l", CANARY), directory("l"), member("l/f", b"x")],
     INSIDE),
    ("fifo over symlink",
     [symlink("l", f"{CANARY}/f"), member("l", type=tarfile.FIFOTYPE)], INSIDE),
    ("hard link to symlink, write",
     [symlink("l", f"{CANARY}/f"), hard_link("h", "l"), member("h", b"x")], INSIDE),
    ("hard link to symlink, below",
     [symlink("l", CANARY), hard_link("h", "l"), member("h/f", b"x")], REFUSED),
    ("link up, then through it",
     [directory("in"), symlink("in/up", ".."), symlink("in/up/out", "../canary"),
      member("out/f", b"x")], REFUSED),
    ("chain of links",
     [symlink("a", "b"), symlink("b", "c"), symlink("c", CANARY), member("a/f", b"x")], REFUSED),
    ("link to link up",
     [directory("d"), symlink("d/a", ".."), symlink("d/b", "a/.."), member("d/b/canary/f", b"x")],
     INSIDE),
    ("link loop", [symlink("a", "b"), symlink("b", "a"), member("a/f", b"x")], REFUSED),
    ("link to itself", [symlink("a", "a"), member("a/f", b"x")], REFUSED),
    ("link to the root", [symlink("l", "/"), member("l/canary/f", b"x")], INSIDE),
    ("link to many dotdots",
     [symlink("l", "../" * 40), member("l/canary/f", b"x")], INSIDE),
    ("directory swapped for a link",
     [directory("d"), member("d/a"), symlink("d", CANARY), member("d/f", b"x")], REFUSED),
    ("directory swapped below",
     [directory("d"), directory("d/e"), member("d/e/a"), symlink("d/e", CANARY),
      member("d/e/f", b"x")], REFUSED),
    ("magic link", [symlink("l", "/proc/self/root"), member(f"l/{CANARY}/f", b"x")], REFUSED),
    ("magic descriptor", [symlink("l", "/proc/self/fd/0"), member("l", b"x")], INSIDE),
    ("deep path through links",
     [directory("a" * 200), symlink("s", "a" * 200),
      *(symlink(f"s{number}", f"{'s/../' * 40}s") for number in range(5)),
      symlink("end", "s4/../../canary"), member("end/f", b"x")], REFUSED),
    ("name longer than a path", [member("a/" * 2500 + "f")], REFUSED),
    ("part longer than a name", [member("a" * 300, b"x")], REFUSED),
    ("symlink over the root", [symlink(".", CANARY)], REFUSED),
    ("file over the root", [member("./", b"", type=tarfile.REGTYPE)], INSIDE),
    ("file over the root by dots", [member("a/..", b"x")], REFUSED),
    ("file as a directory", [member("f", b"x"), member("f/g", b"x")], REFUSED),
    ("unknown kind", [member("f", b"", type=b"Z")], REFUSED),
    ("empty symlink", [symlink("l", "")], REFUSED),
]  # fmt: skip

# Archives of layers: what deletes, and what may not (row S-51).
WHITEOUTS: list[tuple[str, Members, str]] = [
    ("whiteout of the parent", [member(".wh...")], REFUSED),
    ("whiteout of the directory itself", [member(".wh..")], REFUSED),
    ("whiteout of nothing", [member(".wh.")], REFUSED),
    ("whiteout by dotdot", [member(".wh.../../canary/f")], REFUSED),
    ("whiteout outside", [member("../canary/.wh.f")], REFUSED),
    ("whiteout through a link", [symlink("l", CANARY), member("l/.wh.f")], REFUSED),
    ("whiteout through a link up", [symlink("l", "../canary"), member("l/.wh.f")], REFUSED),
    ("whiteout of a link", [symlink("l", CANARY), member(".wh.l")], INSIDE),
    ("opaque outside", [member("../canary/.wh..wh..opq")], REFUSED),
    ("opaque through a link", [symlink("l", CANARY), member("l/.wh..wh..opq")], REFUSED),
    ("opaque root", [member(".wh..wh..opq")], INSIDE),
    ("file in a whiteout", [member(".wh.a/f", b"x")], REFUSED),
    ("hard link to a whiteout", [member(".wh.f"), hard_link("h", ".wh.f")], REFUSED),
    ("hard link to what was whited out", [member(".wh.f"), hard_link("h", "f")], REFUSED),
    ("links of aufs", [directory(".wh..wh.plnk"), member(".wh..wh.plnk/1.2", b"x"),
      hard_link("h", ".wh..wh.plnk/1.2")], REFUSED),
    ("whiteout that is a device of overlayfs",
     [member("f", type=tarfile.CHRTYPE, devmajor=0, devminor=0)], INSIDE),
]  # fmt: skip


def _claims(kind: bytes, size: int) -> bytes:
    """Return a header that announces more than follows."""
    info = tarfile.TarInfo("claims")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240)


# What asks for more than anybody has (row S-56); each is refused, whatever its form.
GREEDY: list[tuple[str, bytes]] = [
    ("name of 1 GB", _claims(b"L", 1 << 30)),
    ("link of 1 GB", _claims(b"K", 1 << 30)),
    ("pax header of 1 GB", _claims(b"x", 1 << 30)),
    ("global pax header of 8 GB", _claims(b"g", 1 << 33)),
    ("file of 4 EB", _claims(b"0", 1 << 62)),
    ("file longer than the archive", _claims(b"0", 1 << 20)),
    ("negative size", tarfile.TarInfo("f").tobuf()[:124] + b"\xff" * 12 + bytes(376)),
    ("truncated header", tarfile.TarInfo("f").tobuf()[:300]),
    ("no archive", b"x" * 10_240),
]


def located(members: Members, canary: Path) -> io.BytesIO:
    """Return an archive of these members, aimed at a directory."""
    aimed = []
    for info, content in members:
        moved = copy.copy(info)  # `TarInfo.replace` came with 3.11.4
        moved.name = info.name.replace(CANARY, str(canary))
        moved.linkname = info.linkname.replace(CANARY, str(canary))
        aimed.append((moved, content))
    return archive(*aimed, format=tarfile.GNU_FORMAT)
