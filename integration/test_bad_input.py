# SPDX-License-Identifier: Apache-2.0
"""Bad input: one clear line, the right status and exit code, and nothing left behind."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from integration.pace import SLOWNESS
from toolkit.client import ApiError

if TYPE_CHECKING:
    from pathlib import Path

    from integration.conftest import Engine, Run
    from toolkit.testing import RunContainer


def wish(busybox: str, **more: Any) -> dict[str, Any]:
    return {"Image": busybox, "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}} | more


def refusal(engine: Engine, body: dict[str, Any], name: str = "") -> ApiError:
    """Return how a create, or the start after it, is refused."""
    containers = engine.client.containers
    with pytest.raises(ApiError) as refused:
        containers.create(body, name=name)
    return refused.value


def test_an_unknown_image_is_404(engine: Engine) -> None:
    error = refusal(engine, wish("nosuchimage"))
    assert error.status == 404
    assert "No such image: nosuchimage" in str(error)


def test_a_bad_name_is_400(engine: Engine, busybox: str) -> None:
    error = refusal(engine, wish(busybox), name="a b")
    assert error.status == 400
    assert "a b" in str(error)


def test_less_memory_than_half_a_mebibyte_is_400(engine: Engine, busybox: str) -> None:
    """Rule 3.5."""
    error = refusal(engine, wish(busybox, HostConfig={"NetworkMode": "none", "Memory": 1000}))
    assert error.status == 400
    assert "memory" in str(error).lower()


def test_an_unknown_user_is_refused_at_start_and_named(run_container: RunContainer) -> None:
    with pytest.raises(ApiError, match="nobody-of-that-name") as refused:
        run_container("busybox", "true", network="none", user="nobody-of-that-name")
    assert refused.value.status == 400


def test_a_corrupt_tar_is_400(engine: Engine) -> None:
    with pytest.raises(ApiError) as refused:
        engine.client.images.import_tar(io.BytesIO(b"no tar " * 1000), reference="bad")
    assert refused.value.status == 400


@pytest.mark.parametrize("name", ["../escaped", "/../../escaped", "a/../../escaped"])
def test_a_tar_that_leaves_its_root_writes_nothing_outside(
    engine: Engine, name: str, tmp_path: Path
) -> None:
    """S-02 in small: the member is refused, or kept inside."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = 4
        tar.addfile(member, io.BytesIO(b"out!"))
    archive.seek(0)
    before = set(engine.data_dir.rglob("escaped"))
    with pytest.raises(ApiError) as refused:
        engine.client.images.import_tar(archive, reference="escapes")
    assert refused.value.status == 400
    assert set(engine.data_dir.rglob("escaped")) == before
    assert list(tmp_path.iterdir()) == []


def test_a_bad_memory_size_on_the_command_line_is_125_and_one_line(
    toolkit_cli: Run, busybox: str
) -> None:
    done = toolkit_cli("run", "--rm", "--memory", "lots", busybox, "true")
    assert done.returncode == 125
    assert b"lots" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_dead_socket_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    host = f"unix://{tmp_path}/nothing.sock"
    done = subprocess.run(
        [sys.executable, "-m", "toolkit.cli.main", "-H", host, "ps"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30 * SLOWNESS,
    )
    assert done.returncode != 0
    assert "nothing.sock" in done.stderr
    assert "Traceback" not in done.stderr
