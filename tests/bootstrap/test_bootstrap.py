# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import tarfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import pytest

from tests.fakes.stub_engine import StubEngine, streams
from toolkit import bootstrap
from toolkit.bootstrap.busybox import write_busybox_root
from toolkit.client import Client
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def packed(_program: object) -> Iterator[BinaryIO]:
    stream = io.BytesIO()
    write_busybox_root(stream, b"program", ["bin/sh"])
    stream.seek(0)
    yield stream


def test_the_image_is_sent_with_its_name_and_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "find_static_busybox", lambda: tmp_path)
    monkeypatch.setattr(bootstrap, "packed_busybox_root", packed)
    stub = StubEngine()
    stub.on("POST /images/create", streams([b'{"status":"sha256:1"}']))
    with stub.serving(tmp_path / "engine.sock") as url, Client(url) as client:
        assert bootstrap.bootstrap_image(client, "busybox") == "sha256:1"
    request = stub.requests[0]
    assert "repo=busybox:latest" in request.target
    assert "changes=CMD%20%5B%22sh%22%5D" in request.target
    with tarfile.open(fileobj=io.BytesIO(request.body)) as archive:
        assert archive.getmember("bin/sh").linkname == "busybox"


@pytest.mark.parametrize("kind", ["alpine", "busybox:latest"])
def test_a_kind_that_there_is_not_is_refused(tmp_path: Path, kind: str) -> None:
    with (
        Client(f"unix://{tmp_path}/nobody.sock") as client,
        pytest.raises(InvalidRequestError, match="use busybox or debian"),
    ):
        bootstrap.bootstrap_image(client, kind)
