# SPDX-License-Identifier: Apache-2.0
"""Headers: what we write, the standard library reads, and the other way round."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage.archives import archive, member
from toolkit.storage import tarformat
from toolkit.storage.tarformat import (
    END_OF_ARCHIVE,
    Member,
    apply_pax_records,
    bounded_time_ns,
    format_member,
    format_pax_records,
    parse_header,
    parse_pax_records,
)

NAMES = st.binary(min_size=1, max_size=300).filter(lambda name: not {0, 10} & set(name))


@given(
    name=st.text("abcäöü/.", min_size=1, max_size=300).filter(lambda n: n.strip("/.") == n),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 2),
    mtime_ns=st.integers(0, 2**33 * 10**9),
)
def test_the_standard_library_reads_what_we_write(
    name: str, mode: int, uid: int, mtime_ns: int
) -> None:
    ours = Member(name.encode(), mode=mode, uid=uid, mtime_ns=mtime_ns)
    written = io.BytesIO(format_member(ours) + END_OF_ARCHIVE)
    theirs = tarfile.open(fileobj=written).getmembers()[0]  # noqa: SIM115 - in memory
    assert (theirs.name, theirs.mode, theirs.uid) == (name, mode, uid)
    assert abs(theirs.mtime - mtime_ns / 10**9) < 1e-3


@pytest.mark.parametrize("dialect", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_we_read_what_the_standard_library_writes(dialect: int) -> None:
    block = archive(
        member("d/f", b"abc", uid=7, gid=8, mtime=99, mode=0o4755), format=dialect
    ).getvalue()[:512]
    read = parse_header(block)
    assert (read.name, read.uid, read.gid, read.mode) == (b"d/f", 7, 8, 0o4755)
    assert (read.size, read.mtime_ns, read.kind) == (3, 99 * 10**9, tarformat.REGULAR)


def test_a_number_too_large_for_octal_is_read_in_binary() -> None:
    block = archive(member("f", uid=2**31), format=tarfile.GNU_FORMAT).getvalue()[:512]
    assert parse_header(block).uid == 2**31


def test_an_old_name_with_a_slash_at_its_end_is_a_directory() -> None:
    block = archive(member("d/", type=tarfile.AREGTYPE), format=tarfile.USTAR_FORMAT)
    assert parse_header(block.getvalue()[:512]).kind == tarformat.DIRECTORY


@pytest.mark.parametrize("block", [b"x" * 512, b"\xff" * 512, bytes(511) + b"1"])
def test_garbage_is_no_header(block: bytes) -> None:
    with pytest.raises(ValueError, match=r"checksum|number"):
        parse_header(block)


@given(st.binary(min_size=512, max_size=512))
def test_no_block_does_anything_but_parse_or_fail(block: bytes) -> None:
    """Row S-56."""
    fixed = bytearray(block)
    fixed[148:156] = b" " * 8
    fixed[148:156] = b"%06o\0 " % sum(fixed)
    with suppress(ValueError):
        assert parse_header(bytes(fixed)).size >= 0


@given(st.dictionaries(NAMES.filter(lambda key: b"=" not in key), st.binary(max_size=50)))
def test_pax_records_come_back(records: dict[bytes, bytes]) -> None:
    assert dict(parse_pax_records(format_pax_records(records))) == records


@pytest.mark.parametrize(
    "text",
    [b"x", b"9 a=b", b"99999999999999999999 a=b\n", b"6 a=b\nx", b"0 a=b\n", b"-6 a=b\n", b"5 ab\n",
     b"2 a=b\n", b"6  a=b"],
)  # fmt: skip
def test_malformed_pax_records_are_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="pax record"):
        parse_pax_records(text)


def test_times_are_exact_to_the_nanosecond_and_bounded() -> None:
    changed = Member(b"f")
    apply_pax_records(changed, [(b"mtime", b"1700000000.123456789")])
    assert changed.mtime_ns == 1_700_000_000_123_456_789
    apply_pax_records(changed, [(b"mtime", b"-5.5")])
    assert changed.mtime_ns == 0
    assert bounded_time_ns(10**30) == 0
