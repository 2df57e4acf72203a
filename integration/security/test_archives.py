# SPDX-License-Identifier: Apache-2.0
"""Hostile archives through every way into the engine (rows S-50 to S-57).

More than eighty archives, each as an image's tar (import), as a layer and as the
archive around it (load), and into a container (cp): refused by name or made
inside, and nothing of the host is touched.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import tarfile
import time
from typing import TYPE_CHECKING, Any

import pytest

from integration.pace import SLOWNESS
from integration.security.conftest import state_of
from integration.security.lab import Member, directory, file, link, packed
from tests.storage.archives import archive, member
from tests.storage.hostile import GREEDY, HOSTILE, REFUSED, WHITEOUTS, located
from toolkit.client import ApiError, StreamError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from integration.security.conftest import Weaken
    from integration.security.lab import Lab

_MEBIBYTE = 1024 * 1024
_NAME = "hostile-archive:1"


def refusal_of(act: Callable[[], Any]) -> str:
    try:
        act()
    except StreamError as error:
        return str(error)
    except ApiError as error:
        if error.status not in {400, 404}:
            raise
        return str(error)
    return ""


def by_import(lab: Lab, content: bytes) -> None:
    lab.engine.client.images.import_tar(io.BytesIO(content), reference=_NAME)


def by_layer(lab: Lab, content: bytes) -> None:
    load(lab, image_archive(content))


def beside_an_image(lab: Lab, content: bytes) -> None:
    """Put the members behind those of a good image."""
    good = image_archive(archive(member("f", b"x")).getvalue())
    end = len(good)
    while not good[end - 512 : end].strip(b"\0"):
        end -= 512
    load(lab, good[:end] + content)


def into_a_container(lab: Lab, content: bytes) -> None:
    with lab.created("sleep", "600") as container:
        put(lab, container, "/", content)


def into_a_running_container(lab: Lab, content: bytes) -> None:
    with lab.running() as container:
        put(lab, container, "/", content)


def into_a_volume(lab: Lab, content: bytes) -> None:
    with lab.running(Volumes={"/v": {}}) as container:
        put(lab, container, "/v", content)


WAYS = {
    "import": by_import,
    "layer": by_layer,
    "outer": beside_an_image,
    "cp": into_a_container,
    "cp-running": into_a_running_container,
    "cp-volume": into_a_volume,
}
_LAYER_WAYS = ("import", "layer")


def image_archive(layer: bytes, diff_id: str = "") -> bytes:
    """Return a docker-archive of one layer, whatever that is."""
    diff_ids = [diff_id or f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    config = {"os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    entry = {"Config": "c.json", "RepoTags": [_NAME], "Layers": ["l.tar"]}
    return archive(
        member("l.tar", layer),
        member("c.json", json.dumps(config).encode()),
        member("manifest.json", json.dumps([entry]).encode()),
    ).getvalue()


def load(lab: Lab, content: bytes) -> None:
    for _ in lab.engine.client.images.load(io.BytesIO(content)):
        pass


def put(lab: Lab, container: str, path: str, content: bytes) -> None:
    lab.engine.client.containers.copy_in(container, path, io.BytesIO(content))


def forget(lab: Lab) -> None:
    """Remove whatever a way has made an image of."""
    for image in lab.engine.client.images.list(every=True):
        if _NAME in (image["RepoTags"] or [_NAME]):
            lab.engine.client.images.remove(image["Id"], force=True)


@pytest.mark.parametrize("way", WAYS)
def test_no_archive_reaches_anything_outside(lab: Lab, canary: Path, way: str) -> None:
    """S-50: all of the table, by each way; the canary is compared after each."""
    before, wrong = state_of(canary), []
    for what, members, outcome in HOSTILE:
        refusal = refusal_of(lambda: WAYS[way](lab, located(members, canary).getvalue()))  # noqa: B023 - called at once
        # Around an image links and files are names in a list: nothing is made of them.
        if outcome == REFUSED and way != "outer" and not refusal:
            wrong.append(f"{what}: was taken")
        if state_of(canary) != before:
            wrong.append(f"{what}: the canary has changed")
    forget(lab)
    assert wrong == []
    assert lab.run("echo", "alive").out == "alive\n"


@pytest.mark.parametrize("way", _LAYER_WAYS)
def test_no_whiteout_reaches_anything_outside(lab: Lab, canary: Path, way: str) -> None:
    """S-51."""
    before, wrong = state_of(canary), []
    for what, members, outcome in WHITEOUTS:
        refusal = refusal_of(lambda: WAYS[way](lab, located(members, canary).getvalue()))  # noqa: B023 - called at once
        if bool(refusal) != (outcome == REFUSED):
            wrong.append(f"{what}: {refusal or 'was taken'}")
        if state_of(canary) != before:
            wrong.append(f"{what}: the canary has changed")
    forget(lab)
    assert wrong == []


@pytest.mark.parametrize("way", WAYS)
def test_what_asks_for_too_much_is_refused(lab: Lab, way: str) -> None:
    """S-56: by each way, at once, in bounded memory, and nothing is kept."""
    before, began = resident_bytes(lab), time.monotonic()
    for what, content in GREEDY:
        assert refusal_of(lambda: WAYS[way](lab, content)), what  # noqa: B023 - called at once
    assert resident_bytes(lab) - before < 64 * _MEBIBYTE
    assert time.monotonic() - began < 30.0 * SLOWNESS


def resident_bytes(lab: Lab) -> int:
    with open(f"/proc/{lab.engine.pid}/status") as status:  # noqa: PTH123 - of the kernel
        return int(status.read().partition("RssAnon:")[2].split()[0]) * 1024


def test_control_a_text_that_is_joined_and_opened_leaves_the_root(
    weakened: Weaken, tmp_path: Path
) -> None:
    """S-50: the same archives where a member's directory is opened by its text."""
    outside = tmp_path / "outside"
    outside.mkdir()
    by_text = (
        "        root = os.readlink(f'/proc/self/fd/{self._root_fd}')\n"
        "        joined = os.fsencode(root) + b'/' + path\n"
        "        os.makedirs(joined, exist_ok=True)\n"
        "        dir_fd = os.open(joined, os.O_RDONLY)\n"
    )
    opened = "        dir_fd = self._open_below_known(path)\n"
    changes = {"storage/directories.py": [(opened, by_text)]}
    members = [link("loop", str(outside)), file("loop/new", "x")]
    with weakened(changes) as lab:
        lab.load(packed(members), "weak")
    assert (outside / "new").read_text() == "x"


