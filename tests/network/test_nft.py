# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.errors import FirewallError
from toolkit.network.nft import NftBoth, NftCommand, find_nft

if TYPE_CHECKING:
    from pathlib import Path

TABLE = {"table": {"family": "ip", "name": "x"}}


def program(directory: Path, script: str) -> str:
    path = directory / "nft"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_transaction_is_one_document_of_json(tmp_path: Path) -> None:
    NftCommand(program(tmp_path, f"cat > {tmp_path}/given")).run([{"add": TABLE}])
    assert json.loads((tmp_path / "given").read_text()) == {"nftables": [{"add": TABLE}]}


@pytest.mark.parametrize("end", ["exit 1", "kill -SEGV $$"])
def test_a_program_that_fails_or_crashes_is_an_error(tmp_path: Path, end: str) -> None:
    runner = NftCommand(program(tmp_path, f"echo no such table >&2; {end}"))
    with pytest.raises(FirewallError, match="no such table"):
        runner.run([{"add": TABLE}])
    assert runner.list(TABLE) == []
    assert len(runner.writer_pids) == 2


def test_what_is_listed_comes_without_the_head(tmp_path: Path) -> None:
    answer = json.dumps({"nftables": [{"metainfo": {}}, TABLE]})
    assert NftCommand(program(tmp_path, f"echo '{answer}'")).list(TABLE) == [TABLE]


def test_a_host_without_nft_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_nft() is None


class Recorder:
    def __init__(self, number: int) -> None:
        self.ran: list[Any] = []
        self.writer_pids = frozenset({number})

    def run(self, commands: Any) -> None:
        self.ran.append(commands)

    def list(self, what: Any) -> Any:
        return [what]


def element(value: Any) -> Any:
    return {"add": {"element": {"family": "ip", "table": "x", "name": "m", "elem": [value]}}}


def test_the_library_is_given_elements_alone() -> None:
    """A library that crashes takes the engine with it."""
    library, command = Recorder(1), Recorder(2)
    both = NftBoth(library, command)  # type: ignore[arg-type]  # they only record
    plain, jump = element("a"), element(["a", {"jump": {"target": "b"}}])
    for commands in ([plain], [plain, {"add": TABLE}], [jump]):
        both.run(commands)
    assert library.ran == [[plain]]
    assert len(command.ran) == 2
    assert both.writer_pids == {1, 2}
    assert both.list(TABLE) == [TABLE]
