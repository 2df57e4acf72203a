# SPDX-License-Identifier: Apache-2.0
"""Containers: create, list, inspect, and the verbs that answer at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from toolkit.api import decode, render, schemas
from toolkit.api.filters import (
    CONTAINER_FILTERS,
    PRUNE_FILTERS,
    container_test,
    lets_labels_through,
    until_ns,
)
from toolkit.api.render import Places, Sizes, size_fields
from toolkit.api.render_health import health_state
from toolkit.api.request import NO_CONTENT, Response, json_response
from toolkit.engine.model import State
from toolkit.engine.volumes import VolumeDirectories
from toolkit.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.api.container_facade import Container
    from toolkit.api.facade import EngineFacade
    from toolkit.api.query import FilterTerms
    from toolkit.api.request import Request
    from toolkit.engine.model import ContainerRecord

_MOST_START_BODY = 7  # clients of old send "{}" or "null"
_HIDDEN_WITHOUT_ALL = frozenset(
    {State.CREATED, State.STARTING, State.EXITED, State.DEAD, State.REMOVING}
)
_SHOWING_FILTERS = frozenset({"status", "exited", "since", "before"})


def places_of(engine: EngineFacade) -> Places:
    """Return where this engine keeps things."""
    volumes = VolumeDirectories(engine.instance.data_dir)
    return Places(
        instance=engine.instance,
        volume_dir=volumes.data_dir,
        network_ids=engine.networks.ids(),
    )


async def create(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /containers/create``."""
    body = schemas.read_body(await request.json_body(), schemas.CreateBody)
    spec, left_out = decode.container_spec(body)
    container, warnings = await engine.create_container(spec, request.query.text("name"))
    return json_response(
        {"Id": container.record.id, "Warnings": [*left_out, *warnings]}, status=201
    )


