# SPDX-License-Identifier: Apache-2.0
"""What goes on for as long as a client listens: attach, wait, logs, events."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, TypeVar

from toolkit.api.detach_keys import read_detach_keys
from toolkit.api.filters import EVENT_FILTERS, event_test
from toolkit.api.framing import frame, stream_type
from toolkit.api.request import JSON
from toolkit.api.times import rfc3339_nano_of_ns
from toolkit.engine.logs import LogSelection
from toolkit.engine.model import State
from toolkit.errors import InvalidRequestError, ToolkitError
from toolkit.runtime.loglines import split_lines
from toolkit.runtime.protocol import AttachClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from toolkit.api.facade import EngineFacade
    from toolkit.api.request import Request
    from toolkit.engine.events import Event

Item = TypeVar("Item")

_CONDITIONS = frozenset({"not-running", "next-exit", "removed"})
_FRACTION_DIGITS = 9


async def attach(engine: EngineFacade, request: Request) -> None:
    """Serve ``POST /containers/{name}/attach``."""
    query = request.query
    container = await engine.container(request.name)
    record = container.record
    keys = read_detach_keys(query.text("detachKeys"))
    container.check_attach()
    has_tty = record.spec.has_tty
    with_stdin = query.flag("stdin") and record.spec.open_stdin

    async def hand_over(fd: int, pending: bytes) -> None:
        client = AttachClient(
            fd=fd,
            pending=pending,
            stdin=with_stdin,
            stdout=query.flag("stdout"),
            stderr=query.flag("stderr"),
            logs=query.flag("logs"),
            stream=query.flag("stream"),
            framed=not has_tty,
            detach_keys=keys if has_tty else b"",
        )
        await container.attach(client)

    is_running = record.state.status is State.RUNNING
    only_replays = query.flag("logs") and not query.flag("stream")
    await give_socket(request, hand_over, has_tty=has_tty, data_follows=is_running or only_replays)


async def give_socket(
    request: Request,
    hand_over: Callable[[int, bytes], Awaitable[None]],
    *,
    has_tty: bool,
    data_follows: bool,
) -> None:
    """Take the socket and pass it on; what fails from here on is text in the stream."""
    content_type = stream_type(has_tty=has_tty, version=request.version)
    fd, pending = await request.hijack(content_type, data_follows=data_follows)
    spare_fd = os.dup(fd)
    try:
        await hand_over(fd, pending)
    except ToolkitError as error:
        text = f"{error}\r\n".encode()
        with contextlib.suppress(OSError):  # the client may be gone, or not be reading
            os.write(spare_fd, text if has_tty else frame("stderr", text))
    finally:
        os.close(spare_fd)


async def wait(engine: EngineFacade, request: Request) -> None:
    """Serve ``POST /containers/{name}/wait``: the head goes before the wait begins to block."""
    condition = request.query.text("condition") or "not-running"
    if condition not in _CONDITIONS:
        raise InvalidRequestError(f'invalid condition: "{condition}"')
    container = await engine.container(request.name)
    # Begun before the head leaves: the client takes the head as leave to start it.
    waiting = container.begin_wait(condition)
    out = await request.stream(JSON)
    result = await asyncio.shield(waiting)
    answer: dict[str, Any] = {"StatusCode": result.exit_code}
    if result.error:
        answer["Error"] = {"Message": result.error}
    await out.write_json(answer, end=b"\n")


async def logs(engine: EngineFacade, request: Request) -> None:
    """Serve ``GET /containers/{name}/logs``."""
    query = request.query
    with_stdout, with_stderr = query.flag("stdout"), query.flag("stderr")
    if not (with_stdout or with_stderr):
        raise InvalidRequestError("Bad parameters: you must choose at least one stream")
    container = await engine.container(request.name)
    has_tty = container.record.spec.has_tty
    now_ns = time.time_ns()
    selection = LogSelection(
        stdout=with_stdout,
        stderr=with_stderr,
        since=_log_time(query.time_ns("since", now_ns=now_ns)),
        until=_log_time(query.time_ns("until", now_ns=now_ns)),
        tail_lines=_tail(query.text("tail")),
    )
    entries = container.logs(selection, follow=query.flag("follow"))
    with_times = query.flag("timestamps")
    out = await request.stream(stream_type(has_tty=has_tty, version=request.version))
    async with closed_after(entries):
        async for entry in entries:
            lines = [entry.data] if has_tty and not with_times else split_lines(entry.data)
            if with_times:
                head = f"{padded_time(entry.time)} ".encode()
                lines = [head + line for line in lines]
            if not has_tty:
                lines = [frame(entry.stream, line) for line in lines]
            await out.put(b"".join(lines))
    await out.flush()


def _log_time(time_ns: int | None) -> str:
    """Return a time as logs have it; 0 and nothing mean none."""
    return rfc3339_nano_of_ns(time_ns) if time_ns and time_ns > 0 else ""


def _tail(text: str) -> int | None:
    """Return how many lines are wanted; whatever is no count means all."""
    text = text.strip()
    return int(text[:9]) if text.isascii() and text.isdecimal() else None


def padded_time(text: str) -> str:
    """Return a log's time with exactly nine fraction digits."""
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    return f"{seconds}.{fraction.ljust(_FRACTION_DIGITS, '0')}Z"


async def events(engine: EngineFacade, request: Request) -> None:
    """Serve ``GET /events``."""
    query = request.query
    now_ns = time.time_ns()
    since_ns = query.time_ns("since", now_ns=now_ns)
    until_ns = query.time_ns("until", now_ns=now_ns)
    test = event_test(query.filters(EVENT_FILTERS))
    out = await request.stream(JSON)
    # The loop has had no turn since the head was written: nothing fell in between.
    async with closed_after(engine.events.subscribe(since_ns, until_ns, test)) as happening:
        async for event in happening:
            await out.write_json(event_object(event), end=b"\n")


@contextlib.asynccontextmanager
async def closed_after(items: AsyncIterator[Item]) -> AsyncIterator[AsyncIterator[Item]]:
    """Let a generator free what it holds as soon as nobody reads it any more."""
    try:
        yield items
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()


def event_object(event: Event) -> dict[str, Any]:
    """Return an event as docker shows it, with what clients of old look at."""
    document: dict[str, Any] = {}
    if event.type in {"container", "image"}:
        document = {"status": event.action, "id": event.id}
    if event.type == "container":
        document["from"] = event.attributes.get("image", "")
    return document | {
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": event.attributes},
        "scope": "local",
        "time": event.time_ns // 10**9,
        "timeNano": event.time_ns,
    }
