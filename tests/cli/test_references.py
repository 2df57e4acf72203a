# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from toolkit.cli.references import split_tag, with_tag


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("root", ("root", "")),
        ("root:tag", ("root", "tag")),
        ("user/repo", ("user/repo", "")),
        ("user/repo:tag", ("user/repo", "tag")),
        ("url:5000/repo", ("url:5000/repo", "")),
        ("url:5000/repo:tag", ("url:5000/repo", "tag")),
        ("a@sha256:12", ("a", "sha256:12")),
    ],
)
def test_a_tag_is_told_from_a_port(text: str, parts: tuple[str, str]) -> None:
    """API-116."""
    assert split_tag(text) == parts


def test_the_default_tag_is_latest() -> None:
    assert with_tag("h:5000/a") == "h:5000/a:latest"
    assert with_tag("a:b") == "a:b"
