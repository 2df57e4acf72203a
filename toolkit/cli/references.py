# SPDX-License-Identifier: Apache-2.0
"""Image names as people type them. What a name may be is the engine's to say. Pure."""

from __future__ import annotations


def split_tag(text: str) -> tuple[str, str]:
    """Return name and tag of an image; no tag is empty. The tag of a digest is the digest."""
    name, at, digest = text.partition("@")
    if at:
        return name, digest
    name, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:
        return text, ""
    return name, tag


def with_tag(text: str) -> str:
    """Return an image's name with the tag that it has by default."""
    name, tag = split_tag(text)
    return text if tag else f"{name}:latest"


def canonical(name: str, tag: str) -> str:
    """Return an image's full name: with its registry, and with its tag if there is one."""
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif first != "localhost" and not {".", ":"}.intersection(first):
        name = f"docker.io/{name}"
    mark = "@" if ":" in tag else ":"
    return f"{name}{mark}{tag}" if tag else name
