# SPDX-License-Identifier: Apache-2.0
"""Reading archives: every dialect, sparse files, and what is refused."""

from __future__ import annotations

import io
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.storage.archives import archive, directory, member
from toolkit.errors import UnsafeArchiveError
from toolkit.storage.compression import PlainStream
from toolkit.storage.limits import ArchiveLimits
from toolkit.storage.tarreader import TarReader

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = ArchiveLimits(unpacked_bytes=10**6, members=100, header_bytes=5000)


def reader(content: bytes, limits: ArchiveLimits = LIMITS) -> TarReader:
    return TarReader(PlainStream(io.BytesIO(content), limit_bytes=10**8), limits)


def names(content: bytes, limits: ArchiveLimits = LIMITS) -> list[bytes]:
    return [read.name for read in reader(content, limits)]


def header_that_claims(kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("dialect", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_every_dialect_are_read(dialect: int) -> None:
    long = "d/" * 60 + "n" * 90
    content = archive(directory("d"), member(long, b"x"), format=dialect).getvalue()
    assert names(content) == [b"d/", long.encode()]


def test_an_archive_may_end_without_its_zeros() -> None:
    content = archive(member("f", b"abc")).getvalue()[:1024]
    assert names(content) == [b"f"]


@pytest.mark.parametrize("end", [700, 1000, 1500])
def test_a_truncated_archive_is_refused(end: int) -> None:
    content = archive(member("f", b"a" * 600), member("g")).getvalue()[:end]
    with pytest.raises(UnsafeArchiveError, match="truncated"):
        names(content)


def test_garbage_is_told_from_damage() -> None:
    with pytest.raises(UnsafeArchiveError, match="not a tar archive"):
        names(b"garbage " * 100)
    content = archive(member("f"), member("g")).getvalue()
    with pytest.raises(UnsafeArchiveError, match="member 2 of the archive is corrupt"):
        names(content[:512] + b"garbage " * 64 + content[1024:])


@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g"])
def test_a_header_of_a_gigabyte_is_refused_unread(kind: bytes) -> None:
    """Row S-56, CVE-2017-14992."""
    with pytest.raises(UnsafeArchiveError, match="extended header is longer"):
        names(header_that_claims(kind, 10**9))


def test_a_chain_of_long_names_counts_as_members() -> None:
    """Row S-56."""
    link = header_that_claims(b"L", 10) + b"long-name\0" + bytes(502)
    with pytest.raises(UnsafeArchiveError, match="more than the 100 members"):
        names(link * 1000)


def test_files_may_not_claim_more_than_is_allowed() -> None:
    """Row S-56."""
    with pytest.raises(UnsafeArchiveError, match="more than the 1000000 bytes"):
        names(header_that_claims(b"0", 10**6 + 1))


def test_global_headers_are_nobodys_defaults() -> None:
    content = archive(
        member("f"), format=tarfile.PAX_FORMAT, pax_headers={"path": "evil", "uid": "7"}
    ).getvalue()
    assert [(read.name, read.uid) for read in reader(content)] == [(b"f", 0)]


def test_an_owner_that_chown_would_ignore_is_refused() -> None:
    content = archive(
        member("f", pax_headers={"uid": str(2**32 - 1)}), format=tarfile.PAX_FORMAT
    ).getvalue()
    with pytest.raises(UnsafeArchiveError, match="no possible id"):
        names(content)


@pytest.mark.parametrize(
    "options",
    [
        ["--format=gnu"],
        ["--format=posix", "--sparse-version=0.0"],
        ["--format=posix", "--sparse-version=0.1"],
        ["--format=posix", "--sparse-version=1.0"],
    ],
)
def test_sparse_files_of_gnu_tar_keep_their_holes(tmp_path: Path, options: list[str]) -> None:
    source = tmp_path / "sparse"
    with source.open("wb") as file:
        for at in range(0, 60 * 8192, 8192):
            file.seek(at)
            file.write(b"%d" % at)
        file.truncate(600_000)
    packed = tmp_path / "a.tar"
    subprocess.run(["tar", "-S", *options, "-C", tmp_path, "-cf", packed, "sparse"], check=True)
    target = tmp_path / "copy"
    opened = reader(packed.read_bytes() + b"\1")
    for read in opened:
        assert read.name == b"sparse"
        with target.open("wb") as file:
            opened.copy_content(file.fileno())
    assert target.read_bytes() == source.read_bytes()


def test_a_sparse_file_of_exabytes_is_refused() -> None:
    """Row S-56."""
    headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0",
        "GNU.sparse.name": "f", "GNU.sparse.realsize": str(2**63),
    }  # fmt: skip
    content = archive(
        member("f", b"0\n".ljust(512, b"\0"), pax_headers=headers), format=tarfile.PAX_FORMAT
    )
    with pytest.raises(UnsafeArchiveError, match="more than the 1000000 bytes"):
        names(content.getvalue())


@pytest.mark.parametrize(
    "sparse_map",
    [b"", b"x\n", b"99999999\n", b"1\n5\n", b"1\n0\n9999\n", b"2\n9\n9\n0\n1\n", b"-1\n"],
)
def test_a_wrong_sparse_map_is_refused(sparse_map: bytes) -> None:
    headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0",
        "GNU.sparse.name": "f", "GNU.sparse.realsize": "1000",
    }  # fmt: skip
    content = archive(
        member("f", sparse_map.ljust(512, b"\0"), pax_headers=headers), format=tarfile.PAX_FORMAT
    )
    with pytest.raises(UnsafeArchiveError):
        names(content.getvalue())
