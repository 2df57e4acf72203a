# SPDX-License-Identifier: Apache-2.0
"""The engine itself: ping, version, info, disk usage."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from toolkit.api import render
from toolkit.api.render import size_fields
from toolkit.api.render_image import list_entry
from toolkit.api.render_system import info_object, version_object
from toolkit.api.request import Response, json_response
from toolkit.api.routes.containers import places_of, sizes_of
from toolkit.api.times import NEVER, rfc3339_nano

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.api.facade import EngineFacade
    from toolkit.api.request import Request

_VOLUME_FILTERS = frozenset({"name", "dangling", "driver", "label"})
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
    now, places = render.now_utc(), places_of(engine)
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
            "Volumes": [],
            "BuildCache": [],
        }
    )


async def volumes(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /volumes``: those that containers have, as nothing else makes any yet."""
    terms = request.query.filters(_VOLUME_FILTERS)
    place = places_of(engine).volume_dir
    containers = await engine.containers()
    names = {
        mount.source
        for container in containers
        for mount in container.record.mounts
        if mount.kind == "volume" and mount.source
    }
    if "name" in terms:
        names = {name for name in names if any(part in name for part in terms["name"])}
    if "dangling" in terms and {"true", "1"}.intersection(terms["dangling"]):
        names = set()
    if terms.get("label") or any(driver != "local" for driver in terms.get("driver", ())):
        names = set()
    return json_response(
        {
            "Volumes": [
                {
                    "Name": name,
                    "Driver": "local",
                    "Mountpoint": str(place(name)),
                    "CreatedAt": _created(place(name)),
                    "Labels": None,
                    "Scope": "local",
                    "Options": None,
                }
                for name in sorted(names)
            ],
            "Warnings": None,
        }
    )


def _created(directory: Path) -> str:
    """Return when a directory was made, as near as the file system tells."""
    try:
        seconds = directory.parent.stat().st_mtime
    except OSError:
        return NEVER
    return rfc3339_nano(datetime.fromtimestamp(int(seconds), UTC))
