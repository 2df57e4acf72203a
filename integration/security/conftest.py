# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the security suite: backends, the attacker's programs, weakened engines."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

import toolkit
from integration.conftest import Engine, clear
from integration.security.lab import (
    Lab,
    engine_command,
    file,
    packed,
    small_root,
    weakened_package,
)
from toolkit.bootstrap import bootstrap_image
from toolkit.config import Instance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

_PROBES = Path(__file__).parent / "probes"
_PROBE_IMAGE = "attacker"
BACKENDS = ("native", "lxc")
Changes = Mapping[str, Sequence[tuple[str, str]]]


class Weaken(Protocol):
    """Gives a laboratory whose engine lacks some defences."""

    def __call__(
        self, changes: Changes, prelude: str = "", *, lxc: Changes | None = None
    ) -> AbstractContextManager[Lab]:
        """Start one.

        Args:
            changes: What is taken out; see `weakened_package`.
            prelude: Python that runs before, in the engine's process.
            lxc: What is taken out beside that where LXC is under attack.
        """
        ...


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the attacker's programs, compiled: ``probe``, ``loader``, ``overwrite``."""
    if shutil.which("gcc") is None:
        pytest.skip("the probes are written in C, and there is no gcc")
    target_dir = tmp_path_factory.mktemp("programs")
    for name, options in {
        "probe": ["-static"],
        "overwrite": ["-static"],
        "loader": ["-nostdlib", "-static-pie", "-fPIE"],
    }.items():
        source = _PROBES / f"{name}.c"
        command = ["gcc", "-O1", *options, "-o", str(target_dir / name), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return target_dir


@pytest.fixture(scope="session")
def probe_image(engine_of_worker: Engine, programs: Path) -> str:
    """The name of an image with a shell and the attacker's program as ``/probe``."""
    return _import_probe_image(engine_of_worker, programs)


def _import_probe_image(engine: Engine, programs: Path) -> str:
    root = small_root([file("probe", (programs / "probe").read_bytes())])
    engine.client.images.import_tar(packed(root), reference=_PROBE_IMAGE)
    warm = Lab(engine, "native", _PROBE_IMAGE)
    warm.run("true", Volumes={"/warm": {}})  # what is made for the first, and stays
    return _PROBE_IMAGE


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The backend under attack."""
    name: str = request.param
    if name == "lxc" and shutil.which("lxc-start") is None:
        pytest.skip("lxc-start is not installed: apt-get install lxc")
    return name


@pytest.fixture
def lab(probe_image: str, engine: Engine, backend: str) -> Iterator[Lab]:
    """The attacker's bench on the worker's engine."""
    yield Lab(engine, backend, probe_image)
    engine.client.close()  # a connection kept for later would look like the engine's leak


@pytest.fixture
def weakened(worker_id: str, programs: Path, backend: str, tmp_path: Path) -> Weaken:
    """Start another engine, from a copy of the package with some defences taken out."""
    prefix = os.environ.get("TOOLKIT_TEST_PREFIX", "tkt")
    instance = Instance(name=f"{prefix}w{worker_id.replace('master', 'main')}")

    @contextmanager
    def weaken(changes: Changes, prelude: str = "", *, lxc: Changes | None = None) -> Iterator[Lab]:
        if backend == "lxc":
            changes = {**changes, **(lxc or {})}
        source = Path(toolkit.__file__).parent.parent
        package_dir = weakened_package(tmp_path, changes) if changes else source
        clear(instance)
        engine = Engine(instance)
        try:
            command = engine_command(instance.name, package_dir, prelude)
            engine.pid = engine.process.start(command).pid
            bootstrap_image(engine.client, "busybox")
            yield Lab(engine, backend, _import_probe_image(engine, programs))
        finally:
            engine.client.close()
            clear(instance)

    return weaken


@pytest.fixture
def canary(engine: Engine) -> Iterator[Path]:
    """A tree on the host that nobody may read, change or add to; compared afterwards."""
    root = Path("/run") / f"{engine.instance.name}-canary"
    shutil.rmtree(root, ignore_errors=True)
    (root / "d").mkdir(parents=True)
    (root / "secret").write_text("host-secret\n")
    (root / "d" / "inner").write_text("inner\n")
    before = state_of(root)
    try:
        yield root
        assert state_of(root) == before
    finally:
        shutil.rmtree(root, ignore_errors=True)


def state_of(root: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path)] = (
            status.st_mode,
            status.st_uid,
            status.st_ino,
            status.st_mtime_ns,
            content,
        )
    return found
