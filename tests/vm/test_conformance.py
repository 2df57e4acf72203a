# SPDX-License-Identifier: Apache-2.0
"""The count of conformance rows: a page of rows against the docstrings of tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.vm.conformance import measure, read_rows, rows_named, rows_of_tests

if TYPE_CHECKING:
    from pathlib import Path

PAGE = """
| row | checks | left out because |
|---|---|---|
| {0}-001 | id of a container | |
| {0}-002 | start | |
| {0}-003 | old driver | no kernel has it |
| {0}-004 | stop | |
""".replace("{0}", "RT")
TESTS = '''
def test_one() -> None:
    """{0}-001 to 002."""

def test_two() -> None:
    """Nothing, but {0}-009."""

def helper() -> None:
    """{0}-004."""
'''.replace("{0}", "RT")


def row(number: int) -> str:
    return f"RT-{number:03}"


def test_rows_have_a_title_and_perhaps_a_reason() -> None:
    assert [(found.id, found.reason) for found in read_rows(PAGE)] == [
        (row(1), ""), (row(2), ""), (row(3), "no kernel has it"), (row(4), ""),
    ]  # fmt: skip


def test_spans_and_lists_are_read() -> None:
    text = f"{row(1)}, {row(3)} to {row(5)} and {row(7)} to 008"
    assert rows_named(text) == {row(number) for number in (1, 3, 4, 5, 7, 8)}


def test_only_tests_cover() -> None:
    assert rows_of_tests(TESTS) == {row(1), row(2), row(9)}


def test_each_row_is_covered_left_out_or_open(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "compatibility.md").write_text(PAGE)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_x.py").write_text(TESTS)
    found = measure(tmp_path)
    assert [entry.id for entry in found.covered] == [row(1), row(2)]
    assert [entry.id for entry in found.left_out] == [row(3)]
    assert [entry.id for entry in found.open] == [row(4)]
    assert found.unknown == (row(9),)
    assert not found.is_complete
    assert next(found.lines()) == "rows 4, covered 2, left out 1"
