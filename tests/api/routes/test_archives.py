# SPDX-License-Identifier: Apache-2.0
"""The routes of a container's files."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.api.filemode import go_file_mode
from toolkit.engine.commit import CommitOptions
from toolkit.engine.tree import CopyOptions
from toolkit.storage.changes import Change, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

STAT = "X-Docker-Container-Path-Stat"


@pytest.fixture
def container(add_container: Callable[..., Any]) -> Any:
    return add_container(name="c")


def test_changes_are_paths_and_kinds(api: Any, container: Any) -> None:
    """RT-161."""
    assert api("GET", "/containers/c/changes").json is None
    container.changed = [Change(b"/etc/passwd", Kind.DELETE), Change(b"/\xff", Kind.ADD)]
    assert api("GET", "/containers/c/changes").json == [
        {"Path": "/etc/passwd", "Kind": 2},
        {"Path": "/\N{REPLACEMENT CHARACTER}", "Kind": 1},
    ]


@pytest.mark.usefixtures("container")
def test_export_streams_the_tree(api: Any) -> None:
    """RT-160."""
    assert api("GET", "/containers/c/export").body == b"tarball"
    assert api("GET", "/containers/nobody/export").status == 404


def test_a_path_is_told_in_a_header(api: Any, container: Any) -> None:
    """api-and-cli 1.9: Go's mode, not that of stat(2)."""
    for method in ("HEAD", "GET"):
        answer = api(method, "/containers/c/archive?path=/d")
        headers = answer.headers or answer.wire.headers
        told = json.loads(base64.b64decode(headers.get(STAT) or headers[STAT.lower()]))
        assert told == {
            "name": "d",
            "size": 4096,
            "mode": 1 << 31 | 0o755,
            "mtime": "2026-01-02T03:04:05.6Z",
            "linkTarget": "",
        }
    assert [call for call, _ in container.calls] == ["stat", "copy out"]


@pytest.mark.usefixtures("container")
@pytest.mark.parametrize("method", ["HEAD", "GET", "PUT"])
def test_a_path_is_needed(api: Any, method: str) -> None:
    assert api(method, "/containers/c/archive").status == 400


@pytest.mark.parametrize(
    ("mode", "theirs"),
    [
        (0o100644, 0o644),
        (0o120777, 1 << 27 | 0o777),
        (0o104755, 1 << 23 | 0o755),
        (0o102755, 1 << 22 | 0o755),
        (0o041777, 1 << 31 | 1 << 20 | 0o777),
        (0o020666, 1 << 26 | 1 << 21 | 0o666),
        (0o060660, 1 << 26 | 0o660),
        (0o010600, 1 << 25 | 0o600),
        (0o140755, 1 << 24 | 0o755),
    ],
)
def test_modes_are_gos(mode: int, theirs: int) -> None:
    assert go_file_mode(mode) == theirs


def test_a_tar_is_put_into_a_directory(api: Any, container: Any) -> None:
    answer = api("PUT", "/containers/c/archive?path=/d&noOverwriteDirNonDir=true", b"tar")
    assert answer.status == 200
    assert container.calls == [("copy in", ("/d", b"tar", CopyOptions(keep_kinds=True)))]


@pytest.mark.parametrize("body", [b"", b"{}", b"null"])
def test_a_commit_without_a_configuration_inherits(api: Any, container: Any, body: bytes) -> None:
    """API-012, RT-159; the CLI sends no body and the SDK an empty object (api-and-cli 1.6)."""
    answer = api("POST", "/commit?testtag=tag&container=c", body)
    assert (answer.status, answer.json["Id"][:10]) == (201, "sha256:aba"[:10])
    assert container.calls == [("commit", CommitOptions())]


def test_a_commit_says_everything(api: Any, container: Any) -> None:
    """RT-158."""
    query = "container=c&repo=r&tag=t&comment=why&author=who&pause=0&changes=ENV%20A%3Db"
    api("POST", f"/commit?{query}", b'{"Cmd": ["id"], "Env": ["A=x", "B=y"]}')
    ((_, options),) = container.calls
    assert (options.reference, options.message, options.author) == ("r:t", "why", "who")
    assert options.config == {"Cmd": ["id"], "Env": ["A=b", "B=y"]}
    assert options.pause is False


@pytest.mark.usefixtures("container")
@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/commit", b""),
        ("/commit?container=c", b"["),
        ("/commit?container=c", b"[]"),
        ("/commit?container=c&changes=RUN%20x", b""),
    ],
)
def test_a_bad_commit_is_refused(api: Any, target: str, body: bytes) -> None:
    assert api("POST", target, body).status == 400
