# SPDX-License-Identifier: Apache-2.0
"""What can be done with a container's files: changes, export, copying in and out, commit.

The files of a program that runs are reached through its own root, by
descriptor, so its volumes are seen; those of one that does not run through
mounts that only one thread sees (`toolkit.storage.views`).
"""

from __future__ import annotations

import contextlib
import os
import stat
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

from toolkit.build.beside import beside
from toolkit.engine.commit import CommitOptions, commit_layer
from toolkit.engine.connected import ConnectedContainer
from toolkit.engine.model import State
from toolkit.engine.outflow import Outflow
from toolkit.errors import ConflictError, ToolkitError
from toolkit.kernel.paths import read_small_file_in_root
from toolkit.runtime.native.users import resolve_identity
from toolkit.storage import views
from toolkit.storage.pack import pack_tree
from toolkit.storage.places import NotADirectoryInRootError, Place, found_place, resolve_in_scope
from toolkit.storage.unpack import Stamp, unpack_tree
from toolkit.storage.views import Bind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from typing import BinaryIO

    from toolkit.engine.model import Mount
    from toolkit.images.image import Image
    from toolkit.storage.changes import Change
    from toolkit.storage.driver import RootfsSource

_Result = TypeVar("_Result")


class ReadOnlyPlaceError(ToolkitError):
    """A copy would go to what the container itself may not write to."""

    status = 403


@dataclass(frozen=True, kw_only=True)
class PathStat:
    """What is at a path of a container.

    Attributes:
        mode: As stat(2) has it.
        link_target: Of a link, the path that it leads to in the end.
    """

    name: str
    size_bytes: int
    mode: int
    mtime_ns: int
    link_target: str

    @classmethod
    def of(cls, place: Place, path: str) -> PathStat:
        """Return what was found; the name is the path's own, as docker shows it."""
        name = path.rstrip("/").rpartition("/")[2] or "/"
        return cls(
            name=name,
            size_bytes=place.status.st_size,
            mode=place.status.st_mode,
            mtime_ns=place.status.st_mtime_ns,
            link_target=place.link_target,
        )


@dataclass(frozen=True, kw_only=True)
class CopyOptions:
    """How files are put into a container.

    Attributes:
        keep_kinds: A directory is not replaced by another thing, nor the reverse.
        as_user: Everything is given to the container's user.
    """

    keep_kinds: bool = False
    as_user: bool = False


