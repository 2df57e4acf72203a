# SPDX-License-Identifier: Apache-2.0
"""Debian's docker-registry on loopback, and an image to send through the world.

No engine is needed: the leak check here compares this machine's mounts alone.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from integration.images.programs import Docker, Podman, program, running_docker
from integration.pace import SLOWNESS
from toolkit.images.archive_load import ImageArchives
from toolkit.images.references import Reference
from toolkit.images.registry.registries import Registries
from toolkit.images.registry.settings import RegistrySettings
from toolkit.images.store import ImageStore
from toolkit.storage.layers import LayerStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from toolkit.images.image import Image
    from toolkit.images.progress import ProgressMessage

_START_SECONDS = 20.0 * SLOWNESS
_RULE = "needs the program docker-registry (apt-get install docker-registry)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a registry, and skip it where there is none."""
    for item in items:
        if "start_registry" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.needs_registry)
            if shutil.which("docker-registry") is None:
                item.add_marker(pytest.mark.skip(reason=_RULE))


@pytest.fixture(autouse=True)
def _no_leaks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Take the place of the check that starts an engine."""
    own = (str(tmp_path_factory.getbasetemp()), _podman_prefix())
    yield
    lines = Path("/proc/self/mounts").read_text().splitlines()
    assert [line for line in lines if any(part in line for part in own)] == []


def _podman_prefix() -> str:
    return f"/tmp/pm{os.getpid()}-"  # noqa: S108 - podman takes 50 characters of path


@dataclass
class Shelf:
    """An instance's images on the driver overlay, without an engine."""

    data_dir: Path
    options: dict[str, Any] = field(default_factory=dict)
    told: list[ProgressMessage] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.layers = LayerStore(self.data_dir, "overlay")
        self.layers.sweep(())
        self.images = ImageStore(self.data_dir, self.layers)
        self.archives = ImageArchives(self.data_dir, self.images, self.layers)
        self.registries = Registries(
            self.data_dir, self.images, self.layers, RegistrySettings(**self.options)
        )

    def pull(self, text: str, **options: Any) -> Image:
        return self.registries.pull(Reference.parse(text), self.told.append, **options)[0]

    def push(self, text: str, **options: Any) -> str:
        return self.registries.push(Reference.parse(text), self.told.append, **options)[0]

    def save(self, path: Path, *names: str) -> Path:
        with path.open("wb") as file:
            for chunk in self.archives.save(names).chunks():
                file.write(chunk)
        return path

    def load(self, path: Path) -> list[Image]:
        with path.open("rb") as file:
            return self.archives.load(file, self.told.append)

    def contents(self, image: Image) -> list[str]:
        """Return the digests of the layers' archives, read back from the trees."""
        found = []
        for layer in reversed(self.layers.ancestry(image.top)):
            with self.layers.opened_archive(layer.chain_id) as archive:
                assert sum(len(chunk) for chunk in archive.chunks()) == archive.size_bytes
            found.append(layer.diff_id)
        return found


@pytest.fixture
def new_shelf(tmp_path: Path) -> Iterator[Callable[..., Shelf]]:
    """Make empty stores."""
    made: list[Shelf] = []

    def make(**options: Any) -> Shelf:
        made.append(Shelf(tmp_path / f"shelf{len(made)}", options))
        return made[-1]

    yield make
    for shelf in made:
        shelf.registries.close()


@pytest.fixture
def shelf(new_shelf: Callable[..., Shelf], tmp_path: Path) -> Shelf:
    """Stores with the image ``sample:1``: two layers with all that a tree can hold."""
    made = new_shelf()
    with tree_archive(tmp_path / "tree", "first").open("rb") as stream:
        image = made.images.import_tar(stream, config={"Cmd": ["/bin/true"], "Env": ["A=b"]})
    with tree_archive(tmp_path / "more", "second").open("rb") as stream:
        layer = made.layers.unpack(stream, image.top)
    content = made.images.document(image.id).replace(
        b'"diff_ids":["', b'"diff_ids":["%s","' % image.diff_ids[0].encode(), 1
    )
    content = content.replace(
        f'{image.diff_ids[0]}"]'.encode(), f'{layer.diff_id}"]'.encode()
    ).replace(b'"history":[', b'"history":[{"created_by":"more"},', 1)
    made.images.create(content, reference=Reference.parse("sample:1"))
    made.layers.settle(layer.chain_id)
    return made


