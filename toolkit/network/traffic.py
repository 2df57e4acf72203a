# SPDX-License-Identifier: Apache-2.0
"""What the interfaces of a process have received and sent, as the kernel counts it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from toolkit.kernel.process import start_time_ticks

_LOOPBACK: Final = "lo"
_TITLE_LINES: Final = 2
_MOST_BYTES: Final = 1 << 20  # some thousand interfaces


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """The counters of one interface, since it was made."""

    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


def read_traffic(pid: int, ticks: int) -> dict[str, Traffic]:
    """Return the counters of a process's interfaces by name, without the loopback.

    Args:
        pid: The process.
        ticks: When it began: another process of that number has nothing to show.
    """
    try:
        with open(f"/proc/{pid}/net/dev", "rb") as file:  # noqa: PTH123 - no path is made of it
            text = os.read(file.fileno(), _MOST_BYTES).decode("ascii", "replace")
    except OSError:
        return {}
    return parse_traffic(text) if start_time_ticks(pid) == ticks else {}


def parse_traffic(text: str) -> dict[str, Traffic]:
    """Return the counters of ``/proc/PID/net/dev``."""
    found = {}
    for line in text.splitlines()[_TITLE_LINES:]:
        name, _, words = line.rpartition(":")
        numbers = [int(word) for word in words.split()]
        if name.strip() != _LOOPBACK:
            found[name.strip()] = Traffic(
                rx_bytes=numbers[0],
                rx_packets=numbers[1],
                rx_errors=numbers[2],
                rx_dropped=numbers[3],
                tx_bytes=numbers[8],
                tx_packets=numbers[9],
                tx_errors=numbers[10],
                tx_dropped=numbers[11],
            )
    return found
