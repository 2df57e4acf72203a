# SPDX-License-Identifier: Apache-2.0
"""A person at a container's terminal: types, reads, waits for what should appear.

The person's side is a real pseudo-terminal (ptyprocess) with the toolkit's own
command at it, so raw mode, window size and signals go the way that they go by hand.
"""

from __future__ import annotations

import os
import re
import select
import sys
import termios
import time
from typing import TYPE_CHECKING, Final, Self

from toolkit.errors import InvalidRequestError, ToolkitError
from toolkit.testing.spec import Command, words

if TYPE_CHECKING:
    from ptyprocess import PtyProcess

    from toolkit.testing.container import Container

ROWS: Final = 24
COLUMNS: Final = 80
WAIT_SECONDS: Final = 10.0
_LOOK_AGAIN_SECONDS: Final = 0.005
_LOCAL_FLAGS: Final = 3  # tcgetattr(3): iflag, oflag, cflag, lflag
_READ_BYTES: Final = 65536
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][A-Za-z0-9]|\x1b[=>]|\r")
_KEYS: Final = {
    "enter": b"\r",
    "tab": b"\t",
    "escape": b"\x1b",
    "backspace": b"\x7f",
    "up": b"\x1b[A",
    "down": b"\x1b[B",
    "right": b"\x1b[C",
    "left": b"\x1b[D",
}


class NotShownError(ToolkitError):
    """Something did not appear on a terminal.

    Attributes:
        output: What did since the last text that was waited for.
    """

    def __init__(self, pattern: str, why: str, output: str) -> None:
        super().__init__(f"{pattern!r} did not appear: {why}; there is:\n{output}")
        self.output = output


class Terminal:
    """A terminal with a program of a container at it.

    Attributes:
        output: All that has appeared, without escape sequences.
    """

    def __init__(self, process: PtyProcess, *, timeout_factor: float = 1.0) -> None:
        self._process = process
        self._timeout_factor = timeout_factor
        self._raw = b""
        self._seen = 0
        self._at_end = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def output(self) -> str:
        """All that has appeared, without escape sequences and carriage returns."""
        return _ESCAPES.sub("", self._raw.decode(errors="replace"))

    def wait_raw(self, timeout_seconds: float = WAIT_SECONDS) -> None:
        """Wait until the command has taken the terminal over: what is typed earlier is lost."""
        deadline = time.monotonic() + timeout_seconds * self._timeout_factor
        while time.monotonic() < deadline and self._process.isalive():
            if not termios.tcgetattr(self._process.fd)[_LOCAL_FLAGS] & termios.ICANON:
                return
            self._read_within(_LOOK_AGAIN_SECONDS)  # nobody tells of a change of mode

    def expect(
        self, pattern: str | re.Pattern[str], timeout_seconds: float = WAIT_SECONDS
    ) -> re.Match[str]:
        """Wait until a regular expression appears behind what was waited for before.

        Raises:
            NotShownError: It did not in time, or the program has ended.
        """
        compiled = re.compile(pattern) if isinstance(pattern, str) else pattern
        seconds = timeout_seconds * self._timeout_factor
        deadline = time.monotonic() + seconds
        while (found := compiled.search(self.output, self._seen)) is None:
            left = deadline - time.monotonic()
            if self._at_end:
                raise NotShownError(compiled.pattern, "the program has ended", self._new())
            if left <= 0:
                raise NotShownError(compiled.pattern, f"{seconds:g} s", self._new())
            self._read_within(left)
        self._seen = found.end()
        return found

    def send(self, text: str) -> None:
        """Type a text."""
        self._process.write(text.encode())

    def send_line(self, text: str = "") -> None:
        """Type a text and the enter key."""
        self.send(f"{text}\r")

    def press(self, key: str) -> None:
        """Press a key: ``enter``, ``tab``, ``up``, ..., or ``ctrl-c``.

        Raises:
            InvalidRequestError: There is no such key.
        """
        lowered = key.lower()
        letter = lowered.removeprefix("ctrl-")
        if lowered in _KEYS:
            self._process.write(_KEYS[lowered])
        elif letter != lowered and len(letter) == 1 and "@" <= letter.upper() <= "_":
            self._process.write(bytes([ord(letter.upper()) - ord("@")]))
        else:
            raise InvalidRequestError(f"key {key!r}: use ctrl-<letter> or one of {sorted(_KEYS)}")

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of the window."""
        self._process.setwinsize(rows, columns)

    def wait(self, timeout_seconds: float = WAIT_SECONDS) -> int:
        """Read to the end of the program; return its exit code.

        Raises:
            NotShownError: It did not end in time.
        """
        seconds = timeout_seconds * self._timeout_factor
        deadline = time.monotonic() + seconds
        while not self._at_end:
            left = deadline - time.monotonic()
            if left <= 0:
                raise NotShownError("(the end)", f"{seconds:g} s", self._new())
            self._read_within(left)
        return int(self._process.wait())

    def close(self) -> None:
        """Hang up; a second call does nothing."""
        self._process.close(force=True)

    def _new(self) -> str:
        return self.output[self._seen :]

    def _read_within(self, seconds: float) -> None:
        if not select.select([self._process.fd], [], [], seconds)[0]:
            return
        try:
            self._raw += self._process.read(_READ_BYTES)
        except EOFError:
            self._at_end = True


class ContainerTerminal:
    """Opens terminals; what the fixture `container_terminal` gives."""

    def __init__(self) -> None:
        self._opened: list[Terminal] = []

    def __call__(
        self,
        container: Container,
        command: Command | None = None,
        *,
        rows: int = ROWS,
        columns: int = COLUMNS,
        user: str = "",
    ) -> Terminal:
        """Sit down at a container.

        Args:
            container: One that runs.
            command: A program to run there at the terminal; None attaches to the
                container's own, which needs ``tty=True`` and ``open_stdin=True``.
            rows: Height of the window.
            columns: Its width.
            user: Who the program runs as.

        Raises:
            InvalidRequestError: The container's own program has no terminal to attach to.
        """
        from ptyprocess import PtyProcess  # noqa: PLC0415  # only who uses it needs it

        cli = [sys.executable, "-m", "toolkit.cli.main", "--host", container.engine.url]
        if command is None:
            _check_attachable(container)
            argv = [*cli, "attach", container.id]
        else:
            as_user = ["--user", user] if user else []
            argv = [*cli, "exec", "-it", *as_user, container.id, *words(command)]
        environ = {**os.environ, "TERM": "xterm"}
        process = PtyProcess.spawn(argv, env=environ, dimensions=(rows, columns))
        terminal = Terminal(process, timeout_factor=container.engine.timeout_factor)
        self._opened.append(terminal)
        terminal.wait_raw()
        return terminal

    def close(self) -> None:
        """Hang up every terminal."""
        for terminal in self._opened:
            terminal.close()
        self._opened.clear()


def _check_attachable(container: Container) -> None:
    config = container.inspect()["Config"]
    if not (config.get("Tty") and config.get("OpenStdin")):
        raise InvalidRequestError(
            f"{container.title} has no terminal to attach to: run it with tty=True, "
            "open_stdin=True, or give a command to run at a terminal of its own"
        )
