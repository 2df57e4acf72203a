# SPDX-License-Identifier: Apache-2.0
"""What an engine finds when it opens, put in order.

Each record is an intent: what still runs is taken over, what ended meanwhile
gets its exit status, what was half done is finished or undone. Then everything on the host that
belongs to no record is removed. Processes are reached through their shim or their
control group only, never by a number that may mean another process by now.
"""

from __future__ import annotations

import logging
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from toolkit.build.context import sweep_builds
from toolkit.engine.container import Container
from toolkit.engine.copies import read_copy
from toolkit.engine.creation import remake_files
from toolkit.engine.ending import end_cgroup, killed_status
from toolkit.engine.model import (
    ContainerId,
    ContainerRecord,
    ContainerSpec,
    ContainerState,
    ImageId,
    State,
)
from toolkit.engine.restarts import comes_back_with_engine
from toolkit.engine.sharing import shared_with
from toolkit.errors import NameInUseError, StorageError, ToolkitError
from toolkit.runtime.exitfile import read_exit_status
from toolkit.runtime.lifecycle import ACTIVE

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from toolkit.engine.context import EngineContext
    from toolkit.engine.store import Contents, DamagedRow
    from toolkit.runtime.protocol import ExitStatus

# A power cut may have taken the files of a container in these states; its exit file is on
# the disk, and its directory with that, when one has ended.
_PERHAPS_NEW: Final = frozenset({State.CREATED, State.STARTING, State.RUNNING, State.PAUSED})
_ID: Final = re.compile(r"[0-9a-f]{64}")

_log = logging.getLogger(__name__)


async def recover(context: EngineContext, contents: Contents) -> None:
    """List every container, put each one's state right, and sweep what belongs to none."""
    if contents.moved_aside is not None:
        _log.warning("the store was damaged and is now %s", contents.moved_aside)
    known = await _list_stored(context, contents)
    await _list_from_copies(context, known)
    for container in context.index.newest_first():  # names are all there: so are the paths
        context.index.add_links(container.record)
    host_restarted = contents.boot_id not in {"", context.parts.boot_id}
    reason = "host restarted" if host_restarted else "engine restarted"
    for container in context.index.newest_first():
        try:
            await _resolve(context, container, reason)
        except (OSError, ToolkitError) as error:  # no container keeps the engine from opening
            _log.warning("container %s: %s", container.record.id, error)
    await context.on_host(_sweep, context, {c.record.id for c in context.index.newest_first()})


def restart_by_policy(context: EngineContext) -> None:
    """Begin to start what its policy brings back; called when everything else is up.

    Whom it has links to, or shares namespaces with, comes first: they are older.
    """
    begun: dict[str, asyncio.Task[None]] = {}
    for container in reversed(context.index.newest_first()):
        record = container.record
        status = record.state.status
        comes_back = status == State.EXITED and comes_back_with_engine(record)
        if status == State.RESTARTING or comes_back:
            needed = [
                *(child.record.id for child in context.index.children(record).values()),
                *(shared_with(mode) for mode in _sharing_modes(record)),
            ]
            after = [begun[each] for each in needed if each in begun]
            begun[record.id] = container.bring_back(after)


def _sharing_modes(record: ContainerRecord) -> tuple[str, ...]:
    host = record.spec.host
    return host.network_mode, host.pid_mode, host.ipc_mode


async def _list_stored(context: EngineContext, contents: Contents) -> set[str]:
    """List the records of the store; return the ids that it knows."""
    for record in contents.records:
        _list(context, record)
    for row in contents.damaged:
        await _list_damaged(context, row)
    return {record.id for record in contents.records} | {row.id for row in contents.damaged}


async def _list_damaged(context: EngineContext, row: DamagedRow) -> None:
    """List a damaged row by its directory's copy, or as dead."""
    try:
        record = read_copy(context.files(row.id).dir)
    except StorageError:
        record = None
    if record is None:
        record = dead_record(row.id, row.name, row.reason)
    await _keep(context, replace(record, name=row.name or record.name))


