# SPDX-License-Identifier: Apache-2.0
"""Pushing an image: its layers, its document, and then the manifest under a tag.

A layer that the registry has is not sent; one that another of its repositories
is known to have is mounted from there. Else its archive is made again,
compressed (always to the same bytes) and sent.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, Final

from toolkit.errors import RegistryError
from toolkit.images.progress import ProgressMessage
from toolkit.images.registry.ledger import KnownBlob
from toolkit.images.registry.manifest import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    Descriptor,
    Manifest,
)
from toolkit.images.registry.pull import short_id
from toolkit.storage.layer import ChainId, chain_id_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolkit.images.image import Image
    from toolkit.images.progress import Teller
    from toolkit.images.references import Reference
    from toolkit.images.registry.pull import Shelves
    from toolkit.images.registry.session import Session

_CHUNK_BYTES: Final = 256 * 1024
_TOLD_SECONDS: Final = 0.1
_GZIP_WINDOW: Final = 31  # zlib's number for "15 bits of window in a gzip frame"
_GZIP_LEVEL: Final = 5
_MOST_MOUNTS: Final = 3


class GivenUpError(RegistryError):
    """A push ended because another part of it failed, or its client has gone."""


class Push:
    """One push of one image to one tag."""

    def __init__(self, shelves: Shelves, session: Session, teller: Teller) -> None:
        self._shelves = shelves
        self._session = session
        self._teller = teller
        self._stop = threading.Event()

    def run(self, reference: Reference, image: Image) -> str:
        """Send an image and name it; return the manifest's digest.

        Raises:
            RegistryError: The registry does not take it.
            StorageError: A layer's archive cannot be made again.
        """
        layers = self._send_layers(reference, image)
        document = self._shelves.images.document(image.id)
        config = Descriptor(media_type=DOCKER_CONFIG, digest=image.id, size=len(document))
        self._send_small(config, document)
        manifest = Manifest(config=config, layers=layers)
        content = manifest.document_bytes()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        tag = reference.tag or ""
        self._session.put_manifest(tag, content, manifest.media_type)
        by_digest = replace(reference, tag=None, digest=digest)
        self._shelves.images.create(document, reference=by_digest)
        self._teller.status(f"{tag}: digest: {digest} size: {len(content)}")
        aux = {"Tag": tag, "Digest": digest, "Size": len(content)}
        self._teller.message(ProgressMessage(aux=aux))
        return digest

    def _send_layers(self, reference: Reference, image: Image) -> tuple[Descriptor, ...]:
        parallel = self._session.transport.settings.parallel
        chain = list(_chain(image))
        for number, (_, diff_id) in enumerate(reversed(chain)):
            self._teller.status("Preparing", short_id(diff_id))
            if number >= parallel:
                self._teller.status("Waiting", short_id(diff_id))
        places = {diff_id: chain_id for chain_id, diff_id in chain}  # one may stand there twice
        pool = ThreadPoolExecutor(parallel, thread_name_prefix="push")
        try:
            sent = {
                diff_id: pool.submit(self._send_layer, reference, chain_id, diff_id)
                for diff_id, chain_id in places.items()
            }
            wait(sent.values(), return_when="FIRST_EXCEPTION")
            self._stop.set()
            failures = [one.exception() for one in sent.values() if one.done()]
            real = [error for error in failures if error and not isinstance(error, GivenUpError)]
            if real:
                raise real[0]
            return tuple(sent[diff_id].result() for _, diff_id in chain)
        finally:
            self._stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _send_layer(self, reference: Reference, chain_id: ChainId, diff_id: str) -> Descriptor:
        shown = short_id(diff_id)
        known = self._shelves.ledger.blobs(diff_id)
        found = self._found(reference, known, shown) or self._mounted(reference, known, shown)
        if found is None:
            found = self._sent(chain_id, shown)
        blob = KnownBlob(
            digest=found.digest,
            size=found.size,
            media_type=found.media_type,
            repository=reference.name,
        )
        self._shelves.ledger.add(diff_id, blob)
        return found

    def _found(self, reference: Reference, known: list[KnownBlob], shown: str) -> Descriptor | None:
        """Return a blob of the layer that the repository has."""
        own = [blob for blob in known if blob.repository == reference.name]
        for digest in dict.fromkeys(blob.digest for blob in own):
            size = self._session.has_blob(digest)
            if size is not None:
                self._teller.status("Layer already exists", shown)
                blob = next(blob for blob in own if blob.digest == digest)
                return _descriptor(blob)
        return None

    def _mounted(
        self, reference: Reference, known: list[KnownBlob], shown: str
    ) -> Descriptor | None:
        """Return a blob that the registry could take from another repository."""
        tried = 0
        for blob in known:
            domain, _, path = blob.repository.partition("/")
            if domain != reference.domain or path == reference.path or tried >= _MOST_MOUNTS:
                continue
            tried += 1
            upload = self._session.start_upload(mount=blob.digest, origin=path)
            if not upload:
                self._teller.status(f"Mounted from {path}", shown)
                return _descriptor(blob)
            self._session.cancel_upload(upload)
        return None

    def _sent(self, chain_id: ChainId, shown: str) -> Descriptor:
        with tempfile.TemporaryFile(dir=self._shelves.downloads.directory) as file:
            descriptor = self._compressed(chain_id, file)
            if self._session.has_blob(descriptor.digest) is not None:
                self._teller.status("Layer already exists", shown)
                return descriptor

            def attempt() -> None:
                self._upload(descriptor, file, shown)

            self._session.retried(attempt)
        self._teller.status("Pushed", shown)
        return descriptor

    def _compressed(self, chain_id: ChainId, file: BinaryIO) -> Descriptor:
        """Write a layer's archive, compressed, to a file; describe it."""
        packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        digest = hashlib.sha256()
        with self._shelves.layers.opened_archive(chain_id) as archive:
            for chunk in archive.chunks():
                self._check_stop()
                packed = packer.compress(chunk)
                digest.update(packed)
                file.write(packed)
        packed = packer.flush()
        digest.update(packed)
        file.write(packed)
        file.flush()
        size = file.tell()
        return Descriptor(media_type=DOCKER_LAYER, digest=f"sha256:{digest.hexdigest()}", size=size)

    def _upload(self, descriptor: Descriptor, file: BinaryIO, shown: str) -> None:
        started = self._session.start_upload()
        body = self._read_and_told(file, descriptor.size, shown)
        following = self._session.upload_chunk(started, body, descriptor.size)
        self._session.finish_upload(following, descriptor.digest)

    def _read_and_told(self, file: BinaryIO, size: int, shown: str) -> Iterator[bytes]:
        position, told_at = 0, 0.0
        while position < size:
            self._check_stop()
            chunk = os.pread(file.fileno(), min(_CHUNK_BYTES, size - position), position)
            yield chunk
            position += len(chunk)
            now = time.monotonic()
            if now - told_at > _TOLD_SECONDS or position == size:
                told_at = now
                self._teller.status("Pushing", shown, current=position, total=size)

    def _send_small(self, descriptor: Descriptor, content: bytes) -> None:
        if self._session.has_blob(descriptor.digest) is not None:
            return

        def attempt() -> None:
            upload = self._session.start_upload()
            following = self._session.upload_chunk(upload, content, len(content))
            self._session.finish_upload(following, descriptor.digest)

        self._session.retried(attempt)

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise GivenUpError("the push was given up")


def _chain(image: Image) -> Iterator[tuple[ChainId, str]]:
    parent: ChainId | None = None
    for diff_id in image.diff_ids:
        parent = chain_id_of(parent, diff_id)
        yield parent, diff_id


def _descriptor(blob: KnownBlob) -> Descriptor:
    return Descriptor(media_type=blob.media_type, digest=blob.digest, size=blob.size)
