# SPDX-License-Identifier: Apache-2.0
"""What `build` sends of a directory."""

from __future__ import annotations

import io
import socket
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.cli.build import build_query
from toolkit.cli.buildcontext import opened_context
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "d/e").mkdir(parents=True)
    for name in ("Dockerfile", "f", "d/g", "d/e/h"):
        (root / name).write_text(name)
    return root


def sent(path: Path | str, dockerfile: str = "") -> tuple[dict[str, tarfile.TarInfo], str]:
    with opened_context(str(path), dockerfile) as (stream, name):
        content = io.BytesIO(stream.read())
    with tarfile.open(fileobj=content) as archive:
        return {member.name: member for member in archive}, name


def given(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))


def test_everything_is_sent_and_nobody_owns_it(tree: Path) -> None:
    (tree / "link").symlink_to("/etc/passwd")
    with socket.socket(socket.AF_UNIX) as unsendable:
        unsendable.bind(str(tree / "s"))
        members, name = sent(tree)
    assert sorted(members) == ["Dockerfile", "d", "d/e", "d/e/h", "d/g", "f", "link"]
    assert name == "Dockerfile"
    assert members["link"].linkname == "/etc/passwd"
    assert {(one.uid, one.gid, one.uname) for one in members.values()} == {(0, 0, "")}


def test_what_is_ignored_stays_here_but_the_build_s_own_files(tree: Path) -> None:
    (tree / ".dockerignore").write_text("*\n!d/e\n")
    assert sorted(sent(tree)[0]) == [".dockerignore", "Dockerfile", "d/e", "d/e/h"]
    (tree / ".dockerignore").write_text("d\n")
    assert sorted(sent(tree)[0]) == [".dockerignore", "Dockerfile", "f"]


def test_a_dockerfile_may_be_anywhere(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "Other").write_text("FROM a")
    assert sent(tree, str(tree / "d/g"))[1] == "d/g"
    assert sent(tree, "d/g")[1] == "d/g"
    members, name = sent(tree, str(tmp_path / "Other"))
    assert name.startswith(".dockerfile.")
    assert members[name].size == 6


def test_standard_input_is_a_dockerfile_or_an_archive(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, b"FROM a")
    members, name = sent("-")
    assert (list(members), name, members[name].size) == (["Dockerfile"], "Dockerfile", 6)
    given(monkeypatch, b"FROM b")
    members, name = sent(tree, "-")
    assert (members[name].size, len(members)) == (6, 7)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        archive.add(tree / "f", "inner")
    given(monkeypatch, out.getvalue())
    assert list(sent("-")[0]) == ["inner"]


@pytest.mark.parametrize(
    ("path", "dockerfile"),
    [("/nonexistent", ""), ("https://a/b.git", ""), ("git@a:b", ""), (".", "/nonexistent/D")],
)
def test_what_is_not_there_or_elsewhere_is_refused(path: str, dockerfile: str) -> None:
    with pytest.raises(InvalidRequestError):
        sent(path, dockerfile)


def test_a_broken_ignore_file_is_named(tree: Path) -> None:
    (tree / ".dockerignore").write_text("[")
    with pytest.raises(InvalidRequestError, match=r"\.dockerignore"):
        sent(tree)


def test_options_become_docker_s_query() -> None:
    options: dict[str, Any] = dict.fromkeys(("add_host", "build_arg", "label", "tag"), ())
    options |= dict.fromkeys(("cpu_shares", "no_cache", "pull", "quiet", "force_rm"), False)
    options |= dict.fromkeys(("memory", "shm_size", "network", "platform", "target"), "")
    options |= {"rm": True, "build_arg": ("A=1", "HOME", "NONE"), "label": ("a=b",), "memory": "1m"}
    query = build_query(options, {"HOME": "/h"})
    said = {key: value for key, value in query.items() if value is not None and value != ()}
    assert said == {
        "buildargs": {"A": "1", "HOME": "/h", "NONE": None},
        "labels": {"a": "b"},
        "memory": 1048576,
        "rm": True,
    }
