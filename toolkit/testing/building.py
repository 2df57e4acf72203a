# SPDX-License-Identifier: Apache-2.0
"""A directory with a Dockerfile, sent to the engine to be built."""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections import deque
from typing import TYPE_CHECKING, BinaryIO, cast

from toolkit.client import StreamError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from toolkit.client import Client
    from toolkit.client.query import QueryValue

_SHOWN_PARTS = 20
_MEMORY_BYTES = 8 * 1024 * 1024  # a bigger archive goes to a file


def build_image(
    client: Client, directory: Path, *, tag: str, dockerfile: str, build_args: Mapping[str, str]
) -> None:
    """Build an image; return when it is there.

    Raises:
        StreamError: A step failed; with what it said.
    """
    from toolkit.client.jsonstream import check_progress  # noqa: PLC0415  # only here

    query: dict[str, QueryValue] = {
        "t": tag,
        "dockerfile": dockerfile,
        "buildargs": json.dumps(dict(build_args)),
        "rm": True,
        "forcerm": True,
    }
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES) as context:
        with tarfile.open(fileobj=cast("BinaryIO", context), mode="w") as archive:
            archive.add(directory, arcname=".")
        context.seek(0)
        upload = cast("BinaryIO", context)
        said: deque[str] = deque(maxlen=_SHOWN_PARTS)
        with client.request("POST", "/build", query=query, upload=upload) as answer:
            try:
                for progress in check_progress(answer.objects()):
                    said.append(str(progress.get("stream", "")))
            except StreamError as error:
                raise StreamError(f"{error}\n{''.join(said).rstrip()}", error.code) from error
