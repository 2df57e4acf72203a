# SPDX-License-Identifier: Apache-2.0
"""Pulling an image: its manifest, its document, its layers, and then its names.

Layers come in parallel and are unpacked in order, each while it is still
coming. The image is registered last: whoever is killed before leaves layers
that nobody names (collected at the next start) and blobs to go on with.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from toolkit.errors import (
    DigestMismatchError,
    ImageNotFoundError,
    InvalidRequestError,
    RemoteImageNotFoundError,
    StorageError,
    ToolkitError,
)
from toolkit.images.image import MOST_DOCUMENT_BYTES, ImageId, InvalidImageError, parse_image
from toolkit.images.registry.downloads import DownloadFailedError
from toolkit.images.registry.ledger import KnownBlob
from toolkit.images.strictjson import parse_object
from toolkit.storage.layer import ChainId, LayerNotFoundError, chain_id_of
from toolkit.storage.layers import MOST_LAYERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolkit.images.image import Image
    from toolkit.images.progress import Teller
    from toolkit.images.references import Reference
    from toolkit.images.registry.downloads import Download, Downloads
    from toolkit.images.registry.ledger import Ledger
    from toolkit.images.registry.manifest import Descriptor, Manifest, Platform, RemoteManifest
    from toolkit.images.registry.session import Session
    from toolkit.images.registry.transport import Answer
    from toolkit.images.store import ImageStore
    from toolkit.storage.compression import ByteSource
    from toolkit.storage.layers import LayerStore

_SHORT: Final = 12
# What such a failure leaves is of no use to the next attempt.
_USELESS: Final = (InvalidRequestError, DigestMismatchError)
_TOLD_SECONDS: Final = 0.1


@dataclass
class _WantedLayer:
    """A layer that has to be fetched.

    Attributes:
        offers: Downloads of it, one after the other; the last may be why there is none.
    """

    descriptor: Descriptor
    diff_id: str
    chain_id: ChainId
    parent: ChainId | None
    offers: queue.SimpleQueue[Download | BaseException] = field(default_factory=queue.SimpleQueue)
    joined: list[Download] = field(default_factory=list)

    @property
    def short_id(self) -> str:
        return short_id(self.descriptor.digest)


class Shelves:
    """What a pull fills: the stores, the downloads, and one lock for each layer unpacked."""

    def __init__(
        self, images: ImageStore, layers: LayerStore, downloads: Downloads, ledger: Ledger
    ) -> None:
        self.images = images
        self.layers = layers
        self.downloads = downloads
        self.ledger = ledger
        self._lock = threading.Lock()
        self._unpacking: dict[ChainId, tuple[threading.Lock, int]] = {}

    @contextmanager
    def unpacking(self, chain_id: ChainId) -> Iterator[None]:
        """Be the only one who unpacks that layer."""
        with self._lock:
            lock, users = self._unpacking.get(chain_id, (threading.Lock(), 0))
            self._unpacking[chain_id] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, users = self._unpacking.pop(chain_id)
                if users > 1:
                    self._unpacking[chain_id] = (lock, users - 1)


class Pull:
    """One pull of one image."""

    def __init__(self, shelves: Shelves, session: Session, teller: Teller) -> None:
        self._shelves = shelves
        self._session = session
        self._teller = teller
        self._held: list[ChainId] = []
        self._stop = threading.Event()

    def run(
        self,
        reference: Reference,
        remote: RemoteManifest,
        platform: Platform,
        *,
        must_match: bool = False,
    ) -> Image:
        """Fetch the image of a manifest or list, and give it the reference.

        Args:
            reference: Its name with a tag or a digest.
            remote: What the registry keeps under it.
            platform: Chooses from a list.
            must_match: Refuse an image for another platform outside of a list, too.

        Raises:
            RegistryError: The registry does not give it, or gives something else.
            InvalidImageError: What it gives is no image.
        """
        try:
            manifest = self._manifest_of(remote, platform)
            present = self._present(manifest)
            if present is not None:
                self._drop_leftovers(manifest)
                return self._register(present, reference, remote.digest)
            content = self._small_blob(manifest.config, MOST_DOCUMENT_BYTES)
            image = checked_image(content, len(manifest.layers))
            if must_match:
                _check_platform(image, platform, reference)
            wanted = self._missing_layers(manifest, image)
            with self._downloading(wanted):
                self._unpack_all(wanted)
                created = self._register(content, reference, remote.digest)
        except BaseException:
            self._settle()
            self._shelves.images.release_layers()
            raise
        self._settle()
        self._drop_leftovers(manifest)
        self._note_blobs(manifest, image, reference)
        return created

    def _manifest_of(self, remote: RemoteManifest, platform: Platform) -> Manifest:
        if not remote.is_list:
            return remote.manifest()
        chosen = self._session.manifest(remote.choose(platform).digest)
        if chosen.is_list:
            raise InvalidImageError("a list of manifests in a list of manifests is not read")
        return chosen.manifest()

    def _present(self, manifest: Manifest) -> bytes | None:
        """Return the document of an image that is here already."""
        try:
            return self._shelves.images.document(ImageId(manifest.config.digest))
        except ImageNotFoundError:
            return None

    def _drop_leftovers(self, manifest: Manifest) -> None:
        """Remove the blobs that a killed pull left whole: their layers are here."""
        for descriptor in manifest.layers:
            self._shelves.downloads.drop(descriptor)

    def _small_blob(self, descriptor: Descriptor, limit_bytes: int) -> bytes:
        if descriptor.size > limit_bytes:
            raise InvalidImageError(f"the image's document is longer than {limit_bytes} bytes")

        def attempt() -> bytes:
            with self._session.blob(descriptor.digest) as answer:
                return answer.body(max(descriptor.size, 1))

        content = self._session.retried(attempt)
        found = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if found != descriptor.digest:
            raise DigestMismatchError(
                descriptor.digest, found, "image config verification failed for digest"
            )
        return content

    def _missing_layers(self, manifest: Manifest, image: Image) -> list[_WantedLayer]:
        """Hold the layers that are here, tell about all, and return the others."""
        wanted: list[_WantedLayer] = []
        parent: ChainId | None = None
        for descriptor, diff_id in zip(manifest.layers, image.diff_ids, strict=True):
            chain_id = chain_id_of(parent, diff_id)
            shown = short_id(descriptor.digest)
            if not wanted and self._hold(chain_id):
                self._teller.status("Already exists", shown)
            else:
                wanted.append(_WantedLayer(descriptor, diff_id, chain_id, parent))
                self._teller.status("Pulling fs layer", shown)
            parent = chain_id
        self._check_sizes([layer.descriptor for layer in wanted])
        return wanted

    def _check_sizes(self, descriptors: list[Descriptor]) -> None:
        limit = self._session.transport.settings.most_layer_bytes
        for descriptor in descriptors:
            if descriptor.size > limit:
                raise InvalidImageError(
                    f"layer {descriptor.digest} is longer than the {limit} bytes allowed"
                )
        if sum(one.size for one in descriptors) > self._shelves.downloads.spare_bytes():
            raise StorageError("there is not enough space for the image's layers")

    def _hold(self, chain_id: ChainId) -> bool:
        try:
            self._shelves.layers.hold(chain_id)
        except LayerNotFoundError:
            return False
        self._held.append(chain_id)
        return True

    def _settle(self) -> None:
        while self._held:
            self._shelves.layers.settle(self._held.pop())

    @contextmanager
    def _downloading(self, wanted: list[_WantedLayer]) -> Iterator[None]:
        """Fetch layers while the block runs; their blobs stay when it was cut short."""
        parallel = self._session.transport.settings.parallel
        keep = True
        pool = ThreadPoolExecutor(parallel, thread_name_prefix="pull")
        try:
            for layer in wanted[parallel:]:
                self._teller.status("Waiting", layer.short_id)
            for layer in wanted:
                pool.submit(self._fetch, layer)
            yield
            keep = False
        except _USELESS:
            keep = False
            raise
        finally:
            self._stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            for layer in wanted:
                for download in layer.joined:
                    self._shelves.downloads.release(download, keep=keep)

    def _fetch(self, layer: _WantedLayer) -> None:
        """Offer downloads of a layer until one is whole (in a thread of the pool)."""
        try:
            while not self._fetched(layer):
                pass
        except BaseException as error:  # noqa: BLE001 - it is raised where the layer is unpacked
            layer.offers.put(error)

    def _fetched(self, layer: _WantedLayer) -> bool:
        download, is_ours = self._shelves.downloads.join(layer.descriptor)
        layer.joined.append(download)
        layer.offers.put(download)

        def tell(received: int) -> None:
            if not download.is_whole:
                self._teller.status(
                    "Downloading", layer.short_id, current=received, total=download.size
                )

        try:
            if is_ours:
                settings = self._session.transport.settings
                stop = self._stop
                download.run(
                    lambda start: self._blob(layer, start), tell, settings=settings, stop=stop
                )
            else:
                download.wait(tell)
        except DigestMismatchError:
            if download.had_leftover:  # perhaps what was left was bad, not what came
                return False
            raise
        except DownloadFailedError:
            if is_ours or self._stop.is_set():
                raise
            return False  # another pull failed at it: it is our turn
        self._teller.status("Verifying Checksum", layer.short_id)
        self._teller.status("Download complete", layer.short_id)
        return True

    def _blob(self, layer: _WantedLayer, start: int) -> Answer:
        return self._session.blob(layer.descriptor.digest, start=start)

    def _unpack_all(self, wanted: list[_WantedLayer]) -> None:
        for layer in wanted:
            with self._shelves.unpacking(layer.chain_id):
                while not self._unpacked(layer):
                    pass
            self._teller.status("Pull complete", layer.short_id)

    def _unpacked(self, layer: _WantedLayer) -> bool:
        """Unpack one download of a layer; False if it failed and another one is offered."""
        download = layer.offers.get()
        if isinstance(download, BaseException):
            raise download
        if self._hold(layer.chain_id):  # another pull has just unpacked it
            return True
        try:
            with download.opened() as source:
                told = _Told(source, self._teller, layer.short_id, download)
                made = self._shelves.layers.unpack(told, layer.parent)
        except ToolkitError:
            # What is left of an earlier pull may be bad, and is then fetched again.
            may_be_bad = download.had_leftover or download.error is not None
            if may_be_bad and not download.is_sound():
                return False
            raise
        self._held.append(made.chain_id)
        if made.diff_id != layer.diff_id:
            raise DigestMismatchError(layer.diff_id, made.diff_id, "layer content")
        return True

    def _register(self, content: bytes, reference: Reference, digest: str) -> Image:
        by_digest = replace(reference, tag=None, digest=digest)
        created = self._shelves.images.create(content, reference=by_digest)
        if reference.digest is None:
            created = self._shelves.images.create(content, reference=reference)
        return created

    def _note_blobs(self, manifest: Manifest, image: Image, reference: Reference) -> None:
        for descriptor, diff_id in zip(manifest.layers, image.diff_ids, strict=True):
            blob = KnownBlob(
                digest=descriptor.digest,
                size=descriptor.size,
                media_type=descriptor.media_type,
                repository=reference.name,
            )
            self._shelves.ledger.add(diff_id, blob)


class _Told:
    """A source that tells how far the unpacking is, once the blob is whole."""

    def __init__(self, source: ByteSource, teller: Teller, shown: str, download: Download) -> None:
        self._source = source
        self._teller = teller
        self._shown = shown
        self._download = download
        self._bytes = 0
        self._told_at = 0.0

    def read(self, size: int, /) -> bytes:
        """Return up to *size* bytes, none at the end."""
        chunk = self._source.read(size)
        self._bytes += len(chunk)
        now = time.monotonic()
        if self._download.is_whole and (not chunk or now - self._told_at > _TOLD_SECONDS):
            self._told_at = now
            total = self._download.size
            self._teller.status("Extracting", self._shown, current=self._bytes, total=total)
        return chunk


def short_id(digest: str) -> str:
    """Return what people are shown of a layer's digest."""
    return digest.removeprefix("sha256:")[:_SHORT]


def checked_image(content: bytes, layers: int) -> Image:
    """Return the image of a document from elsewhere that has that many layers.

    Raises:
        InvalidImageError: It is no document of a Linux image with them.
    """
    parse_object(content, "the image's document", limit_bytes=MOST_DOCUMENT_BYTES)
    image = parse_image(content)
    if len(image.diff_ids) != layers:
        raise InvalidImageError("the image's document does not name as many layers as there are")
    if layers > MOST_LAYERS:
        raise InvalidImageError(f"an image can have at most {MOST_LAYERS} layers")
    if image.os not in {"", "linux"}:
        raise InvalidImageError(
            f'image operating system "{image.os[:40]}" cannot be used on this platform'
        )
    return image


def _check_platform(image: Image, wanted: Platform, reference: Reference) -> None:
    if (image.os, image.architecture) != (wanted.os, wanted.architecture):
        raise RemoteImageNotFoundError(
            f"image with reference {reference.familiar} was found but does not match "
            f"the specified platform: wanted {wanted}"
        )