class ContainerTree(ConnectedContainer):
    """A container's files."""

    async def changes(self) -> list[Change]:
        """Return what differs from its image, sorted by path."""
        self._check_listed()
        return await beside(lambda: self._context.parts.layers.changes(self.record.id))

    async def export(self) -> AsyncGenerator[bytes, None]:
        """Return its whole tree as a tar, without what is mounted in it (rule 9.45)."""
        self._check_listed()
        opened = self._opener(with_mounts=False)

        def write(tell: Callable[[bytes], None], out: BinaryIO) -> None:
            def pack(root_fd: int) -> None:
                tell(b"")
                pack_tree(root_fd, out, prefix=b"./")

            opened(pack)

        outflow = Outflow(write)
        await outflow.first()
        self.tell("export")
        return outflow.chunks()

    async def stat_path(self, path: str) -> PathStat:
        """Return what is at a path.

        Raises:
            NotFoundError: Nothing.
            InvalidRequestError: It is no path, or ends with a slash and is no directory.
        """
        self._check_listed()
        opened = self._opener(with_mounts=True)

        def look(root_fd: int) -> PathStat:
            with found_place(root_fd, path) as place:
                return PathStat.of(place, path)

        return await beside(lambda: opened(look))

    async def copy_out(self, path: str) -> tuple[PathStat, AsyncGenerator[bytes, None]]:
        """Return what is at a path, and it as a tar.

        Raises:
            NotFoundError: Nothing is there.
        """
        self._check_listed()
        opened = self._opener(with_mounts=True)

        def write(tell: Callable[[PathStat], None], out: BinaryIO) -> None:
            def pack(root_fd: int) -> None:
                with found_place(root_fd, path) as place:
                    place.check_kind()
                    tell(PathStat.of(place, path))
                    place.pack(out)

            opened(pack)

        outflow = Outflow(write)
        found = await outflow.first()
        self.tell("archive-path")
        return found, outflow.chunks()

    async def copy_in(self, path: str, stream: BinaryIO, options: CopyOptions) -> None:
        """Unpack an archive into a directory.

        Raises:
            NotFoundError: The directory is not there.
            InvalidRequestError: It is none, or the archive cannot be unpacked.
            ReadOnlyPlaceError: Nothing may be written there.
        """
        await self._context.whole(self._copy_in(path, stream, options))

    async def commit(self, options: CommitOptions) -> Image:
        """Make an image of what it has changed, on its own image.

        Raises:
            InvalidReferenceError: The name cannot be given to an image.
            ImageNotFoundError: Its image is not there any more.
        """
        return await self._context.whole(self._commit_image(options))

    async def _copy_in(self, path: str, stream: BinaryIO, options: CopyOptions) -> None:
        user = self.record.spec.user if options.as_user else ""

        def unpack(root_fd: int) -> None:
            with found_place(root_fd, path.rstrip("/") + "/.") as place:
                target = resolve_in_scope(root_fd, place.path)
                _check_writable(place, path)
            unpack_tree(
                stream,
                root_fd,
                below=target,
                keep_kinds=options.keep_kinds,
                stamp=Stamp(_owner(root_fd, user)) if user else None,
            )

        async with self._lock:
            self._check_listed()
            self._check_removable_state()
            is_running = self.program is not None
            if not is_running:  # nothing starts it meanwhile
                await beside(lambda: self._change_stopped(unpack))
        if is_running:
            opened = self._opener(with_mounts=True)
            await beside(lambda: opened(unpack))
        self.tell("extract-to-dir")

    def _check_removable_state(self) -> None:
        if self.record.state.status in {State.REMOVING, State.DEAD}:
            raise ConflictError(f"container {self.record.id} is being removed")

    async def _commit_image(self, options: CommitOptions) -> Image:
        async with self._lock:
            self._check_listed()
            cgroup = self._context.cgroup(self.record.id)
            pauses = (
                options.pause
                and self.program is not None
                and self.record.state.status is not State.PAUSED
            )
            if pauses:
                with contextlib.suppress(ToolkitError):  # it has ended meanwhile
                    await self._context.on_host(cgroup.freeze)
            try:
                image = await beside(
                    lambda: commit_layer(self._context.parts, self.record, options)
                )
            finally:
                if pauses:
                    with contextlib.suppress(ToolkitError):
                        await self._context.on_host(cgroup.thaw)
        self.tell("commit", comment=options.message)
        return image

    def _change_stopped(self, act: Callable[[int], _Result]) -> _Result:
        source = self._source()

        def run() -> _Result:
            with views.changeable_root(
                source, self._binds(), read_only=self.record.spec.host.read_only_rootfs
            ) as root_fd:
                return act(root_fd)

        return views.run_privately(run)

    def _opener(self, *, with_mounts: bool) -> Callable[[Callable[[int], _Result]], _Result]:
        """Return what calls something with the root, as the container is now."""
        state = self.record.state
        if self.program is not None and with_mounts:

            def in_process(act: Callable[[int], _Result]) -> _Result:
                with views.opened_process_root(state.pid, state.start_time_ticks) as root_fd:
                    return act(root_fd)

            return in_process
        if self.program is not None:

            def in_root(act: Callable[[int], _Result]) -> _Result:
                def run() -> _Result:
                    with views.running_root(state.pid, state.start_time_ticks) as root_fd:
                        return act(root_fd)

                return views.run_privately(run)

            return in_root
        source, binds = self._source(), self._binds() if with_mounts else []

        def in_view(act: Callable[[int], _Result]) -> _Result:
            def run() -> _Result:
                with views.viewed_root(source, binds) as root_fd:
                    return act(root_fd)

            return views.run_privately(run)

        return in_view

    def _source(self) -> RootfsSource:
        return cast("RootfsSource", self._context.parts.layers.rootfs(self.record.id))

    def _binds(self) -> list[Bind]:
        return [
            Bind(source=self._bind_source(mount), target=mount.target, read_only=mount.read_only)
            for mount in self.record.mounts
            if mount.kind != "tmpfs"
        ]

    def _bind_source(self, mount: Mount) -> str:
        if mount.kind == "volume":
            return str(self._context.volumes.data_dir(mount.source))
        return mount.source


def _check_writable(place: Place, path: str) -> None:
    if not place.is_directory:
        raise NotADirectoryInRootError(os.fsencode(path))
    with ExitStack() as opened:
        dir_fd = os.open(place.name, os.O_PATH | os.O_NOFOLLOW, dir_fd=place.parent_fd)
        opened.callback(os.close, dir_fd)
        if not stat.S_ISDIR(os.fstat(dir_fd).st_mode):
            raise NotADirectoryInRootError(os.fsencode(path))
        if os.fstatvfs(dir_fd).f_flag & os.ST_RDONLY:
            raise ReadOnlyPlaceError(
                "container rootfs or the volume at this path is marked read-only"
            )


def _owner(root_fd: int, user: str) -> tuple[int, int]:
    identity = resolve_identity(
        user,
        read_small_file_in_root(root_fd, "/etc/passwd"),
        read_small_file_in_root(root_fd, "/etc/group"),
    )
    return identity.uid, identity.gid
