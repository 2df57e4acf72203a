# SPDX-License-Identifier: Apache-2.0
"""The counters of interfaces."""

from __future__ import annotations

import os

from toolkit.kernel.process import start_time_ticks
from toolkit.network.traffic import Traffic, parse_traffic, read_traffic

SHOWN = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    1200      12    0    0    0     0          0         0     1200      12    0    0    0     0       0          0
  eth0:1112       1 2    3    4     5          6         7     8      9    10   11    12     13       14          15
"""  # noqa: E501 - the kernel's lines


def test_the_kernels_table_is_read_without_the_loopback() -> None:
    assert parse_traffic(SHOWN) == {
        "eth0": Traffic(
            rx_bytes=1112,
            rx_packets=1,
            rx_errors=2,
            rx_dropped=3,
            tx_bytes=8,
            tx_packets=9,
            tx_errors=10,
            tx_dropped=11,
        )
    }


def test_another_process_of_that_number_has_nothing_to_show() -> None:
    ticks = start_time_ticks(os.getpid())
    assert ticks is not None
    assert "lo" not in read_traffic(os.getpid(), ticks)
    assert read_traffic(os.getpid(), ticks + 1) == {}
    assert read_traffic(2**22 + 1, 0) == {}
