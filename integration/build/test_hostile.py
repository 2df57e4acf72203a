# SPDX-License-Identifier: Apache-2.0
"""Contexts and Dockerfiles that mean harm (S-64, S-66, S-56): nothing outside is touched."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from integration.build.conftest import Built, context
from toolkit.client import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.build.conftest import Builder, Content

SECRET = b"the secret of the host\n"


def kind(type_: bytes, **fields: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo()
    member.type = type_
    for name, value in fields.items():
        setattr(member, name, value)
    return member


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A file of the host that no build may read or change; its directory gets nothing new."""
    place = tmp_path / "host"
    place.mkdir()
    (place / "canary").write_bytes(SECRET)
    before = (place / "canary").stat()
    yield place / "canary"
    after = (place / "canary").stat()
    assert os.listdir(place) == ["canary"]  # noqa: PTH208
    assert (after.st_mtime_ns, after.st_size, after.st_mode) == (
        before.st_mtime_ns, before.st_size, before.st_mode,
    )  # fmt: skip


@pytest.mark.parametrize("instruction", ["ADD", "COPY"])
@pytest.mark.parametrize("source", ["link", "dir/canary", "link2", "../../canary", "chain"])
def test_a_source_that_leads_out_reads_nothing(
    builder: Builder, canary: Path, instruction: str, source: str
) -> None:
    """S-64: links to the host, absolute, relative, through directories; and paths."""
    built = builder.build(
        f"FROM busybox\n{instruction} {source} /got\nRUN cat /got\n",
        {
            "link": str(canary),
            "link2": "../" * 20 + str(canary)[1:],
            "dir": str(canary.parent),
            "chain": "link",
        },
    )
    assert "no such file or directory" in built.error or "Forbidden path" in built.error
    assert SECRET.decode() not in built.text


def test_a_link_inside_is_followed(builder: Builder, canary: Path) -> None:
    """The control: what is refused above is where links lead, not that they are links."""
    del canary
    builder.good(
        'FROM busybox\nCOPY link /got\nRUN [ "$(cat /got)" = x ]\n', {"link": "/d/f", "d/f": b"x"}
    )


def test_links_in_a_copied_directory_stay_links(builder: Builder, canary: Path) -> None:
    image = builder.good("FROM busybox\nCOPY d /d\n", {"d/link": str(canary)})
    assert builder.run(image, "readlink", "/d/link") == str(canary)


@pytest.mark.parametrize("target", ["/", "{dir}", "{dir}/none", "../../../../../..{dir}"])
@pytest.mark.parametrize(
    "form", ["COPY f /l/canary", "COPY d /l", "ADD a.tar /l/", "COPY f /l/n/m"]
)
def test_a_destination_behind_a_link_stays_in_the_image(
    builder: Builder, canary: Path, target: str, form: str
) -> None:
    """S-64: the image has a link to the host where things are copied to."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("canary"))
    target = target.format(dir=canary.parent)
    built = builder.build(
        f"FROM busybox\nRUN ln -s {target} /l\n{form}\n",
        {"f": b"evil", "d/canary": b"evil", "a.tar": archive.getvalue()},
    )
    if not built.error:  # it went to a place inside
        inside = builder.run(built.id, "find", "/", "-xdev", "-name", "canary", "-o", "-name", "m")
        assert inside
    assert canary.read_bytes() == SECRET


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("link", None),
        ("fifo", kind(tarfile.FIFOTYPE)),
        ("dir", kind(tarfile.DIRTYPE)),
        ("../../canary", b""),
        ("/etc/passwd", b""),
    ],
)
def test_a_dockerfile_that_is_no_file_of_the_context(
    builder: Builder, canary: Path, name: str, content: bytes | tarfile.TarInfo | None
) -> None:
    """S-64: a link out, a FIFO, a directory, a path out: refused at once, 400."""
    member = str(canary) if content is None else content
    files: dict[str, Content] = {name: member}
    if name.startswith(("..", "/")):
        files = {"plain": b"x"}
    with pytest.raises(ApiError) as refused:
        builder.send(context(files), dockerfile=name)
    assert refused.value.status == 400
    assert name.lstrip("/").removeprefix("../") in refused.value.message


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"null": kind(tarfile.CHRTYPE, devmajor=1, devminor=3)}, "device"),
        ({"disk": kind(tarfile.BLKTYPE, devmajor=8, devminor=0)}, "device"),
        ({"l": "/etc", "l/evil": b"x"}, "leads nowhere"),
        ({"hard": kind(tarfile.LNKTYPE, linkname="/etc/passwd")}, "'hard'"),
        ({"hard": kind(tarfile.LNKTYPE, linkname="../../../../etc/passwd")}, "hard link"),
    ],
    ids=["null", "disk", "through a link", "hard link", "hard link up"],
)
def test_a_context_of_odd_members(
    builder: Builder,
    canary: Path,
    members: dict[str, bytes | str | tarfile.TarInfo],
    message: str,
) -> None:
    """S-64, S-50: refused with 400, or kept inside."""
    del canary
    built, refusals = Built(), []
    try:
        built = builder.build("FROM busybox\nCOPY . /c\n", members)
    except ApiError as error:
        refusals.append(error)
    assert [error.status for error in refusals] == [400]
    assert all(message in error.message for error in refusals)
    assert not built.error
    for path in ("/etc/evil", "/evil"):
        assert not os.path.exists(path)  # noqa: PTH110


@pytest.mark.parametrize("name", ["../evil", "/../../evil", "a/../../../../../../../../tmp/tkevil"])
def test_a_member_outside_is_never_made(builder: Builder, canary: Path, name: str) -> None:
    with suppress(ApiError):  # refused, or made inside
        builder.build("FROM busybox\nCOPY . /c\n", {name: b"x"})
    assert not os.path.exists("/tmp/tkevil")  # noqa: PTH110, S108
    assert not list(builder.engine.data_dir.glob("**/evil"))
    assert canary.read_bytes() == SECRET


@pytest.mark.parametrize("name", [".wh.etc", ".wh..wh..opq", "d/.wh.x"])
def test_a_whiteout_is_not_copied(builder: Builder, canary: Path, name: str) -> None:
    """A name that means a removed file would take files of the image away."""
    del canary
    built = builder.build("FROM busybox\nCOPY . /\n", {name: b""})
    assert ".wh." in built.error
    builder.good("FROM busybox\nCOPY f /\n", {name: b"", "f": b""})


def test_an_archive_in_the_context_stays_in_the_image(builder: Builder, canary: Path) -> None:
    """S-50 by ADD: names and links that lead out."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, str(canary.parent)
        tar.addfile(link)
        for name in ("out/new", f"../../../..{canary}"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"evil"))
    built = builder.build("FROM busybox\nADD a.tar /\n", {"a.tar": archive.getvalue()})
    assert canary.read_bytes() == SECRET
    assert not built.error or "archive member" in built.error