async def list_(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /containers/json``."""
    query = request.query
    terms = query.filters(CONTAINER_FILTERS)
    limit = query.number("limit", 0) or 0
    found = await _chosen(engine, terms)
    if not (query.flag("all") or limit > 0 or _SHOWING_FILTERS & terms.keys()):
        found = [
            container
            for container in found
            if container.record.state.status not in _HIDDEN_WITHOUT_ALL
        ]
    if limit > 0:
        found = found[:limit]
    names = await _image_names(engine) if found else {}
    now, places = render.now_utc(), places_of(engine)
    entries = []
    for container in found:
        record = container.record
        entry = render.list_entry(
            record,
            image=_true_name(record, names),
            now=now,
            places=places,
            names=container.names,
            health=container.health,
        )
        if query.flag("size"):
            entry |= size_fields(await sizes_of(engine, container))
        entries.append(entry)
    return json_response(entries)


async def _chosen(engine: EngineFacade, terms: FilterTerms) -> list[Container]:
    """Return the containers that the filters let through, newest first."""
    found = list(await engine.containers())
    for reference in terms.get("before", ()):
        found = found[_position(found, await engine.container(reference)) + 1 :]
    for reference in terms.get("since", ()):
        found = found[: _position(found, await engine.container(reference))]
    ancestors = await _ancestors(engine, terms.get("ancestor", ()))
    test = container_test(terms, ancestors, engine.networks.ids())
    wanted = terms.get("health", ())
    return [
        container
        for container in found
        if test(container.record) and (not wanted or health_state(container.health) in wanted)
    ]


def _position(containers: Sequence[Container], wanted: Container) -> int:
    """Return where a container stands in a list; past its end if it is not in it."""
    ids = [container.record.id for container in containers]
    return ids.index(wanted.record.id) if wanted.record.id in ids else len(ids)


async def _ancestors(engine: EngineFacade, names: Sequence[str]) -> set[str]:
    """Return the ids of images and of all that is built on them."""
    if not names:
        return set()
    found: set[str] = set()
    for name in names:
        try:
            found.add((await engine.images.inspect(name)).id)
        except NotFoundError:
            continue
    parents: dict[str, str | None] = {
        image.id: image.parent for image in await engine.images.list()
    }
    for image_id in parents:
        parent: str | None = image_id
        while parent is not None and parent not in found:
            parent = parents.get(parent)
        if parent is not None:
            found.add(image_id)
    return found


async def _image_names(engine: EngineFacade) -> dict[str, str]:
    """Return which image each familiar name means now."""
    return {name: image.id for image in await engine.images.list() for name in image.references}


def _true_name(record: ContainerRecord, names: dict[str, str]) -> str:
    """Return the image as it was typed, or its id where that name now means another."""
    typed = record.spec.image
    meant = names.get(typed) or names.get(f"{typed}:latest")
    return record.image_id if meant is not None and meant != record.image_id else typed


async def sizes_of(engine: EngineFacade, container: Container) -> Sizes:
    """Return what a container takes: its own layer, and that with its image."""
    rw_bytes = await container.rw_size_bytes()
    try:
        image_bytes = (await engine.images.inspect(container.record.image_id)).size_bytes
    except NotFoundError:  # removed by force
        image_bytes = 0
    return Sizes(rw_bytes=rw_bytes, rootfs_bytes=rw_bytes + image_bytes)


async def inspect(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /containers/{name}/json``."""
    container = await engine.container(request.name)
    sizes = None
    if request.query.flag("size"):
        sizes = await sizes_of(engine, container)
    return json_response(
        render.inspect(
            container.record,
            places=places_of(engine),
            exec_ids=list(container.exec_ids),
            sizes=sizes,
            links=container.links,
            health=container.health,
        )
    )


async def start(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /containers/{name}/start``."""
    if len(await request.body()) > _MOST_START_BODY:
        raise InvalidRequestError(
            "starting container with non-empty request body was deprecated since API v1.22 "
            "and removed in v1.24"
        )
    await (await engine.container(request.name)).start()
    return NO_CONTENT


async def stop(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /containers/{name}/stop``."""
    seconds = request.query.number("t")
    container = await engine.container(request.name)
    await container.stop(seconds, request.query.text("signal"))
    return NO_CONTENT


async def restart(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /containers/{name}/restart``."""
    seconds = request.query.number("t")
    container = await engine.container(request.name)
    await container.restart(seconds, request.query.text("signal"))
    return NO_CONTENT


async def kill(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /containers/{name}/kill``."""
    container = await engine.container(request.name)
    await container.kill(request.query.text("signal"))
    return NO_CONTENT


async def pause(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /containers/{name}/pause``."""
    await (await engine.container(request.name)).pause()
    return NO_CONTENT


async def unpause(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /containers/{name}/unpause``."""
    await (await engine.container(request.name)).unpause()
    return NO_CONTENT


async def rename(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /containers/{name}/rename``."""
    await (await engine.container(request.name)).rename(request.query.text("name"))
    return NO_CONTENT


async def resize(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /containers/{name}/resize``."""
    rows, columns = size_of(request)
    await (await engine.container(request.name)).resize(rows, columns)
    return Response()


def size_of(request: Request) -> tuple[int, int]:
    """Return the rows and columns that a request asks for."""
    largest = 65535
    rows, columns = request.query.number("h"), request.query.number("w")
    if rows is None or columns is None or not (0 <= rows <= largest and 0 <= columns <= largest):
        raise InvalidRequestError("resize needs h and w, whole numbers from 0 to 65535")
    return rows, columns


async def update(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /containers/{name}/update``."""
    body = schemas.read_body(await request.json_body(), schemas.Resources)
    wire = body.restart_policy
    policy = decode.restart_policy(wire) if wire is not None and wire.name else None
    container = await engine.container(request.name)
    warnings = await container.update(decode.limits(body), policy)
    return json_response({"Warnings": warnings})


async def remove(engine: EngineFacade, request: Request) -> Response:
    """Serve ``DELETE /containers/{name}``."""
    query = request.query
    if query.flag("link"):
        await engine.remove_link(request.name)
        return NO_CONTENT
    container = await engine.container(request.name)
    await container.remove(force=query.flag("force"), volumes=query.flag("v"))
    return NO_CONTENT


async def prune(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /containers/prune``."""
    terms = request.query.filters(PRUNE_FILTERS)
    before = until_ns(terms.get("until", ()), time.time_ns())
    removed, freed = [], 0
    for container in await engine.containers():
        record = container.record
        if record.state.status not in {State.CREATED, State.EXITED, State.DEAD}:
            continue
        if before is not None and record.created.timestamp() * 1e9 >= before:
            continue
        if not lets_labels_through(record.spec.labels, terms):
            continue
        rw_bytes = await container.rw_size_bytes()
        try:
            await container.remove(force=False, volumes=False)
        except (ConflictError, NotFoundError):  # started, or removed by another, meanwhile
            continue
        removed.append(record.id)
        freed += rw_bytes
    return json_response({"ContainersDeleted": removed, "SpaceReclaimed": freed})
