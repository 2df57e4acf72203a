# SPDX-License-Identifier: Apache-2.0
"""Progress as docker's JSON stream: one object a message, and failures among them."""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from toolkit.api.request import Request
    from toolkit.images.progress import ProgressMessage

_log = logging.getLogger(__name__)

_BAR_WIDTH: Final = 50
_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP: Final = 1000


async def send_progress(request: Request, messages: AsyncGenerator[ProgressMessage, None]) -> None:
    """Send messages as they come; one that fails is told in the stream, which then ends."""
    async with aclosing(messages):
        out = await request.stream()
        try:
            async for message in messages:
                await out.write_json(progress_object(message))
        except ToolkitError as error:
            await out.write_json(error_object(str(error)))
        except Exception as error:  # noqa: BLE001 - a defect is told, too
            _log.exception("%s %s failed", request.method, request.path)
            await out.write_json(error_object(f"internal error ({type(error).__name__})"))


def error_object(message: str) -> dict[str, Any]:
    """Return a failure as older and newer clients read it."""
    return {"errorDetail": {"message": message}, "error": message}


def progress_object(message: ProgressMessage) -> dict[str, Any]:
    """Return a message in docker's keys."""
    if message.aux:
        return {"progressDetail": {}, "aux": dict(message.aux)}
    if message.stream:
        return {"stream": message.stream}
    found: dict[str, Any] = {"status": message.status}
    if message.id:
        found |= {"progressDetail": {}, "id": message.id}
    if message.current is not None:
        total = message.total or 0
        found["progressDetail"] = {"current": message.current} | ({"total": total} if total else {})
        found["progress"] = bar(message.current, total)
    return found


def bar(current: int, total: int) -> str:
    """Return docker's bar as text; without a total the size alone (api-and-cli 1.4)."""
    if current <= 0 and total <= 0:
        return ""
    if total <= 0:
        return f"{_size(current):>8}"
    done = min(current, total) * _BAR_WIDTH // total
    count = f"{_size(current):>8}" + (f"/{_size(total)}" if current <= total else "")
    return f"[{'=' * done}>{' ' * (_BAR_WIDTH - done)}] {count}"


def _size(count: int) -> str:
    value, unit = float(count), 0
    while value >= _STEP and unit < len(_UNITS) - 1:
        value /= _STEP
        unit += 1
    return f"{value:.4g}{_UNITS[unit]}"
