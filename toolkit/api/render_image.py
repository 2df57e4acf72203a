# SPDX-License-Identifier: Apache-2.0
"""Images as docker shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from toolkit.api.query import parse_time_ns
from toolkit.api.times import NEVER, rfc3339_nano, unix_seconds
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.images.image import Image

# Clients of these versions look for every field.
_EMPTY_CONFIG: Final[dict[str, Any]] = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}
_VIRTUAL_SIZE_UNTIL = (1, 44)
_NO_NAMES_SINCE = (1, 43)


def list_entry(image: Image, names: Sequence[str], *, version: tuple[int, int]) -> dict[str, Any]:
    """Return an image as ``GET /images/json`` shows it to a client of some version."""
    tags, digests = list(names), list(image.digests)
    if not tags and version < _NO_NAMES_SINCE:
        tags, digests = ["<none>:<none>"], digests or ["<none>@<none>"]
    entry = {
        "Id": image.id,
        "ParentId": image.parent or "",
        "RepoTags": tags,
        "RepoDigests": digests,
        "Created": unix_seconds(image.created),
        "Size": image.size_bytes,
        "SharedSize": -1,
        "Labels": labels_of(image),
        "Containers": -1,
    }
    if version < _VIRTUAL_SIZE_UNTIL:
        entry["VirtualSize"] = image.size_bytes
    return entry


def labels_of(image: Image) -> dict[str, str]:
    """Return an image's labels; what somebody else wrote there and is no text is left out."""
    labels = image.config.get("Labels")
    if not isinstance(labels, dict):
        return {}
    return {key: value for key, value in labels.items() if isinstance(value, str)}


def inspect_object(image: Image, driver_name: str) -> dict[str, Any]:
    """Return an image as ``GET /images/{name}/json`` shows it."""
    return {
        "Id": image.id,
        "RepoTags": image.references,
        "RepoDigests": image.digests,
        "Parent": image.parent or "",
        "Comment": image.comment,
        "Created": rfc3339_nano(image.created),
        "Container": "",
        "ContainerConfig": None,
        "DockerVersion": "",
        "Author": image.author,
        "Config": _EMPTY_CONFIG | image.config,
        "Architecture": image.architecture,
        "Os": image.os,
        "Size": image.size_bytes,
        "VirtualSize": image.size_bytes,
        "GraphDriver": {"Name": driver_name, "Data": None},
        "RootFS": {"Type": "layers", "Layers": image.diff_ids},
        "Metadata": {"LastTagTime": NEVER},
    }


def history(image: Image, ancestors: Sequence[Image] = ()) -> list[dict[str, Any]]:
    """Return an image's history, newest first; what has no image of its own is ``<missing>``.

    Args:
        image: Whose.
        ancestors: Its parents that are images here.
    """
    known = {len(one.history): one for one in (*ancestors, image)}
    sizes = iter(image.layer_bytes)
    entries = []
    for number, step in enumerate(image.history, start=1):
        own = known.get(number)
        entries.append(
            {
                "Id": own.id if own else "<missing>",
                "Created": _created(step, image),
                "CreatedBy": str(step.get("created_by", "")),
                "Tags": own.references or None if own else None,
                "Size": 0 if step.get("empty_layer") else next(sizes, 0),
                "Comment": str(step.get("comment", "")),
            }
        )
    return entries[::-1]


def _created(step: dict[str, Any], image: Image) -> int:
    """Return when a step was done, in whole seconds since 1970."""
    text = step.get("created")
    if not isinstance(text, str):
        return unix_seconds(image.created)
    try:
        return parse_time_ns(text, name="created", now_ns=0) // 10**9
    except InvalidRequestError:  # somebody else's text: not worth a failure
        return unix_seconds(image.created)
