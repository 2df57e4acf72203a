# SPDX-License-Identifier: Apache-2.0
"""What a control group has used, as values, and how its files are read.

Units at the end of each name; None is "no limit". Docker's names for these are
the API's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

# cgroup v1 says "no limit" as the largest multiple of a page below 2**63.
_NO_LIMIT: Final = 2**62
_USER_HZ: Final = 100
_NS_PER_TICK: Final = 10**9 // _USER_HZ


@dataclass(frozen=True, kw_only=True)
class BlkioEntry:
    """Bytes or operations of one kind on one device."""

    major: int
    minor: int
    operation: str
    value: int


@dataclass(frozen=True, kw_only=True)
class CgroupStats:
    """What a group uses and has used; what its host does not count is 0 or empty.

    Attributes:
        memory_max_usage_bytes: The most it has used at once.
        memory_failures: How often it met its limit.
        memory_stats: The kernel's own table (``memory.stat``).
        memory_limit_bytes, pids_limit: None for no limit.
        cpu_throttled_periods: Of *cpu_periods*, those in which it met its quota.
    """

    memory_usage_bytes: int = 0
    memory_limit_bytes: int | None = None
    memory_max_usage_bytes: int = 0
    memory_failures: int = 0
    memory_stats: dict[str, int] = field(default_factory=dict)
    cpu_total_ns: int = 0
    cpu_user_ns: int = 0
    cpu_system_ns: int = 0
    cpu_per_cpu_ns: tuple[int, ...] = ()
    cpu_periods: int = 0
    cpu_throttled_periods: int = 0
    cpu_throttled_ns: int = 0
    pids_current: int = 0
    pids_limit: int | None = None
    blkio_bytes: tuple[BlkioEntry, ...] = ()
    blkio_operations: tuple[BlkioEntry, ...] = ()


def parse_number(text: str | None) -> int:
    """Return a file's one number; 0 when there is no such file."""
    return int(text) if text and text.strip() != "max" else 0


def parse_limit(text: str | None) -> int | None:
    """Return a limit; None for none, in v1's or v2's words."""
    if not text or text.strip() in {"max", "-1"}:
        return None
    value = int(text)
    return None if value >= _NO_LIMIT else value


def parse_table(text: str | None) -> dict[str, int]:
    """Return the lines ``name number`` of a file; others are left out."""
    rows = (line.split() for line in (text or "").splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}  # noqa: PLR2004 - a name and a number


def ticks_to_ns(ticks: int) -> int:
    """Return the nanoseconds of cpuacct's ticks."""
    return ticks * _NS_PER_TICK


def parse_blkio(text: str | None) -> tuple[BlkioEntry, ...]:
    """Read v1's lines ``8:0 Read 4096``; totals are left out."""
    entries = []
    for line in (text or "").splitlines():
        device, _, rest = line.partition(" ")
        operation, _, value = rest.partition(" ")
        if ":" in device and operation != "Total":
            entries.append(_entry(device, operation, int(value)))
    return tuple(entries)


def parse_io_stat(text: str | None, keys: dict[str, str]) -> tuple[BlkioEntry, ...]:
    """Read v2's lines ``8:0 rbytes=1 wbytes=2``; *keys* maps their words to operations."""
    entries = []
    for line in (text or "").splitlines():
        device, *pairs = line.split()
        for pair in pairs:
            key, _, value = pair.partition("=")
            if key in keys:
                entries.append(_entry(device, keys[key], int(value)))
    return tuple(entries)


def _entry(device: str, operation: str, value: int) -> BlkioEntry:
    major, _, minor = device.partition(":")
    return BlkioEntry(major=int(major), minor=int(minor), operation=operation, value=value)
