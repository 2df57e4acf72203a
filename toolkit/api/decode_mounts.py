# SPDX-License-Identifier: Apache-2.0
"""Binds and mounts of a create body, in both of docker's forms."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Final

from toolkit.engine.model import Mount
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from toolkit.api import schemas

_VOLUME_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_PROPAGATIONS: Final = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_OTHER_MODES: Final = frozenset({"z", "Z", "nocopy", "cached", "delegated", "consistent"})
_MOST_PARTS: Final = 3


def read_volumes(volumes: Iterable[str] | None) -> tuple[str, ...]:
    """Return the paths that get a volume of their own."""
    return tuple(_target(path, f"invalid volume specification: '{path}'") for path in volumes or ())


def read_mounts(
    binds: list[str] | None, mounts: list[schemas.MountPoint] | None
) -> tuple[Mount, ...]:
    """Return what is mounted into a container, each target once."""
    found = [*(_bind(text) for text in binds or ()), *(_mount(wire) for wire in mounts or ())]
    targets: set[str] = set()
    for mount in found:
        if mount.target in targets:
            raise InvalidRequestError(f"Duplicate mount point: {mount.target}")
        targets.add(mount.target)
    return tuple(found)


def _bind(text: str) -> Mount:
    """Return what ``source:target[:modes]`` says."""
    problem = f"invalid volume specification: '{text}'"
    parts = text.split(":")
    if not 2 <= len(parts) <= _MOST_PARTS or not parts[0]:  # noqa: PLR2004 - source and target
        raise InvalidRequestError(problem)
    source = parts[0]
    is_path = source.startswith("/")
    if not is_path and not _VOLUME_NAME.fullmatch(source):
        raise InvalidRequestError(
            f"{problem}: {source!r} includes invalid characters for a local volume name, only "
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. '
            "If you intended to pass a host directory, use absolute path"
        )
    modes = parts[2] if len(parts) == _MOST_PARTS else ""
    read_only, propagation = _modes(modes, problem)
    if propagation and not is_path:
        raise InvalidRequestError(f'{problem}: invalid mode: "{modes}": propagation is of binds')
    return Mount(
        kind="bind" if is_path else "volume",
        source=posixpath.normpath(source) if is_path else source,
        target=_target(parts[1], problem),
        read_only=read_only,
        propagation=propagation or "rprivate",
        options=modes,
        no_copy="nocopy" in modes.split(","),
    )


def _modes(text: str, problem: str) -> tuple[bool, str]:
    """Return whether a bind is read-only, and its propagation."""
    read_only, propagation = False, ""
    for mode in filter(None, text.split(",")):
        if mode in {"ro", "rw"}:
            read_only = mode == "ro"
        elif mode in _PROPAGATIONS:
            propagation = mode
        elif mode not in _OTHER_MODES:
            raise InvalidRequestError(f'{problem}: invalid mode: "{text}"')
    return read_only, propagation


def _target(path: str, problem: str) -> str:
    """Return a clean path in the container."""
    if not path.startswith("/"):
        raise InvalidRequestError(f"{problem}: invalid mount path: '{path}' must be absolute")
    clean = posixpath.normpath(path).replace("//", "/")
    if clean == "/":
        raise InvalidRequestError(f"{problem}: destination can't be '/'")
    return clean


def _mount(wire: schemas.MountPoint) -> Mount:
    """Return what one of ``Mounts`` says."""
    kind = wire.type or ""
    problem = f'invalid mount config for type "{kind}"'
    if not wire.target:
        raise InvalidRequestError(f"{problem}: field Target must not be empty")
    target = _target(wire.target, problem)
    read_only = bool(wire.read_only)
    if kind == "bind":
        return _bind_mount(wire, target, problem)
    if kind == "volume":
        source = wire.source or ""
        if source and not _VOLUME_NAME.fullmatch(source):
            raise InvalidRequestError(f"{problem}: {source!r} is not a volume's name")
        return _volume_mount(wire, source, target, problem)
    if kind == "tmpfs":
        if wire.source:
            raise InvalidRequestError(f"{problem}: field Source must not be specified")
        return Mount(
            kind="tmpfs",
            source="",
            target=target,
            read_only=read_only,
            options=_tmpfs_options(wire.tmpfs_options),
            from_binds=False,
        )
    raise InvalidRequestError(f'invalid mount config: mount type unknown: "{kind}"')


def _bind_mount(wire: schemas.MountPoint, target: str, problem: str) -> Mount:
    """Return a bind of ``Mounts``: its source has to exist unless the client says otherwise."""
    source = wire.source or ""
    if not source:
        raise InvalidRequestError(f"{problem}: field Source must not be empty")
    if not source.startswith("/"):
        raise InvalidRequestError(
            f"{problem}: invalid mount path: '{source}' mount path must be absolute"
        )
    propagation = (wire.bind_options.propagation if wire.bind_options else None) or "rprivate"
    if propagation not in _PROPAGATIONS:
        raise InvalidRequestError(f"{problem}: invalid propagation mode: {propagation}")
    if wire.bind_options and wire.bind_options.read_only_non_recursive:
        raise InvalidRequestError(f"{problem}: what is read-only is so with all below it")
    return Mount(
        kind="bind",
        source=posixpath.normpath(source),
        target=target,
        read_only=bool(wire.read_only),
        propagation=propagation,
        from_binds=bool(wire.bind_options and wire.bind_options.create_mountpoint),
        is_recursive=not (wire.bind_options and wire.bind_options.non_recursive),
    )


def _volume_mount(wire: schemas.MountPoint, source: str, target: str, problem: str) -> Mount:
    """Return a volume of ``Mounts``."""
    options = wire.volume_options
    driver = options.driver_config if options else None
    if driver and (driver.name not in {None, "", "local"} or driver.options):
        raise InvalidRequestError(f"{problem}: there is only the driver local, without options")
    if options and options.subpath:
        raise InvalidRequestError(f"{problem}: a part of a volume cannot be mounted")
    return Mount(
        kind="volume",
        source=source,
        target=target,
        read_only=bool(wire.read_only),
        from_binds=False,
        no_copy=bool(options and options.no_copy),
        volume_labels=(options.labels if options else None) or {},
    )


def _tmpfs_options(wire: schemas.TmpfsOptions | None) -> str:
    """Return a tmpfs's options as mount takes them."""
    if wire is None:
        return ""
    words = ["=".join(pair) for pair in wire.options or ()]
    if wire.size_bytes:
        words.append(f"size={wire.size_bytes}")
    if wire.mode:
        words.append(f"mode={wire.mode & 0o7777:o}")
    return ",".join(words)
