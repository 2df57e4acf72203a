# SPDX-License-Identifier: Apache-2.0
"""What `docker load` takes, and all that it refuses: everything or nothing is loaded."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.registry import digest_of
from tests.images.test_archive_save import Shelf
from tests.storage.archives import archive, directory, hard_link, member, symlink
from toolkit.errors import (
    DigestMismatchError,
    InvalidReferenceError,
    InvalidRequestError,
    ToolkitError,
    UnsafeArchiveError,
)
from toolkit.images import archive_staging
from toolkit.images.image import InvalidImageError

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.images.image import Image

A, B, C = "a" * 64, "b" * 64, "c" * 64
MIB = 1024 * 1024


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "data")


def load(shelf: Shelf, content: bytes) -> tuple[list[Image], list[str]]:
    told: list[str] = []
    loaded = shelf.archives.load(
        io.BytesIO(content), lambda message: told.append(message.stream or message.status)
    )
    return loaded, told


def refused(shelf: Shelf, content: bytes) -> ToolkitError:
    """Load what must be refused, and look whether anything is left."""
    with pytest.raises(ToolkitError) as caught:
        load(shelf, content)
    assert caught.value.status in {400, 500}
    assert is_clean(shelf)
    return caught.value


def is_clean(shelf: Shelf) -> bool:
    left = list((shelf.data_dir / "loads").iterdir())
    staged = list((shelf.data_dir / "layers/vfs/staging").iterdir())
    return not (left or staged or shelf.images.list() or shelf.layers.layers())


def layer(name: str = "f", content: bytes = b"content") -> bytes:
    return archive(member(name, content)).getvalue()


def config_of(*layers: bytes, **more: Any) -> bytes:
    diff_ids = [digest_of(one) for one in layers]
    return json.dumps(
        {"os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}, **more}
    ).encode()


def docker_archive(
    layers: list[bytes] | None = None,
    *,
    config: bytes | None = None,
    manifest: Any = None,
    **entry: Any,
) -> bytes:
    layers = [layer()] if layers is None else layers
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    document = {"Config": "c.json", "RepoTags": ["a/b:1"], "Layers": names, **entry}
    text = manifest if isinstance(manifest, bytes) else json.dumps(manifest or [document]).encode()
    return archive(
        *(member(name, content) for name, content in zip(names, layers, strict=True)),
        member("c.json", config or config_of(*layers)),
        member("manifest.json", text),
    ).getvalue()


def old_archive(
    images: dict[str, dict[str, Any]], repositories: Any = None, layers: Any = None
) -> bytes:
    """Return an archive as docker 0.7.2 writes it."""
    members = []
    for image_id, document in images.items():
        members += [
            directory(image_id),
            member(f"{image_id}/VERSION", b"1.0"),
            member(f"{image_id}/json", json.dumps({"id": image_id, **document}).encode()),
            member(f"{image_id}/layer.tar", (layers or {}).get(image_id, layer(image_id[:3]))),
        ]
    if repositories is not None:
        members.append(member("repositories", json.dumps(repositories).encode()))
    return archive(*members).getvalue()


@pytest.mark.parametrize(
    "compress",
    [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress],
)
def test_an_archive_is_loaded_however_it_is_compressed(shelf: Shelf, compress: Any) -> None:
    loaded, told = load(shelf, compress(docker_archive()))

    assert loaded[0].references == ("a/b:1",)
    assert told == ["Loading layer", "Loaded image: a/b:1\n"]


def test_compressed_layers_are_loaded(shelf: Shelf) -> None:
    plain = layer()
    content = docker_archive([gzip.compress(plain)], config=config_of(plain))

    assert load(shelf, content)[0][0].diff_ids == (digest_of(plain),)


def test_an_image_without_a_name_is_told_by_its_id(shelf: Shelf) -> None:
    loaded, told = load(shelf, docker_archive(RepoTags=None))

    assert told[-1] == f"Loaded image ID: {loaded[0].id}\n"


def test_a_layer_that_is_a_link_to_another_is_found(shelf: Shelf) -> None:
    """Dockers from 1.10 to 24 write a layer once, and links for the others."""
    plain = layer()
    entry = {"Config": "c.json", "RepoTags": [], "Layers": ["x/layer.tar", "y/layer.tar"]}
    content = archive(
        member("x/layer.tar", plain),
        symlink("y/layer.tar", "../x/layer.tar"),
        hard_link("c.json", "d.json"),
        member("d.json", config_of(plain, plain)),
        member("manifest.json", json.dumps([entry]).encode()),
    ).getvalue()

    assert len(load(shelf, content)[0][0].diff_ids) == 2


def test_a_name_moves_to_the_loaded_image(shelf: Shelf) -> None:
    before = shelf.add("a/b:1", "x")

    loaded, _ = load(shelf, docker_archive())

    assert shelf.images.resolve("a/b:1").id == loaded[0].id != before.id


def test_loading_again_changes_nothing(shelf: Shelf) -> None:
    load(shelf, docker_archive())
    layers = shelf.layers.layers()

    load(shelf, docker_archive())

    assert shelf.layers.layers() == layers


def test_a_layer_that_is_not_what_the_document_says_is_refused(shelf: Shelf) -> None:
    """S-54"""
    content = docker_archive([layer("a"), layer("b")], config=config_of(layer("a"), layer("c")))

    assert isinstance(refused(shelf, content), DigestMismatchError)


def test_a_changed_layer_of_an_image_that_is_here_is_refused(shelf: Shelf) -> None:
    """S-54: the second load does not pass because the first did."""
    load(shelf, docker_archive([layer("a")]))

    with pytest.raises(DigestMismatchError):
        load(shelf, docker_archive([layer("b")], config=config_of(layer("a"))))


def test_one_bad_image_keeps_the_good_ones_out(shelf: Shelf) -> None:
    good, bad = layer("a"), layer("b")
    entries = [
        {"Config": "good.json", "RepoTags": ["good:1"], "Layers": ["a"]},
        {"Config": "bad.json", "RepoTags": ["bad:1"], "Layers": ["b"]},
    ]
    content = archive(
        member("a", good),
        member("b", bad),
        member("good.json", config_of(good)),
        member("bad.json", config_of(good)),
        member("manifest.json", json.dumps(entries).encode()),
    ).getvalue()

    refused(shelf, content)


@pytest.mark.parametrize(
    "manifest",
    [
        b"[]",
        b"{}",
        b"[1]",
        b"null",
        b"not json",
        b"\xff\xfe",
        b'[{"Config":"c.json","Config":"d.json"}]',
        b'[{"Config":NaN}]',
        b'[{"Config":"\\ud800"}]',
        b'[{"Config":' + b"9" * 10_000 + b"}]",
        b"[" * 100_000 + b"]" * 100_000,
        b'[{"Config":' + b"[" * 100 + b"]" * 100 + b"}]",
    ],
    ids=["empty", "object", "number", "null", "text", "bytes", "twice", "nan", "surrogate",
         "huge", "deepest", "deep"],
)  # fmt: skip
def test_a_manifest_that_is_none_is_refused(shelf: Shelf, manifest: bytes) -> None:
    """S-55"""
    refused(shelf, docker_archive(manifest=manifest))


@pytest.mark.parametrize(
    "entry",
    [
        {"Config": None},
        {"Config": ["c.json"]},
        {"Config": "../../../etc/passwd"},
        {"Config": "/etc/passwd"},
        {"Config": "nope.json"},
        {"Layers": "0/layer.tar"},
        {"Layers": []},
        {"Layers": ["0/layer.tar"] * 2},
        {"Layers": ["nope"]},
        {"Layers": [1]},
        {"RepoTags": "a:1"},
        {"RepoTags": ["A:1"]},
        {"RepoTags": ["a"]},
        {"RepoTags": ["a:1\n"]},
        {"RepoTags": ["a:/../x"]},
        {"RepoTags": ["../a:1"]},
        {"RepoTags": [A]},
        {"RepoTags": [f"a@sha256:{A}"]},
    ],
    ids=str,
)
def test_an_entry_that_cannot_be_used_is_refused(shelf: Shelf, entry: dict[str, Any]) -> None:
    """S-52 S-55"""
    assert isinstance(refused(shelf, docker_archive(**entry)), InvalidRequestError)


def test_a_document_for_another_system_is_refused(shelf: Shelf) -> None:
    content = docker_archive(config=config_of(layer(), os="windows"))

    assert "windows" in str(refused(shelf, content))


def test_too_many_layers_are_refused(shelf: Shelf) -> None:
    layers = ["0/layer.tar"] * 126

    refused(shelf, docker_archive(config=config_of(*[layer()] * 126), Layers=layers))


def test_a_long_text_costs_no_memory(shelf: Shelf) -> None:
    """S-55: RSS stays within bounds for a manifest of 200 MB."""
    packed = gzip.compress(docker_archive(manifest=b'["' + b"x" * (200 * MIB) + b'"]'), 1)
    tracemalloc.start()
    try:
        refused(shelf, packed)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * MIB


@pytest.mark.parametrize(
    "bad",
    [
        archive(member("../escape", b"x")),
        archive(symlink("out", "/"), member("out/escape", b"x"), hard_link("h", "/etc/shadow")),
        archive(member("f" * 5000, b"x")),
    ],
    ids=["dotdot", "link", "long"],
)
def test_a_hostile_layer_is_refused_or_contained(shelf: Shelf, bad: io.BytesIO) -> None:
    """S-50"""
    refused(shelf, docker_archive([bad.getvalue()]))
    assert not (shelf.data_dir.parent / "escape").exists()


@pytest.mark.parametrize("name", ["../../escape", "../escape", "x/../../escape"])
def test_a_hostile_name_in_the_outer_archive_is_refused(shelf: Shelf, name: str) -> None:
    """S-50"""
    error = refused(shelf, archive(member(name, b"x")).getvalue())

    assert isinstance(error, UnsafeArchiveError)
    assert not list(shelf.data_dir.parent.rglob("escape"))


def test_links_in_the_outer_archive_lead_nowhere(shelf: Shelf, tmp_path: Path) -> None:
    """S-50: a link to a file of the host is no file of the archive."""
    (tmp_path / "c.json").write_bytes(config_of(layer()))
    for target in (str(tmp_path / "c.json"), "../../../c.json", "c.json", "d.json"):
        content = archive(
            member("0/layer.tar", layer()),
            symlink("c.json", target),
            symlink("d.json", "c.json"),
            member("manifest.json", json.dumps(
                [{"Config": "c.json", "RepoTags": [], "Layers": ["0/layer.tar"]}]).encode()),
        ).getvalue()  # fmt: skip

        refused(shelf, content)


def test_devices_in_the_outer_archive_are_refused(shelf: Shelf) -> None:
    content = archive(member("dev", type=b"3", devmajor=1, devminor=3)).getvalue()

    assert isinstance(refused(shelf, content), UnsafeArchiveError)


@pytest.mark.parametrize("content", [b"", b"x", b"not a tar archive" * 100, bytes(10240)])
def test_what_is_no_archive_is_refused(shelf: Shelf, content: bytes) -> None:
    assert isinstance(refused(shelf, content), InvalidRequestError)


def test_a_truncated_archive_is_refused(shelf: Shelf) -> None:
    content = docker_archive([layer("f", b"x" * 10_000)])

    for end in range(600, 10_000, 1300):
        refused(shelf, content[:end])


@pytest.mark.parametrize("most_bytes", [1000, 100_000])
def test_an_engine_may_allow_less_or_more(tmp_path: Path, most_bytes: int) -> None:
    """S-56: of one layer, and of the archive around it."""
    shelf = Shelf(tmp_path / "data")
    shelf.layers.most_unpacked_bytes = most_bytes
    content = docker_archive([layer("f", b"x" * 5000)])
    if most_bytes < 5000:
        assert "more than the 1000 bytes" in str(refused(shelf, content))
    else:
        assert len(load(shelf, content)[0]) == 1


def test_too_many_members_are_refused(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """S-56"""
    assert archive_staging.MOST_MEMBERS == 20_000
    monkeypatch.setattr(archive_staging, "MOST_MEMBERS", 200)
    members = (member(str(number)) for number in range(201))

    assert "members allowed" in str(refused(shelf, archive(*members).getvalue()))


# --- OCI layouts ---------------------------------------------------------------------------


def oci_archive(
    layers: list[bytes],
    *,
    index: Any = None,
    replaced: dict[str, bytes] | None = None,
    **entry: Any,
) -> bytes:
    config = config_of(*(gzip.decompress(one) if one[:2] == b"\x1f\x8b" else one for one in layers))
    kind = "application/vnd.oci.image"
    manifest = json.dumps({
        "schemaVersion": 2,
        "config": {"mediaType": f"{kind}.config.v1+json", "digest": digest_of(config),
                   "size": len(config)},
        "layers": [
            {"mediaType": f"{kind}.layer.v1.tar+gzip", "digest": digest_of(one), "size": len(one)}
            for one in layers
        ],
    }).encode()  # fmt: skip
    blobs = {digest_of(one)[7:]: one for one in (config, manifest, *layers)}
    blobs.update(replaced or {})
    named = {"mediaType": f"{kind}.manifest.v1+json", "digest": digest_of(manifest),
             "size": len(manifest), **entry}  # fmt: skip
    return archive(
        member("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
        member("index.json", json.dumps(index or {"manifests": [named]}).encode()),
        *(member(f"blobs/sha256/{name}", content) for name, content in blobs.items()),
    ).getvalue()


@pytest.mark.parametrize(
    ("annotations", "names"),
    [
        ({"org.opencontainers.image.ref.name": "docker.io/library/x:1"}, ("x:1",)),
        ({"org.opencontainers.image.ref.name": "localhost/x:1"}, ("localhost/x:1",)),
        ({"org.opencontainers.image.ref.name": "latest"}, ()),
        ({"io.containerd.image.name": "docker.io/a/b:2"}, ("a/b:2",)),
        (None, ()),
    ],
)
def test_an_oci_layout_is_loaded(shelf: Shelf, annotations: Any, names: tuple[str, ...]) -> None:
    loaded, _ = load(shelf, oci_archive([gzip.compress(layer())], annotations=annotations))

    assert loaded[0].references == names
    assert loaded[0].diff_ids == (digest_of(layer()),)


def test_images_for_other_machines_are_left_out(shelf: Shelf) -> None:
    content = oci_archive([layer()], platform={"os": "linux", "architecture": "s390x"})

    assert "no image for this machine" in str(refused(shelf, content))


def test_a_blob_that_is_not_what_its_name_says_is_refused(shelf: Shelf) -> None:
    """S-54"""
    content = oci_archive([layer("a")], replaced={digest_of(layer("a"))[7:]: layer("b")})

    assert isinstance(refused(shelf, content), DigestMismatchError)


@pytest.mark.parametrize(
    "index",
    [
        {"manifests": 1},
        {"manifests": [1]},
        {"manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json"}]},
        {"manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
                        "digest": "sha256:../../x", "size": 1}]},
        {"manifests": [{"mediaType": "application/vnd.oci.image.index.v1+json",
                        "digest": f"sha256:{A}", "size": 1}]},
    ],
)  # fmt: skip
def test_an_index_that_is_none_is_refused(shelf: Shelf, index: Any) -> None:
    """S-55"""
    refused(shelf, oci_archive([layer()], index=index))


# --- docker 0.7.2 --------------------------------------------------------------------------


def test_an_archive_of_docker_0_7_2_is_loaded(shelf: Shelf) -> None:
    created = "2014-01-02T03:04:05.678901234Z"
    content = old_archive(
        {
            A: {"created": created, "comment": "Imported from -", "architecture": "x86_64"},
            B: {"parent": A, "created": created, "author": "me", "config": {"Cmd": ["/bin/sh"]},
                "container_config": {"Cmd": ["/bin/sh", "-c", "touch /x"]}},
        },
        {"busybox": {"latest": B}},
    )  # fmt: skip

    loaded, told = load(shelf, content)

    (image,) = loaded
    assert told[-1] == "Loaded image: busybox:latest\n"
    assert image.diff_ids == (digest_of(layer(A[:3])), digest_of(layer(B[:3])))
    assert [step.get("created_by") for step in image.history] == [None, "/bin/sh -c touch /x"]
    assert image.config == {"Cmd": ["/bin/sh"]}
    assert image.author == "me"
    assert image.architecture == "amd64"


def test_a_step_without_files_is_history_only(shelf: Shelf) -> None:
    content = old_archive({A: {}, B: {"parent": A}}, layers={B: bytes(10240)})

    (image,) = load(shelf, content)[0]

    assert len(image.diff_ids) == 1
    assert image.history[1] == {"empty_layer": True}


def test_every_named_image_and_every_head_is_loaded(shelf: Shelf) -> None:
    content = old_archive({A: {}, B: {"parent": A}, C: {"parent": A}}, {"x": {"1": A, "2": B}})

    loaded, _ = load(shelf, content)

    assert sorted(image.references for image in loaded) == [(), ("x:1",), ("x:2",)]


@pytest.mark.parametrize(
    "images",
    [
        {A: {"parent": A}},
        {A: {"parent": B}, B: {"parent": A}},
        {A: {}, B: {"parent": C}, C: {"parent": B}},
        {A: {"parent": C}},
        {A: {"parent": "../../x"}},
        {A: {"parent": 1}},
        {A: {"parent": A.upper()}},
        {A: {"id": B}},
        {"A" * 64: {}},
        {"a" * 65: {}},
        {"-": {}},
        {"a" * 63 + "\n": {}},
    ],
    ids=["self", "cycle", "cycle beside", "missing", "path", "number", "upper parent", "other id",
         "upper", "long", "dash", "newline"],
)  # fmt: skip
def test_ids_and_parents_that_cannot_be_are_refused(
    shelf: Shelf, images: dict[str, dict[str, Any]]
) -> None:
    """S-52 S-53"""
    names = {"x": {"1": B}} if len(images) == 3 else None

    assert isinstance(refused(shelf, old_archive(images, names)), InvalidImageError)


def test_a_deep_chain_is_refused_soon(shelf: Shelf) -> None:
    """S-53"""
    ids = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(1000)]
    images = {one: {"parent": parent} for parent, one in zip(["", *ids], ids, strict=False)}
    content = old_archive(images)
    began = time.thread_time()

    assert "at most 125 layers" in str(refused(shelf, content))
    assert time.thread_time() - began < 10


@pytest.mark.parametrize(
    ("repositories", "error"),
    [
        ({"x": {"1": B}}, InvalidImageError),
        ({"x": "y"}, InvalidImageError),
        ({"x": {"1": ["y"]}}, ToolkitError),
        ({"X": {"1": A}}, InvalidReferenceError),
        ({"x": {"/../y": A}}, InvalidReferenceError),
        ({"x:1": {"2": A}}, InvalidReferenceError),
    ],
)
def test_repositories_that_cannot_be_are_refused(
    shelf: Shelf, repositories: Any, error: type[ToolkitError]
) -> None:
    """S-52 S-55"""
    assert isinstance(refused(shelf, old_archive({A: {}}, repositories)), error)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["Config", "RepoTags", "Layers", "manifests", "parent", "id"])
                | st.text(max_size=5),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_no_document_is_an_internal_error(shelf: Shelf, value: Any) -> None:
    """S-55: whatever stands in them, the answer is 400 and nothing is kept."""
    text = json.dumps(value).encode()
    plain = layer()
    for content in (
        docker_archive(manifest=text),
        docker_archive(config=text),
        oci_archive([plain], index=value),
        archive(member(f"{A}/json", text), member(f"{A}/layer.tar", plain)).getvalue(),
        archive(member(f"{A}/json", b"{}"), member("repositories", text)).getvalue(),
    ):
        try:
            load(shelf, content)
        except InvalidRequestError:
            assert is_clean(shelf)
        else:
            for image in shelf.images.list():
                shelf.images.remove(image.id, force=True, users=lambda _: ())