@pytest.mark.parametrize(
    "compress", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bzip2", "xz"]
)
def test_a_bomb_in_a_compressed_layer_is_refused(
    lab: Lab, compress: Callable[[bytes], bytes]
) -> None:
    """S-56: what follows a layer's end is held against the limit, too, and nothing is kept."""
    info = tarfile.TarInfo("zeros")
    info.size = 1 << 40  # more than is allowed, told by the header
    bomb = compress(info.tobuf() + bytes(8 * _MEBIBYTE))
    refusal = refusal_of(lambda: load(lab, image_archive(bomb)))
    assert "more than" in refusal
    staging = lab.engine.data_dir / "layers/overlay/staging"
    assert list(staging.iterdir()) == []
    assert list((lab.engine.data_dir / "loads").iterdir()) == []


_MARKER = "/tmp/toolkit-decompressor-ran"  # noqa: S108 - only its absence is looked at
_PROGRAMS = ("xz", "unpigz", "pigz", "gzip", "bzip2", "zstd", "tar", "git", "unxz")


def test_no_program_of_a_container_unpacks_anything(lab: Lab, canary: Path) -> None:
    """S-57 (CVE-2014-9357, CVE-2019-14271): cp in, load and import beside hostile programs."""
    script = f"#!/bin/sh\necho ran >> {_MARKER}; echo ran >> {canary}/secret\n"
    places = ("bin", "usr/bin", "usr/local/bin", "sbin")
    hostile = [directory(place) for place in ("usr/local", "usr/local/bin")]
    hostile += [file(f"{place}/{name}", script) for place in places for name in _PROGRAMS]
    inner = archive(member("f", b"x")).getvalue()
    with lab.image(*hostile) as image, lab.running(image=image) as container:
        for compress in (gzip.compress, bz2.compress, lzma.compress):
            put(lab, container, "/tmp", compress(inner))  # noqa: S108 - the container's
            assert lab.execute(container, "cat", "/tmp/f").out == "x"  # noqa: S108 - as above
            load(lab, image_archive(compress(inner), digest_of(inner)))
        exported = lab.engine.client.containers.export(container)
        assert sum(len(chunk) for chunk in exported) > 0
        assert lab.execute(container, "ls", _MARKER).exit_code != 0
        lab.execute(container, "xz")  # the control: it would have left its mark
        assert lab.execute(container, "cat", _MARKER).out == "ran\n"
    forget(lab)


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


# -- S-52 to S-55 -----------------------------------------------------------------------

_IDS = ("../../../x", "", "A" * 64, "a" * 65, "-", "a\nb", "a" * 63, "/" + "a" * 63)


@pytest.mark.parametrize("image_id", _IDS)
def test_an_id_is_no_path(lab: Lab, canary: Path, image_id: str) -> None:
    """S-52 (CVE-2014-9358): in an archive of docker 0.7.2, by tag and by path of the API."""
    old = archive(
        member(f"{image_id}/json", json.dumps({"id": image_id}).encode()),
        member(f"{image_id}/layer.tar", archive(member("f", b"x")).getvalue()),
        member(f"{image_id}/VERSION", b"1.0"),
    ).getvalue()
    assert refusal_of(lambda: load(lab, old))
    images = lab.engine.client.images
    if image_id:
        assert refusal_of(lambda: images.inspect(image_id))
        assert refusal_of(lambda: images.remove(image_id, force=True))
        assert refusal_of(lambda: images.tag(image_id, "a/b", "1"))
    assert (canary / "secret").exists()


