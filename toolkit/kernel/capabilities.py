# SPDX-License-Identifier: Apache-2.0
"""Capabilities of the calling thread: names, sets, and giving them up.

Owns numbers, names and the four calls that change the sets. Which capabilities
a container keeps is `toolkit.runtime`'s. Everything but `last_capability` runs
after the root switch: it opens no file and imports nothing.
"""

from __future__ import annotations

import ctypes
import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from toolkit.errors import InvalidRequestError, KernelCallError
from toolkit.kernel.syscalls import LIBC, check

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# include/uapi/linux/capability.h: the index is the number.
CAPABILITIES: Final[tuple[str, ...]] = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
_NUMBERS: Final = {name: number for number, name in enumerate(CAPABILITIES)}

PR_SET_KEEPCAPS: Final = 8
PR_CAPBSET_READ: Final = 23
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_IS_SET: Final = 1
PR_CAP_AMBIENT_RAISE: Final = 2
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

_VERSION_3: Final = 0x20080522
_SET_BITS: Final = 64


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


# Own function objects: argument types set on LIBC's shared ones would bind other modules too.
_prctl = LIBC["prctl"]
_prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
_capset = LIBC["capset"]
_capget = LIBC["capget"]


@dataclass(frozen=True, kw_only=True)
class CapabilitySets:
    """The five sets of a process, by number."""

    bounding: frozenset[int] = frozenset()
    effective: frozenset[int] = frozenset()
    permitted: frozenset[int] = frozenset()
    inheritable: frozenset[int] = frozenset()
    ambient: frozenset[int] = frozenset()

    @classmethod
    def from_document(cls, document: Mapping[str, Sequence[str]], last: int) -> Self:
        """Read ``process.capabilities`` of an OCI document; a missing set is empty.

        Raises:
            InvalidRequestError: A name is not a capability.
        """
        kinds = ("bounding", "effective", "permitted", "inheritable", "ambient")
        return cls(**{kind: parse_capabilities(document.get(kind, ()), last) for kind in kinds})

    def limited_to(self, held: CapabilitySets) -> CapabilitySets:
        """Return the part that a process which holds *held* can give itself.

        A capability that the engine itself does not have is left out silently:
        asking the kernel for it would fail the whole call (row S-09).
        """
        permitted = self.permitted & held.permitted
        inheritable = self.inheritable & (held.inheritable | held.permitted)
        return CapabilitySets(
            bounding=self.bounding & held.bounding,
            effective=self.effective & permitted,
            permitted=permitted,
            inheritable=inheritable,
            ambient=self.ambient & permitted & inheritable,
        )


def last_capability() -> int:
    """Return the highest number that this kernel knows; opens a file of /proc."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        return int(file.read())


def parse_capability(name: str) -> int:
    """Return the number of a name, with or without ``CAP_``, in any case.

    Raises:
        InvalidRequestError: No capability has that name.
    """
    upper = name.upper()
    number = _NUMBERS.get(upper if upper.startswith("CAP_") else f"CAP_{upper}")
    if number is None:
        raise InvalidRequestError(f"unknown capability {name!r}")
    return number


def numbers(names: Iterable[str]) -> frozenset[int]:
    """Return the numbers of *names*; ``ALL`` stands for every one that has a name here.

    Raises:
        InvalidRequestError: A name is not a capability.
    """
    return parse_capabilities(names, len(CAPABILITIES) - 1)


def parse_capabilities(names: Iterable[str], last: int) -> frozenset[int]:
    """Return the numbers of *names*; ``ALL`` stands for every one up to *last*.

    What this kernel does not know yet is left out, as it cannot be held.

    Raises:
        InvalidRequestError: A name is not a capability.
    """
    found: set[int] = set()
    for name in names:
        if name.upper() in {"ALL", "CAP_ALL"}:
            found.update(range(last + 1))
        else:
            found.add(parse_capability(name))
    return frozenset(number for number in found if number <= last)


def held_capabilities() -> CapabilitySets:
    """Return the sets of the calling thread, by calls alone."""
    header = _Header(_VERSION_3, 0)
    sets = (_Sets * 2)()
    check(_capget(ctypes.byref(header), sets), KernelCallError, "capget")
    return CapabilitySets(
        bounding=_answering(PR_CAPBSET_READ),
        effective=_numbers(sets[0].effective | sets[1].effective << 32),
        permitted=_numbers(sets[0].permitted | sets[1].permitted << 32),
        inheritable=_numbers(sets[0].inheritable | sets[1].inheritable << 32),
        ambient=_answering(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET),
    )


def limit_bounding_set(keep: frozenset[int], last: int = _SET_BITS - 1) -> None:
    """Drop everything but *keep* from the bounding set, up to *last* or the kernel's last.

    One that is not in the set is no error (row S-09). Needs CAP_SETPCAP for the others.

    Raises:
        KernelCallError: The kernel refused to drop one.
    """
    for number in range(last + 1):
        present = _prctl(PR_CAPBSET_READ, number, 0, 0, 0)
        if present == -1:  # beyond the last one that this kernel knows
            return
        if present and number not in keep:
            dropped = _prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
            check(dropped, KernelCallError, "prctl(PR_CAPBSET_DROP)", number)


def set_capabilities(
    effective: frozenset[int], permitted: frozenset[int], inheritable: frozenset[int]
) -> None:
    """Set three of the sets of the calling thread by capset(2); securebits stay as they are.

    Raises:
        KernelCallError: EPERM when more is asked for than the thread holds.
    """
    header = _Header(_VERSION_3, 0)
    masks = [_mask(kind) for kind in (effective, permitted, inheritable)]
    sets = (_Sets * 2)(
        _Sets(*(mask & 0xFFFFFFFF for mask in masks)), _Sets(*(mask >> 32 for mask in masks))
    )
    check(_capset(ctypes.byref(header), sets), KernelCallError, "capset")


def clear_ambient() -> None:
    """Empty the ambient set; a kernel before 4.3 has none (row S-08)."""
    result = _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    if result == -1 and ctypes.get_errno() != errno.EINVAL:
        check(result, KernelCallError, "prctl(PR_CAP_AMBIENT_CLEAR_ALL)")


def raise_ambient(wanted: frozenset[int]) -> None:
    """Add *wanted* to the ambient set; each must be permitted and inheritable.

    Raises:
        KernelCallError: EPERM when one is not.
    """
    for number in sorted(wanted):
        raised = _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0)
        check(raised, KernelCallError, "prctl(PR_CAP_AMBIENT_RAISE)", number)


def keep_capabilities_over_setuid(*, enabled: bool) -> None:
    """Choose whether the permitted set outlives the change to another user."""
    kept = _prctl(PR_SET_KEEPCAPS, int(enabled), 0, 0, 0)
    check(kept, KernelCallError, "prctl(PR_SET_KEEPCAPS)")


def set_no_new_privileges() -> None:
    """Forbid this thread and its children, for ever, to gain privileges by exec."""
    forbidden = _prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    check(forbidden, KernelCallError, "prctl(PR_SET_NO_NEW_PRIVS)")


def _answering(*question: int) -> frozenset[int]:
    padding = (0,) * (3 - len(question))
    found = set()
    for number in range(_SET_BITS):
        answer = _prctl(*question, number, *padding, 0)
        if answer == -1:
            break
        if answer:
            found.add(number)
    return frozenset(found)


def _mask(kind: frozenset[int]) -> int:
    return sum(1 << number for number in kind)


def _numbers(mask: int) -> frozenset[int]:
    return frozenset(number for number in range(_SET_BITS) if mask >> number & 1)
