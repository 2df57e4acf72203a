# SPDX-License-Identifier: Apache-2.0
"""A build's own directory: what is taken in, and that nothing of it stays."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from toolkit.build.context import LARGEST_DOCKERFILE, BuildContext, new_context, sweep_builds
from toolkit.build.sources import ForbiddenPathError
from toolkit.errors import DockerfileError, InvalidRequestError, UnsafeArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def context(tmp_path: Path) -> Iterator[BuildContext]:
    (tmp_path / "secret").write_text("FROM secret")
    made = new_context(tmp_path / "builds")
    yield made
    made.remove()
    assert list((tmp_path / "builds").iterdir()) == []
    assert (tmp_path / "secret").read_text() == "FROM secret"


def tar(*members: tuple[str, bytes | str | int]) -> io.BytesIO:
    """Return an archive of files (bytes), links (texts) and other kinds (their letter)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, what in members:
            member = tarfile.TarInfo(name)
            if isinstance(what, bytes):
                member.size = len(what)
                archive.addfile(member, io.BytesIO(what))
                continue
            member.type = tarfile.SYMTYPE if isinstance(what, str) else bytes([what])
            member.linkname = what if isinstance(what, str) else ""
            archive.addfile(member)
    out.seek(0)
    return out


def test_the_dockerfile_is_read_by_its_name(context: BuildContext) -> None:
    context.receive(tar(("Dockerfile", b"FROM a"), ("sub/Other", b"FROM b")))
    assert context.read_dockerfile("") == "FROM a"
    assert context.read_dockerfile("./sub/Other") == "FROM b"


def test_a_small_d_will_do(context: BuildContext) -> None:
    context.receive(tar(("dockerfile", b"FROM a")))
    assert context.read_dockerfile("Dockerfile") == "FROM a"


@pytest.mark.parametrize("target", ["../../../secret", "/secret", "../secret"])
def test_a_dockerfile_that_is_a_link_out_is_not_there(context: BuildContext, target: str) -> None:
    """S-64; the control is a link inside."""
    context.receive(tar(("Dockerfile", target), ("real", b"FROM a"), ("link", "/real")))
    with pytest.raises(InvalidRequestError, match="Cannot locate specified Dockerfile"):
        context.read_dockerfile("")
    assert context.read_dockerfile("link") == "FROM a"


def test_a_dockerfile_that_is_a_fifo_or_a_directory_is_refused_at_once(
    context: BuildContext,
) -> None:
    context.receive(tar(("Dockerfile", tarfile.FIFOTYPE[0]), ("d", tarfile.DIRTYPE[0])))
    for name in ("Dockerfile", "d"):
        with pytest.raises(InvalidRequestError, match="no regular file"):
            context.read_dockerfile(name)


def test_a_dockerfile_elsewhere_is_forbidden(context: BuildContext) -> None:
    context.receive(tar(("Dockerfile", b"FROM a")))
    with pytest.raises(ForbiddenPathError):
        context.read_dockerfile("../../secret")


def test_a_dockerfile_has_a_longest(context: BuildContext) -> None:
    context.receive(tar(("Dockerfile", b"#" * (LARGEST_DOCKERFILE + 1))))
    with pytest.raises(DockerfileError, match="longer"):
        context.read_dockerfile("")


@pytest.mark.parametrize("name", ["../escaped", "/../../escaped", "a/../../../escaped"])
def test_a_member_that_leads_out_writes_nothing_there(context: BuildContext, name: str) -> None:
    with suppress(UnsafeArchiveError):
        context.receive(tar((name, b"out")))
    outside = context.dir.parent.parent
    assert not list(outside.glob("**/escaped")) or (context.dir / "context/escaped").exists()
    assert sorted(one.name for one in outside.iterdir()) == ["builds", "secret"]


def test_a_device_is_refused(context: BuildContext) -> None:
    member = tarfile.TarInfo("null")
    member.type, member.devmajor, member.devminor = tarfile.CHRTYPE, 1, 3
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(member)
    with pytest.raises(UnsafeArchiveError, match="device"):
        context.receive(io.BytesIO(out.getvalue()))


def test_what_is_sent_only_for_the_build_goes_where_it_is_ignored(context: BuildContext) -> None:
    context.receive(tar(("Dockerfile", b"FROM a"), (".dockerignore", b"Dockerfile\n.docker*\n")))
    context.read_dockerfile("")
    assert list(context.tree.path.iterdir()) == []


def test_an_ignore_file_that_is_a_link_out_rules_nothing(context: BuildContext) -> None:
    context.receive(tar(("Dockerfile", b"FROM a"), (".dockerignore", "../../../secret")))
    assert context.read_dockerfile("") == "FROM a"


def test_what_a_crash_left_is_swept(tmp_path: Path) -> None:
    left = new_context(tmp_path / "builds")
    assert sweep_builds(tmp_path / "builds") == [left.dir.name]
    assert sweep_builds(tmp_path / "builds") == []
    assert sweep_builds(tmp_path / "none") == []
