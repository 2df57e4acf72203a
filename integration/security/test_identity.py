# SPDX-License-Identifier: Apache-2.0
"""Who a program is and what it may: users, groups, capabilities (rows S-06 to S-09)."""

from __future__ import annotations

import struct
import tarfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.pace import SLOWNESS
from integration.security.lab import Member, directory, file, launcher_family, link
from toolkit.kernel.capabilities import CAPABILITIES, last_capability, numbers
from toolkit.runtime.document import DEFAULT_CAPABILITIES

if TYPE_CHECKING:
    from integration.security.conftest import Weaken
    from integration.security.lab import Lab

_LINE = "bob:x:1000:1000:bob:/home/bob:/bin/sh\n"
_MEBIBYTE = 1024 * 1024
_DAMAGED = {
    "fifo": Member("etc/passwd", tarfile.FIFOTYPE, mode=0o644),
    "console": Member("etc/passwd", tarfile.CHRTYPE, mode=0o666, device=(5, 1)),
    "endless": Member("etc/passwd", tarfile.CHRTYPE, mode=0o666, device=(1, 5)),
    "directory": directory("etc/passwd"),
    "link to the host": link("etc/passwd", "/run/no-such-canary/../../../../../../etc/passwd"),
    "link to a process": link("etc/passwd", "/proc/1/root/etc/passwd"),
    "loop": link("etc/passwd", "passwd"),
    "one long line": file("etc/passwd", b"x" * (64 * _MEBIBYTE), 0o644),
    "a million users": file("etc/passwd", b"u:x:7:7::/:\n" * 1_000_000 + _LINE.encode(), 0o644),
    "nul bytes": file("etc/passwd", b"bo\0b:x:1:1::/:\n\0\0\0\n", 0o644),
    "negative id": file("etc/passwd", "bob:x:-1:-1::/:\n", 0o644),
    "id of 2**32": file("etc/passwd", "bob:x:4294967296:0::/:\n", 0o644),
    "id of 2**32-1": file("etc/passwd", "bob:x:4294967295:0::/:\n", 0o644),
    "huge id": file("etc/passwd", "bob:x:" + "9" * 5000 + ":0::/:\n", 0o644),
}


def resident_bytes(lab: Lab) -> int:
    """Return the memory of the engine and of its biggest helper; how many there are varies."""
    return _resident(lab.engine.pid) + max(_resident(pid) for pid in launcher_family(lab.engine))


def _resident(pid: int) -> int:
    with suppress(FileNotFoundError, IndexError):  # it ended meanwhile
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.partition("RssAnon:")[2].split()[0]) * 1024
    return 0


def ids(lab: Lab, image: str, user: str) -> list[str]:
    """Return a program's user and group, asked of the kernel: no tool reads the image's files."""
    lines = lab.run("grep", "[UG]id:", "/proc/self/status", image=image, User=user).lines
    return [line.split()[1] for line in lines]


@pytest.mark.parametrize("case", _DAMAGED, ids=[name.replace(" ", "-") for name in _DAMAGED])
def test_a_users_file_that_cannot_be_used_gives_no_user(lab: Lab, case: str) -> None:
    """S-06 (a FIFO hangs dockerd 20.10): named users are refused, numbers work, all at once."""
    with lab.image(_DAMAGED[case]) as image, lab.running(image=image) as container:
        before, began = resident_bytes(lab), time.monotonic()
        for user in ("bob", "bob:bob", "bob:0"):
            assert lab.run("id", image=image, User=user).status == 400
            assert lab.execute(container, "id", User=user).exit_code != 0
        assert ids(lab, image, "1000") == ["1000", "0"]
        assert ids(lab, image, "") == ["0", "0"]
        assert resident_bytes(lab) - before < 16 * _MEBIBYTE
        assert time.monotonic() - began < 9.0 * SLOWNESS  # nine answers


def test_a_groups_file_that_cannot_be_used_gives_no_group(lab: Lab) -> None:
    """S-06."""
    for kind in (tarfile.FIFOTYPE, tarfile.DIRTYPE):
        with lab.image(Member("etc/group", kind)) as image:
            assert lab.run("id", image=image, User="0:bob").status == 400
            assert ids(lab, image, "0:7") == ["0", "7"]


def test_a_name_that_is_a_number_is_the_name(lab: Lab) -> None:
    """S-06 (CVE-2016-3697): what the image calls 1000 is not root by surprise elsewhere."""
    with lab.image(file("etc/passwd", "1000:x:2000:2000::/:\n", 0o644)) as image:
        assert ids(lab, image, "1000") == ["2000", "2000"]
        assert ids(lab, image, "1001") == ["1001", "0"]


@pytest.mark.parametrize("user", ["-1", "4294967295", "4294967296", "0:-1", "1\n2", "a:b:c"])
def test_an_id_out_of_range_is_refused(lab: Lab, user: str) -> None:
    """S-06."""
    assert lab.run("id", User=user).status == 400


GROUPS = "os.setgroups([27, 999])"


