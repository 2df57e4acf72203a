# SPDX-License-Identifier: Apache-2.0
"""Containers that a test makes and that are gone after it, with their volumes."""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from integration.images_volumes.asking import logs, run
from toolkit.client import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import Engine
    from integration.images_volumes.asking import Make


BACKENDS = (
    pytest.param("native"),
    pytest.param("lxc", marks=pytest.mark.needs_lxc),
)


@pytest.fixture
def backend() -> str:
    """The backend of the containers; a module that wants both has its own."""
    return "native"


@pytest.fixture
def make(engine: Engine, backend: str) -> Iterator[Make]:
    """Make containers, started or not; one whose script sleeps is left running."""
    if backend == "lxc" and shutil.which("lxc-start") is None:
        pytest.skip("LXC is not installed")
    made: list[str] = []

    def create(script: str = "", *, start: bool = True, image: str = "busybox", **body: Any) -> str:
        command = ["sh", "-c", script] if script else None
        document: dict[str, Any] = {"Image": image, "NetworkDisabled": True, **body}
        document["HostConfig"] = {"Runtime": backend, **body.get("HostConfig", {})}
        if command:
            document["Cmd"] = command
        container_id = engine.client.containers.create(document).id
        made.append(container_id)
        if start and "sleep" in script:
            engine.client.containers.start(container_id)
        elif start:
            assert run(engine, container_id) == 0, logs(engine, container_id)
        return container_id

    yield create
    for container_id in reversed(made):
        with suppress(ApiError):  # the test has removed it
            engine.client.containers.remove(container_id, force=True, volumes=True)
    engine.client.close()
