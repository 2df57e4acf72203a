# SPDX-License-Identifier: Apache-2.0
"""The engine itself: ping, version, info, disk usage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.api import render
from toolkit.api.render import size_fields
from toolkit.api.render_image import list_entry
from toolkit.api.render_system import info_object, version_object
from toolkit.api.render_volume import volume_object
from toolkit.api.request import Response, json_response
from toolkit.api.routes.containers import places_of, sizes_of

if TYPE_CHECKING:
    from toolkit.api.facade import EngineFacade
    from toolkit.api.request import Request
    from toolkit.engine.volumes import Volume

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


async def disk_usage(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /system/df``."""
    images = await engine.images.list()
    now, places = render.now_utc(), await places_of(engine)
    containers = []
    for container in await engine.containers():
        record = container.record
        sizes = await sizes_of(engine, container)
        entry = render.list_entry(record, image=record.spec.image, now=now, places=places)
        containers.append(entry | size_fields(sizes))
    users = [entry["ImageID"] for entry in containers]
    return json_response(
        {
            "LayersSize": sum(image.size_bytes for image in images),
            "Images": [
                list_entry(image, image.references, version=request.version)
                | {"Containers": users.count(image.id), "SharedSize": 0}
                for image in images
            ],
            "Containers": containers,
            "Volumes": [await _measured(engine, volume) for volume in await engine.volumes.list()],
            "BuildCache": [],
        }
    )


async def _measured(engine: EngineFacade, volume: Volume) -> dict[str, Any]:
    """Return a volume with what it takes."""
    usage = {
        "Size": await engine.volumes.size_bytes(volume.name),
        "RefCount": len(engine.volumes.users(volume.name)),
    }
    return volume_object(volume) | {"UsageData": usage}
