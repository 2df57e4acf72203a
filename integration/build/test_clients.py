# SPDX-License-Identifier: Apache-2.0
"""Real builds by docker's command, its SDK and the toolkit's own command."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import docker
import pytest
from docker.errors import BuildError

from integration.pace import SLOWNESS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from integration.build.conftest import Builder

    Command = Callable[..., subprocess.CompletedProcess[str]]

DOCKERFILE = """\
ARG GREETING=hello
FROM busybox AS build
ARG GREETING
RUN echo $GREETING > /made; echo to stderr >&2
FROM busybox
COPY --from=build /made /made
COPY . /context/
LABEL from=dockerfile
CMD ["cat", "/made"]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "d").mkdir(parents=True)
    (root / "Dockerfile").write_text(DOCKERFILE)
    (root / "d/shown").write_text("x")
    (root / "d/hidden.o").write_text("x")
    (root / ".dockerignore").write_text("**/*.o\n")
    return root


@pytest.fixture(params=["docker", "toolkit"])
def command(request: pytest.FixtureRequest, builder: Builder) -> Command:
    program = {
        "docker": ["docker"],
        "toolkit": [sys.executable, "-m", "toolkit.cli.main"],
    }[request.param]

    def run(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*program, "build", "--network", "none", *words],
            input=given,
            capture_output=True,
            text=True,
            env=builder.engine.environ,
            timeout=60 * SLOWNESS,
            check=False,
        )

    return run


def test_a_directory_is_built(builder: Builder, command: Command, place: Path) -> None:
    """docker 28 without BuildKit chooses the classic builder by what the ping says."""
    done = command("-t", "bld/one:1", "-t", "bld/two", "--label", "l=v", str(place))
    assert done.returncode == 0, done.stderr
    assert "Step 4/10 : RUN echo $GREETING" in done.stdout
    assert "to stderr" in done.stdout
    assert "Successfully tagged bld/one:1\nSuccessfully tagged bld/two:latest" in done.stdout
    assert builder.run("bld/one:1") == "hello"
    assert sorted(builder.run("bld/two", "find", "/context", "-type", "f").split()) == [
        "/context/.dockerignore", "/context/Dockerfile", "/context/d/shown",
    ]  # fmt: skip
    assert builder.config("bld/two")["Labels"] == {"from": "dockerfile", "l": "v"}


def test_options(builder: Builder, command: Command, place: Path, tmp_path: Path) -> None:
    (tmp_path / "Other").write_text("FROM busybox\nCOPY d/shown /s\n")
    done = command("-q", "-f", str(tmp_path / "Other"), str(place))
    assert done.stdout.startswith("sha256:"), done.stderr
    assert builder.run(done.stdout.strip(), "cat", "/s") == "x"
    iid = tmp_path / "iid"
    done = command("--build-arg", "GREETING=bye", "--target", "build", "--iidfile", str(iid),
                   "--no-cache", str(place))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert builder.run(iid.read_text(), "cat", "/made") == "bye"
    assert "Using cache" not in done.stdout


def test_standard_input(builder: Builder, command: Command, place: Path) -> None:
    done = command("-q", "-", given="FROM busybox\nRUN echo in > /f\n")
    assert builder.run(done.stdout.strip(), "cat", "/f") == "in", done.stderr
    done = command("-q", "-f", "-", str(place), given="FROM busybox\nCOPY d /d\n")
    assert builder.run(done.stdout.strip(), "ls", "/d") == "shown", done.stderr


def test_a_failure_is_the_program_s(command: Command) -> None:
    """API-068: the command ends with the step's code."""
    done = command("-", given="FROM busybox\nRUN echo out; exit 23\n")
    assert done.returncode == 23
    assert "The command '/bin/sh -c echo out; exit 23' returned a non-zero code: 23" in done.stderr
    done = command("-", given="FROM busybox\nWHAT x\n")
    assert done.returncode == 1
    assert "unknown instruction: WHAT" in done.stderr


def test_the_sdk_builds(builder: Builder, place: Path) -> None:
    client = docker.DockerClient(base_url=builder.engine.url, timeout=60 * SLOWNESS)
    try:
        image, log = client.images.build(
            path=str(place), tag="bld/sdk", rm=True, network_mode="none",
            buildargs={"GREETING": "sdk"}, labels={"a": "b"},
        )  # fmt: skip
        assert image.tags == ["bld/sdk:latest"]
        assert image.labels == {"from": "dockerfile", "a": "b"}
        assert any("Successfully built" in entry.get("stream", "") for entry in log)
        assert builder.run("bld/sdk") == "sdk"
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            tar.add(place, ".")
        archive.seek(0)
        image, _ = client.images.build(
            fileobj=archive, custom_context=True, encoding="gzip", network_mode="none", rm=True
        )
        assert builder.run(image.id) == "hello"
        with pytest.raises(BuildError, match="returned a non-zero code: 5"):
            client.images.build(
                fileobj=io.BytesIO(b"FROM busybox\nRUN exit 5\n"), network_mode="none", rm=True
            )
    finally:
        client.close()
