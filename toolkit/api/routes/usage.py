# SPDX-License-Identifier: Apache-2.0
"""What everything takes on disk: ``GET /system/df``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from toolkit.api import render
from toolkit.api.render import size_fields
from toolkit.api.render_image import list_entry
from toolkit.api.render_volume import volume_object
from toolkit.api.request import Response, json_response
from toolkit.api.routes.containers import places_of, sizes_of
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from toolkit.api.facade import EngineFacade
    from toolkit.api.request import Request
    from toolkit.engine.volumes import Volume
    from toolkit.images.image import Image

_TYPES: Final = frozenset({"container", "image", "volume", "build-cache"})


async def disk_usage(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /system/df``: of the types that are asked for, or of all."""
    types = frozenset(request.query.texts("type")) or _TYPES
    if unknown := types - _TYPES:
        raise InvalidRequestError(f"unknown object type: {min(unknown)}")
    images = await engine.images.list() if "image" in types else []
    uses = layer_uses(images)
    return json_response(
        {
            "LayersSize": sum(size for size, _ in uses.values()),
            "Images": await _images(engine, request, images),
            "Containers": await _containers(engine) if "container" in types else [],
            "Volumes": await _volumes(engine) if "volume" in types else [],
            "BuildCache": [],
        }
    )


def layer_uses(images: Sequence[Image]) -> dict[tuple[str, ...], tuple[int, int]]:
    """Return the size of each layer, and how many images stand on it, by its stack."""
    counts: Counter[tuple[str, ...]] = Counter()
    sizes: dict[tuple[str, ...], int] = {}
    for image in images:
        for stack, size in _stacks(image):
            counts[stack] += 1
            sizes[stack] = size
    return {stack: (size, counts[stack]) for stack, size in sizes.items()}


def _stacks(image: Image) -> Iterator[tuple[tuple[str, ...], int]]:
    """Return each layer of an image as the layers up to it, and its own size."""
    for number, size in enumerate(image.layer_bytes, start=1):
        yield image.diff_ids[:number], size


async def _images(
    engine: EngineFacade, request: Request, images: Sequence[Image]
) -> list[dict[str, Any]]:
    """Return the images that people see, with what they share."""
    parents = {image.parent for image in images}
    shown = [image for image in images if image.references or image.id not in parents]
    uses = layer_uses(shown)
    users: Counter[str] = Counter(each.record.image_id for each in await engine.containers())
    return [
        list_entry(image, image.references, version=request.version)
        | {
            "Containers": users[image.id],
            "SharedSize": sum(size for stack, size in _stacks(image) if uses[stack][1] > 1),
        }
        for image in shown
    ]


async def _containers(engine: EngineFacade) -> list[dict[str, Any]]:
    """Return every container with what it takes."""
    now, places = render.now_utc(), places_of(engine)
    found = []
    for container in await engine.containers():
        record = container.record
        entry = render.list_entry(record, image=record.spec.image, now=now, places=places)
        found.append(entry | size_fields(await sizes_of(engine, container)))
    return found


async def _volumes(engine: EngineFacade) -> list[dict[str, Any]]:
    """Return every volume with what it takes."""
    return [await _measured(engine, volume) for volume in await engine.volumes.list()]


async def _measured(engine: EngineFacade, volume: Volume) -> dict[str, Any]:
    """Return a volume with what it takes."""
    usage = {
        "Size": await engine.volumes.size_bytes(volume.name),
        "RefCount": len(engine.volumes.users(volume.name)),
    }
    return volume_object(volume) | {"UsageData": usage}
