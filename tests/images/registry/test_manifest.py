# SPDX-License-Identifier: Apache-2.0
"""Manifests and lists are strangers' words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import InvalidRequestError, ToolkitError
from toolkit.images.registry.manifest import (
    ACCEPTED,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    Platform,
    RemoteManifest,
    parse_manifest,
)

DIGEST = "sha256:" + "a" * 64
_KEYS = st.sampled_from(
    ["layers", "config", "manifests", "mediaType", "digest", "size", "platform", "os",
     "architecture", "variant", "schemaVersion"]
)  # fmt: skip
_VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=8) | st.sampled_from([DIGEST, "linux", *ACCEPTED]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=20,
)


def remote(document: Any, media_type: str = "") -> RemoteManifest:
    return RemoteManifest(
        content=json.dumps(document).encode(), digest=DIGEST, media_type=media_type
    )


@given(_VALUES, st.sampled_from(["", "text/html", *ACCEPTED]))
def test_no_answer_is_an_internal_error(document: Any, media_type: str) -> None:
    """S-55 S-59"""
    found = remote(document, media_type)
    for use in (
        lambda: found.is_list,
        found.manifest,
        lambda: found.choose(Platform.parse("linux/amd64")),
        lambda: list(found.platforms()),
    ):
        try:
            use()
        except ToolkitError as error:
            assert error.status in {400, 404}  # noqa: PT017 - some are no error at all


@pytest.mark.parametrize(
    ("kinds", "media_type", "written"),
    [
        ([DOCKER_LAYER], DOCKER_MANIFEST, [DOCKER_LAYER]),
        ([f"{OCI_LAYER}+gzip", DOCKER_LAYER], DOCKER_MANIFEST, [DOCKER_LAYER, DOCKER_LAYER]),
        ([f"{OCI_LAYER}+zstd", DOCKER_LAYER], OCI_MANIFEST,
         [f"{OCI_LAYER}+zstd", f"{OCI_LAYER}+gzip"]),
        ([OCI_LAYER], OCI_MANIFEST, [OCI_LAYER]),
        ([], DOCKER_MANIFEST, []),
    ],
)  # fmt: skip
def test_a_manifest_speaks_one_language(
    kinds: list[str], media_type: str, written: list[str]
) -> None:
    layers = tuple(Descriptor(media_type=kind, digest=DIGEST, size=7) for kind in kinds)
    config = Descriptor(media_type="", digest=DIGEST, size=1)
    manifest = Manifest(config=config, layers=layers)

    document = json.loads(manifest.document_bytes())

    assert document["mediaType"] == manifest.media_type == media_type
    assert [one.media_type for one in parse_manifest(document).layers] == written


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [("linux/arm64", "1"), ("linux/arm/v7", "3"), ("linux/arm/v6", "2"), ("linux/arm", "2")],
)
def test_the_fitting_variant_is_chosen(wanted: str, chosen: str) -> None:
    def entry(number: str, **platform: str) -> dict[str, Any]:
        digest = "sha256:" + number * 64
        return {"digest": digest, "size": 1, "platform": {"os": "linux", **platform}}

    index = {
        "mediaType": OCI_INDEX,
        "manifests": [
            entry("1", architecture="arm64", variant="v8"),
            entry("2", architecture="arm"),
            entry("3", architecture="arm", variant="v7"),
            entry("4", architecture="unknown"),
        ],
    }

    assert remote(index).choose(Platform.parse(wanted)).digest == "sha256:" + chosen * 64


@pytest.mark.parametrize(
    ("text", "platform"),
    [("linux/amd64", "linux/amd64"), ("arm64", "linux/arm64"), ("linux/x86_64", "linux/amd64"),
     ("LINUX/ARM/V7", "linux/arm/v7"), ("linux/aarch64", "linux/arm64")],
)  # fmt: skip
def test_a_platform_is_read(text: str, platform: str) -> None:
    assert str(Platform.parse(text)) == platform


@pytest.mark.parametrize("text", ["a/b/c/d", "../x", "linux/", "/amd64", "linux amd64", "a\n"])
def test_a_platform_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        Platform.parse(text)
