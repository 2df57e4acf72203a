# SPDX-License-Identifier: Apache-2.0
"""Pull, push and login with Debian's docker-registry: plain, over TLS, with passwords."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import toolkit
from integration.images.conftest import Shelf
from integration.pace import SLOWNESS
from tests.storage.archives import archive, member
from toolkit.errors import RegistryAuthError, RegistryUnreachableError, RemoteImageNotFoundError
from toolkit.images.references import Reference
from toolkit.images.registry.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.images.conftest import Registry
    from toolkit.images.image import Image

LOGIN = ("someone", "pass:word")
_SOURCE = Path(toolkit.__file__).parent.parent
_PULL = """
import sys
from pathlib import Path
from integration.images.conftest import Shelf
from toolkit.images.registry.credentials import Credentials
shelf = Shelf(Path(sys.argv[1]), {"certs_dir": Path(sys.argv[3])})
shelf.pull(sys.argv[2], credentials=Credentials(username=sys.argv[4], password=sys.argv[5]))
"""


def tag_and_push(shelf: Shelf, name: str, **options: Credentials) -> Image:
    image = shelf.images.resolve("sample:1")
    shelf.images.tag(image.id, name)
    shelf.push(name, **options)
    return image


def test_what_was_pushed_is_pulled_exactly(
    start_registry: Callable[..., Registry], shelf: Shelf, new_shelf: Callable[..., Shelf]
) -> None:
    name = start_registry().name("a/b:1")
    sent = tag_and_push(shelf, name)
    other = new_shelf()

    got = other.pull(name)

    assert got.id == sent.id
    assert other.contents(got) == list(sent.diff_ids)
    assert other.push(name) == shelf.push(name)
    assert [one.status for one in other.told].count("Layer already exists") == 2


def test_a_layer_is_mounted_across_repositories(
    start_registry: Callable[..., Registry], shelf: Shelf
) -> None:
    registry = start_registry()
    tag_and_push(shelf, registry.name("a/b:1"))
    tag_and_push(shelf, registry.name("c:1"))

    assert [one.status for one in shelf.told].count("Mounted from a/b") == 2


def test_all_tags_are_pulled(
    start_registry: Callable[..., Registry], shelf: Shelf, new_shelf: Callable[..., Shelf]
) -> None:
    registry = start_registry()
    for tag in ("1", "2", "3"):
        tag_and_push(shelf, registry.name(f"x:{tag}"))
    other = new_shelf()

    other.registries.pull(Reference.parse(registry.name("x")), other.told.append, every_tag=True)

    (image,) = other.images.list()
    assert image.references == tuple(registry.name(f"x:{tag}") for tag in ("1", "2", "3"))


def test_what_is_not_there_is_told(start_registry: Callable[..., Registry], shelf: Shelf) -> None:
    with pytest.raises(RemoteImageNotFoundError, match="manifest unknown"):
        shelf.pull(start_registry().name("nope:1"))


def test_an_own_authority_is_enough_for_tls(
    start_registry: Callable[..., Registry], new_shelf: Callable[..., Shelf], shelf: Shelf
) -> None:
    registry = start_registry(tls=True)
    name = registry.name("x:1")
    image = tag_and_push(shelf, name)  # this machine's own: any certificate is good enough
    knowing = new_shelf(certs_dir=registry.certs_dir)

    assert knowing.pull(name).id == image.id


def test_a_certificate_of_somebody_else_is_refused(
    start_registry: Callable[..., Registry], new_shelf: Callable[..., Shelf], tmp_path: Path
) -> None:
    """S-59"""
    registry, other = start_registry(tls=True), start_registry(tls=True)
    assert other.certs_dir is not None
    certs = tmp_path / "wrong" / registry.host
    certs.mkdir(parents=True)
    (certs / "ca.crt").write_bytes((other.certs_dir / other.host / "ca.crt").read_bytes())

    with pytest.raises(RegistryUnreachableError, match=r"certificate|self-signed"):
        new_shelf(certs_dir=tmp_path / "wrong").pull(registry.name("x:1"))


@pytest.mark.parametrize("tls", [False, True])
def test_a_login_is_needed_and_enough(
    start_registry: Callable[..., Registry], shelf: Shelf, *, tls: bool
) -> None:
    registry = start_registry(tls=tls, login=LOGIN)
    good = Credentials(username=LOGIN[0], password=LOGIN[1], server=registry.host)
    bad = Credentials(username=LOGIN[0], password="wrong", server=registry.host)  # noqa: S106 - a wrong one

    assert shelf.registries.log_in(good) == "Login Succeeded"
    with pytest.raises(RegistryAuthError):
        shelf.registries.log_in(bad)
    with pytest.raises(RegistryAuthError):
        tag_and_push(shelf, registry.name("x:1"))
    image = tag_and_push(shelf, registry.name("x:1"), credentials=good)
    assert shelf.pull(registry.name("x:1"), credentials=good).id == image.id


@pytest.mark.slow
def test_a_pull_killed_anywhere_leaves_nothing_and_is_gone_on_with(
    start_registry: Callable[..., Registry], shelf: Shelf, tmp_path: Path
) -> None:
    """By SIGKILL at 30 points, over TLS and with a password; an image is whole or not there."""
    registry = start_registry(tls=True, login=LOGIN)
    login = Credentials(username=LOGIN[0], password=LOGIN[1])
    name, options = registry.name("big:1"), {"certs_dir": registry.certs_dir}
    sent, diff_ids = _large_image(shelf, name)
    shelf.push(name, credentials=login)
    whole_seconds = _seconds_to_pull(tmp_path / "whole", registry)
    seeded = random.Random(7)  # noqa: S311 - points in time
    resumed = 0
    for number in range(30):
        data_dir = tmp_path / f"killed{number}"
        _pull_and_kill(data_dir, registry, seeded.uniform(0.2, 1.0) * whole_seconds)
        after = Shelf(data_dir, options)
        assert list((data_dir / "layers/overlay/staging").iterdir()) == []
        for image in after.images.list():  # whole, though its name may not be written yet
            assert after.contents(image) == diff_ids
        if not after.images.list():
            assert after.layers.layers() == []
        resumed += any(path.stat().st_size for path in (data_dir / "downloads").iterdir())
        assert after.pull(name, credentials=login).id == sent.id
        assert after.contents(after.images.resolve(name)) == diff_ids
        assert list((data_dir / "downloads").iterdir()) == []
        after.registries.close()
        shutil.rmtree(data_dir)
    assert resumed


def _large_image(shelf: Shelf, name: str) -> tuple[Image, list[str]]:
    """Make an image of six layers; return it with their digests."""
    image = shelf.images.import_tar(archive(member("f0", os.urandom(8_000_000))))
    top, diff_ids = image.top, list(image.diff_ids)
    for number in range(1, 6):
        layer = shelf.layers.unpack(archive(member(f"f{number}", os.urandom(4_000_000))), top)
        top = layer.chain_id
        diff_ids.append(layer.diff_id)
    document = {"os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    return shelf.images.create(document, reference=Reference.parse(name)), diff_ids


def _start_pull(data_dir: Path, registry: Registry) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "PYTHONPATH": str(_SOURCE)}
    words = [str(data_dir), registry.name("big:1"), str(registry.certs_dir), *LOGIN]
    return subprocess.Popen([sys.executable, "-c", _PULL, *words], env=environ)


def _seconds_to_pull(data_dir: Path, registry: Registry) -> float:
    began = time.monotonic()
    assert _start_pull(data_dir, registry).wait(60 * SLOWNESS) == 0
    return time.monotonic() - began


def _pull_and_kill(data_dir: Path, registry: Registry, seconds: float) -> None:
    process = _start_pull(data_dir, registry)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
