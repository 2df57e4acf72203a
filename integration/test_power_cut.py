# SPDX-License-Identifier: Apache-2.0
"""The power goes: what was answered is there afterwards (fault F-07, promise P1).

The engine's data lies on a file system of its own, which is shut down without
writing its journal out, as a power cut leaves it.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import struct
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from integration.conftest import Engine, clear
from integration.network.conftest import comes_true
from toolkit.bootstrap import bootstrap_image
from toolkit.config import Instance
from toolkit.vm.leftovers import Leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CUTS = 6
_PATIENCE_SECONDS = 20.0
_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN of linux/fs.h
_WITHOUT_LOG = struct.pack("I", 2)  # FS_SHUTDOWN_FLAGS_NOLOGFLUSH
_LOG_FILLED_BYTES = 4 * 1024 * 1024


class Disk:
    """An ext4 file system in a file, mounted where an instance keeps its data."""

    def __init__(self, image: Path, mounted: Path) -> None:
        self._image = image
        self._mounted = mounted
        self._device = ""
        with image.open("wb") as file:
            file.truncate(256 * 1024 * 1024)
        _run("mkfs.ext4", "-q", str(image))

    def mount(self) -> None:
        self._mounted.mkdir(exist_ok=True)
        self._device = _run("losetup", "--find", "--show", str(self._image)).strip()
        _run("mount", self._device, str(self._mounted))

    def cut(self) -> None:
        """Lose what the disk does not have."""
        fd = os.open(self._mounted, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, _WITHOUT_LOG)
        finally:
            os.close(fd)

    def unmount(self) -> None:
        """Unmount it, as soon as the last process of the engine has let go."""
        if not self._device:
            return
        assert comes_true(lambda: not _fails("umount", str(self._mounted)), _PATIENCE_SECONDS)
        _run("losetup", "--detach", self._device)
        self._device = ""


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _fails(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode != 0


@pytest.fixture
def disk(tmp_path: Path, worker_id: str) -> Iterator[tuple[Engine, Disk]]:
    prefix = os.environ.get("TOOLKIT_TEST_PREFIX", "tkt")
    instance = Instance(name=f"{prefix}pc{worker_id.replace('master', 'main')}")
    clear(instance)
    with ExitStack() as undo:
        engine = Engine(instance)
        undo.callback(clear, instance)
        made = Disk(tmp_path / "disk.img", instance.data_dir)
        undo.callback(made.unmount)
        undo.callback(Leftovers(instance).end_processes)
        undo.callback(engine.process.stop)
        undo.callback(engine.client.close)
        made.mount()
        engine.start()
        bootstrap_image(engine.client, "busybox")
        os.sync()
        yield engine, made


def test_what_was_answered_survives_power_cuts(disk: tuple[Engine, Disk]) -> None:
    engine, device = disk
    chance = random.Random(7)  # noqa: S311 - no secret
    created: dict[str, int] = {}
    ended: dict[str, int] = {}
    log = engine.data_dir / "engine.db-wal"
    for number in range(_CUTS):
        if number % 2:  # the log has its whole size: a commit writes no journal
            assert comes_true(lambda: log.stat().st_size >= _LOG_FILLED_BYTES, _PATIENCE_SECONDS)
        for _ in range(chance.randrange(1, 4)):
            code = chance.randrange(1, 100)
            created[_create(engine, code)] = code
            if chance.randrange(2):
                ended[_run_to_end(engine, code)] = code
        device.cut()
        os.kill(engine.pid, signal.SIGKILL)
        Leftovers(engine.instance).end_processes()
        device.unmount()
        device.mount()
        engine.ensure()
        for container, code in ended.items():
            state = _state(engine, container)
            assert (state["Status"], state["ExitCode"]) == ("exited", code), number
        for container in created:
            assert _state(engine, container)["Status"] == "created", number
    for container, code in created.items():
        engine.client.containers.start(container)
        assert engine.client.containers.wait(container).result().exit_code == code


def _create(engine: Engine, code: int) -> str:
    wish = {"Image": "busybox", "Cmd": ["sh", "-c", f"exit {code}"]}
    made: str = engine.client.containers.create({**wish, "HostConfig": {"NetworkMode": "none"}}).id
    return made


def _run_to_end(engine: Engine, code: int) -> str:
    container = _create(engine, code)
    engine.client.containers.start(container)
    assert engine.client.containers.wait(container).result().exit_code == code
    return container


def _state(engine: Engine, container: str) -> dict[str, Any]:
    found: dict[str, Any] = engine.client.containers.inspect(container)["State"]
    return found
