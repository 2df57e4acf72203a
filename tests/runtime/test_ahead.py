# SPDX-License-Identifier: Apache-2.0
"""Shims that wait for a start: the oldest takes it, one that has died is passed over."""

from __future__ import annotations

import os
import pathlib
import socket
from typing import TYPE_CHECKING

import pytest

from toolkit.runtime.ahead import ShimsAhead
from toolkit.runtime.protocol import receive_message

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST = {"op": "start", "bundle": "/somewhere"}


@pytest.fixture
def ahead() -> Iterator[ShimsAhead]:
    shims = ShimsAhead()
    yield shims
    shims.close()


def waiting(ahead: ShimsAhead, *, has_namespace: bool = True) -> tuple[socket.socket, int]:
    """Let one more shim wait; return its own end, and the namespace that it handed over."""
    engines, shims = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    namespace = os.open("/dev/null", os.O_RDONLY) if has_namespace else -1
    ahead.add([engines.detach(), *([namespace] if has_namespace else [])])
    return shims, namespace


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_without_one_nobody_takes_a_start(ahead: ShimsAhead) -> None:
    assert ahead.give(REQUEST, []) is None


def test_the_oldest_takes_it_with_its_descriptors(ahead: ShimsAhead) -> None:
    (first, namespace), (second, _) = waiting(ahead), waiting(ahead)
    with first, second, pathlib.Path("/dev/zero").open("rb") as given:
        assert ahead.give(REQUEST, [given.fileno()]) == [namespace]
        received = receive_message(first)
        assert received is not None
        message, fds = received
        assert message == {**REQUEST, "has_offered": True}
        assert os.fstat(fds[0]).st_rdev == os.fstat(given.fileno()).st_rdev
        os.close(fds[0])
        os.close(namespace)
        second.settimeout(0)
        with pytest.raises(BlockingIOError):
            receive_message(second)


def test_one_without_a_namespace_offers_its_own_later(ahead: ShimsAhead) -> None:
    shim, _ = waiting(ahead, has_namespace=False)
    with shim:
        assert ahead.give(REQUEST, []) == []
        received = receive_message(shim)
        assert received is not None
        assert received[0]["has_offered"] is False


def test_a_dead_one_is_passed_over_and_nothing_of_it_is_kept(ahead: ShimsAhead) -> None:
    (dead, lost), (alive, namespace) = waiting(ahead), waiting(ahead)
    dead.close()
    with alive:
        assert ahead.give(REQUEST, []) == [namespace]
    assert not is_open(lost)
    os.close(namespace)


def test_those_that_are_let_go_hear_it(ahead: ShimsAhead) -> None:
    shim, namespace = waiting(ahead)
    ahead.close()
    with shim:
        assert receive_message(shim) is None
    assert not is_open(namespace)
    assert ahead.give(REQUEST, []) is None