def old_images(parents: dict[str, str], names: dict[str, str] | None = None) -> bytes:
    """Return an archive of docker 0.7.2 with these images and parents."""
    members = []
    for image_id, parent in parents.items():
        document = {"id": image_id} | ({"parent": parent} if parent else {})
        members += [
            member(f"{image_id}/VERSION", b"1.0"),
            member(f"{image_id}/json", json.dumps(document).encode()),
            member(f"{image_id}/layer.tar", archive(member(image_id[:4], b"x")).getvalue()),
        ]
    if names:
        tags = {"repo": names}
        members.append(member("repositories", json.dumps(tags).encode()))
    return archive(*members).getvalue()


A, B, C = "a" * 64, "b" * 64, "c" * 64
_CHAIN = {f"{number:064x}": f"{number - 1:064x}" if number else "" for number in range(3000)}


@pytest.mark.parametrize(
    "parents",
    [{A: A}, {A: B, B: A}, {A: B, B: C, C: A}, {A: B}, _CHAIN],
    ids=["itself", "two", "three", "missing", "deep"],
)
def test_parents_that_lead_nowhere_are_refused_at_once(lab: Lab, parents: dict[str, str]) -> None:
    """S-53: it kills dockerd 20.10."""
    content = old_images(parents)
    began = time.monotonic()
    assert refusal_of(lambda: load(lab, content))
    assert time.monotonic() - began < 5.0 * SLOWNESS
    assert lab.run("echo", "alive").out == "alive\n"
    forget(lab)


def test_a_layer_that_is_not_what_the_image_says_is_refused_twice(lab: Lab) -> None:
    """S-54 (CVE-2014-8178, CVE-2024-24557): the first load, and one after the good image."""
    good = archive(member("f", b"good")).getvalue()
    bad = archive(member("f", b"evil")).getvalue()
    poisoned = image_archive(bad, digest_of(good))
    assert "expected" in refusal_of(lambda: load(lab, poisoned))
    load(lab, image_archive(good))
    assert "expected" in refusal_of(lambda: load(lab, poisoned))
    forget(lab)


def test_control_a_layer_whose_digest_is_of_its_head_alone_is_taken(weakened: Weaken) -> None:
    """S-54: a layer under another's digest, where the digest does not cover the content."""
    good = archive(member("f", b"good")).getvalue()
    bad = archive(member("f", b"evil")).getvalue()
    counted = "        self._digest.update(chunk)\n"
    of_head = "        self._digest.update(chunk[: 512 - min(512, self.bytes_seen)])\n"
    changes = {"storage/compression.py": [(counted, of_head)]}
    with weakened(changes) as lab:
        assert good[:512] == bad[:512]
        load(lab, image_archive(bad, digest_of(good[:512])))
        names = [image["RepoTags"] for image in lab.engine.client.images.list()]
    assert [_NAME] in names


_LONG = b"(long)"  # written out by the test alone: whoever collects it would hold 200 MiB
_MANIFESTS: dict[str, bytes] = {
    "long text": b'[{"Config":"' + _LONG + b'"}]',
    "nested": b"[" * 100_000,
    "twice": b'[{"Config":"c.json","Config":"d.json","RepoTags":null,"Layers":[]}]',
    "nan": b'[{"Config":"c.json","RepoTags":null,"Layers":[NaN]}]',
    "surrogate": b'[{"Config":"\\ud800","RepoTags":null,"Layers":[]}]',
    "large number": b'[{"Config":"c.json","RepoTags":null,"Layers":[],"x":' + b"9" * 10_000 + b"}]",
    "newline in a tag": b'[{"Config":"c.json","RepoTags":["a:b\\nc"],"Layers":[]}]',
    "path in a tag": b'[{"Config":"c.json","RepoTags":["a/../b:1"],"Layers":[]}]',
    "path to a layer": b'[{"Config":"c.json","RepoTags":null,"Layers":["../../etc/shadow"]}]',
    "path to a document": b'[{"Config":"/etc/passwd","RepoTags":null,"Layers":[]}]',
}


@pytest.mark.parametrize("what", _MANIFESTS)
def test_a_manifest_that_is_none_is_refused(lab: Lab, what: str) -> None:
    """S-55: by status 400, in bounded memory, and nothing is kept."""
    config = json.dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    manifest = _MANIFESTS[what].replace(_LONG, b"x" * (200 * _MEBIBYTE))
    content = archive(
        member("c.json", config),
        member("d.json", config),
        member("manifest.json", manifest),
    ).getvalue()
    before, known = resident_bytes(lab), len(lab.engine.client.images.list(every=True))
    with pytest.raises(ApiError) as caught:
        load(lab, content)
    assert caught.value.status == 400
    assert resident_bytes(lab) - before < 64 * _MEBIBYTE
    assert len(lab.engine.client.images.list(every=True)) == known


def test_data_of_the_instance_is_nobodys_but_the_owners(lab: Lab) -> None:
    """S-58 (CVE-2021-41091): a setuid program in a layer is not reachable by other users."""
    with lab.image(Member("su", content=b"x", mode=0o4755)) as image, lab.running(image=image):
        found = list((lab.engine.data_dir / "layers/overlay/l").glob("*/t/su"))
        assert found
        for path in found:
            reachable = all(parent.stat().st_mode & 0o001 for parent in path.parents)
            assert not reachable
