# SPDX-License-Identifier: Apache-2.0
"""What an image is, and its document: the JSON whose digest is the image's id.

The document is the OCI image configuration, as docker writes it. Everything in
one that came from elsewhere is checked here before it is used.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NewType

from toolkit.errors import InvalidRequestError
from toolkit.storage.layer import ChainId, chain_id_of

ImageId = NewType("ImageId", str)

MOST_DOCUMENT_BYTES: Final = 4 * 1024 * 1024
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII
)
_MICROSECOND_DIGITS: Final = 6


class InvalidImageError(InvalidRequestError):
    """A document is not that of an image."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image of the store, as it is now.

    Attributes:
        id: ``sha256:<hex>`` of the document.
        config: Docker's `Config` object: what a container takes over.
        history: One object a build step, oldest first.
        diff_ids: Digests of the layers' archives, base first.
        top: The uppermost layer; None for an image without layers.
        size_bytes: Of all layers.
        layer_bytes: Of each layer, base first.
        references: Familiar names, sorted.
        digests: Familiar names with a manifest's digest, sorted.
        parent: The local image that it was made from, if any.
    """

    id: ImageId
    created: datetime
    config: dict[str, Any]
    history: tuple[dict[str, Any], ...]
    diff_ids: tuple[str, ...]
    top: ChainId | None
    size_bytes: int
    author: str
    architecture: str
    os: str
    comment: str = ""
    references: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    parent: ImageId | None = None
    layer_bytes: tuple[int, ...] = ()


def is_image_id(text: str) -> bool:
    """Tell whether a text is a whole id, with its algorithm (row S-52)."""
    return _DIGEST.fullmatch(text) is not None


def document_bytes(document: dict[str, Any]) -> bytes:
    """Return the bytes of a document that we make ourselves."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def id_of(content: bytes) -> ImageId:
    """Return the id of the image with that document."""
    return ImageId(f"sha256:{hashlib.sha256(content).hexdigest()}")


def top_of(diff_ids: tuple[str, ...]) -> ChainId | None:
    """Return the chain id of a stack of layers, base first."""
    top: ChainId | None = None
    for diff_id in diff_ids:
        top = chain_id_of(top, diff_id)
    return top


def parse_image(content: bytes) -> Image:
    """Return the image that a document describes; size, names and parent are the store's.

    Raises:
        InvalidImageError: It is none.
    """
    if len(content) > MOST_DOCUMENT_BYTES:
        raise InvalidImageError("the image's document is too long")
    try:
        document = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidImageError(f"the image's document is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidImageError("the image's document is not a JSON object")
    diff_ids = _diff_ids(document)
    history = tuple(_objects(document, "history"))
    return Image(
        id=id_of(content),
        created=parse_time(_text(document, "created")),
        config=_object(document, "config"),
        history=history,
        diff_ids=diff_ids,
        top=top_of(diff_ids),
        size_bytes=0,
        author=_text(document, "author"),
        architecture=_text(document, "architecture"),
        os=_text(document, "os"),
        comment=_text(history[-1], "comment") if history else "",
    )


def format_time(moment: datetime) -> str:
    """Return a moment in docker's spelling."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def parse_time(text: str) -> datetime:
    """Return the moment that an RFC 3339 text names; the year 1 for no text.

    Raises:
        InvalidImageError: It names none.
    """
    if not text:
        return datetime.min.replace(tzinfo=UTC)
    match = _TIME.fullmatch(text)
    if match is None:
        raise InvalidImageError(f"not a time: {text[:80]!r}")
    seconds, fraction, zone = match.groups()
    microseconds = (fraction or "0")[:_MICROSECOND_DIGITS].ljust(_MICROSECOND_DIGITS, "0")
    try:
        moment = datetime.fromisoformat(f"{seconds}.{microseconds}{zone}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidImageError(f"not a time: {text[:80]!r}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _text(document: dict[str, Any], key: str) -> str:
    value = "" if document.get(key) is None else document[key]
    if not isinstance(value, str):
        raise InvalidImageError(f"the image's {key} is not a text")
    return value


def _object(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = {} if document.get(key) is None else document[key]
    if not isinstance(value, dict):
        raise InvalidImageError(f"the image's {key} is not an object")
    return value


def _objects(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = [] if document.get(key) is None else document[key]
    if not isinstance(value, list) or not all(isinstance(step, dict) for step in value):
        raise InvalidImageError(f"the image's {key} is not a list of objects")
    return value


def _diff_ids(document: dict[str, Any]) -> tuple[str, ...]:
    value = _object(document, "rootfs").get("diff_ids") or []
    if not isinstance(value, list) or not all(
        isinstance(digest, str) and _DIGEST.fullmatch(digest) for digest in value
    ):
        raise InvalidImageError("the image's layers are not named by digests")
    return tuple(value)
