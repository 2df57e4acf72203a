# SPDX-License-Identifier: Apache-2.0
"""The engine's process, as far as it goes without root."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from toolkit.api.main import run_engine
from toolkit.config import Instance

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(name="unittest", data_dir=tmp_path / "data", run_dir=tmp_path / "run")


def test_without_root_it_says_so_in_one_line(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert run_engine(instance) == 125
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err == "toolkit engine: the engine needs root: start it with sudo.\n"
    assert not instance.run_dir.exists()


def test_an_unknown_log_level_is_named(
    instance: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_engine(instance, log_level="loud") == 125
    assert "log level 'loud'" in capsys.readouterr().err
