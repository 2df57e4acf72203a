# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.cli.output import escape, escape_lines, report, table
from toolkit.errors import EngineUnreachableError


@given(st.text())
def test_an_escaped_text_is_one_printable_line(text: str) -> None:
    """S-14."""
    assert escape(text).isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"),
        ("a\rb\nc\td", "a\\rb\\nc\\td"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb", "a\\u202eb"),
        ("\udc80", "\\udc80"),
        ("Größe 日本", "Größe 日本"),
    ],
)
def test_what_would_steer_a_terminal_is_spelt_out(text: str, shown: str) -> None:
    """S-14."""
    assert escape(text) == shown


def test_lines_stay_lines() -> None:
    assert escape_lines("a\x1b\nb") == "a\\x1b\nb"


def test_columns_are_aligned_as_dockers() -> None:
    rows = [["1", "a long cell indeed", "x"], ["\x1b[1m", "b", ""]]
    assert table(["ID", "NAME", "LAST"], rows).splitlines() == [
        "ID        NAME                 LAST",
        "1         a long cell indeed   x",
        "\\x1b[1m   b                    ",
    ]


def test_an_error_is_one_line_and_its_hint_another(capsys: pytest.CaptureFixture[str]) -> None:
    """S-14: an engine's words cannot forge a line."""
    report(EngineUnreachableError("gone\nroot# \x1b[2J"))
    first, second = capsys.readouterr().err.splitlines()
    assert first == "toolkit: gone\\nroot# \\x1b[2J"
    assert second == EngineUnreachableError.hint
