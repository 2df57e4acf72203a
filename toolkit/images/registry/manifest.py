# SPDX-License-Identifier: Apache-2.0
"""Manifests and lists of them: docker's schema 2 and OCI's. No I/O.

Everything in one is a stranger's word: digests, sizes and counts are checked
here before anything is fetched by them.
"""

from __future__ import annotations

import json
import platform
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

from toolkit.errors import InvalidRequestError, RemoteImageNotFoundError
from toolkit.images.image import InvalidImageError
from toolkit.images.store import machine_architecture
from toolkit.images.strictjson import parse_object
from toolkit.storage.layers import MOST_LAYERS

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
ACCEPTED: Final = (DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX)

MOST_MANIFEST_BYTES: Final = 4 * 1024 * 1024
_MOST_SIZE: Final = 1 << 62
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_LAYER_TYPES: Final = frozenset(
    {
        "application/vnd.docker.image.rootfs.diff.tar",
        DOCKER_LAYER,
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        OCI_LAYER,
        f"{OCI_LAYER}+gzip",
        f"{OCI_LAYER}+zstd",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    }
)


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """What a manifest says of one blob."""

    media_type: str
    digest: str
    size: int

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Return what a JSON value describes.

        Raises:
            InvalidImageError: It describes nothing.
        """
        if not isinstance(value, dict):
            raise InvalidImageError("a descriptor in the manifest is no object")
        media_type = value.get("mediaType") or ""
        digest, size = value.get("digest"), value.get("size")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise InvalidImageError("a digest in the manifest is no sha256 digest")
        if type(size) is not int or not 0 <= size <= _MOST_SIZE:
            raise InvalidImageError("a size in the manifest is no possible size")
        if not isinstance(media_type, str):
            raise InvalidImageError("a media type in the manifest is no text")
        return cls(media_type=media_type, digest=digest, size=size)

    def document(self) -> dict[str, Any]:
        """Return the JSON object that describes it."""
        return {"mediaType": self.media_type, "size": self.size, "digest": self.digest}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One image: its document and its layers, base first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def media_type(self) -> str:
        """Docker's schema 2, or OCI's for layers that docker's has no word for."""
        is_docker = all(_compression(layer.media_type) == "gzip" for layer in self.layers)
        return DOCKER_MANIFEST if is_docker else OCI_MANIFEST

    def document_bytes(self) -> bytes:
        """Return the manifest to push, always the same bytes for the same image."""
        is_docker = self.media_type == DOCKER_MANIFEST
        config = replace(self.config, media_type=DOCKER_CONFIG if is_docker else OCI_CONFIG)
        document = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "config": config.document(),
            "layers": [
                replace(layer, media_type=_layer_type(layer, is_docker=is_docker)).document()
                for layer in self.layers
            ],
        }
        return json.dumps(document, indent=3).encode()


def _compression(media_type: str) -> str:
    for name in ("gzip", "zstd"):
        if media_type.endswith((f".{name}", f"+{name}")):
            return name
    return ""


def _layer_type(layer: Descriptor, *, is_docker: bool) -> str:
    """Return a layer's type in the words of one kind of manifest: no client takes both."""
    if is_docker:
        return DOCKER_LAYER
    compression = _compression(layer.media_type)
    return f"{OCI_LAYER}+{compression}" if compression else OCI_LAYER


@dataclass(frozen=True, kw_only=True)
class Platform:
    """What an image has to run on; an empty variant fits any."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what ``os/architecture[/variant]`` names; this machine for no text.

        Raises:
            InvalidRequestError: It names none.
        """
        if not text:
            machine = platform.machine()
            variant = "v7" if machine.startswith("armv7") else ""
            return cls(os="linux", architecture=machine_architecture(), variant=variant)
        if not re.fullmatch(r"[a-z0-9_]+(/[a-z0-9_]+){0,2}", text.lower()):
            raise InvalidRequestError(f"not a platform: {text[:80]!r}; use os/architecture/variant")
        parts = text.lower().split("/")
        if len(parts) == 1:
            parts = parts if parts[0] == "linux" else ["linux", parts[0]]
        architecture = parts[1] if len(parts) > 1 else machine_architecture()
        same = {"x86_64": "amd64", "aarch64": "arm64"}
        variant = parts[2] if len(parts) > 2 else ""  # noqa: PLR2004 - the third part
        return cls(os=parts[0], architecture=same.get(architecture, architecture), variant=variant)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, kw_only=True)
