# SPDX-License-Identifier: Apache-2.0
"""What is shown while images travel: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO

from toolkit.cli.output import escape
from toolkit.cli.terminal import is_terminal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.progress import Progress, TaskID

    Messages = Iterable[Mapping[str, Any]]


def show_progress(messages: Messages, *, out: TextIO | None = None) -> None:
    """Show messages as they come, on standard output unless told otherwise.

    Args:
        messages: As docker's API streams them; what they raise is not caught.
        out: Where to.
    """
    target = out or sys.stdout
    if is_terminal(target.fileno()):
        _show_bars(messages, target)
        return
    for line in plain_lines(messages):
        target.write(line + "\n")
        target.flush()


def plain_lines(messages: Messages) -> Iterator[str]:
    """Return the lines for a file or a pipe: every news, and no count."""
    for message in messages:
        if stream := message.get("stream"):
            yield escape(str(stream).rstrip("\n"))
        elif (status := message.get("status")) and not message.get("progressDetail"):
            yield escape(_line(str(status), str(message.get("id", ""))))


def _line(status: str, subject: str) -> str:
    return f"{subject}: {status}" if subject else status


def _show_bars(messages: Messages, out: TextIO) -> None:
    """Show a bar for each layer, and what belongs to none above them."""
    from rich.console import Console  # noqa: PLC0415  # only where it is shown
    from rich.progress import (  # noqa: PLC0415  # as above
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
    )

    console = Console(file=out, markup=False, emoji=False, highlight=False)
    columns = [
        TextColumn("{task.fields[subject]}", markup=False),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
    ]
    with Progress(*columns, console=console) as progress:
        bars = _Bars(progress)
        for message in messages:
            bars.show(message)


class _Bars:
    """The bars that are shown, one a layer."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def show(self, message: Mapping[str, Any]) -> None:
        """Show one message."""
        status, subject = str(message.get("status", "")), str(message.get("id", ""))
        if stream := message.get("stream"):
            self._progress.console.print(escape(str(stream).rstrip("\n")))
        elif subject and "progressDetail" in message and not status.startswith("Pulling from"):
            self._move(subject, status, message["progressDetail"] or {})
        elif status:
            self._progress.console.print(escape(_line(status, subject)))

    def _move(self, subject: str, status: str, detail: Mapping[str, Any]) -> None:
        task = self._tasks.get(subject)
        if task is None:
            task = self._progress.add_task("", total=None, subject=escape(subject))
            self._tasks[subject] = task
        if "current" in detail:
            total = detail.get("total")
            self._progress.update(
                task, description=escape(status), completed=detail["current"], total=total
            )
            return
        self._progress.update(task, description=escape(status))
        if status.startswith(_ENDS):
            known = self._progress.tasks[self._progress.task_ids.index(task)]
            total = known.total or known.completed or 1
            self._progress.update(task, completed=total, total=total)


_ENDS = (
    "Pull complete",
    "Already exists",
    "Pushed",
    "Layer already exists",
    "Mounted from",
    "Loading layer",
)
