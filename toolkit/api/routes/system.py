# SPDX-License-Identifier: Apache-2.0
"""The engine itself: ping, version, info, disk usage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.api.render_system import info_object, version_object
from toolkit.api.request import Response, json_response

if TYPE_CHECKING:
    from toolkit.api.facade import EngineFacade
    from toolkit.api.request import Request

_PING = Response(
    body=b"OK",
    content_type="text/plain; charset=utf-8",
    headers=(
        ("Builder-Version", "1"),
        ("Swarm", "inactive"),
        ("Cache-Control", "no-cache, no-store, must-revalidate"),
        ("Pragma", "no-cache"),
    ),
)
_PING_HEAD = Response(content_type=_PING.content_type, headers=_PING.headers)


async def ping(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET`` and ``HEAD /_ping``."""
    del engine
    return _PING_HEAD if request.method == "HEAD" else _PING


async def version(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /version``."""
    del request
    return json_response(version_object(await engine.info()))


async def info(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /info``."""
    del request
    return json_response(info_object(await engine.info(), engine.events.listener_count))
