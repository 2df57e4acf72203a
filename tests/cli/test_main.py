# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from tests.fakes.stub_engine import StubEngine, says, streams
from toolkit import __version__
from toolkit.cli.main import cli, run_command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine

GROUPS = ("container", "image", "system")


def every_command() -> list[list[str]]:
    context = click.Context(cli)
    words = [[name] for name in cli.list_commands(context)]
    for name in GROUPS:
        group = cli.get_command(context, name)
        assert isinstance(group, click.Group)
        words += [[name, one] for one in group.list_commands(context)]
    return words


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_can_be_found_and_explains_itself(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run_command([*words, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: toolkit {' '.join(words)}")


def test_an_unknown_flag_is_125_as_dockers(toolkit: CommandLine) -> None:
    result = toolkit("ps", "--bogus")
    assert result.exit_code == 125
    assert result.err.startswith("toolkit: No such option")


@pytest.mark.parametrize("words", [["rm"], ["run"], ["exec", "x"], ["logs", "a", "b"], ["nope"]])
def test_a_wrong_number_of_words_is_1(
    toolkit: CommandLine, stub: StubEngine, words: list[str]
) -> None:
    result = toolkit(*words)
    assert result.exit_code == 1
    assert "--help" in result.err
    assert stub.requests == []


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out == f"toolkit version {__version__}\n"


def test_a_command_imports_nothing_that_it_does_not_need() -> None:
    code = (
        "import sys; from toolkit.cli.main import run_command; "
        "run_command(['-H', 'unix:///nonexistent', 'run', 'x']); print(*sorted(sys.modules))"
    )
    listed = subprocess.check_output(
        [sys.executable, "-c", code], text=True, stderr=subprocess.DEVNULL
    )
    loaded = set(listed.split())
    assert not loaded & {
        "asyncio",
        "msgspec",
        "h11",
        "rich",
        "pathlib",
        "toolkit.config",
        "tarfile",
    }
    assert not loaded & {
        "toolkit.cli.images",
        "toolkit.cli.containers",
        "toolkit.client.local_engine",
    }


def test_an_output_that_nobody_reads_ends_the_command_quietly(
    stub: StubEngine, tmp_path: Path
) -> None:
    stub.on("GET /containers/x/json", says(200, {"Config": {"Tty": True}}))
    stub.on("GET /containers/x/logs", streams([b"line\n"] * 3))
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    words = ["-H", f"unix://{tmp_path}/engine.sock", "logs", "x"]
    result = subprocess.run(
        [sys.executable, "-m", "toolkit.cli.main", *words],
        stdout=write_fd,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write_fd)
    assert (result.returncode, result.stderr) == (141, b"")
