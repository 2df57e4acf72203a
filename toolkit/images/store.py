# SPDX-License-Identifier: Apache-2.0
"""The images of one instance: documents by digest, names, and the layers they need.

On disk, below ``<data>/images/<driver>/``: ``blobs/<hex>`` is an image's
document, ``repositories.json`` the names, ``damaged/`` what could not be read.
Images are seen by the driver that has their layers (rule 9.13).

Everything is synchronous and may be called from any thread. Unpacking takes no
lock; a change of names takes one for as long as it takes to write a small file.
"""

from __future__ import annotations

import logging
import platform
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import ImageNotFoundError, InvalidReferenceError, StorageError
from toolkit.images.image import (
    MOST_DOCUMENT_BYTES,
    Image,
    ImageId,
    InvalidImageError,
    document_bytes,
    format_time,
    id_of,
    is_image_id,
    parse_image,
)
from toolkit.images.references import Reference
from toolkit.images.removal import ImageUser, Removal, Removed
from toolkit.images.tags import TagFile
from toolkit.kernel.directories import sync_directory
from toolkit.storage.durable import remove_unfinished, replace_file
from toolkit.storage.layer import ChainId

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from toolkit.storage.compression import ByteSource
    from toolkit.storage.layers import LayerStore
    from toolkit.storage.limits import ArchiveLimits

# Named here: in the class, `list` is the method.
RemovedThings = list[Removed]
ChainIds = list[ChainId]

_LOG: Final = logging.getLogger(__name__)
_HEX_PREFIX: Final = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})")
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


