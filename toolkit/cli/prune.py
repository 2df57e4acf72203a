# SPDX-License-Identifier: Apache-2.0
"""`prune --session`, and prune of builds, containers, images, networks and volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.command import command, repeated, switch
from toolkit.cli.containers import parse_filters, print_lines
from toolkit.cli.output import say
from toolkit.cli.units import human_size
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from toolkit.client import Client
    from toolkit.client.jsonstream import Document

    Prune = Callable[..., Document]

_filter = repeated("--filter", help="Condition, key=value.")
_force = switch("-f", "--force", help="Do not ask.")


@command("prune")
@_filter
@_force
@pass_access
def prune_containers(access: EngineAccess, filter: tuple[str, ...], *, force: bool) -> int:  # noqa: A002  # the flag's name
    """Remove all containers that do not run."""
    if not _may("This will remove all stopped containers.", force=force):
        return 1
    done = access.client.containers.prune(filters=parse_filters(filter))
    _tell("Deleted Containers:", done.get("ContainersDeleted") or [], done)
    return 0


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
    if not _may(f"This will remove all {what}.", force=force):
        return 1
    filters = parse_filters(filter)
    filters.setdefault("dangling", ["false" if all else "true"])
    done = access.client.images.prune(filters=filters)
    _tell("Deleted Images:", _image_lines(done), done)
    return 0


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
    what = "all volumes" if all else "anonymous volumes"
    if not _may(f"This will remove {what} not used by at least one container.", force=force):
        return 1
    filters = parse_filters(filter)
    if all:
        filters.setdefault("all", ["true"])
    done = access.client.volumes.prune(filters=filters)
    _tell("Deleted Volumes:", done.get("VolumesDeleted") or [], done)
    return 0


@command("prune")
@switch("-a", "--all", help="Taken for docker's sake: all of it goes anyway.")
@_force
@pass_access
def prune_builds(access: EngineAccess, *, all: bool, force: bool) -> int:  # noqa: A002  # the flag's name
    """Remove the images that builds have made and nothing has a name for."""
    del all
    if not _may("This will remove all dangling build cache.", force=force):
        return 1
    done = access.client.images.prune_builds()
    _tell("Deleted build cache objects:", done.get("CachesDeleted") or [], done)
    return 0


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
    if not _may(what, force=force):
        return 1
    done = access.client.networks.prune(filters=parse_filters(filter))
    _list("Deleted Networks:", done.get("NetworksDeleted") or [])
    return 0


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
    if not _may("\n  - ".join(["This will remove:", *lines]) + "\n", force=force):
        return 1
    freed = 0
    for title, found, reclaimed in _pruned(
        access.client, parse_filters(filter), every_image=all, with_volumes=volumes
    ):
        _list(title, found)
        freed += reclaimed
    say(f"Total reclaimed space: {human_size(freed)}")
    return 0


def _pruned(
    client: Client, filters: Mapping[str, Sequence[str]], *, every_image: bool, with_volumes: bool
) -> Iterator[tuple[str, list[str], int]]:
    """Remove kind after kind; return of each its title, what went, and the bytes of it."""
    done = client.containers.prune(filters=filters)
    yield "Deleted Containers:", done.get("ContainersDeleted") or [], _freed(done)
    done = client.networks.prune(filters=filters)
    yield "Deleted Networks:", done.get("NetworksDeleted") or [], 0
    if with_volumes:
        known = {key: values for key, values in filters.items() if key != "until"}
        done = client.volumes.prune(filters=known)
        yield "Deleted Volumes:", done.get("VolumesDeleted") or [], _freed(done)
    dangling = {"dangling": ["false" if every_image else "true"]}
    done = client.images.prune(filters={**filters, **dangling})
    yield "Deleted Images:", _image_lines(done), _freed(done)
    done = client.images.prune_builds()
    yield "Deleted build cache objects:", done.get("CachesDeleted") or [], _freed(done)


def _freed(done: Mapping[str, object]) -> int:
    return int(str(done.get("SpaceReclaimed") or 0))


def _image_lines(done: Mapping[str, Any]) -> list[str]:
    return [
        f"{verb.lower()}: {name}"
        for one in done.get("ImagesDeleted") or []
        for verb, name in one.items()
    ]


def _may(what: str, *, force: bool) -> bool:
    return force or click.confirm(f"WARNING! {what}\nAre you sure you want to continue?")


def _tell(title: str, lines: Sequence[str] | Iterable[str], done: Mapping[str, object]) -> None:
    _list(title, list(lines))
    say(f"Total reclaimed space: {human_size(_freed(done))}")


def _list(title: str, lines: Sequence[str]) -> None:
    if lines:
        say(title)
        print_lines(lines)
        say("")