def tree_archive(tree_dir: Path, name: str) -> Path:
    """Return a tar, made by GNU tar, of a tree with every kind of thing."""
    (tree_dir / "dir/sub").mkdir(parents=True)
    (tree_dir / "dir" / name).write_bytes(os.urandom(300_000))
    (tree_dir / "dir/hard").hardlink_to(tree_dir / "dir" / name)
    (tree_dir / f"link-{name}").symlink_to("dir/sub/../hard")
    (tree_dir / ("n" * 150)).write_text("a long name")
    (tree_dir / "dir/setuid").write_text("x")
    (tree_dir / "dir/setuid").chmod(0o4755)
    os.mkfifo(tree_dir / "dir/sub" / f"fifo-{name}")
    os.setxattr(tree_dir / "dir/sub", "user.key", b"value")
    path = tree_dir.with_suffix(".tar")
    subprocess.run(
        ["tar", "--xattrs", "--format=pax", "-C", str(tree_dir), "-cf", str(path), "."], check=True
    )
    return path


def members(path: Path) -> list[str]:
    with tarfile.open(path) as opened:
        return opened.getnames()


@dataclass(frozen=True)
class Registry:
    """A registry that runs."""

    host: str
    certs_dir: Path | None = None

    def name(self, rest: str) -> str:
        return f"{self.host}/{rest}"


@pytest.fixture
def start_registry(tmp_path: Path) -> Iterator[Callable[..., Registry]]:
    """Start registries on free ports of 127.0.0.1; they end with the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*, tls: bool = False, login: tuple[str, str] | None = None) -> Registry:
        base_dir = tmp_path / f"registry{len(running)}"
        base_dir.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as server:
            host = f"127.0.0.1:{server.getsockname()[1]}"
        certs_dir = _make_certificate(base_dir, host) if tls else None
        path = base_dir / "config.yml"
        path.write_text(_configuration(base_dir, host, tls=tls, login=login))
        with (base_dir / "log").open("wb") as log:
            process = subprocess.Popen(
                ["docker-registry", "serve", str(path)], stdout=log, stderr=log
            )
        running.append(process)
        _wait_for(host, process, base_dir / "log")
        return Registry(host, certs_dir)

    yield start
    for process in running:
        process.terminate()
        process.wait(10 * SLOWNESS)


def _configuration(base_dir: Path, host: str, *, tls: bool, login: tuple[str, str] | None) -> str:
    text = f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {base_dir}/data\n"
    text += f"http:\n  addr: {host}\n"
    if tls:
        text += f"  tls:\n    certificate: {base_dir}/ca.crt\n    key: {base_dir}/ca.key\n"
    if login:
        bcrypt = pytest.importorskip("bcrypt")
        word = bcrypt.hashpw(login[1].encode(), bcrypt.gensalt(4)).decode()
        (base_dir / "htpasswd").write_text(f"{login[0]}:{word}\n")
        text += f"auth:\n  htpasswd:\n    realm: test\n    path: {base_dir}/htpasswd\n"
    return text


def _make_certificate(base_dir: Path, host: str) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    names = ["-subj", "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    files = ["-keyout", str(base_dir / "ca.key"), "-out", str(base_dir / "ca.crt")]
    subprocess.run(
        ["openssl", "req", "-x509", *key, *names, *files, "-days", "2"],
        check=True,
        capture_output=True,
    )
    certs_dir = base_dir / "certs"
    (certs_dir / host).mkdir(parents=True)
    shutil.copy(base_dir / "ca.crt", certs_dir / host / "ca.crt")
    return certs_dir


def _wait_for(host: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until it listens: a connection is refused at once until then."""
    name, _, port = host.partition(":")
    deadline = _START_SECONDS
    while deadline > 0:
        try:
            socket.create_connection((name, int(port)), 1).close()
        except ConnectionRefusedError:
            if process.poll() is not None:
                pytest.fail(f"docker-registry ended: {log.read_text()[-500:]}")
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                deadline -= 0.05
        else:
            return
    pytest.fail("docker-registry did not start")


@pytest.fixture
def skopeo() -> str:
    return program("skopeo")


@pytest.fixture
def podman() -> Iterator[Podman]:
    """Run podman on a storage of its own."""
    program("podman")
    with tempfile.TemporaryDirectory(prefix=_podman_prefix()) as base_dir:
        made = Podman(Path(base_dir))
        yield made
        made.close()


@pytest.fixture
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """Run docker's command against a daemon of docker's own."""
    with running_docker(tmp_path_factory.mktemp("dockerd")) as made:
        yield made
