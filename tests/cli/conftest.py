# SPDX-License-Identifier: Apache-2.0
"""The command line on a stub engine, its output caught at the descriptors."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.fakes.stub_engine import StubEngine
from toolkit.cli.main import run_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Result(NamedTuple):
    exit_code: int
    out: str
    err: str


class CommandLine:
    """Runs `toolkit` with words, against the stub."""

    def __init__(self, url: str, capfd: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self._capfd = capfd

    def __call__(self, *words: str) -> Result:
        return self.at(self.url, *words)

    def at(self, url: str, *words: str) -> Result:
        """Run against another engine."""
        self._capfd.readouterr()
        exit_code = run_command(["--host", url, *words])
        return Result(exit_code, *self._capfd.readouterr())


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubEngine]:
    engine = StubEngine()
    with engine.serving(tmp_path / "engine.sock"):
        yield engine


@pytest.fixture
def toolkit(
    stub: StubEngine,  # noqa: ARG001  # it serves meanwhile
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> CommandLine:
    return CommandLine(f"unix://{tmp_path}/engine.sock", capfd)
