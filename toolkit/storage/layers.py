# SPDX-License-Identifier: Apache-2.0
"""The layer store: content-addressed layers, and each container's own on top.

A layer is visible only after its content was written to disk and its directory
renamed into place. Where that is, is `layerdirs`'; images are `toolkit.images`';
which containers exist is the engine's.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from toolkit.errors import InvalidRequestError, StorageError
from toolkit.storage.btrfs import BtrfsDriver
from toolkit.storage.durable import sync_file_system
from toolkit.storage.layer import (
    ChainId,
    Layer,
    LayerIndex,
    LayerInUseError,
    LayerNotFoundError,
)
from toolkit.storage.layerdirs import LayerDirectories, check_container_id
from toolkit.storage.layerfiles import LayerFile, write_layer_file
from toolkit.storage.limits import ArchiveLimits
from toolkit.storage.opened import opened_directories
from toolkit.storage.overlay import OverlayDriver
from toolkit.storage.pipes import piped
from toolkit.storage.recipe import LayerArchive
from toolkit.storage.staging import StagedPlace, fill_layer, limits_for
from toolkit.storage.vfs import VfsDriver
from toolkit.storage.views import run_privately, viewed_layers, viewed_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from toolkit.storage.changes import Change
    from toolkit.storage.compression import ByteSource
    from toolkit.storage.driver import Driver, RootfsSource

_LOG: Final = logging.getLogger(__name__)

MOST_LAYERS: Final = 125  # docker's limit, 127 less init and own layer (rule 10.13)
DRIVERS: Final[dict[str, type[Driver]]] = {
    "overlay": OverlayDriver,
    "vfs": VfsDriver,
    "btrfs": BtrfsDriver,
}

_NO_LAYER: Final = "none"


class LayerStore:
    """All layers of one instance and driver. Safe to use from several threads.

    Args:
        data_dir: The instance's data directory.
        driver_name: ``overlay``, ``btrfs`` or ``vfs``.
        most_unpacked_bytes: What one layer may unpack to, unless its caller says otherwise.

    Raises:
        InvalidRequestError: There is no such driver.
        KernelFeatureMissingError: This machine cannot do it.
    """

    def __init__(
        self,
        data_dir: Path,
        driver_name: str = "overlay",
        *,
        most_unpacked_bytes: int = ArchiveLimits.unpacked_bytes,
    ) -> None:
        if driver_name not in DRIVERS:
            raise InvalidRequestError(f"No such driver: {driver_name}")
        self.driver_name = driver_name
        self.most_unpacked_bytes = most_unpacked_bytes
        self._driver = DRIVERS[driver_name]()
        self._dirs = LayerDirectories(data_dir / "layers" / driver_name, self._driver)
        self._driver.check_host(self._dirs.staging_dir)
        self._lock = threading.RLock()
        self._index = LayerIndex()
        self._dirs.load(self._index)

    def get(self, chain_id: ChainId) -> Layer:
        """Return a layer.

        Raises:
            LayerNotFoundError: There is none.
        """
        return self._index.get(chain_id)

    def layers(self) -> list[Layer]:
        """Return all layers, in the order in which they were made."""
        with self._lock:
            return sorted(self._index.layers.values(), key=lambda layer: layer.number)

    def ancestry(self, top: ChainId | None) -> list[Layer]:
        """Return a layer and all below it, topmost first.

        Raises:
            LayerNotFoundError: One of them is missing.
        """
        with self._lock:
            return self._index.ancestry(top)

    def unpack(
        self, stream: ByteSource, parent: ChainId | None, limits: ArchiveLimits | None = None
    ) -> Layer:
        """Unpack an archive as a layer on *parent*; what is there already is used again.

        The layer is held against `collect` until `settle` is called for it.

        Raises:
            UnsafeArchiveError: The archive is no archive, or would leave its root.
            StorageError: The machine could not do it.
        """
        with self._lock:
            if len(self._index.ancestry(parent)) >= MOST_LAYERS:
                raise StorageError(f"an image can have at most {MOST_LAYERS} layers")
            self._index.hold(parent)
            number = self._dirs.next_number()
        staged_dir = self._dirs.staging_dir / str(number)
        try:
            self._driver.make_directory(staged_dir, self._layer_dir(parent))
            limits = limits or limits_for(staged_dir, self.most_unpacked_bytes)
            place = StagedPlace(staged_dir, number, self._paths(self._visible(parent)))
            layer = fill_layer(self._driver, stream, place, parent=parent, limits=limits)
            sync_file_system(staged_dir)
            return self._publish(layer, staged_dir)
        except OSError as error:
            raise StorageError(f"cannot keep a layer: {error.strerror}") from error
        finally:
            if parent is not None:
                self.settle(parent)
            self._dirs.remove(staged_dir)

    def hold(self, chain_id: ChainId) -> Layer:
        """Return a layer, and keep it from `collect` until `settle` is called for it.

        Raises:
            LayerNotFoundError: There is none.
        """
        with self._lock:
            layer = self._index.get(chain_id)
            self._index.hold(chain_id)
            return layer

    @contextmanager
    def opened_archive(self, chain_id: ChainId) -> Iterator[LayerArchive]:
        """Give a layer's archive, byte for byte as it was unpacked.

        Raises:
            LayerNotFoundError: There is no such layer.
            StorageError: It cannot be made again.
        """
        layer = self.hold(chain_id)
        try:
            layer_dir = self._dirs.layer_dir(layer.number)
            yield LayerArchive(layer_dir, layer_dir / "t", layer.diff_id)
        finally:
            self.settle(chain_id)

    def settle(self, chain_id: ChainId) -> None:
        """Say that a layer of `unpack` or `hold` is referred to by now, or is not wanted."""
        with self._lock:
            self._index.settle(chain_id)

    def remove(self, chain_id: ChainId) -> None:
        """Remove a layer and the init layers on it.

        Raises:
            LayerNotFoundError: There is none.
            LayerInUseError: A layer or a container stands on it.
        """
        with self._lock:
            self.get(chain_id)
            if self._index.is_used(chain_id):
                raise LayerInUseError(f"layer {chain_id} is in use")
            trashed = self._unlink(chain_id)
        for directory in trashed:
            self._dirs.remove(directory)

    def collect(self, keep: Iterable[ChainId]) -> list[ChainId]:
        """Remove every layer that no top in *keep*, no container and no `unpack` needs."""
        with self._lock:
            removed = [layer.chain_id for layer in self._index.unneeded(keep)]
            trashed = [directory for chain_id in removed for directory in self._unlink(chain_id)]
        for directory in trashed:
            self._dirs.remove(directory)
        return removed

    def create_rw(self, container_id: str, top: ChainId | None) -> None:
        """Make a container's own directory on an image's top layer.

        Raises:
            LayerNotFoundError: There is no such layer.
            StorageError: The container has one already.
        """
        check_container_id(container_id)
        with self._lock:
            if container_id in self._index.tops:
                raise StorageError(f"container {container_id[:12]} has a file system already")
            lowers = self._lowers(top)
            self._index.tops[container_id] = top  # from here on `collect` spares the layers
        staged_dir = self._dirs.staging_dir / self._dirs.scratch_name(container_id)
        try:
            self._driver.make_directory(staged_dir, self._layer_dir(top))
            self._driver.fill_rw(staged_dir, lower_dirs=self._paths(lowers))
            self._dirs.publish_rw(staged_dir, container_id, top)
        except BaseException as error:
            self._index.tops.pop(container_id)
            self._dirs.remove(staged_dir)
            if isinstance(error, OSError):
                raise StorageError(
                    f"cannot make the file system of container {container_id[:12]}: "
                    f"{error.strerror}"
                ) from error
            raise

    def remove_rw(self, container_id: str) -> None:
        """Remove a container's own directory; none is no error."""
        check_container_id(container_id)
        with self._lock:
            try:
                trashed = self._dirs.trash(self._dirs.rw_dir(container_id))
            except FileNotFoundError:
                return
            finally:
                self._index.tops.pop(container_id, None)
        self._dirs.remove(trashed)

    def rootfs(self, container_id: str) -> RootfsSource:
        """Return what to mount as a container's root; nothing is mounted here.

        Raises:
            LayerNotFoundError: The container has no directory, or a layer is missing.
        """
        with self._lock:
            lowers = self._lowers(self._top_of(container_id))
        return self._driver.rootfs(self._dirs.base_dir, f"rw/{container_id}", lowers)

    def rw_size_bytes(self, container_id: str) -> int:
        """Return how many bytes of files a container has added or changed.

        Raises:
            LayerNotFoundError: The container has no directory.
        """
        with self._lock:
            lowers = self._lowers(self._top_of(container_id))
        return self._driver.rw_size_bytes(
            self._dirs.rw_dir(container_id), lower_dirs=self._paths(lowers)
        )

    def read_tree(self, container_id: str, act: Callable[[int], None]) -> None:
        """Call something with a container's whole tree, which is there to be read.

        Raises:
            LayerNotFoundError: The container has no directory.
        """
        source = self.rootfs(container_id)

        def run() -> None:
            with viewed_root(source) as root_fd:
                act(root_fd)

        run_privately(run)

    def read_image(self, top: ChainId, act: Callable[[int], None]) -> None:
        """Call something with an image's tree to be read, without what a container gets in it.

        `hold` the layer meanwhile.

        Raises:
            LayerNotFoundError: A layer is missing.
        """
        with self._lock:
            visible = self._visible(top)
        if not self._driver.shares_init_layer:  # each layer's directory is a whole tree
            with opened_directories(self._paths(visible[:1])) as (root_fd,):
                act(root_fd)
            return

        def run() -> None:
            with viewed_layers(str(self._dirs.base_dir), visible) as root_fd:
                act(root_fd)

        run_privately(run)

    def changes(self, container_id: str) -> list[Change]:
        """Return what a container has changed of its image, sorted by path.

        Raises:
            LayerNotFoundError: The container has no directory.
        """
        return self._driver.changes(self.rootfs(container_id))

    def commit(self, container_id: str, limits: ArchiveLimits | None = None) -> Layer:
        """Make a layer of what a container has changed, on its image's layers.

        As with `unpack`, `settle` has to be called for it.

        Raises:
            LayerNotFoundError: The container has no directory.
            StorageError: Something of it cannot be read, or the machine could not do it.
        """
        source, top = self.rootfs(container_id), self._top_of(container_id)
        with piped(lambda out: self._driver.pack_changes(source, out)) as archive:
            return self.unpack(archive, top, limits)

    def sweep(self, known: Iterable[str]) -> list[str]:
        """Remove what a crash left: everything staged, and directories of unknown containers.

        Call it before anything else uses the store.
        """
        removed = []
        for directory in self._dirs.left_over(set(known)):
            self._index.tops.pop(directory.name, None)
            try:
                self._dirs.remove(directory)
            except StorageError as error:  # a new start is worth more than a clean one
                _LOG.warning("left behind: %s", error)
            else:
                removed.append(f"{directory.parent.name}/{directory.name}")
        return removed

    def _publish(self, layer: Layer, staged_dir: Path) -> Layer:
        with self._lock:
            self._index.hold(layer.chain_id)
            known = self._index.layers.get(layer.chain_id)
            if known is not None:
                return known
            try:
                self._dirs.publish_layer(staged_dir, layer.number)
            except OSError:
                self._index.settle(layer.chain_id)
                raise
            self._index.layers[layer.chain_id] = layer
            return layer

    def _layer_dir(self, top: ChainId | None) -> Path | None:
        if top is None:
            return None
        return self._dirs.layer_dir(self._index.get(top).number)

    def _paths(self, lowers: Iterable[str]) -> list[Path]:
        return [self._dirs.base_dir / lower for lower in lowers]

    def _visible(self, top: ChainId | None) -> list[str]:
        """Return the directories of the layers that are seen at all, topmost first."""
        return [f"l/{layer.number}/t" for layer in self._index.visible(top)]

    def _lowers(self, top: ChainId | None) -> list[str]:
        visible = self._visible(top)
        if not self._driver.shares_init_layer:
            return visible
        number = self._index.inits.get(top)
        if number is None:
            number = self._make_init_layer(top, visible)
        return [f"l/{number}/t", *visible]

    def _make_init_layer(self, top: ChainId | None, visible: list[str]) -> int:
        number = self._dirs.next_number()
        staged_dir = self._dirs.staging_dir / str(number)
        try:
            (staged_dir / "t").mkdir(parents=True)
            self._driver.fill_init(staged_dir / "t", lower_dirs=self._paths(visible))
            write_layer_file(staged_dir, LayerFile(number=number, init_of=top or _NO_LAYER))
            staged_dir.rename(self._dirs.layer_dir(number))
        except OSError as error:
            raise StorageError(f"cannot make an init layer: {error.strerror}") from error
        finally:
            self._dirs.remove(staged_dir)
        self._index.inits[top] = number
        return number

    def _top_of(self, container_id: str) -> ChainId | None:
        check_container_id(container_id)
        try:
            return self._index.tops[container_id]
        except KeyError:
            raise LayerNotFoundError(f"container {container_id[:12]} has no file system") from None

    def _unlink(self, chain_id: ChainId) -> list[Path]:
        """Take a layer out of sight; return what is left to remove."""
        init = self._index.inits.pop(chain_id, None)
        numbers = [] if init is None else [init]
        numbers.append(self._index.layers.pop(chain_id).number)
        return [self._dirs.trash(self._dirs.layer_dir(number)) for number in numbers]
