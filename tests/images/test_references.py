# SPDX-License-Identifier: Apache-2.0
"""Docker's grammar of references, and its normal form."""

from __future__ import annotations

import time
from string import ascii_letters, ascii_lowercase, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import InvalidReferenceError
from toolkit.images.references import Reference

DIGEST = "sha256:" + "a" * 64
# as the grammar has them; drawn from texts, for regular expressions take ten times as long
_WORDS = st.text(ascii_lowercase + digits, min_size=1, max_size=9)
_SEPARATORS = st.sampled_from([".", "_", "__", "-", "--", "---"])
_MORE_WORDS = st.lists(st.tuples(_SEPARATORS, _WORDS).map("".join), max_size=3).map("".join)
PARTS = st.builds(str.__add__, _WORDS, _MORE_WORDS)
TAGS = st.builds(
    str.__add__,
    st.sampled_from(f"{ascii_letters}{digits}_"),
    st.text(f"{ascii_letters}{digits}_.-", max_size=127),
)


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("library/busybox", "docker.io/library/busybox", "busybox"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/a/b", "docker.io/a/b", "a/b"),
        ("a/b", "docker.io/a/b", "a/b"),
        ("a/b/c", "docker.io/a/b/c", "a/b/c"),
        ("reg:5000/x", "reg:5000/x", "reg:5000/x"),
        ("reg.example/x:t", "reg.example/x:t", "reg.example/x:t"),
        ("localhost/x", "localhost/x", "localhost/x"),
        ("REG/x", "REG/x", "REG/x"),
        ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}", f"busybox@{DIGEST}"),
        (f"a/b:t@{DIGEST}", f"docker.io/a/b:t@{DIGEST}", f"a/b:t@{DIGEST}"),
        ("a__b/c--d", "docker.io/a__b/c--d", "a__b/c--d"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
    ],
)
def test_references_have_a_full_and_a_familiar_form(
    text: str, canonical: str, familiar: str
) -> None:
    reference = Reference.parse(text)
    assert (reference.canonical, reference.familiar) == (canonical, familiar)
    assert Reference.parse(canonical) == Reference.parse(familiar) == reference


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "a:", "a:b:c", "@", "a@", "a@sha256:1", "-a", "a-", ".a", "a..b", "a___b", "a._b",
        "a//b", "/a", "a/", "a b", "a\n", "a:t\n", "a:-t", "a:" + "t" * 129, "../../etc", "a/../b",
        "http://a/b", "a\0b", "\N{LATIN SMALL LETTER A WITH DIAERESIS}",
        "a:\N{ARABIC-INDIC DIGIT ONE}",
        "localhost:5000/", "reg:port/x", "[::1/x",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    """Rows S-52 and S-55."""
    with pytest.raises(InvalidReferenceError, match="invalid reference format"):
        Reference.parse(text)


def test_refusals_speak_as_docker_does() -> None:
    for text, reason in (
        ("Busybox", r"repository name \(library/Busybox\) must be lowercase"),
        ("a/B:t", r"repository name \(a/B\) must be lowercase"),
        ("a" * 64, "cannot specify 64-byte hexadecimal strings"),
        ("a/" * 128 + "b", "must not be more than 255 characters"),
        ("a@md5:" + "0" * 32, "unsupported digest algorithm"),
        ("a@sha256:" + "0" * 32, "invalid checksum digest length"),
        ("a@sha256:" + "A" * 64, "invalid checksum digest format"),
    ):
        with pytest.raises(InvalidReferenceError, match=reason):
            Reference.parse(text)


@pytest.mark.parametrize(
    ("text", "name", "tag"),
    [
        ("root", "root", None),
        ("root:tag", "root", "tag"),
        ("user/repo", "user/repo", None),
        ("user/repo:tag", "user/repo", "tag"),
        ("url:5000/repo", "url:5000/repo", None),
        ("url:5000/repo:tag", "url:5000/repo", "tag"),
    ],
)
def test_a_port_is_no_tag(text: str, name: str, tag: str | None) -> None:
    """RT-180, API-116."""
    reference = Reference.parse(text)
    assert (reference.familiar_name, reference.tag) == (name, tag)


def test_the_default_tag_is_latest_unless_there_is_a_digest() -> None:
    assert Reference.parse("a").with_default_tag().familiar == "a:latest"
    assert Reference.parse("a:t").with_default_tag().familiar == "a:t"
    assert Reference.parse(f"a@{DIGEST}").with_default_tag().tag is None


def test_a_tag_can_be_given_and_must_be_one() -> None:
    assert Reference.parse(f"a:b@{DIGEST}").with_tag("c").familiar == "a:c"
    with pytest.raises(InvalidReferenceError, match="invalid tag format"):
        Reference.parse("a").with_tag("../x")


@given(st.lists(PARTS, min_size=1, max_size=4), st.none() | TAGS)
def test_every_well_formed_reference_is_stable(parts: list[str], tag: str | None) -> None:
    text = "/".join(["docker.io", "me", *parts]) + (f":{tag}" if tag else "")
    try:
        reference = Reference.parse(text)
    except InvalidReferenceError as error:
        assert "64-byte" in str(error) or "255" in str(error)  # noqa: PT017 - else it must parse
        return
    assert reference.tag == tag
    assert Reference.parse(reference.canonical) == reference
    assert Reference.parse(reference.familiar) == reference


@given(st.text(max_size=80))
def test_any_text_parses_to_itself_or_is_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidReferenceError:
        return
    assert Reference.parse(reference.canonical) == reference
    assert Reference.parse(reference.familiar) == reference


@pytest.mark.parametrize("text", ["a" * 10**7, "a-" * 500, "a." * 500 + "/", "0" * 1000 + "@"])
def test_hostile_texts_take_no_time(text: str) -> None:
    """Row S-55."""
    start = time.thread_time()
    with pytest.raises(InvalidReferenceError):
        Reference.parse(text)
    assert time.thread_time() - start < 1
