# SPDX-License-Identifier: Apache-2.0
"""Messages between engine, launcher and shim: whole, with their descriptors, or not at all."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.runtime.protocol import (
    MAX_MESSAGE_BYTES,
    AttachClient,
    ExitStatus,
    is_root_peer,
    receive_message,
    send_message,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

Pair = tuple[socket.socket, socket.socket]

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=10,
)


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


@given(st.lists(st.dictionaries(st.text(max_size=9), VALUES, max_size=4), max_size=4))
def test_messages_arrive_whole_and_in_order(messages: list[dict[str, object]]) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        for message in messages:
            send_message(ours, message)
        assert [receive_message(theirs) for _ in messages] == [(item, []) for item in messages]


@given(
    st.builds(
        AttachClient, fd=st.just(7), pending=st.binary(max_size=100),
        stdin=st.booleans(), stdout=st.booleans(), stderr=st.booleans(), logs=st.booleans(),
        stream=st.booleans(), framed=st.booleans(), detach_keys=st.binary(max_size=4),
    )
)  # fmt: skip
def test_a_client_crosses_unchanged(client: AttachClient) -> None:
    assert AttachClient.from_message(client.to_message(), 7) == client


@given(
    st.builds(
        ExitStatus, exit_code=st.integers(0, 255), signal=st.integers(0, 64),
        oom_killed=st.booleans(), finished_at=st.datetimes(timezones=st.just(UTC)),
    )
)  # fmt: skip
def test_an_exit_status_crosses_unchanged(status: ExitStatus) -> None:
    assert ExitStatus.from_message(status.to_message()) == status


def test_a_time_of_elsewhere_is_read_as_utc() -> None:
    message = {"exit_code": 0, "signal": 0, "oom_killed": False,
               "finished_at": "2026-01-01T02:00:00+02:00"}  # fmt: skip
    assert ExitStatus.from_message(message).finished_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_descriptors_arrive_close_on_exec_and_the_senders_stay_open(pair: Pair) -> None:
    """Row S-02: none of them may reach a program by itself."""
    read_fd, write_fd = os.pipe()
    os.set_inheritable(write_fd, True)  # noqa: FBT003 - the call takes no keyword
    send_message(pair[0], {"op": "x"}, [write_fd])
    received = receive_message(pair[1])
    assert received is not None
    message, (copy_fd,) = received
    assert message == {"op": "x"}
    assert not os.get_inheritable(copy_fd)
    os.write(copy_fd, b"through the copy")
    assert os.read(read_fd, 100) == b"through the copy"
    for fd in (read_fd, write_fd, copy_fd):
        os.close(fd)


def test_none_says_that_the_other_side_is_gone(pair: Pair) -> None:
    send_message(pair[0], {"last": 1})
    pair[0].close()
    assert receive_message(pair[1]) == ({"last": 1}, [])
    assert receive_message(pair[1]) is None


def test_a_socket_that_does_not_block_says_that_nothing_has_come(pair: Pair) -> None:
    pair[1].settimeout(0)
    with pytest.raises(BlockingIOError):
        receive_message(pair[1])


def test_what_is_no_message_costs_no_descriptor(pair: Pair) -> None:
    read_fd, write_fd = os.pipe()
    socket.send_fds(pair[0], [b"{"], [write_fd])
    os.close(write_fd)
    with pytest.raises(ValueError, match="property name"):
        receive_message(pair[1])
    assert os.read(read_fd, 1) == b""  # nobody holds the other end any more
    os.close(read_fd)


def test_a_message_that_is_too_large_is_refused_or_cut_visibly(pair: Pair) -> None:
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_MESSAGE_BYTES)
    try:
        send_message(pair[0], {"pending": "x" * MAX_MESSAGE_BYTES})
    except OSError:
        return
    with pytest.raises(ValueError, match="Unterminated"):
        receive_message(pair[1])


def test_the_largest_hand_over_fits(pair: Pair) -> None:
    """A client's pending bytes are at most what the engine reads behind a head."""
    client = AttachClient(fd=0, pending=b"x" * 65536)
    send_message(pair[0], {"op": "start", "clients": [client.to_message()]}, [0] * 17)
    received = receive_message(pair[1])
    assert received is not None
    message, fds = received
    assert AttachClient.from_message(message["clients"][0], 0) == client
    assert len(fds) == 17
    for fd in fds:
        os.close(fd)


def test_a_peer_is_root_when_it_is(pair: Pair) -> None:
    """Row S-87."""
    assert is_root_peer(pair[0]) == (os.geteuid() == 0)
