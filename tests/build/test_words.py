# SPDX-License-Identifier: Apache-2.0
"""Quotes, escapes and variables."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.build.words import (
    LONGEST_RESULT,
    WordError,
    expand_word,
    expand_words,
    split_words,
)

VARIABLES = {"A": "1", "P": "/usr/lib/x.tar.gz", "E": "", "S": "b  c"}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("plain", "plain"),
        ("$A", "1"),
        ("${A}b", "1b"),
        ("$Ab", ""),
        ("$NONE.x", ".x"),
        ("'$A'", "$A"),
        ('"$A b"', "1 b"),
        (r"\$A", "$A"),
        (r'"\$A \" \\ \x"', r'$A " \ \x'),
        (r"a\ b", "a b"),
        ("$", "$"),
        ("a$-b", "ab"),
        ("${NONE:-x y}", "x y"),
        ("${E:-x}|${E-x}", "x|"),
        ("${A:+set}|${NONE:+set}|${E:+set}|${E+set}", "set|||set"),
        ("${NONE:-${A}}", "1"),
        ("${P#*/}", "usr/lib/x.tar.gz"),
        ("${P##*/}", "x.tar.gz"),
        ("${P%.*}", "/usr/lib/x.tar"),
        ("${P%%.*}", "/usr/lib/x"),
        ("${P%none}", "/usr/lib/x.tar.gz"),
        ("${A:?}", "1"),
        ("end\\", "end"),
        ("$S", "b  c"),
    ],
)
def test_a_word_is_expanded_as_docker_does(text: str, word: str) -> None:
    """API-054j: ``$PATH:$FOO`` and the like."""
    assert expand_word(text, VARIABLES) == word


@pytest.mark.parametrize(
    "text",
    ["'a", '"a', "${A", "${}", "${A:", "${A:!x}", "${NONE:?}", "${NONE:?say so}", "${A:-x", "${"],
)
def test_what_is_not_closed_or_not_set_is_refused(text: str) -> None:
    with pytest.raises(WordError):
        expand_word(text, VARIABLES)


def test_a_variable_splits_into_words_unless_quoted() -> None:
    assert expand_words('$S "$S" x\\ y', VARIABLES) == ["b", "c", "b  c", "x y"]
    assert expand_words("'' $NONE", VARIABLES) == [""]


def test_another_escape_leaves_the_backslash_alone() -> None:
    assert expand_word(r"C:\dir `$A", VARIABLES, escape="`") == r"C:\dir $A"


def test_words_are_split_with_their_quotes() -> None:
    assert split_words(r"""a="b c" d='e f' g\ h""") == ['a="b c"', "d='e f'", r"g\ h"]


def test_a_value_cannot_grow_without_end() -> None:
    value = "x" * (LONGEST_RESULT // 2 + 1)
    with pytest.raises(WordError, match="longer than"):
        expand_word("$A$A", {"A": value})


def test_nesting_has_an_end() -> None:
    with pytest.raises(WordError, match="deep"):
        expand_word("${A:+" * 5000 + "}" * 5000, VARIABLES)


@given(st.text(st.characters(exclude_characters="$", exclude_categories=["Cs"])))
def test_what_is_quoted_comes_back(text: str) -> None:
    assert expand_word(shlex.quote(text), {}) == text


@given(st.text("ab \\\"'${}:-+#%A", max_size=40))
def test_any_text_is_expanded_or_refused(text: str) -> None:
    try:
        word = expand_word(text, VARIABLES)
    except WordError:
        return
    assert isinstance(word, str)
    split_words(text)
