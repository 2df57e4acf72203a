# SPDX-License-Identifier: Apache-2.0
"""What docker's API has not: sessions, leases, and waiting until somebody listens.

Below ``/toolkit``, but for what belongs to one container.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final, Literal, cast

from toolkit.api.request import JSON, Response, json_response
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from toolkit.api.facade import EngineFacade
    from toolkit.api.request import Request

FEATURES: Final = ("leases", "listening", "repair", "sessions")
_LINES: Final = "application/vnd.toolkit.lines"
_DEFAULT_MILLISECONDS: Final = 30_000
_PROTOCOLS: Final = ("tcp", "udp")


async def describe(engine: EngineFacade, _request: Request) -> Response:
    """Serve ``GET /toolkit``: what this engine can beyond docker's API."""
    return json_response({"Instance": engine.instance.name, "Features": FEATURES})


async def open_session(engine: EngineFacade, request: Request) -> None:
    """Serve ``POST /toolkit/sessions?name=``: the connection is the session."""
    name = engine.sessions.check_free(request.query.text("name"))
    fd, pending = await request.hijack(_LINES, data_follows=False)
    engine.sessions.hold_session(name, fd, pending)


async def open_lease(engine: EngineFacade, request: Request) -> None:
    """Serve ``POST /toolkit/leases?name=``: held as long as the connection stands."""
    name = engine.sessions.check_name(request.query.text("name"))
    fd, pending = await request.hijack(_LINES, data_follows=False)
    engine.sessions.hold_lease(name, fd, pending)


async def prune_sessions(engine: EngineFacade, _request: Request) -> Response:
    """Serve ``POST /toolkit/sessions/prune``: remove what nobody holds, and what was kept."""
    removed = await engine.sessions.prune()
    return json_response({name.capitalize(): found for name, found in asdict(removed).items()})


async def repair(engine: EngineFacade, _request: Request) -> Response:
    """Serve ``POST /toolkit/repair``: put right what others did to links and rules."""
    return json_response({"Repaired": list(await engine.networks.repair())})


async def wait_listening(engine: EngineFacade, request: Request) -> None:
    """Serve ``GET /containers/{name}/listening?port=&protocol=&milliseconds=``.

    The head leaves at once; the document comes when somebody listens, or will not.
    """
    query = request.query
    protocol = query.text("protocol") or "tcp"
    if protocol not in _PROTOCOLS:
        raise InvalidRequestError(f"protocol {protocol[:20]!r}: use tcp or udp")
    waiting = await engine.readiness.begin_listening(
        request.name,
        query.number("port") or 0,
        protocol=cast("Literal['tcp', 'udp']", protocol),
        timeout_seconds=(query.number("milliseconds") or _DEFAULT_MILLISECONDS) / 1000,
    )
    out = await request.stream(JSON)
    heard = await waiting
    document = {
        "Listening": heard.is_listening,
        "Seconds": heard.waited_seconds,
        "Reason": heard.reason,
    }
    await out.write_json(document, end=b"\n")
