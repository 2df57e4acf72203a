# SPDX-License-Identifier: Apache-2.0
"""Tells that somebody else has changed the firewall, by nfnetlink's multicast.

For an event loop: wait until `fileno` is readable, then ask `changed_by_others`;
if so, compare with `Firewall.missing` after a moment. Legacy iptables sends
nothing: there the comparison at each change and `doctor --repair` remain.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from toolkit.network.netlink import NETLINK_NETFILTER, NetlinkSocket, attributes

if TYPE_CHECKING:
    from collections.abc import Callable

_NFNLGRP_NFTABLES: Final = 7
_NFNL_SUBSYS_NFTABLES: Final = 10
_NFT_MSG_NEWGEN: Final = _NFNL_SUBSYS_NFTABLES << 8 | 15
_NFTA_GEN_PROC_PID: Final = 2
_HEAD_BYTES: Final = 4


_THREADS: Final = Path("/proc/self/task")


class RulesWatch:
    """Listens for transactions of nftables, in the namespace that it was made in."""

    def __init__(self, own_pids: Callable[[], frozenset[int]]) -> None:
        """Begin to listen.

        Args:
            own_pids: The processes that write for us; their changes are no news.
        """
        self._own_pids = own_pids
        self._netlink = NetlinkSocket(NETLINK_NETFILTER, groups=1 << (_NFNLGRP_NFTABLES - 1))

    def fileno(self) -> int:
        """Return the descriptor that becomes readable with each change."""
        return self._netlink.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._netlink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def changed_by_others(self) -> bool:
        """Take all that has come; tell whether a change was made by another process.

        Also true where messages were lost. A change of ours that is told before
        its process is known counts as foreign: a comparison too many, no more.
        """
        writers: set[int] = set()
        while True:
            try:
                messages = self._netlink.receive()
            except BlockingIOError:
                return any(not _is_own_thread(pid) for pid in writers - self._own_pids())
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                writers.add(0)
                continue
            for kind, body in messages:
                if kind == _NFT_MSG_NEWGEN:
                    pid = attributes(body, _HEAD_BYTES).get(_NFTA_GEN_PROC_PID, b"")
                    writers.add(int.from_bytes(pid, "big"))


def _is_own_thread(pid: int) -> bool:
    """Tell whether a change came from this process: the kernel names the thread that made it."""
    return pid > 0 and (_THREADS / str(pid)).exists()
