# SPDX-License-Identifier: Apache-2.0
"""Archives of docker 0.7.2: one directory an image, with its parent's id inside.

``<id>/json``, ``<id>/layer.tar``, ``<id>/VERSION``, and ``repositories``
(api-and-cli 3.5). Each image that is named, or nobody's parent, becomes one of
today's: its chain of parents is its layers and its history.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import InvalidReferenceError
from toolkit.images.archive_layouts import PlannedImage
from toolkit.images.image import InvalidImageError, document_bytes, parse_image, parse_time
from toolkit.images.references import Reference
from toolkit.images.strictjson import parse_object
from toolkit.storage.layers import MOST_LAYERS
from toolkit.storage.limits import ArchiveLimits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolkit.images.archive_staging import StagedArchive

_ID: Final = re.compile(r"[0-9a-f]{64}")
_MOST_BYTES: Final = 4 * 1024 * 1024
_MOST_IMAGES: Final = 5000
_ARCHITECTURES: Final = {"x86_64": "amd64", "": "amd64"}
# Archives without a member: as Go writes them, and as GNU tar does.
_EMPTY: Final = frozenset(
    {
        "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
        "sha256:84ff92691f909a05b224e1c56abb4864f01b4f8e3c854e4bb4c7baf1d3f6d652",
    }
)


def is_old(staged: StagedArchive) -> bool:
    """Tell whether an archive looks like one of docker 0.7.2."""
    return any(name.endswith("/json") and name.count("/") == 1 for name in staged.names())


def plan_old(staged: StagedArchive) -> list[PlannedImage]:
    """Return the images of an archive of docker 0.7.2.

    Raises:
        InvalidImageError: An id, a parent or a document cannot be used.
    """
    documents = {image_id: _document(staged, image_id) for image_id in _ids(staged)}
    names = _repositories(staged, documents)
    parents = {document.get("parent") for document in documents.values()}
    heads = [image_id for image_id in documents if image_id in names or image_id not in parents]
    if not heads:
        raise InvalidImageError("the images of the archive are each other's parents")
    return [
        _planned(staged, _chain(documents, head), documents, tuple(names.get(head, ())))
        for head in heads
    ]


def _ids(staged: StagedArchive) -> list[str]:
    found = []
    for name in staged.names():
        directory, slash, rest = name.partition("/")
        if not slash:
            continue
        if not _ID.fullmatch(directory):
            raise InvalidImageError(f"not an image id: {directory[:80]!r}")
        if rest == "json":
            found.append(directory)
    if len(found) > _MOST_IMAGES:
        raise InvalidImageError(f"an archive can hold at most {_MOST_IMAGES} images")
    return sorted(set(found))


def _document(staged: StagedArchive, image_id: str) -> dict[str, Any]:
    content = staged.document(f"{image_id}/json")
    document = parse_object(content, f"the document of image {image_id}", limit_bytes=_MOST_BYTES)
    if document.get("id", image_id) != image_id:
        raise InvalidImageError(
            f"Image stored at '{image_id}' has wrong id '{str(document['id'])[:80]}'"
        )
    parent = document.get("parent") or ""
    if parent and (not isinstance(parent, str) or not _ID.fullmatch(parent)):
        raise InvalidImageError(f"not an image id: {str(parent)[:80]!r}")
    return {**document, "parent": parent}


def _chain(documents: dict[str, dict[str, Any]], head: str) -> list[str]:
    """Return an image and its parents, base first."""
    chain: list[str] = []
    following = head
    while following:
        if following not in documents:
            raise InvalidImageError(f"the parent {following} of an image is not in the archive")
        if following in chain:
            raise InvalidImageError(f"image {following} is its own ancestor")
        if len(chain) >= MOST_LAYERS:
            raise InvalidImageError(f"an image can have at most {MOST_LAYERS} layers")
        chain.append(following)
        following = documents[following]["parent"]
    return chain[::-1]


def _repositories(
    staged: StagedArchive, documents: dict[str, dict[str, Any]]
) -> dict[str, list[Reference]]:
    if not staged.has("repositories"):
        return {}
    content = staged.document("repositories")
    found: dict[str, list[Reference]] = {}
    for repository, tags in parse_object(content, "repositories", limit_bytes=_MOST_BYTES).items():
        if not isinstance(tags, dict):
            raise InvalidImageError("repositories is not an object of objects")
        for tag, image_id in tags.items():
            if not isinstance(image_id, str) or image_id not in documents:
                raise InvalidImageError(f"repositories names an image that is not there: {tag!r}")
            found.setdefault(image_id, []).append(_reference(repository, tag))
    return found


def _reference(repository: str, tag: str) -> Reference:
    reference = Reference.parse(repository)
    if reference.tag is not None or reference.digest is not None:
        raise InvalidReferenceError("invalid reference format")
    return reference.with_tag(tag)


def _planned(
    staged: StagedArchive,
    chain: list[str],
    documents: dict[str, dict[str, Any]],
    names: tuple[Reference, ...],
) -> PlannedImage:
    layers: list[str] = []
    diff_ids: list[str] = []
    history: list[dict[str, Any]] = []
    for image_id in chain:
        step = _step(documents[image_id])
        name = f"{image_id}/layer.tar"
        diff_id = staged.plain_digest(name, ArchiveLimits()) if staged.has(name) else ""
        if diff_id and diff_id not in _EMPTY:
            layers.append(name)
            diff_ids.append(diff_id)
        else:
            step["empty_layer"] = True
        history.append(step)
    top = documents[chain[-1]]
    document = {
        **dict(_kept(top)),
        "architecture": _ARCHITECTURES.get(
            str(top.get("architecture") or ""), top.get("architecture")
        ),
        "os": top.get("os") or "linux",
        "history": history,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    content = document_bytes(document)
    return PlannedImage(
        content=content, image=parse_image(content), layers=tuple(layers), names=names
    )


def _kept(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in ("author", "config", "container", "container_config", "created", "docker_version"):
        if document.get(key):
            yield key, document[key]


def _step(document: dict[str, Any]) -> dict[str, Any]:
    """Return one image's part of the history."""
    step: dict[str, Any] = {}
    created = document.get("created")
    if isinstance(created, str):
        parse_time(created)
        step["created"] = created
    container_config = document.get("container_config")
    command = container_config.get("Cmd") if isinstance(container_config, dict) else None
    if isinstance(command, list):
        step["created_by"] = " ".join(str(word) for word in command)
    for key in ("author", "comment"):
        if isinstance(document.get(key), str) and document[key]:
            step[key] = document[key]
    return step
