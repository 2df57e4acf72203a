# SPDX-License-Identifier: Apache-2.0
"""Images: list, inspect, history, import, tag, remove, prune."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from toolkit.api.filters import PRUNE_FILTERS, has_labels, reference_test, until_ns
from toolkit.api.render_image import history, inspect_object, labels_of, list_entry
from toolkit.api.request import Response, json_response
from toolkit.api.routes import transfers
from toolkit.build.changes import config_of_changes
from toolkit.errors import ConflictError, InvalidRequestError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from toolkit.api.facade import EngineFacade
    from toolkit.api.query import FilterTerms
    from toolkit.api.request import Request
    from toolkit.engine.images import RemovedImage
    from toolkit.images.image import Image

_FILTERS = frozenset({"reference", "dangling", "label", "before", "since", "until"})
_MOST_ANCESTORS = 127
_TRUE = frozenset({"true", "1"})


async def list_(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /images/json``."""
    terms = request.query.filters(_FILTERS)
    images = await engine.images.list()
    chosen = await _chosen(engine, images, terms, all_=request.query.flag("all"))
    matches = reference_test(terms["reference"]) if terms.get("reference") else None
    entries = []
    for image in chosen:
        names = [name for name in image.references if matches is None or matches(name)]
        if matches is None or names:
            entries.append(list_entry(image, names, version=request.version))
    return json_response(entries)


async def _chosen(
    engine: EngineFacade, images: list[Image], terms: FilterTerms, *, all_: bool
) -> list[Image]:
    """Return the images that the filters let through; ``reference`` is the caller's."""
    parents = {image.parent for image in images}
    if not all_:
        images = [image for image in images if image.references or image.id not in parents]
    for reference in terms.get("before", ()):
        edge = (await engine.images.inspect(reference)).created
        images = [image for image in images if image.created < edge]
    for reference in terms.get("since", ()):
        edge = (await engine.images.inspect(reference)).created
        images = [image for image in images if image.created > edge]
    before = until_ns(terms.get("until", ()), time.time_ns())
    if before is not None:
        images = [image for image in images if image.created.timestamp() * 1e9 < before]
    if "dangling" in terms:
        wanted = bool(_TRUE.intersection(terms["dangling"]))
        images = [image for image in images if (not image.references) is wanted]
    labels = terms.get("label", ())
    return [image for image in images if has_labels(labels_of(image), labels)]


async def inspect(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /images/{name}/json``."""
    image = await engine.images.inspect(request.name)
    return json_response(inspect_object(image, engine.instance.storage_driver))


async def show_history(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /images/{name}/history``."""
    image = await engine.images.inspect(request.name)
    ancestors: list[Image] = []
    parent = image.parent
    while parent is not None and len(ancestors) < _MOST_ANCESTORS:
        try:
            ancestors.append(await engine.images.inspect(parent))
        except NotFoundError:
            break
        parent = ancestors[-1].parent
    return json_response(history(image, ancestors))


async def create(engine: EngineFacade, request: Request) -> Response | None:
    """Serve ``POST /images/create``: pull, or import from the body."""
    query = request.query
    source = query.text("fromSrc")
    if query.text("fromImage"):
        await transfers.pull(engine, request)
        return None
    if not source:
        raise InvalidRequestError("fromImage or fromSrc is missing: what shall the image be?")
    options: dict[str, Any] = {
        "reference": _imported_name(query.text("repo"), query.text("tag")),
        "config": config_of_changes(query.texts("changes")),
        "message": query.text("message") or f"Imported from {source}",
    }
    if source == "-":
        image = await engine.images.import_(transfers.archive_of(request), **options)
    else:
        image = await engine.images.import_url(source, **options)
    return json_response({"status": image.id})


def _imported_name(repository: str, tag: str) -> str | None:
    """Return the name to give; the CLI puts the tag inside the repository."""
    if not repository:
        return None
    return f"{repository}:{tag}" if tag else repository


async def tag(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /images/{name}/tag``."""
    query = request.query
    repository = query.text("repo")
    if not repository:
        raise InvalidRequestError("repo is missing: which name shall the image get?")
    name = _imported_name(repository, query.text("tag"))
    await engine.images.tag(request.name, name or repository)
    return Response(status=201)


async def remove(engine: EngineFacade, request: Request) -> Response:
    """Serve ``DELETE /images/{name}``."""
    query = request.query
    removed = await engine.images.remove(
        request.name, force=query.flag("force"), noprune=query.flag("noprune")
    )
    return json_response(removed_objects(removed))


def removed_objects(removed: Iterable[RemovedImage]) -> list[dict[str, Any]]:
    """Return what a removal took away, as docker lists it."""
    return [
        {"Untagged": one.untagged} if one.untagged else {"Deleted": one.deleted} for one in removed
    ]


async def prune(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /images/prune``: images without a name that nothing stands on."""
    terms = dict(request.query.filters(PRUNE_FILTERS | {"dangling"}))
    dangling_only = not {"false", "0"}.intersection(terms.pop("dangling", ()))
    unwanted = terms.pop("label!", ())
    images = await engine.images.list()
    removed: list[dict[str, Any]] = []
    freed = 0
    for image in await _chosen(engine, images, terms, all_=True):
        if dangling_only and image.references:
            continue
        if any(has_labels(labels_of(image), [label]) for label in unwanted):
            continue
        for name in image.references or (image.id,):
            try:
                taken = await engine.images.remove(name, force=False, noprune=True)
            except ConflictError:  # in use
                continue
            removed += removed_objects(taken)
            freed += image.size_bytes if any(one.deleted == image.id for one in taken) else 0
    return json_response({"ImagesDeleted": removed, "SpaceReclaimed": freed})
