# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from toolkit.kernel.cgroup_stats import (
    BlkioEntry,
    parse_blkio,
    parse_io_stat,
    parse_limit,
    parse_number,
    parse_table,
)


@pytest.mark.parametrize("text", [None, "", "max\n", "-1\n", "9223372036854771712\n"])
def test_no_limit_is_none_in_every_words_for_it(text: str | None) -> None:
    assert parse_limit(text) is None


@pytest.mark.parametrize(("text", "limit"), [("0\n", 0), ("2048\n", 2048)])
def test_a_limit_is_a_number(text: str, limit: int) -> None:
    assert parse_limit(text) == limit


def test_a_missing_file_counts_nothing() -> None:
    assert (parse_number(None), parse_table(None), parse_blkio(None)) == (0, {}, ())


def test_a_table_keeps_only_names_with_a_number() -> None:
    assert parse_table("anon 4096\nfile 0\nnested some 3\nratio 0.5\n") == {"anon": 4096, "file": 0}


def test_totals_of_block_devices_are_left_out() -> None:
    text = "8:16 Read 10\n8:16 Write 20\n8:16 Total 30\nTotal 30\n"
    assert parse_blkio(text) == (
        BlkioEntry(major=8, minor=16, operation="Read", value=10),
        BlkioEntry(major=8, minor=16, operation="Write", value=20),
    )


def test_a_device_without_counts_is_left_out() -> None:
    assert parse_io_stat("8:0 \n254:0 rbytes=7 cost.usage=3\n", {"rbytes": "Read"}) == (
        BlkioEntry(major=254, minor=0, operation="Read", value=7),
    )
