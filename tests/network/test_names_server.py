# SPDX-License-Identifier: Apache-2.0
"""The name server as a process, as the engine starts and finds it."""

from __future__ import annotations

import os
import signal
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from toolkit.errors import NameServerError
from toolkit.network.dns.table import NameRecord
from toolkit.network.names_server import NamesServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def names(tmp_path: Path) -> Iterator[NamesServer]:
    made = NamesServer(tmp_path / "names")
    assert made.open()
    yield made
    made.stop()


def test_it_outlives_the_engine_and_the_next_one_finds_it(
    names: NamesServer, tmp_path: Path
) -> None:
    names.publish("n", "back", NameRecord("1", ("web",), (ip_address("10.0.0.1"),)))
    pid = names.state().pid
    names.close()
    successor = NamesServer(tmp_path / "names")
    assert not successor.open()
    assert successor.state().pid == pid != os.getpid()
    assert successor.state().published == {"n": {"1"}}
    successor.close()
    assert not names.open()


def test_one_that_was_killed_is_replaced(names: NamesServer) -> None:
    pid = names.state().pid
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(NameServerError, match="the name server is gone"):
        names.state()
    assert names.open()
    assert names.state().pid != pid


def test_its_socket_is_for_our_user_alone_and_goes_with_it(
    names: NamesServer, tmp_path: Path
) -> None:
    """Row S-87."""
    assert (tmp_path / "names").stat().st_mode & 0o777 == 0o700
    names.stop()
    assert list((tmp_path / "names").iterdir()) == []
    with pytest.raises(NameServerError, match="not connected"):
        names.state()