class RemoteManifest:
    """What a registry keeps under a tag or digest: a manifest, or a list of them."""

    content: bytes
    digest: str
    media_type: str

    @property
    def is_list(self) -> bool:
        """Whether it names manifests, one a platform."""
        return self._kind in {DOCKER_LIST, OCI_INDEX}

    def manifest(self) -> Manifest:
        """Return the manifest.

        Raises:
            InvalidImageError: It is none that can be used.
        """
        if self._kind not in {DOCKER_MANIFEST, OCI_MANIFEST}:
            raise InvalidImageError(
                f"unsupported manifest media type: {self._kind[:100] or 'none'} "
                "(manifests of schema 1 are not read)"
            )
        return parse_manifest(self._document)

    def choose(self, wanted: Platform) -> Descriptor:
        """Return the entry of a list that fits a platform.

        Raises:
            RemoteImageNotFoundError: None does.
        """
        entries = self._document.get("manifests")
        if not isinstance(entries, list):
            raise InvalidImageError("the list of manifests is no list")
        near: Descriptor | None = None
        for entry in entries:
            found = entry.get("platform") if isinstance(entry, dict) else None
            if not isinstance(found, dict):
                continue
            if (found.get("os"), found.get("architecture")) != (wanted.os, wanted.architecture):
                continue
            if not wanted.variant or found.get("variant") == wanted.variant:
                return Descriptor.parse(entry)
            if near is None and not found.get("variant"):
                near = Descriptor.parse(entry)
        if near is not None:
            return near
        raise RemoteImageNotFoundError(
            f"no matching manifest for {wanted} in the manifest list entries"
        )

    def platforms(self) -> Iterator[Platform]:
        """Yield what the entries of a list run on."""
        entries = self._document.get("manifests")
        for entry in entries if isinstance(entries, list) else ():
            found = entry.get("platform") if isinstance(entry, dict) else None
            if isinstance(found, dict):
                texts = (str(found.get(key) or "") for key in ("os", "architecture", "variant"))
                yield Platform(**dict(zip(("os", "architecture", "variant"), texts, strict=True)))

    @property
    def _document(self) -> dict[str, Any]:
        return parse_object(self.content, "the manifest", limit_bytes=MOST_MANIFEST_BYTES)

    @property
    def _kind(self) -> str:
        """Return what it is by its own word, which the digest covers; else by the header's."""
        document = self._document
        own = document.get("mediaType")
        if isinstance(own, str) and own:
            return own
        if self.media_type in ACCEPTED:
            return self.media_type
        if document.get("schemaVersion") != 2:  # noqa: PLR2004 - the schema's number
            return self.media_type
        return OCI_INDEX if "manifests" in document else OCI_MANIFEST


def parse_manifest(document: dict[str, Any]) -> Manifest:
    """Return what a manifest's JSON object holds.

    Raises:
        InvalidImageError: Not an image that can be used.
    """
    layers = document.get("layers")
    if not isinstance(layers, list):
        raise InvalidImageError("the manifest has no list of layers")
    if len(layers) > MOST_LAYERS:
        raise InvalidImageError(f"an image can have at most {MOST_LAYERS} layers")
    if "manifests" in document:  # a manifest and a list at once: CVE-2021-41190
        raise InvalidImageError("the manifest is ambiguous: it is a list as well")
    parsed = tuple(Descriptor.parse(layer) for layer in layers)
    for layer in parsed:
        if layer.media_type not in _LAYER_TYPES:
            raise InvalidImageError(f"not a layer of an image: {layer.media_type[:100]!r}")
    return Manifest(config=Descriptor.parse(document.get("config")), layers=parsed)