def groups_of(lab: Lab) -> list[str]:
    """Return what the kernel says of ids, as user 1000, as bob and as root."""
    found = [lab.run("/probe", "groups", User=user).out.strip() for user in ("1000", "bob", "")]
    with lab.running() as container:
        found.append(lab.execute(container, "/probe", "groups", User="1000").out.strip())
    return found


_OWN_GROUPS = ["ids 1000 1000:", "ids 1000 1000:", "ids 0 0:", "ids 1000 1000:"]


def test_the_groups_of_who_started_the_engine_do_not_reach_a_program(weakened: Weaken) -> None:
    """S-07 (CVE-2022-36109's family)."""
    with weakened({}, GROUPS) as lab:
        assert groups_of(lab) == _OWN_GROUPS


def test_control_without_setgroups_they_do(weakened: Weaken) -> None:
    """S-07."""
    call = '    call("setgroups", count, address, subject=str(list(groups)))\n'
    changes = {"kernel/process.py": [(call, "    del address, count\n")]}
    lxc = {
        "runtime/lxc/calls.py": [('    table.add("setgroups", ', "    (lambda *_, **__: None)(")]
    }
    with weakened(changes, GROUPS, lxc=lxc) as lab:
        seen = groups_of(lab)
        # LXC itself gives the groups of a first program up; an added one does not come by it.
        assert all("27 999" in line for line in (seen[-1:] if lab.backend == "lxc" else seen))


def capabilities_in(lab: Lab, *command: str, **wish: object) -> dict[str, int]:
    """Return the sets that a program finds itself with."""
    script = command or ("grep", "Cap", "/proc/self/status")
    lines = lab.run(*script, **wish).lines
    return {line[3:6]: int(line.split()[1], 16) for line in lines}


def mask(names: tuple[str, ...]) -> int:
    """Return a set as the kernel shows it."""
    return sum(1 << number for number in numbers(names))


def test_the_bounding_set_is_an_allow_list(lab: Lab) -> None:
    """S-09: equal to the list, whatever this kernel knows, and nothing inherited (S-08)."""
    expected = mask(DEFAULT_CAPABILITIES)
    sets = capabilities_in(lab)
    assert sets == {"Inh": 0, "Prm": expected, "Eff": expected, "Bnd": expected, "Amb": 0}
    assert last_capability() + 1 > len(DEFAULT_CAPABILITIES)


def test_dropping_what_nobody_has_is_no_error(lab: Lab) -> None:
    """S-09: CAP_SYS_RESOURCE is not in this machine's bounding set."""
    sets = capabilities_in(lab, host={"CapDrop": list(CAPABILITIES)})
    assert set(sets.values()) == {0}
    sets = capabilities_in(lab, host={"CapDrop": ["SYS_RESOURCE"], "CapAdd": ["SYS_RESOURCE"]})
    assert sets["Inh"] == sets["Amb"] == 0


def test_a_user_has_no_capability_even_from_a_file(lab: Lab) -> None:
    """S-08 (CVE-2022-24769): a file with an inheritable capability gives none."""
    # struct vfs_cap_data, revision 2: magic with the effective bit, permitted, inheritable.
    net_raw = 1 << CAPABILITIES.index("CAP_NET_RAW")
    inheritable = struct.pack("<5I", 0x02000001, 0, net_raw, 0, 0)
    attributes = {"security.capability": inheritable.decode("utf-8", "surrogateescape")}
    busybox = Path("/bin/busybox").read_bytes()
    grep = file("caps/grep", busybox, attributes=attributes)
    with lab.image(grep) as image:
        command = ("/caps/grep", "Cap", "/proc/self/status")
        sets = capabilities_in(lab, *command, image=image, User="1000")
        assert sets["Bnd"] == mask(DEFAULT_CAPABILITIES)
        assert {sets[name] for name in ("Inh", "Prm", "Eff", "Amb")} == {0}


def test_control_with_inheritable_capabilities_the_file_gives_one(weakened: Weaken) -> None:
    """S-08, S-09: the set that was CVE-2022-24769, and everything in the bounding set."""
    changes = {
        "runtime/native/program.py": [
            (
                "capabilities.set_capabilities(sets.effective, sets.permitted, sets.inheritable)",
                "capabilities.set_capabilities(sets.effective, sets.permitted, sets.permitted)",
            ),
            ("    capabilities.limit_bounding_set(sets.bounding)\n", ""),
        ]
    }
    lxc = {
        "runtime/lxc/calls.py": [
            (
                "for kind in (sets.effective, sets.permitted, sets.inheritable)",
                "for kind in (sets.effective, sets.permitted, sets.permitted)",
            ),
            ('        table.add("prctl", _PR_CAPBSET_DROP, ', "        (lambda *_, **__: None)("),
        ]
    }
    with weakened(changes, lxc=lxc) as lab:
        sets = capabilities_in(lab)
        assert sets["Inh"] == mask(DEFAULT_CAPABILITIES)
        assert sets["Bnd"] > mask(DEFAULT_CAPABILITIES)
