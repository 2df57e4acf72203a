# SPDX-License-Identifier: Apache-2.0
"""What an ignore file leaves out."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.dockerignore import BadPatternError, IgnoreRules, compile_glob


@pytest.mark.parametrize(
    ("text", "hidden", "shown"),
    [
        ("foo", ["foo", "foo/bar"], ["foo2", "a/foo"]),
        ("/foo/", ["foo"], ["a/foo"]),
        ("*/temp*", ["a/temp", "a/temporary.txt", "a/temp/x"], ["temp", "a/b/temp"]),
        ("temp?", ["tempa"], ["temp", "tempab"]),
        ("**/*.pyc", ["x.pyc", "a/b/x.pyc"], ["x.py"]),
        ("**.o", ["x.o", "a/x.o"], ["x.c"]),
        ("bar/**", ["bar/x", "bar/x/y"], ["bar"]),
        ("a/**/z", ["a/z", "a/b/c/z"], ["az", "a/b/c"]),
        ("*.md\n!README.md", ["x.md"], ["README.md"]),
        ("*\n!src", ["x"], ["src", "src/a"]),
        ("a\n!a/b\na/b/c", ["a", "a/x", "a/b/c"], ["a/b", "a/b/d"]),
        ("# a comment\n\n  spaced  ", ["spaced"], ["# a comment"]),
        ("[a-c]x\n[^d]y", ["ax", "ey"], ["dx", "dy"]),
        (r"\*", ["*"], ["a"]),
        ("./a/../b", ["b"], ["a"]),
        (".", [], ["a"]),
    ],
)
def test_rules_hide_what_docker_hides(text: str, hidden: list[str], shown: list[str]) -> None:
    rules = IgnoreRules.parse(text)
    assert [path for path in hidden if not rules.hides(path)] == []
    assert [path for path in shown if rules.hides(path)] == []


@pytest.mark.parametrize("text", ["[", "[a", "[]", "[b-a]", "[a-]", "!", "a\\"])
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(BadPatternError):
        IgnoreRules.parse(text)


def test_a_rule_says_whether_others_take_back() -> None:
    assert not IgnoreRules.parse("a").has_exceptions
    assert IgnoreRules.parse("a\n!b").has_exceptions


@pytest.mark.parametrize("pattern", ["*a" * 2000 + "b", "**/*a" * 800 + "b", "?" * 4000])
def test_no_pattern_takes_long(pattern: str) -> None:
    began = time.thread_time()
    assert not IgnoreRules([pattern]).hides("a" * 4095 + "/" + "a/" * 300)
    assert time.thread_time() - began < 2


@given(st.text("ab*?", max_size=12), st.text("ab", max_size=12))
def test_a_glob_fits_what_the_slow_way_fits(pattern: str, text: str) -> None:
    slow = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    assert bool(compile_glob(pattern).fullmatch(text)) == bool(re.fullmatch(slow, text))
