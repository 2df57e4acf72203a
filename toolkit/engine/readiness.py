# SPDX-License-Identifier: Apache-2.0
"""Waiting until a container's program listens, asked of the kernel in its own network namespace.

One request of a client is one wait here: no connection is made to the program,
and nothing is asked over HTTP again and again. Who listens is `toolkit.network.listening`'s.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from toolkit.errors import InvalidRequestError, KernelCallError, NotRunningError
from toolkit.kernel.namespaces import open_namespace
from toolkit.kernel.process import start_time_ticks
from toolkit.network.listening import ListeningProbe, pauses

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from contextlib import AbstractContextManager

    from toolkit.engine.container import Container
    from toolkit.engine.context import EngineContext
    from toolkit.network.sockdiag import Listener, Protocol

    OpenProbe = Callable[[int, int], AbstractContextManager[ListeningProbe]]

Address = IPv4Address | IPv6Address

_LAST_PORT: Final = 65535


@dataclass(frozen=True, kw_only=True)
class Heard:
    """How a wait for a listener ended.

    Attributes:
        is_listening: Whether somebody listens where it can be reached.
        waited_seconds: How long that took.
        reason: Why not: the program ended, the time was up; empty if so.
    """

    is_listening: bool
    waited_seconds: float
    reason: str = ""


@contextmanager
def probe_of_process(pid: int, started_ticks: int) -> Iterator[ListeningProbe]:
    """Give a probe of the network namespace of a container's first process.

    Raises:
        NotRunningError: The process has ended.
    """
    try:
        netns_fd = open_namespace(pid, "network")
    except KernelCallError as error:
        raise NotRunningError(str(pid)) from error
    try:
        if start_time_ticks(pid) != started_ticks:
            raise NotRunningError(str(pid))
        probe = ListeningProbe.inside(netns_fd)
    finally:
        os.close(netns_fd)
    with probe:
        yield probe


class Readiness:
    """Answers when a container is ready to be talked to."""

    def __init__(self, context: EngineContext, open_probe: OpenProbe = probe_of_process) -> None:
        self._context = context
        self._open_probe = open_probe

    async def begin_listening(
        self, reference: str, port: int, *, protocol: Protocol = "tcp", timeout_seconds: float
    ) -> Coroutine[None, None, Heard]:
        """Return a wait until a container's program listens on a port, ends, or the time is up.

        A program on a network has to listen where the network reaches it: on
        127.0.0.1 alone it would not be heard.

        Raises:
            ContainerNotFoundError: There is no such container.
            InvalidRequestError: No port has that number.
            NotRunningError: The container does not run.
        """
        if not 0 < port <= _LAST_PORT:
            raise InvalidRequestError(f"port {port} is not between 1 and {_LAST_PORT}")
        container = self._context.index.find(reference)
        state = container.record.state
        if not state.pid:
            raise NotRunningError(container.record.id)
        opened = self._open_probe(state.pid, state.start_time_ticks)
        probe = await self._context.on_host(opened.__enter__)
        ask = _Question(self._context, container, probe, port, protocol)
        return _until(ask, opened, timeout_seconds)


@dataclass(frozen=True)
class _Question:
    """A question that is asked again and again: who listens on a port of a container."""

    context: EngineContext
    container: Container
    probe: ListeningProbe
    port: int
    protocol: Protocol

    async def found(self) -> list[Listener]:
        """Return everybody who listens on the port."""
        return await self.context.on_host(self.probe.listeners, self.port, self.protocol)


async def _until(
    ask: _Question, opened: AbstractContextManager[ListeningProbe], timeout_seconds: float
) -> Heard:
    try:
        return await _ask(ask, timeout_seconds)
    finally:
        opened.__exit__(None, None, None)


async def _ask(ask: _Question, timeout_seconds: float) -> Heard:
    wanted = own_addresses(ask.container)
    ended = ask.container.begin_wait()
    begin = time.monotonic()
    for pause in pauses():
        found = await ask.found()
        waited = time.monotonic() - begin
        if any(not wanted or any(map(one.hears, wanted)) for one in found):
            return Heard(is_listening=True, waited_seconds=waited)
        if ended.done():
            reason = f"the program ended with exit code {ended.result().exit_code}"
            return Heard(is_listening=False, waited_seconds=waited, reason=reason)
        if waited >= timeout_seconds:
            break
        await asyncio.wait([ended], timeout=min(pause, timeout_seconds - waited))
    only = f", only on {', '.join(str(one.address) for one in found)}" if found else ""
    reason = f"nobody listens on {ask.port}/{ask.protocol}{only}"
    return Heard(is_listening=False, waited_seconds=waited, reason=reason)


def own_addresses(container: Container) -> list[Address]:
    """Return the addresses at which a container is reached; none if it is on no network."""
    endpoints = container.record.endpoints.values()
    texts = [text for end in endpoints for text in (end.ipv4, end.ipv6) if text]
    return [ip_address(text) for text in texts]
