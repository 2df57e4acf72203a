# SPDX-License-Identifier: Apache-2.0
"""Which mounts a container gets: binds, volumes, tmpfs, and those of other containers.

Paths inside the container are only texts here; the shim resolves them, inside
the container's root and by descriptor.
"""

from __future__ import annotations

import posixpath
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolkit.engine.model import Mount
from toolkit.engine.validation import check_line, check_tmpfs_options
from toolkit.engine.volumes import checked_volume_name, made_up_volume_name
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from toolkit.engine.model import ContainerRecord, ContainerSpec

_LONGEST_PATH: Final = 4000
_PROPAGATIONS: Final = frozenset(
    ("", "private", "rprivate", "shared", "rshared", "slave", "rslave")
)


def resolve_mounts(
    spec: ContainerSpec, find: Callable[[str], ContainerRecord]
) -> tuple[Mount, ...]:
    """Return the mounts of a new container, parents before what lies below them (rule 4.5).

    Args:
        spec: What was asked for, merged with the image.
        find: Returns the container that a volumes-from entry names.

    Raises:
        InvalidRequestError: A source or a target cannot be used.
    """
    found: dict[str, Mount] = {}
    for mount in (*spec.host.mounts, *_tmpfs(spec)):
        checked = _checked(mount)
        if checked.target in found:
            raise InvalidRequestError(f"Duplicate mount point: {checked.target}")
        found[checked.target] = checked
    for mount in _from_others(spec, find):
        found.setdefault(mount.target, mount)
    for path in spec.volumes:
        target = checked_target(path)
        volume = Mount(kind="volume", source="", target=target, anonymous=True)
        found.setdefault(target, replace(volume, source=made_up_volume_name()))
    return tuple(found[target] for target in sorted(found))


def checked_target(path: str) -> str:
    """Return a path inside the container, absolute and without detours (row S-27).

    Raises:
        InvalidRequestError: Nothing may be mounted there.
    """
    check_line(path, "mount path")
    if not path.startswith("/") or len(path) > _LONGEST_PATH:
        raise InvalidRequestError(f"invalid mount path: {path[:80]!r} mount path must be absolute")
    clean = "/" + posixpath.normpath(path).lstrip("/")
    if clean == "/":
        raise InvalidRequestError(
            f"invalid specification: destination can't be '/' (it is {path[:80]!r})"
        )
    if clean == "/proc" or clean.startswith("/proc/"):
        raise InvalidRequestError(f"invalid mount path: {path[:80]!r} is inside /proc")
    return clean


def _tmpfs(spec: ContainerSpec) -> Iterator[Mount]:
    for target, options in spec.host.tmpfs.items():
        yield Mount(kind="tmpfs", source="", target=target, options=options)


def _checked(mount: Mount) -> Mount:
    mount = replace(mount, target=checked_target(mount.target))
    if mount.propagation not in _PROPAGATIONS:
        raise InvalidRequestError(f"invalid mount propagation: {mount.propagation[:80]!r}")
    match mount.kind:
        case "bind":
            return _checked_bind(mount)
        case "volume":
            name = mount.source or made_up_volume_name()
            return replace(
                mount,
                source=checked_volume_name(name),
                anonymous=mount.anonymous or not mount.source,
            )
        case "tmpfs":
            check_tmpfs_options(mount.options, mount.target)
            return mount


def _checked_bind(mount: Mount) -> Mount:
    check_line(mount.source, "bind source")
    if not mount.source.startswith("/") or len(mount.source) > _LONGEST_PATH:
        raise InvalidRequestError(
            f"invalid mount config for type \"bind\": invalid mount path: '{mount.source[:80]}' "
            "mount path must be absolute"
        )
    if not mount.from_binds and not Path(mount.source).exists():
        raise InvalidRequestError(
            'invalid mount config for type "bind": bind source path does not exist: '
            f"{mount.source[:200]}"
        )
    return mount


def _from_others(spec: ContainerSpec, find: Callable[[str], ContainerRecord]) -> Iterator[Mount]:
    for entry in spec.host.volumes_from:
        reference, _, mode = entry.partition(":")
        if mode not in {"", "ro", "rw"}:
            raise InvalidRequestError(f'invalid mode: "{mode[:20]}"')
        for mount in find(reference).mounts:
            if mount.kind != "tmpfs":
                yield replace(mount, read_only=mount.read_only or mode == "ro", no_copy=True)
