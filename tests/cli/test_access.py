# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from toolkit.cli.access import EngineAccess, EngineNotStartedError
from toolkit.client import Host
from toolkit.errors import EngineUnreachableError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def default_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Make an address that nobody named the default, and nobody listens there."""
    host = Host(f"unix://{tmp_path}/engine.sock", "default", "mine")
    monkeypatch.setattr("toolkit.cli.access.resolve_host", lambda *_: host)
    return host


def test_root_starts_the_engine_of_the_default_instance(
    default_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("toolkit.client.local_engine.start_engine", started.append)
    assert EngineAccess(None).client.host == default_host.url
    assert started == ["mine"]


@pytest.mark.usefixtures("default_host")
def test_others_are_told_to_be_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(EngineNotStartedError, match="Cannot connect") as caught:
        _ = EngineAccess(None).client
    assert "root" in caught.value.hint


def test_an_engine_that_was_named_is_never_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_instance: str) -> None:
        pytest.fail("started an engine")

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("toolkit.client.local_engine.start_engine", refuse)
    with pytest.raises(EngineUnreachableError):
        _ = EngineAccess(f"unix://{tmp_path}/none").client
