# SPDX-License-Identifier: Apache-2.0
"""What the instructions that only say something make of a configuration."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.build.instructions import parse_instruction
from toolkit.build.lines import Line
from toolkit.build.stage import DEFAULT_PATH, SAYINGS, StageState, set_working_dir
from toolkit.errors import InvalidRequestError


def after(*lines: str, state: StageState | None = None) -> StageState:
    state = state or StageState()
    for text in lines:
        one = parse_instruction(Line(1, text))
        (set_working_dir if one.word == "WORKDIR" else SAYINGS[one.word])(state, one)
    return state


@pytest.mark.parametrize(
    ("lines", "key", "value"),
    [
        (["USER dockerio"], "User", "dockerio"),
        (["ENV port 4243"], "Env", ["port=4243"]),
        (["ENV A=1", "ENV B=$A C=x", "ENV A=2"], "Env", ["A=2", "B=1", "C=x"]),
        (["ENV A=1", "ENV A=2 B=$A"], "Env", ["A=2", "B=1"]),
        (['CMD ["/bin/echo", "Hello World"]'], "Cmd", ["/bin/echo", "Hello World"]),
        (["CMD Hello world"], "Cmd", ["/bin/sh", "-c", "Hello world"]),
        (['SHELL ["/bin/ash", "-e"]', "CMD x"], "Cmd", ["/bin/ash", "-e", "x"]),
        (["ENTRYPOINT /bin/echo"], "Entrypoint", ["/bin/sh", "-c", "/bin/echo"]),
        (["EXPOSE 4243"], "ExposedPorts", {"4243/tcp": {}}),
        (["ENV P='1 2/udp'", "EXPOSE $P 8-9"], "ExposedPorts",
         {"1/tcp": {}, "2/udp": {}, "8/tcp": {}, "9/tcp": {}}),
        (["VOLUME /test", 'VOLUME ["/a b"]'], "Volumes", {"/test": {}, "/a b": {}}),
        (["WORKDIR /a", "WORKDIR b/../c"], "WorkingDir", "/a/c"),
        (["WORKDIR rel"], "WorkingDir", "/rel"),
        (["LABEL a=b", "LABEL 'c d'=\"$X e\""], "Labels", {"a": "b", "c d": " e"}),
        (["STOPSIGNAL SIGQUIT"], "StopSignal", "SIGQUIT"),
        (["ONBUILD RUN x", "ONBUILD COPY . /"], "OnBuild", ["RUN x", "COPY . /"]),
        (["HEALTHCHECK --interval=1m30s --retries=3 CMD x"], "Healthcheck",
         {"Test": ["CMD-SHELL", "x"], "Interval": 90 * 10**9, "Retries": 3}),
        (["HEALTHCHECK NONE"], "Healthcheck", {"Test": ["NONE"]}),
    ],
)  # fmt: skip
def test_an_instruction_sets_its_field(lines: list[str], key: str, value: Any) -> None:
    """API-057 to API-061 and API-055, without an engine."""
    assert after(*lines).config[key] == value


@pytest.mark.parametrize(
    "text",
    ["EXPOSE 0", "EXPOSE x", "EXPOSE 9-8", "EXPOSE 70000", "STOPSIGNAL 'a b'", 'VOLUME [""]',
     "HEALTHCHECK --interval=x CMD y", "HEALTHCHECK --interval=1us CMD y",
     "HEALTHCHECK --retries=x CMD y", "ENV 'A=B' c"],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        after(text)


def test_an_entrypoint_takes_the_command_of_the_base_away_but_not_its_own() -> None:
    """API-062: what a RUN or a base left as Cmd does not stay behind a new entrypoint."""
    inherited = StageState(config={"Cmd": ["sh"]})
    assert after('ENTRYPOINT ["a"]', state=inherited).config["Cmd"] is None
    assert after("CMD x", 'ENTRYPOINT ["a"]').config["Cmd"] == ["/bin/sh", "-c", "x"]


def test_a_base_gives_its_configuration_its_path_and_its_triggers() -> None:
    base = {"Env": ["A=1"], "OnBuild": ["RUN x"], "Labels": {"a": "b"}}
    state = StageState()
    assert state.begin(base, "sha256:0") == ("RUN x",)
    assert state.config == {"Env": ["A=1", f"PATH={DEFAULT_PATH}"], "Labels": {"a": "b"}}
    after("LABEL c=d", state=state)
    assert base["Labels"] == {"a": "b"}


def test_args_have_what_was_given_and_no_more_than_was_declared() -> None:
    state = StageState(
        given={"A": "given", "B": "hidden", "D": None, "HTTP_PROXY": "p"}, global_args={"C": "top"}
    )
    after("ARG A=default", "ARG C", "ARG D=default", "ARG E", "ENV B=env", "ARG B", state=state)
    assert state.run_args() == ("A=given", "C=top", "D=default")
    assert state.proxy_args() == ("HTTP_PROXY=p",)
    assert state.consumed == {"A", "B", "D"}
    assert state.expand("$A $B $C $D $E") == "given env top default "