def test_a_bomb_ends_the_step_or_the_upload(builder: Builder, canary: Path) -> None:
    """S-56: 20 GiB claimed by one member; and one of members by the million."""
    del canary
    huge = tarfile.TarInfo("Dockerfile")
    huge.size = 20 * 1024**3
    with pytest.raises(ApiError) as refused:
        builder.send(io.BytesIO(huge.tobuf() + bytes(1024 * 1024)))
    assert refused.value.status == 400
    bomb = gzip.compress(huge.tobuf() + bytes(4 * 1024 * 1024))
    built = builder.build("FROM busybox\nADD bomb /\n", {"bomb": bomb})
    assert "allowed" in built.error or "truncated" in built.error


@pytest.mark.parametrize(
    "text",
    [
        "FROM busybox\nENV A=xxxxxxxxxxxxxxxx\n" + "ENV A=$A$A$A$A$A$A$A$A\n" * 20,
        "FROM busybox\nARG A=${A:-${A:-" + "${A:-" * 3000 + "}" * 3002,
        "FROM busybox\nCOPY " + "*a" * 1500 + "b /\n",
    ],
    ids=["growing", "nested", "pattern"],
)
def test_a_dockerfile_that_grows_is_refused(builder: Builder, text: str) -> None:
    built = builder.build(text, {"a" * 255: b""})
    assert built.error


@pytest.mark.parametrize("word", ["__class__", "Run\0", "\uff32UN", "CmdRun"])
def test_an_instruction_is_a_word_of_the_table(builder: Builder, word: str) -> None:
    """S-66."""
    with pytest.raises(ApiError) as refused:
        builder.build(f"FROM busybox\n{word} x\n")
    assert refused.value.status == 400
    assert "unknown instruction" in refused.value.message


def test_a_url_of_another_kind_is_a_path(builder: Builder, canary: Path) -> None:
    """S-64: file:// is no way to the host."""
    built = builder.build(f"FROM busybox\nADD file://{canary} /got\nRUN cat /got\n")
    assert "no such file" in built.error
    assert SECRET.decode() not in built.text


@pytest.mark.parametrize(
    "value", ["x\nlxc.hook.pre-start = /bin/touch CANARY\n#", "a\u2028b", "\r\n"]
)
def test_lines_in_values_stay_values(builder: Builder, tmp_path: Path, value: str) -> None:
    """S-40 through a Dockerfile: no value becomes a line of LXC's configuration."""
    target = tmp_path / "injected"
    text = value.replace("CANARY", str(target))
    builder.build(
        "FROM busybox\nARG A\nENV B=$A\nWORKDIR /$A\nUSER 0\nRUN true\n", buildargs={"A": text}
    )
    assert not target.exists()
