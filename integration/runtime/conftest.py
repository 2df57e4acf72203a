# SPDX-License-Identifier: Apache-2.0
"""The runtime needs no engine: a supervisor of its own, and a leak check by its instance."""

from __future__ import annotations

import asyncio
import os
import tarfile
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from integration.pace import SLOWNESS
from integration.runtime.lab import Lab
from toolkit.bootstrap.busybox import find_static_busybox, packed_busybox_root
from toolkit.config import Instance
from toolkit.vm.leftovers import Leftovers
from toolkit.vm.process import processes_of, wait_readable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

_END_SECONDS = 5.0 * SLOWNESS


class Play(Protocol):
    """Runs a scenario in a laboratory whose supervisor is open."""

    def __call__(self, scenario: Callable[[Lab], Awaitable[None]]) -> None: ...


@pytest.fixture(scope="session")
def busybox_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of this machine's busybox, unpacked once."""
    root = tmp_path_factory.mktemp("busybox")
    with (
        packed_busybox_root(find_static_busybox()) as archive,
        tarfile.open(fileobj=archive) as tar,
    ):
        # as a word of extractall it is not there before Python 3.11.4, which Debian 12 has not
        tar.extraction_filter = lambda member, _: member
        tar.extractall(root)  # noqa: S202 - we have just packed it
    root.chmod(0o755)
    return root


@pytest.fixture
def instance(worker_id: str, tmp_path: Path) -> Instance:
    """An instance of the worker's own, in the test's directory."""
    prefix = os.environ.get("TOOLKIT_TEST_PREFIX", "tkt")
    name = f"{prefix}r{worker_id.replace('master', 'main')}"
    return Instance(name=name, data_dir=tmp_path / "data", run_dir=tmp_path / "run")


@pytest.fixture(autouse=True)
def _no_leaks(instance: Instance) -> Iterator[None]:
    """Take the place of the check that starts an engine: no process, group or mount is left."""
    leftovers = Leftovers(instance)
    yield
    for pid in processes_of(instance.name):  # the launcher is gone, the slots are going
        _await_end(pid)
    processes = processes_of(instance.name)
    groups = [path for path in leftovers.cgroup_dirs() if path.name != instance.cgroup_parent]
    mounts = leftovers.mount_points()
    leftovers.end_processes()
    leftovers.remove(keep_data=False)
    assert (processes, groups, mounts) == ([], [], [])


def _await_end(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    wait_readable(pidfd, _END_SECONDS)
    os.close(pidfd)


@pytest.fixture
def play(instance: Instance, busybox_root: Path, tmp_path: Path) -> Play:
    """Run a scenario in a laboratory."""

    def play(scenario: Callable[[Lab], Awaitable[Any]]) -> None:
        async def run() -> None:
            lab = Lab(instance, busybox_root, tmp_path)
            await lab.supervisor.open()
            try:
                await scenario(lab)
            finally:
                await lab.supervisor.close()

        asyncio.run(run())

    return play
