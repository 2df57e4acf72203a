# SPDX-License-Identifier: Apache-2.0
"""JSON objects one after another, as progress and events come.

Pure: no I/O. Separators may be line ends or nothing at all.
"""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, Any

from toolkit.client.errors import StreamError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Document = dict[str, Any]

_WHITE = " \t\r\n"
MAX_OBJECT_CHARACTERS = 16 * 1024 * 1024


def decode_objects(chunks: Iterable[bytes]) -> Iterator[Document]:
    """Return each object as soon as its last byte has come.

    Raises:
        StreamError: Something else than an object came, or the last one is cut.
    """
    decoder = json.JSONDecoder()
    text = ""
    as_text = codecs.getincrementaldecoder("utf-8")("replace")
    for chunk in chunks:
        text = (text + as_text.decode(chunk)).lstrip(_WHITE)
        while text:
            try:
                value, end = decoder.raw_decode(text)
            except ValueError:
                _check_unfinished(text)
                break
            if not isinstance(value, dict):
                raise StreamError(f"the stream holds something else than an object: {text[:40]!r}")
            yield value
            text = text[end:].lstrip(_WHITE)
    if text:
        raise StreamError("the stream ended inside an object")


def _check_unfinished(text: str) -> None:
    if not text.startswith("{") or len(text) > MAX_OBJECT_CHARACTERS:
        raise StreamError(f"the stream is not JSON: {text[:40]!r}")


def check_progress(objects: Iterable[Document]) -> Iterator[Document]:
    """Return the messages of a progress stream; stop at the one that carries an error.

    Raises:
        StreamError: The operation failed.
    """
    for message in objects:
        detail = message.get("errorDetail") or {}
        if text := detail.get("message") or message.get("error"):
            raise StreamError(str(text), detail.get("code"))
        yield message