async def _list_from_copies(context: EngineContext, known: set[str]) -> None:
    """List containers that the store lost, by the copies in their directories."""
    for container_id in _ids_in(context.instance.containers_dir):
        if container_id in known:
            continue
        try:
            record = read_copy(context.files(container_id).dir)
        except StorageError as error:
            record = dead_record(container_id, "", str(error))
        if record is not None:  # without a copy it was never created: it is swept
            _log.warning("container %s was not in the store", container_id)
            await _keep(context, record)


async def _keep(context: EngineContext, record: ContainerRecord) -> None:
    """List a record that the store does not have so, under a free name, and store it."""
    try:
        context.index.reserve_name(record.name, record.id)
    except NameInUseError:
        record = replace(record, name="")
    if not record.name:
        record = replace(record, name=context.index.reserve_made_up_name(record.id))
    _list(context, record)
    await context.store.save(record)


def _list(context: EngineContext, record: ContainerRecord) -> None:
    context.index.reserve_name(record.name, record.id)
    context.index.add(Container(context, record))


def dead_record(container_id: ContainerId, name: str, reason: str) -> ContainerRecord:
    """Return a record for a container of which no record can be read."""
    return ContainerRecord(
        id=container_id,
        name=name,
        created=datetime.now(UTC),
        image_id=ImageId(""),
        path="",
        args=(),
        spec=ContainerSpec(image=""),
        state=ContainerState(status=State.DEAD, error=reason),
    )


async def _resolve(context: EngineContext, container: Container, reason: str) -> None:
    """Make one container's state that of the world."""
    record = container.record
    status = record.state.status
    files = context.files(record.id)
    has_ended = status in {State.EXITED, State.RESTARTING}
    if status == State.REMOVING or (has_ended and not files.dir.is_dir()):
        await container.finish_removal()
        return
    ended = await context.on_host(_read_end, context, record)
    if status in {State.STARTING, State.RUNNING, State.PAUSED}:
        program = await context.parts.supervisor.reconnect(files.bundle_dir)
        if program is not None:
            await container.adopt(program)
            if container.record.spec.host.is_build_step:
                await container.remove(force=True, volumes=True)
            return
        await context.on_host(end_cgroup, context, record)
        ended = ended or await context.on_host(_read_end, context, record)
        await container.settle(ended or killed_status(), "" if ended else reason)
    elif status == State.CREATED and ended is not None:
        # It was started and ended; a power cut took the news of both.
        await container.settle(ended)
    if container.record.spec.host.is_build_step:  # its build died with the engine before
        await container.remove(force=True, volumes=True)
        return
    if container.record.state.status not in ACTIVE:
        await context.on_host(_remove_tree, files.bundle_dir)
        if container.record.spec.host.auto_remove and container.record.state.started_at:
            await container.finish_removal(volumes=True)
        elif status in _PERHAPS_NEW:
            await context.on_host(remake_files, context, record)


def _read_end(context: EngineContext, record: ContainerRecord) -> ExitStatus | None:
    """Return how the program ended, as its shim has written it down.

    After a power cut the file may still tell of an earlier life, which the record knows.
    """
    found = read_exit_status(context.files(record.id).exit_status)
    is_earlier = found is not None and found.finished_at == record.state.finished_at
    return None if is_earlier else found


def _sweep(context: EngineContext, known: set[ContainerId]) -> None:
    """Remove what belongs to no container: bundles with their groups, directories, layers."""
    instance = context.instance
    for container_id in _ids_in(instance.bundles_dir):
        if container_id not in known:
            _log.warning("removing what was left of container %s", container_id)
            try:
                end_cgroup(context, dead_record(container_id, "", ""))
                _remove_tree(instance.bundles_dir / container_id)
            except (OSError, ToolkitError) as error:
                _log.warning("container %s: %s", container_id, error)
    for container_id in _ids_in(instance.containers_dir):
        if container_id not in known:
            _remove_tree(instance.containers_dir / container_id)
    for name in sweep_builds(instance.builds_dir):
        _log.warning("removed the context of build %s", name)
    for removed in context.parts.layers.sweep(set(known)):
        _log.warning("removed the unknown layer %s", removed)


def _remove_tree(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def _ids_in(directory: Path) -> list[ContainerId]:
    try:
        names = sorted(path.name for path in directory.iterdir())
    except FileNotFoundError:
        return []
    return [ContainerId(name) for name in names if _ID.fullmatch(name)]
