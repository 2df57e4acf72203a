# SPDX-License-Identifier: Apache-2.0
"""The processes of a container, as ``ps`` shows them, and what they use."""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.api.container_facade import Measured
from toolkit.api.render_stats import Sample, stats_object
from toolkit.api.request import JSON, json_response
from toolkit.api.routes.unavailable import NotAvailableError
from toolkit.engine.model import State
from toolkit.errors import HostError, InvalidRequestError, NotRunningError

if TYPE_CHECKING:
    from toolkit.api.facade import EngineFacade
    from toolkit.api.request import Request, Response

_DEFAULT_PS = "-ef"
_SAMPLE_SECONDS = 1.0
_ALIVE = frozenset({State.RUNNING, State.PAUSED})


class ProcessListError(HostError):
    """The host's ``ps`` cannot be run."""

    hint = "Install it: on Debian the package is called procps."


async def top(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /containers/{name}/top``."""
    arguments = _ps_words(request.query.text("ps_args") or _DEFAULT_PS)
    container = await engine.container(request.name)
    if container.record.state.status not in _ALIVE:
        raise NotRunningError(container.record.id)
    pids = {str(pid) for pid in await container.pids()}
    titles, rows = parse_ps(await _list_processes(arguments, pids))
    if "PID" not in titles:
        raise InvalidRequestError("Couldn't find PID field in ps output")
    column = titles.index("PID")
    return json_response(
        {"Titles": titles, "Processes": [row for row in rows if row[column] in pids]}
    )


async def _list_processes(arguments: list[str], pids: set[str]) -> str:
    """Return what ``ps`` shows of some processes; of all, where it takes no list beside those."""
    try:
        return await _run_ps([*arguments, f"-q{','.join(sorted(pids))}"])
    except InvalidRequestError:
        return await _run_ps(arguments)


def _ps_words(text: str) -> list[str]:
    """Return what is passed to ``ps``; only what its options can be made of."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InvalidRequestError(f"ps_args cannot be read: {error}") from None
    return words


async def _run_ps(arguments: list[str]) -> str:
    """Return what the host's ``ps`` prints."""
    try:
        process = await asyncio.create_subprocess_exec(
            "ps",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise ProcessListError(f"ps: {error.strerror}") from error
    out, problem = await process.communicate()
    if process.returncode:
        first_line = problem.decode(errors="replace").strip().partition("\n")[0]
        raise InvalidRequestError(f"error running ps: {first_line or process.returncode}")
    return out.decode(errors="replace")


def parse_ps(output: str) -> tuple[list[str], list[list[str]]]:
    """Return the titles and rows of a listing; the last column takes what is left of a line."""
    lines = output.splitlines()
    if not lines:
        return [], []
    titles = lines[0].split()
    rows = (line.split(maxsplit=len(titles) - 1) for line in lines[1:])
    return titles, [row for row in rows if len(row) == len(titles)]


async def stats(engine: EngineFacade, request: Request) -> None:
    """Serve ``GET /containers/{name}/stats``: one object, or one each second."""
    container = await engine.container(request.name)
    if not isinstance(container, Measured):
        raise NotAvailableError("measuring what a container uses is not available yet")
    streams = request.query.flag("stream", default=True)
    sample = await _measure(container)
    out = await request.stream(JSON)
    previous = None
    if not streams and not request.query.flag("one-shot") and sample.stats is not None:
        previous = sample
        await asyncio.sleep(_SAMPLE_SECONDS)
        sample = await _measure(container)
    await out.write_json(stats_object(container.record, sample, previous), end=b"\n")
    while streams:
        await asyncio.sleep(_SAMPLE_SECONDS)
        previous, sample = sample, await _measure(container)
        await out.write_json(stats_object(container.record, sample, previous), end=b"\n")


async def _measure(container: Measured) -> Sample:
    """Return what a container has used until now."""
    try:
        used = await container.stats()
    except NotRunningError:
        return Sample(time_ns=time.time_ns())
    return Sample(
        time_ns=time.time_ns(),
        stats=used,
        system_cpu_ns=host_cpu_ns(_host_stat()),
        online_cpus=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        traffic=await container.traffic(),
    )


def _host_stat() -> str:
    """Return the kernel's counters; a read of memory, not of a disk."""
    return Path("/proc/stat").read_text(encoding="ascii")


def host_cpu_ns(text: str) -> int:
    """Return what all CPUs of the host have done, from ``/proc/stat``."""
    first = text.partition("\n")[0].split()
    ticks = sum(int(word) for word in first[1:8])  # user to softirq and steal, as docker counts
    return ticks * 10**9 // os.sysconf("SC_CLK_TCK")
