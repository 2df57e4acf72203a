# SPDX-License-Identifier: Apache-2.0
"""The operator's terminal: nothing is typed into it, nothing escapes on it (rows S-13, S-14)."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from integration.pace import SLOWNESS
from integration.security.lab import launcher_family

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.conftest import Engine, Run
    from integration.security.conftest import Weaken
    from integration.security.lab import Lab

_TYPED = "INJECTED"
# The engine's start, with a terminal as its controlling one and its first descriptors.
WITH_TERMINAL = """
import fcntl, termios
terminal = os.open({path!r}, os.O_RDWR)
fcntl.ioctl(terminal, termios.TIOCSCTTY, 1)
for number in range(3):
    os.dup2(terminal, number)
"""


@contextmanager
def terminal() -> Iterator[tuple[int, str]]:
    """Give an operator's terminal: our side, and the path of the other."""
    ours, theirs = pty.openpty()
    try:
        yield ours, os.ttyname(theirs)
    finally:
        os.close(ours)
        os.close(theirs)


def arrives(fd: int, seconds: float = 0.5) -> bytes:
    """Return what comes out of the operator's side (an echo of what was typed, too)."""
    found, deadline = b"", time.monotonic() + seconds * SLOWNESS
    while (left := deadline - time.monotonic()) > 0 and select.select([fd], [], [], left)[0]:
        found += os.read(fd, 65536)
    return found


def test_nothing_is_typed_into_the_terminal_that_the_engine_was_started_in(
    weakened: Weaken,
) -> None:
    """S-13: TIOCSTI on every terminal in reach; the shim has a session and a pty of its own."""
    with terminal() as (ours, path), weakened({}, WITH_TERMINAL.format(path=path)) as lab:
        for has_tty in (False, True):
            assert "pushed" in lab.run("/probe", "push", _TYPED, Tty=has_tty).out
            with lab.running(Tty=has_tty) as container:
                pushed = lab.execute(container, "/probe", "push", _TYPED, Tty=has_tty)
                assert "pushed" in pushed.out
        assert _TYPED.encode() not in arrives(ours)


def test_control_a_program_on_the_operators_terminal_types_into_it(programs: Path) -> None:
    """S-13: the same program as LXC in the foreground would run it."""
    with terminal() as (ours, path):
        script = f"exec setsid -c {programs}/probe push {_TYPED} <>{path} >&0 2>&0"
        subprocess.run(["sh", "-c", script], check=True, timeout=20 * SLOWNESS)
        assert _TYPED.encode() in arrives(ours)


def test_a_shim_has_no_controlling_terminal(lab: Lab) -> None:
    """S-13: field 7 of /proc/PID/stat."""
    with lab.running(Tty=True):
        for pid in launcher_family(lab.engine):
            with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - of the kernel
                assert file.read().rpartition(")")[2].split()[4] == "0"


# OSC 52 writes to the clipboard, CSI 2J clears; a return hides what stood before.
EVIL = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\rgone\x9b31m"
_DANGEROUS = (b"\x1b]", b"\x1b[2J", b"\x07", b"\rgone", "\x9b".encode())


def shown_in_terminal(engine: Engine, *arguments: str) -> bytes:
    """Return what a command writes to a terminal, as bytes."""
    with terminal() as (ours, path):
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        command = [sys.executable, "-m", "toolkit.cli.main", *arguments]
        with subprocess.Popen(command, stdin=fd, stdout=fd, stderr=fd, env=engine.environ) as run:
            os.close(fd)
            shown = b""
            while run.poll() is None:
                shown += arrives(ours, 0.05)
            return shown + arrives(ours, 0.1)


def test_what_a_container_is_called_or_runs_does_not_reach_the_terminal_raw(
    lab: Lab, engine: Engine
) -> None:
    """S-14: tables, templates, errors and refusals."""
    with lab.created("echo", EVIL, Labels={"evil": EVIL}, Env=[f"E={EVIL}"]) as container:
        for arguments in (
            ("ps", "-a", "--no-trunc"),
            ("ps", "-a", "--format", "{{.Command}} {{.Labels}}"),
            ("inspect", container),
            ("inspect", "--format", "{{.Config.Labels}} {{.Args}}", container),
            ("rm", EVIL),
            ("start", EVIL),
            ("run", "--network", "none", lab.image_name, EVIL),
            ("create", "--name", EVIL, lab.image_name),
        ):
            shown = shown_in_terminal(engine, *arguments)
            assert shown.strip(), arguments
            assert [mark for mark in _DANGEROUS if mark in shown] == [], (arguments, shown)
    for listed in engine.client.containers.list(every=True):
        engine.client.containers.remove(listed["Id"], force=True)


def test_control_logs_go_to_the_terminal_as_they_are(lab: Lab, engine: Engine) -> None:
    """S-14: what a program writes is the user's to see raw."""
    with lab.running("printf", "%s", EVIL) as container:
        engine.client.containers.wait(container).result()
        assert b"\x1b]52" in shown_in_terminal(engine, "logs", container)


def test_names_with_control_characters_are_refused(toolkit_cli: Run, lab: Lab) -> None:
    """S-14, S-76."""
    done = toolkit_cli("create", "--name", EVIL, lab.image_name, "true")
    assert done.returncode != 0
    assert b"\x1b" not in done.stderr
    assert b"Traceback" not in done.stderr
