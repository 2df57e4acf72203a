# SPDX-License-Identifier: Apache-2.0
"""A container as conditions see it: a test says what it writes, when it ends, how it is."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any


class FakeSource:
    """A pipe: readable when something was put into it."""

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe()
        self.has_data = False
        self.is_closed = False

    def fileno(self) -> int:
        return self._read_fd

    def put(self, data: bytes = b"x") -> None:
        os.write(self._write_fd, data)

    def end(self) -> None:
        os.close(self._write_fd)
        self._write_fd = -1

    def read(self) -> str | None:
        data = os.read(self._read_fd, 65536)
        return data.decode() if data else None

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            os.close(self._read_fd)
            if self._write_fd >= 0:
                self.end()


@dataclass
class FakeContainer:
    """What conditions ask of a container.

    Attributes:
        ending: Readable once it has ended.
        output: What it writes, as it is followed.
        health_news: Readable when its health has changed.
    """

    title: str = "container web (img)"
    status: dict[str, Any] = field(default_factory=lambda: {"Status": "running", "Running": True})
    written: str = ""
    ending: FakeSource = field(default_factory=FakeSource)
    output: FakeSource = field(default_factory=FakeSource)
    health_news: FakeSource = field(default_factory=FakeSource)
    asked: int = 0

    def begin_wait(self) -> FakeSource:
        return self.ending

    def follow(self) -> FakeSource:
        if self.written:
            self.output.put(self.written.encode())
        return self.output

    def follow_health(self) -> FakeSource:
        return self.health_news

    def state(self) -> dict[str, Any]:
        self.asked += 1
        return self.status

    def logs(self, *, tail_lines: int | None = None) -> str:
        lines = self.written.splitlines(keepends=True)
        return "".join(lines if tail_lines is None else lines[-tail_lines:])

    def end(self, exit_code: int, **more: Any) -> None:
        self.status = {"Status": "exited", "Running": False, "ExitCode": exit_code, **more}
        self.ending.put()

    def close(self) -> None:
        for source in (self.ending, self.output, self.health_news):
            source.close()
