# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.fakes.stub_engine import StubEngine, says, streams

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine

ID = "sha256:" + "ab" * 32


def test_images_have_a_row_for_each_name(toolkit: CommandLine, stub: StubEngine) -> None:
    created = int(time.time()) - 10
    image = {"Id": ID, "RepoTags": ["a:1", "h:5000/b:2"], "Created": created, "Size": 1_980_000}
    stub.on("GET /images/json", says(200, [image, {**image, "RepoTags": []}]))
    rows = [line.split() for line in toolkit("images").out.splitlines()[1:]]
    assert [row[:3] for row in rows] == [
        ["a", "1", "ab" * 6],
        ["h:5000/b", "2", "ab" * 6],
        ["<none>", "<none>", "ab" * 6],
    ]
    assert rows[0][-1] == "1.98MB"
    assert toolkit("image", "ls", "-q").out == "ab" * 6 + "\n"


def test_a_name_is_a_filter(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("GET /images/json", says(200, []))
    toolkit("images", "busybox")
    assert "reference" in stub.lines[0]
    assert "busybox" in stub.lines[0]


def test_import_sends_the_file_and_prints_the_id(
    toolkit: CommandLine, stub: StubEngine, tmp_path: Path
) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(b"tar")
    stub.on("POST /images/create", streams([b'{"status":"sha256:1"}']))
    result = toolkit("import", "-c", "CMD x", "-m", "why", str(archive), "a:b")
    assert result == (0, "sha256:1\n", "")
    assert stub.requests[0].body == b"tar"
    assert stub.lines == [
        "POST /images/create?fromSrc=-&repo=a:b&message=why&changes=CMD%20x",
    ]


def test_import_of_a_missing_file_asks_nothing(toolkit: CommandLine, stub: StubEngine) -> None:
    result = toolkit("import", "/nonexistent.tar")
    assert result == (1, "", "toolkit: /nonexistent.tar: No such file or directory\n")
    assert stub.requests == []


def test_rmi_prints_what_went(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("DELETE /images/a", says(200, [{"Untagged": "a:latest"}, {"Deleted": ID}]))
    assert toolkit("rmi", "-f", "a").out == f"Untagged: a:latest\nDeleted: {ID}\n"
    assert stub.lines == ["DELETE /images/a?force=1"]
    assert toolkit("rmi", "b").exit_code == 1


def test_tag_splits_the_target(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("POST /images/a/tag", says(201))
    assert toolkit("tag", "a", "h:5000/b") == (0, "", "")
    assert stub.lines == ["POST /images/a/tag?repo=h:5000/b&tag=latest"]
