# SPDX-License-Identifier: Apache-2.0
"""Documents of images: what is read from them, and what is refused."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from toolkit.images.image import (
    InvalidImageError,
    format_time,
    is_image_id,
    parse_image,
    parse_time,
)

DIFF_ID = "sha256:" + "a" * 64


def document(**changes: Any) -> bytes:
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2024-05-06T07:08:09.123456789Z",
            "author": "me",
            "config": {"Cmd": ["sh"]},
            "history": [{"comment": "first"}, {"comment": "last"}],
            "rootfs": {"type": "layers", "diff_ids": [DIFF_ID]},
            **changes,
        }
    ).encode()


def test_the_id_is_the_digest_of_the_document() -> None:
    content = document()
    image = parse_image(content)
    assert image.id == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert image.config == {"Cmd": ["sh"]}
    assert (image.author, image.architecture, image.os) == ("me", "amd64", "linux")
    assert image.created == datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
    assert (image.diff_ids, image.top, image.comment) == ((DIFF_ID,), DIFF_ID, "last")


def test_null_stands_for_nothing() -> None:
    image = parse_image(b'{"config": null, "history": null, "rootfs": {"diff_ids": null}}')
    assert (image.config, image.history, image.top) == ({}, (), None)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"garbage", b"[]", b"NaN", b'{"created": NaN}', b"[" * 100_000, b"\xff\xfe",
        b"9" * 100_000, document(created="yesterday"), document(created=5),
        document(created="2024-13-01T00:00:00Z"), document(created="9999-99-99T99:99:99Z"),
        document(config=[]), document(history={}), document(history=["x"]), document(rootfs=[]),
        document(rootfs={"diff_ids": ["sha256:../../x"]}), document(rootfs={"diff_ids": [5]}),
        document(rootfs={"diff_ids": [DIFF_ID + "\n"]}), document(author={"a": 1}),
        b" " * (5 * 1024 * 1024),
    ],
    ids=range(21),
)  # fmt: skip
def test_what_is_no_document_is_refused(content: bytes) -> None:
    """Row S-55."""
    with pytest.raises(InvalidImageError):
        parse_image(content)


@pytest.mark.parametrize(
    "text", ["../../../x", "", "A" * 64, "a" * 64, "sha256:" + "a" * 65,
             "sha256:" + "a" * 64 + "\n",
             "sha256:" + "A" * 64, "-", "sha512:" + "a" * 64],
)  # fmt: skip
def test_ids_are_strict(text: str) -> None:
    """Row S-52."""
    assert not is_image_id(text)


def test_times_come_back() -> None:
    moment = datetime(2024, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    assert parse_time(format_time(moment)) == moment
    assert parse_time("2024-01-02T05:04:05.000678+02:00") == moment
