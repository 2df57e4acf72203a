# SPDX-License-Identifier: Apache-2.0
"""`docker load`: images of an archive, all of them or none.

First the archive is put aside and read through, then the layers are unpacked
and held against their digests, and at last images and names appear. A failure
or a crash before that leaves nothing that anybody can see.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from toolkit.errors import WrongContentError
from toolkit.images.archive_layouts import PlannedImage, plan_docker, plan_oci
from toolkit.images.archive_old import is_old, plan_old
from toolkit.images.archive_save import SavedImages
from toolkit.images.archive_staging import StagedArchive, staged_archive
from toolkit.images.image import InvalidImageError
from toolkit.images.progress import ProgressMessage, Teller
from toolkit.storage.layer import ChainId, LayerNotFoundError, chain_id_of
from toolkit.storage.limits import ArchiveLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from toolkit.images.image import Image
    from toolkit.images.store import ImageStore
    from toolkit.storage.compression import ByteSource
    from toolkit.storage.layers import LayerStore

_SHORT = 12


class ImageArchives:
    """Images in and out as archives. Every method blocks and belongs in a thread.

    Args:
        data_dir: The instance's data directory.
        images: Where images are kept.
        layers: Where their layers are.
    """

    def __init__(self, data_dir: Path, images: ImageStore, layers: LayerStore) -> None:
        self._staging_dir = data_dir / "loads"
        self._staging_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._images = images
        self._layers = layers

    def save(self, names: Sequence[str]) -> SavedImages:
        """Return images, by name or id, ready to be written as one archive.

        Raises:
            ImageNotFoundError: One of them is not here.
        """
        return SavedImages(self._images, self._layers, names)

    def load(
        self,
        stream: ByteSource,
        listener: Callable[[ProgressMessage], None],
        *,
        quiet: bool = False,
    ) -> list[Image]:
        """Take over all images of an archive, and tell which.

        Args:
            stream: A docker-archive, an OCI layout or an archive of docker 0.7.2;
                plain or compressed with gzip, bzip2, xz or zstd.
            listener: Is told what goes on.
            quiet: Tell the outcome only.

        Raises:
            UnsafeArchiveError: It is no archive, or asks for too much.
            InvalidImageError: It holds no image that can be used.
            WrongContentError: Something in it is not what its name says.
        """
        teller = Teller(listener)
        most_bytes = self._layers.most_unpacked_bytes
        with staged_archive(self._staging_dir, stream, most_bytes) as staged:
            planned = _plan(staged)
            with self._held_layers() as held:
                for one in planned:
                    self._unpack_layers(staged, one, held, None if quiet else teller)
                return [self._register(one, teller) for one in planned]

    @contextmanager
    def _held_layers(self) -> Iterator[list[ChainId]]:
        """Keep the layers that are listed while the block runs; a failure forgets them."""
        held: list[ChainId] = []
        is_done = False
        try:
            yield held
            is_done = True
        finally:
            for chain_id in held:
                self._layers.settle(chain_id)
            if not is_done:
                self._images.release_layers()

    def _unpack_layers(
        self,
        staged: StagedArchive,
        planned: PlannedImage,
        held: list[ChainId],
        teller: Teller | None,
    ) -> None:
        parent: ChainId | None = None
        for name, diff_id in zip(planned.layers, planned.image.diff_ids, strict=True):
            chain_id = chain_id_of(parent, diff_id)
            if not self._hold(chain_id, held):
                self._unpack(staged, name, parent, held)
                if teller is not None:
                    shown, size = diff_id.removeprefix("sha256:")[:_SHORT], staged.size(name)
                    teller.status("Loading layer", shown, current=size, total=size)
                found = self._layers.get(held[-1]).diff_id
            else:  # it is not unpacked, and still has to be what it says (row S-54)
                found = staged.digest(name)
                if found != diff_id:
                    most_bytes = self._layers.most_unpacked_bytes
                    limits = ArchiveLimits(unpacked_bytes=most_bytes)
                    found = staged.plain_digest(name, limits)
            if found != diff_id:
                raise WrongContentError(diff_id, found, "wrong layer in the archive")
            parent = chain_id

    def _hold(self, chain_id: ChainId, held: list[ChainId]) -> bool:
        try:
            self._layers.hold(chain_id)
        except LayerNotFoundError:
            return False
        held.append(chain_id)
        return True

    def _unpack(
        self, staged: StagedArchive, name: str, parent: ChainId | None, held: list[ChainId]
    ) -> None:
        held.append(self._layers.unpack(staged.opened(name), parent).chain_id)

    def _register(self, planned: PlannedImage, teller: Teller) -> Image:
        image = self._images.create(planned.content)
        for name in planned.names:
            image = self._images.create(planned.content, reference=name)
            teller.message(ProgressMessage(stream=f"Loaded image: {name.familiar}\n"))
        if not planned.names:
            teller.message(ProgressMessage(stream=f"Loaded image ID: {image.id}\n"))
        return image


def _plan(staged: StagedArchive) -> list[PlannedImage]:
    if staged.has("manifest.json"):
        return plan_docker(staged)
    if staged.has("oci-layout"):
        return plan_oci(staged)
    if is_old(staged):
        return plan_old(staged)
    raise InvalidImageError("the archive holds no image: no manifest.json, no oci-layout")
