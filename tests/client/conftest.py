# SPDX-License-Identifier: Apache-2.0
"""A client on a stub engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.stub_engine import StubEngine
from toolkit.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def stub() -> StubEngine:
    return StubEngine()


@pytest.fixture
def client(stub: StubEngine, tmp_path: Path) -> Iterator[Client]:
    with stub.serving(tmp_path / "engine.sock") as url, Client(url, timeout_seconds=10) as client:
        yield client
