# SPDX-License-Identifier: Apache-2.0
"""What images an archive holds: docker's ``manifest.json``, or an OCI layout.

Everything that can be said without unpacking a layer is checked here; nothing
is registered. The format of docker 0.7.2 is `archive_old`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import InvalidReferenceError, WrongContentError
from toolkit.images.image import Image, InvalidImageError
from toolkit.images.references import Reference
from toolkit.images.registry.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Platform,
    parse_manifest,
)
from toolkit.images.registry.pull import checked_image
from toolkit.images.strictjson import parse, parse_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolkit.images.archive_staging import StagedArchive

_MOST_IMAGES: Final = 1000
_MOST_NAMES: Final = 1000
_MOST_BYTES: Final = 4 * 1024 * 1024
_DEEPEST_INDEX: Final = 3
_LISTS: Final = frozenset({OCI_INDEX, DOCKER_LIST})
_MANIFESTS: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
_FULL_NAME: Final = "io.containerd.image.name"
_SHORT_NAME: Final = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, kw_only=True)
class PlannedImage:
    """One image of an archive.

    Attributes:
        content: Its document.
        image: What the document says.
        layers: Names of its layers' files, base first.
        names: References that it shall have.
    """

    content: bytes
    image: Image
    layers: tuple[str, ...]
    names: tuple[Reference, ...]


def plan_docker(staged: StagedArchive) -> list[PlannedImage]:
    """Return the images of a ``manifest.json``.

    Raises:
        InvalidImageError: It cannot be used.
    """
    entries = parse(staged.document("manifest.json"), "manifest.json", limit_bytes=_MOST_BYTES)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidImageError("manifest.json is not a list of objects")
    if not entries:
        raise InvalidImageError("manifest.json names no image")
    if len(entries) > _MOST_IMAGES:
        raise InvalidImageError(f"an archive can hold at most {_MOST_IMAGES} images")
    return [_docker_image(staged, entry) for entry in entries]


def plan_oci(staged: StagedArchive) -> list[PlannedImage]:
    """Return the images of an OCI layout that are for this machine.

    Raises:
        InvalidImageError: It cannot be used.
        WrongContentError: A blob is not what its name says.
    """
    layout = parse_object(staged.document("oci-layout"), "oci-layout", limit_bytes=_MOST_BYTES)
    if not str(layout.get("imageLayoutVersion", "")).startswith("1."):
        raise InvalidImageError("the version of the OCI layout is not known")
    index = parse_object(staged.document("index.json"), "index.json", limit_bytes=_MOST_BYTES)
    found: dict[str, PlannedImage] = {}
    for entry, name in _entries(staged, index, None, 0):
        planned = _oci_image(staged, Descriptor.parse(entry), name)
        known = found.get(planned.image.id)
        names = (*known.names, *planned.names) if known else planned.names
        found[planned.image.id] = PlannedImage(
            content=planned.content,
            image=planned.image,
            layers=planned.layers,
            names=tuple(dict.fromkeys(names)),
        )
        if len(found) > _MOST_IMAGES:
            raise InvalidImageError(f"an archive can hold at most {_MOST_IMAGES} images")
    if not found:
        raise InvalidImageError("the OCI layout holds no image for this machine")
    return list(found.values())


def _docker_image(staged: StagedArchive, entry: dict[str, Any]) -> PlannedImage:
    config = entry.get("Config")
    if not isinstance(config, str):
        raise InvalidImageError("an image in manifest.json has no Config")
    layers = _texts(entry, "Layers")
    content = staged.document(config)
    names = tuple(tagged_reference(text) for text in _texts(entry, "RepoTags"))
    image = checked_image(content, len(layers))
    return PlannedImage(content=content, image=image, layers=layers, names=names)


def tagged_reference(text: str) -> Reference:
    """Return a name that an archive gives to an image.

    Raises:
        InvalidReferenceError: It is none, or has no tag.
    """
    reference = Reference.parse(text)
    if reference.tag is None or reference.digest is not None:
        raise InvalidReferenceError(f"invalid tag {text[:200]!r}")
    return reference


def _texts(entry: dict[str, Any], key: str) -> tuple[str, ...]:
    value = [] if entry.get(key) is None else entry[key]
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InvalidImageError(f"an image's {key} in manifest.json is not a list of texts")
    if len(value) > _MOST_NAMES:
        raise InvalidImageError(f"an image's {key} in manifest.json are too many")
    return tuple(value)


def _entries(
    staged: StagedArchive, index: dict[str, Any], name: Reference | None, depth: int
) -> Iterator[tuple[dict[str, Any], Reference | None]]:
    """Yield the manifests for this machine that an index names, with the names they get."""
    entries = index.get("manifests")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidImageError("the index of the OCI layout is not a list of objects")
    if depth >= _DEEPEST_INDEX or len(entries) > _MOST_IMAGES:
        raise InvalidImageError("the index of the OCI layout is too deep or too long")
    for entry in entries:
        own = _name_of(entry) or name
        kind = str(entry.get("mediaType"))
        if kind in _LISTS:
            content = _verified(staged, Descriptor.parse(entry))
            inner = parse_object(content, "an index", limit_bytes=_MOST_BYTES)
            yield from _entries(staged, inner, own, depth + 1)
        elif kind in _MANIFESTS and _is_for_us(entry):
            yield entry, own


def _is_for_us(entry: dict[str, Any]) -> bool:
    ours = Platform.parse("")
    found = entry.get("platform")
    if not isinstance(found, dict):
        return True
    return (found.get("os"), found.get("architecture")) == (ours.os, ours.architecture)


def _name_of(entry: dict[str, Any]) -> Reference | None:
    annotations = entry.get("annotations")
    if not isinstance(annotations, dict):
        return None
    full, short = annotations.get(_FULL_NAME), annotations.get(_SHORT_NAME)
    if isinstance(full, str) and full:
        return tagged_reference(full)
    # A bare tag names nothing; podman and skopeo write the whole reference there.
    if isinstance(short, str) and (":" in short or "/" in short):
        return tagged_reference(Reference.parse(short).with_default_tag().canonical)
    return None


def _oci_image(
    staged: StagedArchive, descriptor: Descriptor, name: Reference | None
) -> PlannedImage:
    content = _verified(staged, descriptor)
    manifest = parse_manifest(parse_object(content, "the manifest", limit_bytes=_MOST_BYTES))
    document = _verified(staged, manifest.config)
    image = checked_image(document, len(manifest.layers))
    for layer in manifest.layers:
        _check(layer.size, staged.size(_blob(layer.digest)), layer.digest)
        _check(layer.digest, staged.digest(_blob(layer.digest)), "layer")
    return PlannedImage(
        content=document,
        image=image,
        layers=tuple(_blob(layer.digest) for layer in manifest.layers),
        names=() if name is None else (name,),
    )


def _verified(staged: StagedArchive, descriptor: Descriptor) -> bytes:
    content = staged.document(_blob(descriptor.digest))
    _check(descriptor.size, len(content), descriptor.digest)
    _check(descriptor.digest, staged.digest(_blob(descriptor.digest)), "blob")
    return content


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _check(expected: object, found: object, subject: str) -> None:
    if expected != found:
        raise WrongContentError(str(expected), str(found), subject)
