# SPDX-License-Identifier: Apache-2.0
"""From a create request to a container: checked, merged, on the disk, listed.

The row in the store is what makes it exist. Its files and layer are found by its id:
those without a row are swept by recovery, those that a row lacks are made again
(`remake_files`), so both may be made at once. Volumes are filled before there is a row.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolkit.engine.copyup import fill_new_volumes
from toolkit.engine.index import SHORT_ID_LENGTH
from toolkit.engine.inits import find_static_init
from toolkit.engine.launch import planned_rlimits
from toolkit.engine.limits import allowed_oom_score, check_limits, downgraded
from toolkit.engine.links import settled_links
from toolkit.engine.loglimits import check_log_options
from toolkit.engine.merge import image_defaults, merged, program_of
from toolkit.engine.mode_conflicts import check_modes
from toolkit.engine.model import ContainerId, ContainerRecord, ImageId
from toolkit.engine.mounts import resolve_mounts
from toolkit.engine.names import checked_name
from toolkit.engine.network_validation import check_endpoint, check_mac
from toolkit.engine.networked import settled_networks
from toolkit.engine.security import SecurityChoice
from toolkit.engine.sharing import resolved_sharing, shared_with
from toolkit.engine.validation import check_line, check_spec
from toolkit.engine.volumes import ANONYMOUS_LABEL
from toolkit.errors import ContainerNotFoundError, InvalidRequestError, StorageError
from toolkit.kernel.capabilities import held_capabilities
from toolkit.runtime.exitfile import blank_exit_status
from toolkit.storage.layer import LayerNotFoundError

if TYPE_CHECKING:
    from toolkit.engine.context import EngineContext
    from toolkit.engine.model import ContainerSpec, HostOptions
    from toolkit.images.image import Image

_ID_BYTES: Final = 32
_SYS_RESOURCE: Final = 24  # capability(7)
_OF_OTHERS: Final = frozenset(("pid_mode", "ipc_mode"))
_HOST_OR_OWN: Final = {
    "pid_mode": ("", "host", "private"),
    "ipc_mode": ("", "host", "private", "shareable", "none"),
    "uts_mode": ("", "host"),
    "userns_mode": ("", "host"),
    "cgroupns_mode": ("", "host", "private"),
}


async def create_record(
    context: EngineContext, spec: ContainerSpec, name: str
) -> tuple[ContainerRecord, list[str]]:
    """Make a container on this host and in the store; return it with the warnings.

    Nothing of it is left when this fails.

    Raises:
        InvalidRequestError: The request says something that cannot be.
        ImageNotFoundError: No such image.
        NameInUseError: Another container has the name.
    """
    image = context.parts.images.resolve(spec.image)
    check_modes(spec)
    spec = merged(spec, image_defaults(image.config))
    container_id = ContainerId(os.urandom(_ID_BYTES).hex())
    spec, warnings = _settled(context, spec, container_id)
    spec, links = settled_links(spec, context.index)
    record = replace(_record(context, spec, container_id, image), links=links)
    with ExitStack() as undo:
        undo.callback(context.index.drop, container_id)
        record = replace(record, name=_reserve_name(context, name, container_id))
        context.parts.supervisor.expect(record.backend)
        await _make(context, record, image)
        undo.pop_all()
    return record, warnings


async def _make(context: EngineContext, record: ContainerRecord, image: Image) -> None:
    """Make files and row, beside each other; neither stays when one of them fails."""
    files = asyncio.ensure_future(context.on_host(_make_files, context, record, image))
    if any(mount.kind == "volume" for mount in record.mounts):
        await files
    row = asyncio.ensure_future(context.store.save(record))
    try:
        await asyncio.gather(files, row)
    except BaseException:
        await asyncio.wait([files, row])
        if not row.cancelled() and row.exception() is None:
            with contextlib.suppress(StorageError):
                await context.store.delete(record.id)
        await context.on_host(remove_files, context, record.id)
        raise


def remake_files(context: EngineContext, record: ContainerRecord) -> None:
    """Make again what a power cut took of a container that was new.

    Raises:
        OSError: The disk refuses.
        ToolkitError: So it does, or the container's image is gone.
    """
    layers = context.parts.layers
    _make_directory(context, record)
    if record.driver != layers.driver_name:
        return  # its layer is that driver's
    try:
        layers.rootfs(record.id)
    except LayerNotFoundError:
        layers.create_rw(record.id, context.parts.images.resolve(record.image_id).top)


def remove_files(context: EngineContext, container_id: ContainerId) -> None:
    """Remove what a container has on this host; what is gone already is passed over."""
    files = context.files(container_id)
    context.parts.layers.remove_rw(container_id)
    for directory in (files.bundle_dir, files.dir):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(directory)


def _settled(
    context: EngineContext, spec: ContainerSpec, container_id: ContainerId
) -> tuple[ContainerSpec, list[str]]:
    """Return a checked request with its defaults filled in, and the warnings."""
    spec = resolved_sharing(spec, lambda text: _peer(context, text))
    spec = settled_networks(spec, context.networks)
    check_line(spec.host.network_mode, "network mode")
    if spec.mac_address:
        check_mac(spec.mac_address)
    for name, wish in spec.endpoints.items():
        check_line(name, "network")
        check_endpoint(wish, context.networks.named(name))
    spec = replace(spec, hostname=spec.hostname or _default_host_name(spec, container_id))
    check_spec(spec)
    check_limits(spec.limits)
    check_log_options(spec.host.log_options)
    security = SecurityChoice.of(spec.host)
    _check_modes(spec.host)
    if spec.host.init:
        find_static_init()
    limits, warnings = downgraded(spec.limits, context.limits)
    warnings += security.warnings
    if spec.host.oom_score_adj:
        score, score_warnings = allowed_oom_score(
            spec.host.oom_score_adj,
            own=int(Path("/proc/self/oom_score_adj").read_text(encoding="ascii")),
            may_lower=_SYS_RESOURCE in held_capabilities().permitted,
        )
        spec = replace(spec, host=replace(spec.host, oom_score_adj=score))
        warnings += score_warnings
    warnings += planned_rlimits(spec.host.ulimits)[1]
    return replace(spec, limits=limits), warnings


def _peer(context: EngineContext, reference: str) -> ContainerRecord:
    """Return a container to share namespaces with.

    One that is not there is no 404: at a create that means the image, and clients pull it.
    """
    try:
        return context.index.find(reference).record
    except ContainerNotFoundError as error:
        raise InvalidRequestError(f"cannot join a container's namespace: {error}") from error


def _record(
    context: EngineContext, spec: ContainerSpec, container_id: ContainerId, image: Image
) -> ContainerRecord:
    path, *args = program_of(spec)
    return ContainerRecord(
        id=container_id,
        name="",
        created=datetime.now(UTC),
        image_id=ImageId(image.id),
        path=path,
        args=tuple(args),
        spec=spec,
        mounts=resolve_mounts(spec, lambda text: context.index.find(text).record),
        backend=spec.host.backend or context.instance.backend,
        driver=context.parts.layers.driver_name,
    )


def _reserve_name(context: EngineContext, name: str, container_id: ContainerId) -> str:
    if not name:
        return context.index.reserve_made_up_name(container_id)
    checked = checked_name(name)
    context.index.reserve_name(checked, container_id)
    return checked


def _make_files(context: EngineContext, record: ContainerRecord, image: Image) -> None:
    with ExitStack() as undo:
        undo.callback(remove_files, context, record.id)
        _make_directory(context, record)
        blank_exit_status(context.files(record.id).exit_status)
        context.parts.layers.create_rw(record.id, image.top)
        _make_volumes(context, record, undo)
        undo.pop_all()


def _make_directory(context: EngineContext, record: ContainerRecord) -> None:
    files = context.files(record.id)
    for directory in (context.instance.containers_dir, files.dir):
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700, parents=True)
    files.log.touch(mode=0o600)  # so that one can be followed before it has a line


def _make_volumes(context: EngineContext, record: ContainerRecord, undo: ExitStack) -> None:
    """Make the volumes that are not there yet, and fill the empty ones from the image."""
    fillable = []
    for mount in record.mounts:
        if mount.kind != "volume":
            continue
        labels = {ANONYMOUS_LABEL: ""} if mount.anonymous else {}
        place, is_new = context.volumes.create(mount.source, labels=labels | mount.volume_labels)
        if is_new:
            undo.callback(context.volumes.remove, mount.source)
        if not mount.no_copy:
            fillable.append((mount, place))
    fill_new_volumes(context.parts.layers, record.id, fillable)


def _default_host_name(spec: ContainerSpec, container_id: ContainerId) -> str:
    if spec.host.network_mode == "host" or spec.host.uts_mode == "host":
        return socket.gethostname()
    return container_id[:SHORT_ID_LENGTH]


def _check_modes(host: HostOptions) -> None:
    for option, known in _HOST_OR_OWN.items():
        value = str(getattr(host, option))
        if value not in known and not (option in _OF_OTHERS and shared_with(value)):
            raise InvalidRequestError(
                f"{option.replace('_', ' ')} {value[:80]!r} is not available: "
                f"use one of {', '.join(word or '(nothing)' for word in known)}"
            )
