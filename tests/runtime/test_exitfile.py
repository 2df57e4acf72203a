# SPDX-License-Identifier: Apache-2.0
"""The exit status as a file: whole or not there, and nothing that a disk gives is an exception."""

from __future__ import annotations

import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.runtime.exitfile import blank_exit_status, read_exit_status, write_exit_status
from toolkit.runtime.protocol import ExitStatus

STATUS = ExitStatus(
    exit_code=137, signal=9, oom_killed=True, finished_at=datetime(2026, 1, 2, 3, tzinfo=UTC)
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "exit.json"
    for code in (0, 137):
        status = ExitStatus(exit_code=code, finished_at=STATUS.finished_at)
        write_exit_status(str(path), status)
        assert read_exit_status(path) == status
    assert [entry.name for entry in tmp_path.iterdir()] == ["exit.json"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_status_is_on_the_disk_before_anybody_hears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row F-07: in place, or with its name where nobody has made the file before."""
    calls: list[str] = []
    path = tmp_path / "exit.json"
    for name in ("pwrite", "fsync", "fdatasync"):
        monkeypatch.setattr(os, name, _recorded(name, calls))
    write_exit_status(str(path), STATUS)
    write_exit_status(str(path), STATUS)
    assert calls == ["pwrite", "fdatasync", "fsync", "pwrite", "fdatasync"]


def test_a_blank_file_says_nothing_and_is_filled_without_new_space(tmp_path: Path) -> None:
    path = tmp_path / "exit.json"
    write_exit_status(str(path), STATUS)
    blank_exit_status(path)
    before = path.stat()
    assert read_exit_status(path) is None
    write_exit_status(str(path), STATUS)
    after = path.stat()
    assert read_exit_status(path) == STATUS
    assert (before.st_ino, before.st_size) == (after.st_ino, after.st_size)


def _recorded(name: str, calls: list[str]) -> object:
    real = getattr(os, name)

    def call(*arguments: object) -> object:
        calls.append(name)
        return real(*arguments)

    return call


def test_no_file_is_no_status(tmp_path: Path) -> None:
    assert read_exit_status(tmp_path / "none") is None
    assert read_exit_status(tmp_path) is None


WORDS = st.one_of(
    st.none(), st.integers(), st.floats(), st.text(), st.lists(st.integers(), max_size=2),
    st.sampled_from(["0001-01-01T00:00:00+14:00", "2026-01-01T00:00:00", "2026-01-01"]),
)  # fmt: skip


@given(
    st.one_of(
        st.binary(max_size=60),
        st.dictionaries(st.sampled_from(list(STATUS.to_message())), WORDS).map(
            lambda message: json.dumps(message).encode()
        ),
        WORDS.map(lambda value: json.dumps(value).encode()),
    )
)
def test_a_damaged_file_is_no_status(content: bytes) -> None:
    """Row F-06."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "exit.json"
        path.write_bytes(content)
        assert read_exit_status(path) is None or isinstance(read_exit_status(path), ExitStatus)


@pytest.mark.parametrize("part", [0, 0.01, 0.25, 0.5, 0.75, 0.97])
def test_a_part_of_a_file_is_no_status(tmp_path: Path, part: float) -> None:
    path = tmp_path / "exit.json"
    write_exit_status(str(path), STATUS)
    content = path.read_bytes().rstrip()
    path.write_bytes(content[: int(len(content) * part)])
    assert read_exit_status(path) is None
