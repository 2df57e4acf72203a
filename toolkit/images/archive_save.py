# SPDX-License-Identifier: Apache-2.0
"""`docker save`: images as one archive that every docker, podman and skopeo can read.

It is a docker-archive (``manifest.json``) and an OCI layout (``index.json``) at
once, sharing the blobs, as docker 25 and later write it. The same images give
the same bytes: no clock, names in order, each layer once.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import InvalidReferenceError
from toolkit.images.image import is_image_id
from toolkit.images.references import Reference
from toolkit.images.registry.manifest import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from toolkit.storage.layer import ChainId, chain_id_of
from toolkit.storage.tarformat import DIRECTORY, END_OF_ARCHIVE, Member, format_member, padding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from toolkit.images.image import Image, ImageId
    from toolkit.images.store import ImageStore
    from toolkit.storage.layers import LayerStore

_BLOBS: Final = "blobs/sha256/"


@dataclass
class _Saved:
    """One image, and the names that it is saved under."""

    image: Image
    names: list[Reference] = field(default_factory=list)


class SavedImages:
    """Images to be written as one archive.

    Raises:
        ImageNotFoundError: One of the names means nothing; it is the first thing told.
    """

    def __init__(self, images: ImageStore, layers: LayerStore, names: Sequence[str]) -> None:
        self._images = images
        self._layers = layers
        self._saved: dict[ImageId, _Saved] = {}
        for name in names:
            self._add(name)

    @property
    def ids(self) -> list[ImageId]:
        """Which images it holds."""
        return list(self._saved)

    def chunks(self) -> Iterator[bytes]:
        """Yield the archive's bytes.

        Raises:
            StorageError: A layer cannot be given back as it came; the archive ends there.
        """
        yield from _directory("blobs/")
        yield from _directory(_BLOBS)
        small: dict[str, bytes] = {}
        layers: dict[str, ChainId] = {}
        for saved in self._saved.values():
            small[_hex(saved.image.id)] = self._images.document(saved.image.id)
            layers.update(_layers_of(saved.image))
        sizes = {diff_id: self._layer_size(chain_id) for diff_id, chain_id in layers.items()}
        manifests = {}
        for saved in self._saved.values():
            content = _oci_manifest(saved.image, small[_hex(saved.image.id)], sizes)
            manifests[saved.image.id] = content
            small[hashlib.sha256(content).hexdigest()] = content
        names = sorted({*small, *(_hex(diff_id) for diff_id in layers)})
        for name in names:
            if name in small:
                yield from _file(_BLOBS + name, small[name])
            else:
                yield from self._layer(layers[f"sha256:{name}"], name)
        for name, document in self._documents(manifests, sizes):
            yield from _file(name, _json(document))
        yield END_OF_ARCHIVE

    def _add(self, name: str) -> None:
        for reference, image in self._meant(name):
            saved = self._saved.setdefault(image.id, _Saved(image))
            if reference is not None and reference not in saved.names:
                saved.names.append(reference)
                saved.names.sort(key=str)

    def _meant(self, name: str) -> list[tuple[Reference | None, Image]]:
        """Return what a name means: a repository without tag means all of its tags."""
        try:
            reference = Reference.parse(name)
        except InvalidReferenceError:
            reference = None
        if is_image_id(name) or reference is None or reference.digest is not None:
            return [(None, self._images.resolve(name))]
        if reference.tag is None:
            found = self._tags_of(reference)
            return found or [(None, self._images.resolve(name))]
        image = self._images.resolve(name)
        return [(reference if reference.familiar in image.references else None, image)]

    def _tags_of(self, repository: Reference) -> list[tuple[Reference | None, Image]]:
        found: list[tuple[Reference | None, Image]] = []
        for image in self._images.list():
            for text in image.references:
                reference = Reference.parse(text)
                if reference.name == repository.name:
                    found.append((reference, image))
        return sorted(found, key=lambda pair: str(pair[0]))

    def _layer_size(self, chain_id: ChainId) -> int:
        with self._layers.opened_archive(chain_id) as archive:
            return archive.size_bytes

    def _layer(self, chain_id: ChainId, name: str) -> Iterator[bytes]:
        with self._layers.opened_archive(chain_id) as archive:
            yield format_member(Member(f"{_BLOBS}{name}".encode(), stored_bytes=archive.size_bytes))
            yield from archive.chunks()
            yield padding(archive.size_bytes)

    def _documents(
        self, manifests: dict[ImageId, bytes], sizes: dict[str, int]
    ) -> Iterator[tuple[str, Any]]:
        everything = self._saved.values()
        yield (
            "index.json",
            {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [
                    entry
                    for saved in everything
                    for entry in _index(saved, manifests[saved.image.id])
                ],
            },
        )
        yield "manifest.json", [_docker_entry(saved, sizes) for saved in everything]
        yield "oci-layout", {"imageLayoutVersion": "1.0.0"}
        repositories = _repositories(everything)
        if repositories:
            yield "repositories", repositories


def _layers_of(image: Image) -> Iterator[tuple[str, ChainId]]:
    parent: ChainId | None = None
    for diff_id in image.diff_ids:
        parent = chain_id_of(parent, diff_id)
        yield diff_id, parent


def _oci_manifest(image: Image, document: bytes, sizes: dict[str, int]) -> bytes:
    layers = [_layer_entry(diff_id, sizes) for diff_id in image.diff_ids]
    config = {"mediaType": OCI_CONFIG, "digest": image.id, "size": len(document)}
    return _json(
        {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
    )


def _layer_entry(diff_id: str, sizes: dict[str, int]) -> dict[str, Any]:
    return {"mediaType": OCI_LAYER, "digest": diff_id, "size": sizes[diff_id]}


def _index(saved: _Saved, manifest: bytes) -> Iterator[dict[str, Any]]:
    """Yield an image's entries in the index, one a name."""
    entry: dict[str, Any] = {
        "mediaType": OCI_MANIFEST,
        "digest": f"sha256:{hashlib.sha256(manifest).hexdigest()}",
        "size": len(manifest),
    }
    if not saved.names:
        yield entry
    for name in saved.names:
        annotations = {
            "io.containerd.image.name": name.canonical,
            "org.opencontainers.image.ref.name": name.tag,
        }
        yield {**entry, "annotations": annotations}


def _docker_entry(saved: _Saved, sizes: dict[str, int]) -> dict[str, Any]:
    diff_ids = saved.image.diff_ids
    return {
        "Config": _BLOBS + _hex(saved.image.id),
        "RepoTags": [name.familiar for name in saved.names] or None,
        "Layers": [_BLOBS + _hex(diff_id) for diff_id in diff_ids],
        "LayerSources": {diff_id: _layer_entry(diff_id, sizes) for diff_id in diff_ids},
    }


def _repositories(everything: Iterable[_Saved]) -> dict[str, dict[str, str]]:
    """Return what dockers before 1.10 read."""
    found: dict[str, dict[str, str]] = {}
    for saved in everything:
        top = saved.image.diff_ids[-1] if saved.image.diff_ids else saved.image.id
        for name in saved.names:
            found.setdefault(name.familiar_name, {})[name.tag or ""] = _hex(top)
    return found


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _directory(name: str) -> Iterator[bytes]:
    yield format_member(Member(name.encode(), DIRECTORY, mode=0o755))


def _file(name: str, content: bytes) -> Iterator[bytes]:
    yield format_member(Member(name.encode(), stored_bytes=len(content)))
    yield content
    yield padding(len(content))
