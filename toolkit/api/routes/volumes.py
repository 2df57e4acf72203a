# SPDX-License-Identifier: Apache-2.0
"""Volumes: list, create, inspect, remove, prune."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from toolkit.api import schemas
from toolkit.api.filters import has_labels, lets_labels_through
from toolkit.api.render_volume import volume_object
from toolkit.api.request import NO_CONTENT, Response, json_response
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from toolkit.api.facade import EngineFacade
    from toolkit.api.query import FilterTerms
    from toolkit.api.request import Request
    from toolkit.engine.volumes import Volume

_FILTERS: Final = frozenset({"name", "dangling", "driver", "label"})
_PRUNE_FILTERS: Final = frozenset({"all", "label", "label!"})
_TRUE: Final = frozenset({"true", "1"})
_ALL_UNLESS_SAID: Final = (1, 42)  # before, prune took the volumes that have names, too


async def list_(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /volumes``."""
    terms = request.query.filters(_FILTERS)
    found = [
        volume_object(volume)
        for volume in await engine.volumes.list()
        if _matches(engine, volume, terms)
    ]
    return json_response({"Volumes": found, "Warnings": None})


def _matches(engine: EngineFacade, volume: Volume, terms: FilterTerms) -> bool:
    """Say whether the filters of a list let a volume through."""
    if "name" in terms and not any(part in volume.name for part in terms["name"]):
        return False
    if "driver" in terms and "local" not in terms["driver"]:
        return False
    if "dangling" in terms:
        wanted = bool(_TRUE.intersection(terms["dangling"]))
        if (not engine.volumes.users(volume.name)) is not wanted:
            return False
    return has_labels(volume.labels, terms.get("label", ()))


async def create(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /volumes/create``."""
    body = schemas.read_body(await request.json_body(), schemas.VolumeBody)
    volume = await engine.volumes.create(
        body.name or "",
        driver=body.driver or "",
        labels=body.labels or {},
        options=body.driver_opts or {},
    )
    return json_response(volume_object(volume), status=201)


async def inspect(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /volumes/{name}``."""
    return json_response(volume_object(await engine.volumes.inspect(request.name)))


async def remove(engine: EngineFacade, request: Request) -> Response:
    """Serve ``DELETE /volumes/{name}``."""
    await engine.volumes.remove(request.name, force=request.query.flag("force"))
    return NO_CONTENT


async def prune(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /volumes/prune``: since API 1.42 only those that have no name, unless told."""
    terms = request.query.filters(_PRUNE_FILTERS)
    texts = terms.get("all", ())
    if not set(texts) <= _TRUE | {"false", "0"}:
        raise InvalidRequestError(f"invalid filter 'all={texts[0]}'")
    every = bool(_TRUE.intersection(texts)) or request.version < _ALL_UNLESS_SAID

    def is_chosen(volume: Volume) -> bool:
        return (every or volume.is_anonymous) and lets_labels_through(volume.labels, terms)

    removed, freed = await engine.volumes.prune(is_chosen)
    return json_response({"VolumesDeleted": list(removed), "SpaceReclaimed": freed})
