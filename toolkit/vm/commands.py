# SPDX-License-Identifier: Apache-2.0
"""Other people's programs, run once each, with what they said kept for the error.

Owns how a program is started here. Which one, and what its answer means, is the
caller's.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING

from toolkit.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_TAIL_LINES = 20


def run(
    argv: Sequence[str],
    *,
    timeout_seconds: float = 60,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> str:
    """Run a program to its end and return what it wrote to its standard output.

    Args:
        argv: The program and its arguments.
        timeout_seconds: How long it may take.
        environ: What its environment has beside ours.
        directory: Where it runs; here, if not given.

    Raises:
        MachineError: It is not there, took too long, or failed; with its last lines.
    """
    shown = shlex.join(argv)
    try:
        done = subprocess.run(  # noqa: S603 - argv is a list, and no shell reads it
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout_seconds,
            env={**os.environ, **(environ or {})},
            cwd=directory,
        )
    except FileNotFoundError as error:
        raise MachineError(f"{argv[0]}: no such program on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"{shown}: not done after {timeout_seconds:g} s") from error
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).splitlines()[-_TAIL_LINES:])
        raise MachineError(f"{shown}: exit code {done.returncode}\n{tail}".rstrip())
    return done.stdout


def watch(
    argv: Sequence[str],
    *,
    directory: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> int:
    """Run a program on this terminal, and return its exit code.

    Ctrl-C is the program's: what it then does, and how long that takes, is waited for.

    Args:
        argv: The program and its arguments.
        directory: Where it runs; here, if not given.
        environ: What its environment has beside ours.

    Raises:
        MachineError: It is not there.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - argv is a list
            argv, cwd=directory, env={**os.environ, **(environ or {})}
        )
    except FileNotFoundError as error:
        raise MachineError(f"{argv[0]}: no such program on this machine") from error
    with process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue


def succeeds(argv: Sequence[str]) -> bool:
    """Tell whether a program is there and ends with 0."""
    try:
        run(argv, timeout_seconds=10)
    except MachineError:
        return False
    return True
