# SPDX-License-Identifier: Apache-2.0
"""docker's command, ours and docker's SDK move images through the engine and a real registry."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Protocol

import pytest

from integration.images.programs import program
from integration.pace import SLOWNESS
from tests.storage.archives import archive, member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import docker

    from integration.conftest import Engine
    from integration.images.conftest import Registry

LOGIN = ("someone", "pass:word")
_SECONDS = 60 * SLOWNESS


class Command(Protocol):
    """Runs a command line; returns its exit code, its output and its errors."""

    def __call__(self, *words: str, given: str = "") -> tuple[int, str, str]: ...


@pytest.fixture(params=["docker", "toolkit"])
def command(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Command:
    """One of the two commands, with logins of its own."""
    ours = [sys.executable, "-m", "toolkit.cli.main"]
    start = [program("docker")] if request.param == "docker" else ours
    environ = {**engine.environ, "DOCKER_CONFIG": str(tmp_path / "logins")}

    def run(*words: str, given: str = "") -> tuple[int, str, str]:
        done = subprocess.run(
            [*start, *words], input=given, capture_output=True, env=environ, text=True,
            timeout=_SECONDS, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def registry(start_registry: Callable[..., Registry]) -> Registry:
    return start_registry(tls=True, login=LOGIN)


@pytest.fixture
def image(engine: Engine) -> Iterator[str]:
    """The id of a small image without a name."""
    tar = archive(member("f", b"content"), member("big", bytes(3_000_000)))
    image_id = engine.client.images.import_tar(tar)
    yield image_id
    for one in engine.client.images.list(every=True):
        if one["Id"] == image_id:
            engine.client.images.remove(image_id, force=True)
    engine.client.close()


def names(engine: Engine) -> set[str]:
    return {name for one in engine.client.images.list() for name in one["RepoTags"] or []}


def test_a_way_to_a_registry_and_back(
    command: Command, engine: Engine, registry: Registry, image: str
) -> None:
    """API-131: tag, push refused, login, push, rmi, pull twice, pull by digest, logout."""
    name = registry.name("team/app:1")
    assert command("tag", image, name) == (0, "", "")
    code, _, error = command("push", name)
    assert code == 1
    assert "no basic auth credentials" in error or "login" in error, error
    login = ("login", "-u", LOGIN[0], "--password-stdin", registry.host)
    assert command(*login, given="wrong")[0] == 1
    code, out, _ = command(*login, given=LOGIN[1])
    assert (code, "Login Succeeded" in out) == (0, True)
    code, out, error = command("push", name)
    assert code == 0, error
    digest = out.rpartition("digest: ")[2].split()[0]
    assert digest.startswith("sha256:")
    assert command("rmi", name)[0] == 0
    assert name not in names(engine)
    code, out, error = command("pull", name)
    assert code == 0, error
    assert f"Status: Downloaded newer image for {name}" in out
    assert engine.client.images.inspect(name)["Id"] == image
    assert f"Status: Image is up to date for {name}" in command("pull", name)[1]
    assert command("pull", f"{registry.name('team/app')}@{digest}")[0] == 0
    assert command("logout", registry.host)[0] == 0
    assert command("pull", name)[0] == 1


def test_what_cannot_be_fetched_is_one_line(command: Command, registry: Registry) -> None:
    command("login", "-u", LOGIN[0], "--password-stdin", registry.host, given=LOGIN[1])
    code, _, error = command("pull", registry.name("nothing:1"))
    assert code == 1
    assert "not found: manifest unknown" in error
    assert len(error.strip().splitlines()) <= 2
    code, _, error = command("pull", "team/UPPER")
    assert code == 1
    assert "lowercase" in error
    code, _, error = command("push", registry.name("nothing:1"))
    assert code == 1


def test_all_tags_go_and_come(
    command: Command, engine: Engine, registry: Registry, image: str
) -> None:
    command("login", "-u", LOGIN[0], "--password-stdin", registry.host, given=LOGIN[1])
    tagged = {registry.name(f"many:{tag}") for tag in ("1", "2", "3")}
    for name in tagged:
        command("tag", image, name)
    assert command("push", "-a", registry.name("many"))[0] == 0
    engine.client.images.remove(image, force=True)
    assert command("pull", "-a", registry.name("many"))[0] == 0
    assert tagged <= names(engine)


def test_a_build_fetches_its_base_with_the_login_that_goes_with_it(
    command: Command, engine: Engine, registry: Registry, image: str
) -> None:
    """FROM an image that is only in a registry that asks who comes; and ``--pull``."""
    base = registry.name("team/base:1")
    text = f"FROM {base}\nLABEL a=b\n"
    command("login", "-u", LOGIN[0], "--password-stdin", registry.host, given=LOGIN[1])
    command("tag", image, base)
    assert command("push", base)[0] == 0
    command("rmi", "-f", image)
    code, out, error = command("build", "-t", "heir", "-", given=text)
    assert code == 0, error
    assert f"Status: Downloaded newer image for {base}" in out
    assert engine.client.images.inspect("heir")["Config"]["Labels"] == {"a": "b"}
    code, out, error = command("build", "--pull", "-", given=text)
    assert f"Status: Image is up to date for {base}" in out, error
    command("logout", registry.host)
    assert command("build", "--pull", "-", given=text)[0] == 1
    engine.client.images.remove("heir", force=True)


def test_an_archive_holds_names_and_is_loaded_with_them(
    command: Command, engine: Engine, image: str, tmp_path: Path
) -> None:
    command("tag", image, "saved:1")
    command("tag", image, "other/saved:2")
    path = str(tmp_path / "a.tar")
    assert command("save", "-o", path, "saved:1", "other/saved:2")[0] == 0
    engine.client.images.remove(image, force=True)
    code, out, _ = command("load", "-i", path)
    assert code == 0
    assert "Loaded image: saved:1" in out
    assert "Loaded image: other/saved:2" in out
    code, out, _ = command("image", "inspect", "saved:1")
    assert (code, json.loads(out)[0]["Id"]) == (0, image)
    code, _, error = command("load", "-i", str(tmp_path / "nothing.tar"))
    assert code == 1
    assert "no such file" in error.lower()
    assert command("save", "-o", path, "no-such-image")[0] == 1


def test_what_has_no_name_is_pruned(command: Command, engine: Engine, image: str) -> None:
    """Images that dangle go; `-a` takes those with a name that no container uses, too."""
    command("tag", image, "kept:1")
    dangling = engine.client.images.import_tar(archive(member("d", b"dangles")))
    code, out, _ = command("image", "prune", "-f")
    assert code == 0
    assert f"deleted: {dangling}" in out
    assert "Total reclaimed space: 7B" in out
    assert "kept:1" in names(engine)


def test_the_sdk_moves_images(
    sdk: docker.DockerClient, start_registry: Callable[..., Registry], image: str
) -> None:
    registry = start_registry()
    found = sdk.images.get(image)
    assert found.tag(registry.name("sdk"), "1")
    told = [
        json.loads(line)
        for line in sdk.images.push(registry.name("sdk"), tag="1").splitlines()
        if line.strip()
    ]
    assert told[-1]["aux"]["Digest"].startswith("sha256:")
    saved = b"".join(sdk.images.get(registry.name("sdk:1")).save(named=True))
    sdk.images.remove(image, force=True)
    (loaded,) = sdk.images.load(saved)
    assert loaded.id == image
    sdk.images.remove(image, force=True)
    assert sdk.images.pull(registry.name("sdk"), tag="1").id == image
    data = sdk.images.get_registry_data(registry.name("sdk:1"))
    assert data.id == told[-1]["aux"]["Digest"]
    assert data.has_platform("linux/amd64")
    for line in sdk.api.pull(registry.name("sdk"), tag="1", stream=True, decode=True):
        assert "error" not in line
    stream = io.BytesIO(saved)
    assert [one.id for one in sdk.images.load(stream.read())] == [image]
