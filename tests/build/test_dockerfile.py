# SPDX-License-Identifier: Apache-2.0
"""The grammar: lines, directives, heredocs, instructions, stages."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.build.dockerfile import parse_dockerfile, parse_trigger
from toolkit.build.instructions import FORMS, Instruction
from toolkit.errors import DockerfileError, InvalidRequestError


def steps(text: str) -> list[Instruction]:
    return list(parse_dockerfile(f"FROM a\n{text}").stages[0].steps)


def step(text: str) -> Instruction:
    (one,) = steps(text)
    return one


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("RUN echo a", ("echo a",)),
        ("run   echo  a  ", ("echo  a",)),
        ("RUN\techo a", ("echo a",)),
        ('RUN ["echo", "a b"]', ("echo", "a b")),
        ('RUN ["echo", 1]', ('["echo", 1]',)),
        ("RUN ['echo']", ("['echo']",)),
        ("RUN a \\\n  b", ("a   b",)),
        ("RUN a \\ \t\n b", ("a  b",)),
        ("RUN a \\\n# comment\n\n  b", ("a   b",)),
        ("RUN a \\\\\nRUN b", ("a \\\\",)),
        ("RUN echo 'a\\nb'", ("echo 'a\\nb'",)),
        ("COPY a b /c/", ("a", "b", "/c/")),
        ('COPY ["a b", "/c"]', ("a b", "/c")),
        ("EXPOSE 80 53/udp", ("80", "53/udp")),
        ("VOLUME /a /b", ("/a", "/b")),
        ("MAINTAINER A B <c@d>", ("A B <c@d>",)),
        ("HEALTHCHECK NONE", ("NONE",)),
        ("HEALTHCHECK CMD exit 0", ("CMD-SHELL", "exit 0")),
        ('HEALTHCHECK CMD ["a"]', ("CMD", "a")),
        ("ONBUILD RUN x", ("RUN x",)),
        ("ARG A=1 B", ("A=1", "B")),
    ],
)
def test_arguments_are_read(text: str, words: tuple[str, ...]) -> None:
    """API-054a to 054c: continuations, and what is none."""
    assert steps(text)[0].words == words


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("ENV A 1 2", (("A", "1 2"),)),
        ("ENV A=1 B='x y'", (("A", "1"), ("B", "'x y'"))),
        ("LABEL a.b=c", (("a.b", "c"),)),
        ("ENV A=", (("A", ""),)),
    ],
)
def test_pairs_are_read(text: str, pairs: tuple[tuple[str, str], ...]) -> None:
    assert step(text).pairs == pairs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FOO x", "line 2: unknown instruction: FOO"),
        ("RUN", "RUN requires at least one argument"),
        ("COPY a", "COPY requires at least two arguments"),
        ("COPY --link a b", "requires BuildKit"),
        ("RUN --mount=type=cache,target=/x y", "requires BuildKit"),
        ("COPY --from=a --from=b c d", "duplicate flag"),
        ("COPY --what=x a b", "unknown flag"),
        ("ENV A", "must have two arguments"),
        ("ENV A=1 B", "can't find = in"),
        ("ENV =1", "names can not be blank"),
        ("SHELL sh -c", "JSON form"),
        ("HEALTHCHECK CMD", "Missing command"),
        ("HEALTHCHECK TEST x", "Unknown type"),
        ("HEALTHCHECK NONE x", "takes no arguments"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD"),
        ("ONBUILD FROM x", "isn't allowed"),
        ("ONBUILD what", "unknown instruction"),
        ("RUN a\0b", "NUL"),
        ('CMD ["a\\u0000"]', "NUL"),
        ("FROM a AS 1x", "invalid name for build stage"),
        ("FROM a b", "either one or three"),
        ("RUN <<EOF\nx", "unterminated heredoc"),
        ("COPY <<'EOF /x\nEOF", "single-quote"),
    ],
)
def test_a_wrong_form_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message) as refused:
        parse_dockerfile(f"FROM a\n{text}")
    assert refused.value.line == 2


@pytest.mark.parametrize(
    "word",
    [
        "__class__",
        "__init__",
        "Run\0",
        "\uff32UN",
        "RU\u0145",
        "run()",
        "CmdRun",
        "_parsed",
        "R\u00dcN",
    ],
)
def test_only_the_table_s_words_are_instructions(word: str) -> None:
    """S-66: nothing is found by reflection; the control is the word itself."""
    assert step("RUN x").word == "RUN"
    with pytest.raises(DockerfileError, match="unknown instruction"):
        step(f"{word} x")


def test_directives_stand_before_everything() -> None:
    parsed = parse_dockerfile("# syntax=docker/dockerfile:1\n# escape=`\nFROM a\nRUN x `\n y\\\n")
    assert parsed.escape == "`"
    assert parsed.stages[0].steps[0].words == ("x  y\\",)
    assert parse_dockerfile("# a comment\n# escape=`\nFROM a").escape == "\\"


@pytest.mark.parametrize("text", ["# escape=x\nFROM a", "# escape=`\n# escape=`\nFROM a"])
def test_a_wrong_directive_is_refused(text: str) -> None:
    with pytest.raises(DockerfileError):
        parse_dockerfile(text)


def test_heredocs_belong_to_their_line() -> None:
    one, two, three = steps(
        'RUN <<EOF\na\nEOF\nCOPY <<"A" <<-B /d/\n$x\nA\n\tb\n\tB\nRUN cat <<X | sh\n1\nX\n'
    )
    assert [(here.name, here.content, here.expands) for here in one.heredocs] == [
        ("EOF", "a\n", True)
    ]
    assert [(here.name, here.content, here.expands) for here in two.heredocs] == [
        ("A", "$x\n", False),
        ("B", "b\n", True),
    ]
    assert three.heredocs[0].content == "1\n"


def test_stages_have_names_and_targets() -> None:
    """Multi-stage: by name in any case, or by number."""
    parsed = parse_dockerfile("ARG V\nFROM a:$V AS Base\nRUN x\nFROM --platform=linux/amd64 b\n")
    assert [one.text for one in parsed.args] == ["ARG V"]
    assert [(stage.base, stage.name) for stage in parsed.stages] == [("a:$V", "base"), ("b", "")]
    assert len(parsed.up_to("BASE")) == 1
    assert len(parsed.up_to("1")) == len(parsed.up_to("")) == 2
    with pytest.raises(InvalidRequestError, match="target"):
        parsed.up_to("other")


@pytest.mark.parametrize("text", ["", "# nothing\n", "RUN x", "ARG A", "RUN x\nFROM a"])
def test_without_a_stage_nothing_is_built(text: str) -> None:
    with pytest.raises(DockerfileError):
        parse_dockerfile(text)


def test_a_trigger_is_checked_again() -> None:
    assert parse_trigger("RUN x").words == ("x",)
    for text in ("", "FROM x", "ONBUILD RUN x", "what"):
        with pytest.raises(DockerfileError):
            parse_trigger(text)


@pytest.mark.parametrize(
    "text",
    [
        "RUN " + "\\\n" * 400_000 + "x",
        "ENV " + "a=b " * 250_000,
        "RUN x\n" * 150_000,
        "RUN <<A\nA\n" * 50_000,
        "COPY " + "'a" * 500_000 + " b",
        "RUN " + "[" * 1_000_000,
    ],
    ids=["continuations", "pairs", "steps", "heredocs", "quotes", "brackets"],
)
def test_a_mebibyte_is_read_in_little_time(text: str) -> None:
    began = time.thread_time()
    steps(text)
    assert time.thread_time() - began < 5  # 0.2 to 1 s on a machine that has nothing else to do


words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@given(st.sampled_from(sorted(FORMS)), words)
def test_any_arguments_are_read_or_refused(word: str, rest: str) -> None:
    errors = []
    try:
        parse_dockerfile(f"FROM a\n{word} {rest}")
    except DockerfileError as error:
        errors.append(error)
    assert all(error.line >= 1 for error in errors)


@given(st.text("FROMRUNCOPYENVa \\\n#=<>[]\"'`", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(DockerfileError):
        parse_dockerfile(text)


@given(st.sampled_from(["RUN", "CMD", "COPY", "VOLUME"]), st.lists(words, min_size=2, max_size=5))
def test_a_printed_instruction_reads_the_same(word: str, arguments: list[str]) -> None:
    """Reading, writing and reading again gives the same step."""
    import json  # noqa: PLC0415

    one = step(f"{word} {json.dumps(arguments)}")
    assert one.words == tuple(arguments)
    assert one.is_json
    again = step(one.text)
    assert replace(again, number=one.number) == one
