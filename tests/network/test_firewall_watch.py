# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import struct
import threading
from typing import TYPE_CHECKING, Any

from toolkit.network import firewall_watch as module
from toolkit.network.firewall_watch import RulesWatch
from toolkit.network.netlink import attribute

if TYPE_CHECKING:
    import pytest

OURS, THEIRS = 100, 200
NEW_GENERATION, NEW_RULE = 10 << 8 | 15, 10 << 8 | 6


class Multicast:
    """What comes, and at the end nothing."""

    def __init__(self, *events: Any) -> None:
        self._events = list(events)

    def receive(self) -> Any:
        if not self._events:
            raise BlockingIOError
        event = self._events.pop(0)
        if isinstance(event, OSError):
            raise event
        return [event]


def transaction_of(pid: int) -> tuple[int, bytes]:
    return NEW_GENERATION, bytes(4) + attribute(2, struct.pack("!I", pid))


def changed(monkeypatch: pytest.MonkeyPatch, *events: Any) -> bool:
    monkeypatch.setattr(module, "NetlinkSocket", lambda *_, **__: Multicast(*events))
    return RulesWatch(lambda: frozenset({OURS})).changed_by_others()


def test_our_own_transactions_are_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not changed(monkeypatch)
    assert not changed(monkeypatch, (NEW_RULE, bytes(4)), transaction_of(OURS))


def test_a_transaction_of_another_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert changed(monkeypatch, transaction_of(OURS), transaction_of(THEIRS))


def test_lost_messages_may_have_been_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    assert changed(monkeypatch, OSError(errno.ENOBUFS, "lost"))


def test_a_thread_of_ours_is_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel names the thread, not the process."""
    told: list[bool] = []

    def write_in_a_thread() -> None:
        told.append(changed(monkeypatch, transaction_of(threading.get_native_id())))

    thread = threading.Thread(target=write_in_a_thread)
    thread.start()
    thread.join()
    assert told == [False]
