# SPDX-License-Identifier: Apache-2.0
"""What a test's report says about its containers, and their logs in files."""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

import toolkit
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

    from toolkit.testing.container import Container

TAIL_LINES: Final = 50
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST_NAME: Final = 120
_PACKAGE: Final = Path(toolkit.__file__).parent


def explain(failure: pytest.ExceptionInfo[BaseException], *, full_trace: bool) -> None:
    """Have one of our errors say what to do about it, below the test's lines and not ours."""
    error = failure.value
    if not isinstance(error, ToolkitError):
        return
    if error.hint and error.hint not in getattr(error, "__notes__", ()):
        error.add_note(error.hint)
    theirs = _without_ours(failure.tb)
    if theirs is None or full_trace:
        return
    failure.traceback = type(failure.traceback)(theirs)
    cause = error.__cause__
    if cause is not None and str(cause) in str(error) and not _without_ours(cause.__traceback__):
        error.__cause__ = None  # it says nothing that is new to who wrote the test


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the lines of this package."""
    if trace is None:
        return None
    later = _without_ours(trace.tb_next)
    if _PACKAGE in Path(trace.tb_frame.f_code.co_filename).parents:
        return later
    return TracebackType(later, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)


def describe(container: Container) -> str:
    """Return a container's state, exit code and last lines, for a person."""
    try:
        state = container.state()
        lines = container.logs(tail_lines=TAIL_LINES)
    except (ToolkitError, OSError) as error:  # the report of a test fails for nothing
        return f"{container.title}: {error}"
    facts = [f"state {state.get('Status')}"]
    if not state.get("Running"):
        facts.append(f"exit code {state.get('ExitCode')}")
    if state.get("OOMKilled"):
        facts.append("killed for its memory (OOM)")
    if health := (state.get("Health") or {}).get("Status"):
        facts.append(f"health {health}")
    if state.get("Error"):
        facts.append(str(state["Error"]))
    head = f"{container.title}, id {container.short_id}: {', '.join(facts)}"
    return f"{head}\n{lines.rstrip() or '(it wrote nothing)'}\n"


def how_to_enter(container: Container) -> str:
    """Return the command that enters a kept container, and the one that ends it."""
    host = f"DOCKER_HOST={container.engine.url} "
    verb = "exec -it" if container.is_running else "start -ai"
    shell = " sh" if container.is_running else ""
    return (
        f"{host}toolkit {verb} {container.name}{shell}   "
        f"(docker does it, too; remove it: {host}toolkit prune --session)"
    )


def write_logs(directory: Path, test: str, containers: Iterable[Container]) -> list[Path]:
    """Write each container's whole log to a file below a directory; return the files."""
    place = directory / (_NOT_IN_NAMES.sub("_", test)[-_LONGEST_NAME:].strip("_") or "test")
    written = []
    for container in containers:
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"{container.name}.log"
        try:
            text = container.logs()
        except (ToolkitError, OSError) as error:
            text = f"(its log cannot be read: {error})\n"
        path.write_text(text)
        written.append(path)
    return written