def machine_architecture() -> str:
    """Return this machine's architecture in the words of image documents."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


class ImageStore:
    """All images of one instance and driver.

    Args:
        data_dir: The instance's data directory.
        layers: Where their layers are.
    """

    def __init__(self, data_dir: Path, layers: LayerStore) -> None:
        self._layers = layers
        self._dir = data_dir / "images" / layers.driver_name
        for name in ("blobs", "damaged"):
            (self._dir / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._tags = TagFile.open(self._dir / "repositories.json")
        self._images: dict[ImageId, Image] = {}
        if self._load():
            self.release_layers()

    def import_tar(
        self,
        stream: ByteSource,
        *,
        reference: str | None = None,
        config: dict[str, Any] | None = None,
        message: str = "",
        limits: ArchiveLimits | None = None,
    ) -> Image:
        """Make an image without parent of one archive.

        Raises:
            InvalidReferenceError: The name cannot be given to an image.
            UnsafeArchiveError: The archive is none, or would leave its root.
        """
        name = taggable(reference) if reference else None
        layer = self._layers.unpack(stream, None, limits)
        try:
            now = format_time(datetime.now(UTC))
            document = {
                "architecture": machine_architecture(),
                "config": config or {},
                "created": now,
                "history": [{"created": now, "comment": message or "Imported from -"}],
                "os": "linux",
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
            }
            return self.create(document, reference=name)
        finally:
            self._layers.settle(layer.chain_id)

    def create(
        self,
        document: dict[str, Any] | bytes,
        *,
        parent: ImageId | None = None,
        reference: Reference | None = None,
    ) -> Image:
        """Keep an image whose layers are in the layer store.

        Args:
            document: The image's document; bytes are kept as they are.
            parent: The local image that it was made from.
            reference: A name with a tag, or with a digest.

        Raises:
            InvalidImageError: The document is not that of an image.
            LayerNotFoundError: One of its layers is not there.
        """
        content = document if isinstance(document, bytes) else document_bytes(document)
        image = parse_image(content)
        with self._lock:
            image = self._with_size(image)
            if image.id not in self._images:
                replace_file(self._blob_path(image.id), content)
                self._images[image.id] = image
            if parent is not None and parent != image.id:
                self._tags.parents.setdefault(image.id, parent)
            if reference is not None:
                self._tags.tags[reference.with_default_tag().canonical] = image.id
            if parent is not None or reference is not None:
                self._tags.save()
            return self.get(image.id)

    def get(self, image_id: ImageId) -> Image:
        """Return the image with exactly that id.

        Raises:
            ImageNotFoundError: There is none.
        """
        with self._lock:
            image = self._images.get(image_id)
            if image is None:
                raise ImageNotFoundError(image_id)
            names = self._tags.references(image_id)
            return replace(
                image,
                references=tuple(sorted(name.familiar for name in names if not name.digest)),
                digests=tuple(sorted(name.familiar for name in names if name.digest)),
                parent=self._tags.parents.get(image_id),
            )

    def document(self, image_id: ImageId) -> bytes:
        """Return an image's document as it is kept.

        Raises:
            ImageNotFoundError: There is no such image.
        """
        self.get(image_id)
        return self._blob_path(image_id).read_bytes()

    def resolve(self, text: str) -> Image:
        """Return the image that a person means: a name, an id, or its unique beginning.

        Raises:
            ImageNotFoundError: None, or an id's beginning that fits several.
            InvalidReferenceError: The text is neither a name nor an id.
        """
        with self._lock:
            return self.get(self._find(text))

    def list(self) -> list[Image]:
        """Return all images, newest first."""
        with self._lock:
            images = [self.get(image_id) for image_id in self._images]
        return sorted(images, key=lambda image: (image.created, image.id), reverse=True)

    def tag(self, image_id: ImageId, reference_text: str) -> Reference:
        """Give an image a name, which another image may lose by it; return the whole name.

        Raises:
            ImageNotFoundError: There is no such image.
            InvalidReferenceError: The text is no name, or has a digest.
        """
        reference = taggable(reference_text)
        with self._lock:
            self.get(image_id)
            self._tags.tags[reference.canonical] = image_id
            self._tags.save()
        return reference

    def remove(
        self,
        text: str,
        *,
        force: bool = False,
        noprune: bool = False,
        users: Callable[[ImageId], Sequence[ImageUser]],
    ) -> RemovedThings:
        """Remove a name, or an image with all its names, as `docker rmi` does.

        Args:
            text: As for `resolve`.
            force: Override what is no hard conflict.
            noprune: Keep parents that nothing refers to any more.
            users: The containers made of an image.

        Raises:
            ImageNotFoundError: There is no such image.
            ImageInUseError: Something stands against it; the message is docker's.
        """
        with self._lock:
            image_id = self._find(text)
            removal = Removal(self._images, self._tags, users)
            try:
                removal.remove(image_id, text, force=force, noprune=noprune)
            finally:
                removal.commit(self._forget)
            if any(removed.action == "deleted" for removed in removal.removed):
                removal.removed += [
                    Removed(action="deleted", name=chain_id) for chain_id in self.release_layers()
                ]
            return removal.removed

    def release_layers(self) -> ChainIds:
        """Remove the layers that neither an image nor a container needs; return them."""
        with self._lock:
            return self._layers.collect(
                image.top for image in self._images.values() if image.top is not None
            )

    def _find(self, text: str) -> ImageId:
        if is_image_id(text):
            return self._known(ImageId(text), text)
        if is_image_id(f"sha256:{text}"):
            return self._known(ImageId(f"sha256:{text}"), text)
        reference = Reference.parse(text).with_default_tag()
        found = self._tags.tags.get(reference.canonical)
        if found is None and reference.digest is not None:
            by_digest = replace(reference, tag=None).canonical
            found = self._tags.tags.get(by_digest)
        found = found or self._by_prefix(text) or self._by_prefix_as_tag(reference)
        return self._known(found, reference.familiar)

    def _known(self, image_id: ImageId | None, text: str) -> ImageId:
        if image_id not in self._images:
            raise ImageNotFoundError(text)
        return image_id

    def _by_prefix(self, text: str) -> ImageId | None:
        match = _HEX_PREFIX.fullmatch(text)
        if match is None:
            return None
        start = f"sha256:{match[1]}"
        found = [image_id for image_id in self._images if image_id.startswith(start)]
        return found[0] if len(found) == 1 else None

    def _by_prefix_as_tag(self, reference: Reference) -> ImageId | None:
        """Return the image that ``name:<beginning of its id>`` means (api-and-cli 3.3)."""
        image_id = self._by_prefix(reference.tag or "")
        if image_id is None:
            return None
        names = {known.name for known in self._tags.references(image_id)}
        return image_id if reference.name in names else None

    def _with_size(self, image: Image) -> Image:
        layers = self._layers.ancestry(image.top)
        sizes = tuple(layer.size_bytes for layer in reversed(layers))
        return replace(image, size_bytes=sum(sizes), layer_bytes=sizes)

    def _blob_path(self, image_id: ImageId) -> Path:
        if not is_image_id(image_id):
            raise ImageNotFoundError(image_id)
        return self._dir / "blobs" / image_id.removeprefix("sha256:")

    def _forget(self, image_id: ImageId) -> None:
        """Take an image's document away; its names are gone from the file by now."""
        self._blob_path(image_id).unlink(missing_ok=True)
        sync_directory(self._dir / "blobs")

    def _load(self) -> bool:
        """Read all documents; return whether all could be read."""
        is_whole = not self._tags.was_damaged
        remove_unfinished(self._dir / "blobs")
        for path in sorted((self._dir / "blobs").iterdir()):
            if not is_image_id(f"sha256:{path.name}"):
                continue  # somebody else's
            try:
                self._load_blob(path)
            except StorageError as error:  # its layers were lost; the document is sound
                _LOG.warning("image %s is left out: %s", path.name[:12], error)
                is_whole = False
            except (OSError, InvalidImageError) as error:
                _LOG.warning("image %s is damaged and put aside: %s", path.name[:12], error)
                path.rename(self._dir / "damaged" / path.name)
                is_whole = False
        return is_whole

    def _load_blob(self, path: Path) -> None:
        with path.open("rb") as file:
            content = file.read(MOST_DOCUMENT_BYTES + 1)
        if id_of(content) != f"sha256:{path.name}":
            raise InvalidImageError("its content does not have its digest")
        image = self._with_size(parse_image(content))
        self._images[image.id] = image


def taggable(text: str) -> Reference:
    """Return the whole name that a text gives to an image.

    Raises:
        InvalidReferenceError: It is no name, or has a digest.
    """
    reference = Reference.parse(text)
    if reference.digest is not None:
        raise InvalidReferenceError("refusing to create a tag with a digest reference")
    return reference.with_default_tag()
