# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.fakes.engine_http import Answer, CannedEngine
from toolkit.config import Instance
from toolkit.errors import MachineError
from toolkit.vm.first_container import FirstContainer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FRAME = b"\x01\x00\x00\x00\x00\x00\x00\x03hi\n"
RUNS: dict[str, Answer] = {
    "POST /containers/create": (201, {"Id": "c1", "Warnings": []}),
    "POST /containers/c1/start": (204, b""),
    "POST /containers/c1/wait": (200, {"StatusCode": 0}),
    "GET /containers/c1/logs": (200, FRAME),
    "DELETE /containers/c1": (204, b""),
}


@contextmanager
def engine_with(
    answers: Mapping[str, Answer], directory: Path
) -> Iterator[tuple[FirstContainer, CannedEngine]]:
    instance = Instance(name="tku4", run_dir=directory, data_dir=directory)
    canned = CannedEngine(answers)
    with canned.serving(instance.socket_path), FirstContainer.on(instance) as first:
        yield first, canned


def test_run_returns_what_the_program_wrote_and_removes_the_container(tmp_path: Path) -> None:
    with engine_with(RUNS, tmp_path) as (first, canned):
        assert first.run("busybox", ["echo", "hi"]) == "hi"
    assert canned.asked[-1] == "DELETE /containers/c1?force=1"


def test_run_removes_the_container_when_the_program_fails(tmp_path: Path) -> None:
    answers = {**RUNS, "POST /containers/c1/wait": (200, {"StatusCode": 3})}
    with engine_with(answers, tmp_path) as (first, canned):
        with pytest.raises(MachineError, match="echo ended with 3: hi"):
            first.run("busybox", ["echo", "hi"])
        assert canned.asked[-1] == "DELETE /containers/c1?force=1"


def test_an_image_that_the_engine_does_not_know_is_missing(tmp_path: Path) -> None:
    known: dict[str, Answer] = {"GET /images/busybox/json": (200, {"Id": "sha256:1"})}
    with engine_with(known, tmp_path) as (first, _):
        assert first.has_image("busybox")
        assert not first.has_image("other")


def test_clear_removes_every_container_with_its_volumes(tmp_path: Path) -> None:
    answers = {**RUNS, "GET /containers/json": (200, [{"Id": "c1"}])}
    with engine_with(answers, tmp_path) as (first, canned):
        assert first.clear(keep=False) == 1
    assert canned.asked[-2:] == [
        "GET /containers/json?all=1",
        "DELETE /containers/c1?force=1&v=1",
    ]


def test_clear_can_keep_containers_and_only_stop_those_that_run(tmp_path: Path) -> None:
    listed: Answer = (200, [{"Id": "c1"}])
    answers = {"GET /containers/json": listed, "POST /containers/c1/stop": (204, b"")}
    with engine_with(answers, tmp_path) as (first, canned):
        assert first.clear(keep=True) == 1
    assert canned.asked[-2:] == ["GET /containers/json", "POST /containers/c1/stop"]
