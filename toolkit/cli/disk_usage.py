# SPDX-License-Identifier: Apache-2.0
"""`system df`: what images, containers and volumes take on disk, in docker's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.command import command, switch
from toolkit.cli.containers import container_row, print_rows
from toolkit.cli.images import image_rows
from toolkit.cli.output import say
from toolkit.cli.units import human_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Documents = list[dict[str, Any]]
    Rows = list[dict[str, str]]

_COLUMNS: Final = {
    "TYPE": "Type",
    "TOTAL": "TotalCount",
    "ACTIVE": "Active",
    "SIZE": "Size",
    "RECLAIMABLE": "Reclaimable",
}
_IMAGE_COLUMNS: Final = {
    "REPOSITORY": "Repository",
    "TAG": "Tag",
    "IMAGE ID": "ID",
    "CREATED": "CreatedSince",
    "SIZE": "Size",
    "SHARED SIZE": "SharedSize",
    "UNIQUE SIZE": "UniqueSize",
    "CONTAINERS": "Containers",
}
_CONTAINER_COLUMNS: Final = {
    "CONTAINER ID": "ID",
    "IMAGE": "Image",
    "COMMAND": "Command",
    "LOCAL VOLUMES": "LocalVolumes",
    "SIZE": "Size",
    "CREATED": "RunningFor",
    "STATUS": "Status",
    "NAMES": "Names",
}
_VOLUME_COLUMNS: Final = {"VOLUME NAME": "Name", "LINKS": "Links", "SIZE": "Size"}
_CACHE_COLUMNS: Final = dict.fromkeys(
    ("CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED"), ""
)
_ALIVE: Final = frozenset({"running", "paused", "restarting"})


@command("df")
@click.option("--format", "template", default="", help="table, json, or a template.")
@switch("-v", "--verbose", help="Show each of them.")
@pass_access
def df(access: EngineAccess, *, template: str, verbose: bool) -> None:
    """Show what images, containers and volumes take on disk."""
    usage = access.client.system.disk_usage()
    if not verbose:
        print_rows(summary_rows(usage), _COLUMNS, template)
        return
    say("Images space usage:\n")
    print_rows(list(_image_rows(usage["Images"])), _IMAGE_COLUMNS, template)
    say("\nContainers space usage:\n")
    print_rows([_container_row(one) for one in usage["Containers"]], _CONTAINER_COLUMNS, template)
    say("\nLocal Volumes space usage:\n")
    print_rows([_volume_row(one) for one in usage["Volumes"]], _VOLUME_COLUMNS, template)
    say(f"\nBuild cache usage: {human_size(0)}\n")
    print_rows([], _CACHE_COLUMNS, template)


def summary_rows(usage: Mapping[str, Any]) -> Rows:
    """Return a row for each type: how many, how many in use, how much, how much could go."""
    images, containers, volumes = (usage[key] or [] for key in ("Images", "Containers", "Volumes"))
    used_images = [one for one in images if one["Containers"]]
    alive = [one for one in containers if one.get("State") in _ALIVE]
    taken = [one for one in volumes if one["UsageData"]["RefCount"]]
    whole = int(usage.get("LayersSize") or 0)
    in_use = sum(one["Size"] - max(one["SharedSize"], 0) for one in used_images)
    caches = usage.get("BuildCache") or []
    return [
        _row("Images", len(images), len(used_images), sizes=(whole, whole - in_use)),
        _row("Containers", len(containers), len(alive), sizes=_sizes(_written, containers, alive)),
        _row("Local Volumes", len(volumes), len(taken), sizes=_sizes(_filled, volumes, taken)),
        _row("Build Cache", len(caches), 0, sizes=(0, 0), has_share=False),
    ]


def _written(container: Mapping[str, Any]) -> int:
    return int(container.get("SizeRw") or 0)


def _filled(volume: Mapping[str, Any]) -> int:
    return max(int(volume["UsageData"]["Size"]), 0)


def _sizes(size_of: Any, every: Documents, used: Documents) -> tuple[int, int]:
    """Return what all of them take, and what those take that nobody uses."""
    whole = sum(map(size_of, every))
    return whole, whole - sum(map(size_of, used))


def _row(
    name: str, total: int, active: int, *, sizes: tuple[int, int], has_share: bool = True
) -> dict[str, str]:
    whole, idle = sizes
    share = f" ({idle * 100 // whole}%)" if whole and has_share else ""
    return {
        "Type": name,
        "TotalCount": str(total),
        "Active": str(active),
        "Size": human_size(whole),
        "Reclaimable": human_size(idle) + share,
    }


def _image_rows(images: Documents) -> Iterable[dict[str, str]]:
    for one in images:
        shared = max(one["SharedSize"], 0)
        extra = {
            "SharedSize": human_size(shared),
            "UniqueSize": human_size(one["Size"] - shared),
            "Containers": str(one["Containers"]),
        }
        for row in image_rows(one, is_cut=True):
            yield row | extra


def _container_row(document: dict[str, Any]) -> dict[str, str]:
    volumes = [one for one in document.get("Mounts") or [] if one.get("Type") == "volume"]
    return container_row(document, is_cut=True) | {
        "LocalVolumes": str(len(volumes)),
        "Size": human_size(document.get("SizeRw") or 0, 3),
    }


def _volume_row(document: dict[str, Any]) -> dict[str, str]:
    usage = document["UsageData"]
    return {
        "Name": str(document["Name"]),
        "Links": str(usage["RefCount"]),
        "Size": human_size(max(usage["Size"], 0)),
    }
