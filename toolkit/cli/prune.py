# SPDX-License-Identifier: Apache-2.0
"""`prune --session`, and prune of builds, containers, images, networks and volumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.command import command, repeated, switch
from toolkit.cli.containers import parse_filters, print_lines
from toolkit.cli.output import say
from toolkit.cli.units import human_size
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from toolkit.client import Client

    Filters = Mapping[str, Sequence[str]]
    _Prune = Callable[[Client, Filters], "_Pruned"]

_filter = repeated("--filter", help="Condition, key=value.")
_force = switch("-f", "--force", help="Do not ask.")


@dataclass(frozen=True)
class _Pruned:
    """What went.

    Attributes:
        title: What stands above the names.
        freed_bytes: None where the engine does not say.
    """

    title: str
    names: Sequence[str]
    freed_bytes: int | None = None


def _containers(client: Client, filters: Filters) -> _Pruned:
    done = client.containers.prune(filters=filters)
    return _Pruned("Deleted Containers:", done.get("ContainersDeleted") or [], _freed(done))


def _networks(client: Client, filters: Filters) -> _Pruned:
    done = client.networks.prune(filters=filters)
    return _Pruned("Deleted Networks:", done.get("NetworksDeleted") or [])


def _volumes(client: Client, filters: Filters) -> _Pruned:
    done = client.volumes.prune(filters=filters)
    return _Pruned("Deleted Volumes:", done.get("VolumesDeleted") or [], _freed(done))


def _images(client: Client, filters: Filters) -> _Pruned:
    done = client.images.prune(filters=filters)
    names = [
        f"{verb.lower()}: {name}"
        for one in done.get("ImagesDeleted") or []
        for verb, name in one.items()
    ]
    return _Pruned("Deleted Images:", names, _freed(done))


def _builds(client: Client, _: Filters) -> _Pruned:
    done = client.images.prune_builds()
    return _Pruned("Deleted build cache objects:", done.get("CachesDeleted") or [], _freed(done))


def _freed(done: Mapping[str, Any]) -> int:
    return int(done.get("SpaceReclaimed") or 0)


@command("prune")
@_filter
@_force
@pass_access
def prune_containers(access: EngineAccess, filter: tuple[str, ...], *, force: bool) -> int:  # noqa: A002  # the flag's name
    """Remove all containers that do not run."""
    what = "This will remove all stopped containers."
    return _prune(access.client, what, {_containers: parse_filters(filter)}, force=force)


@command("prune")
@switch("-a", "--all", help="Also images with a name that no container uses.")
@_filter
@_force
@pass_access
def prune_images(
    access: EngineAccess,
    filter: tuple[str, ...],  # noqa: A002  # the flag's name
    *,
    all: bool,  # noqa: A002  # the flag's name
    force: bool,
) -> int:
    """Remove images that have no name and that nothing stands on."""
    what = "images without at least one container" if all else "dangling images"
    filters = {**_dangling(every_image=all), **parse_filters(filter)}
    return _prune(access.client, f"This will remove all {what}.", {_images: filters}, force=force)


@command("prune")
@switch("-a", "--all", help="Also volumes with a name.")
@_filter
@_force
@pass_access
def prune_volumes(
    access: EngineAccess,
    filter: tuple[str, ...],  # noqa: A002  # the flag's name
    *,
    all: bool,  # noqa: A002  # the flag's name
    force: bool,
) -> int:
    """Remove volumes that no container has."""
    kind = "all volumes" if all else "anonymous volumes"
    what = f"This will remove {kind} not used by at least one container."
    every = {"all": ["true"]} if all else {}
    return _prune(access.client, what, {_volumes: {**every, **parse_filters(filter)}}, force=force)


@command("prune")
@switch("-a", "--all", help="Taken for docker's sake: all of it goes anyway.")
@_force
@pass_access
def prune_builds(access: EngineAccess, *, all: bool, force: bool) -> int:  # noqa: A002  # the flag's name
    """Remove the images that builds have made and nothing has a name for."""
    del all
    what = "This will remove all dangling build cache."
    return _prune(access.client, what, {_builds: {}}, force=force)


@command("prune")
@switch("--session", help="What sessions of tests left that are over, and what was kept of them.")
@pass_access
def prune(access: EngineAccess, *, session: bool) -> int:
    """Remove what nobody holds any more."""
    if not session:
        raise InvalidRequestError(
            "say what to prune: 'prune --session', or 'container|image|network|volume prune'"
        )
    done = access.client.extensions.prune_sessions()
    for title in ("Containers", "Networks", "Volumes", "Images"):
        if found := done.get(title):
            say(f"Deleted {title}:")
            print_lines(found)
    return 0


@command("prune")
@_filter
@_force
@pass_access
def prune_networks(access: EngineAccess, filter: tuple[str, ...], *, force: bool) -> int:  # noqa: A002  # the flag's name
    """Remove networks that no container is on."""
    what = "This will remove all custom networks not used by at least one container."
    return _prune(access.client, what, {_networks: parse_filters(filter)}, force=force)


@command("prune")
@switch("-a", "--all", help="Also images with a name that no container uses.")
@switch("--volumes", help="Also volumes without a name that no container has.")
@_filter
@_force
@pass_access
def prune_system(
    access: EngineAccess,
    filter: tuple[str, ...],  # noqa: A002  # the flag's name
    *,
    all: bool,  # noqa: A002  # the flag's name
    volumes: bool,
    force: bool,
) -> int:
    """Remove containers that do not run, and networks and images that no container uses."""
    images = (
        "images without at least one container associated to them" if all else "dangling images"
    )
    lines = [
        "all stopped containers",
        "all networks not used by at least one container",
        *(["all anonymous volumes not used by at least one container"] if volumes else []),
        f"all {images}",
        "unused build cache",
    ]
    filters = parse_filters(filter)
    timeless = {key: values for key, values in filters.items() if key != "until"}
    kinds: dict[_Prune, Filters] = {
        _containers: filters,
        _networks: filters,
        **({_volumes: timeless} if volumes else {}),
        _images: {**filters, **_dangling(every_image=all)},
        _builds: {},
    }
    what = "\n  - ".join(["This will remove:", *lines]) + "\n"
    return _prune(access.client, what, kinds, force=force)


def _dangling(*, every_image: bool) -> dict[str, list[str]]:
    return {"dangling": ["false" if every_image else "true"]}


def _prune(client: Client, what: str, kinds: Mapping[_Prune, Filters], *, force: bool) -> int:
    """Remove kind after kind, each by its filters, if that may be; tell what went."""
    if not force and not click.confirm(f"WARNING! {what}\nAre you sure you want to continue?"):
        return 1
    freed: list[int] = []
    for prune_kind, filters in kinds.items():
        pruned = prune_kind(client, filters)
        if pruned.freed_bytes is not None:
            freed.append(pruned.freed_bytes)
        if pruned.names:
            say(pruned.title)
            print_lines(pruned.names)
            say("")
    if freed:
        say(f"Total reclaimed space: {human_size(sum(freed))}")
    return 0
