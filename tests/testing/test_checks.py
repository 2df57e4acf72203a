# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from toolkit.errors import InvalidRequestError
from toolkit.testing import HealthCheck
from toolkit.testing.checks import _KINDS, UnknownOptionError, check_call
from toolkit.testing.spec import RunOptions

if TYPE_CHECKING:
    from toolkit.testing import Container

CHECKED_ELSEWHERE = {"wait", "network", "entrypoint"}


def check(image: object = "img", command: object = None, **options: Any) -> None:
    check_call(image, command, options)


def test_every_option_is_checked() -> None:
    assert set(_KINDS) | CHECKED_ELSEWHERE == set(RunOptions.__annotations__)


@pytest.mark.parametrize(("word", "meant"), [("port", "ports"), ("volume", "volumes")])
def test_a_word_that_there_is_not_is_refused_with_a_guess(word: str, meant: str) -> None:
    with pytest.raises(UnknownOptionError, match=rf"no option {word}= \(did you mean {meant}=\?\)"):
        check(**{word: [80]})


def test_a_word_like_no_other_is_refused_as_python_does() -> None:
    with pytest.raises(TypeError, match=r"no option xyzzy=$"):
        check(xyzzy=1)


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"ports": 8080}, r"ports=\[8080\]"),
        ({"ports": "8080"}, r"ports=\[8080\]"),
        ({"ports": {8080: 80}}, r"ports=\[8080\]"),
        ({"cap_add": "NET_ADMIN"}, "use a list"),
        ({"env": ["A=b"]}, "env={'NAME': 'value'}"),
        ({"volumes": ["/a:/b"]}, "use a dictionary"),
        ({"memory_bytes": "64m"}, "whole number of bytes"),
        ({"cpus": "x"}, "cpus=0.5"),
        ({"timeout_seconds": "5"}, "use a number"),
        ({"tty": "yes"}, "True or False"),
        ({"name": 5}, "use a text"),
        ({"health": "true"}, r"HealthCheck\('command'\)"),
        ({"network": 5}, "its name or a container"),
        ({"command": 5}, "use a text, or a list"),
        ({"command": "sh -c 'oops"}, "no closing quotation"),
        ({"entrypoint": {}}, "use a text, or a list"),
        ({"image": None}, "use a name"),
        ({"image": ""}, "use a name"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_the_right_one(
    options: dict[str, Any], remedy: str
) -> None:
    with pytest.raises(InvalidRequestError, match=remedy):
        check(**options)


class Named:
    id = "c1"


def test_what_can_be_used_is_not_refused() -> None:
    check("img", ["sleep", 60], ports=(80, "53/udp"), env={"A": 1}, volumes={Path("/a"): "/b"})
    check(command="sh -c 'exit 3'", network=cast("Container", Named()), cpus=1, tty=True)
    check(health=HealthCheck("true"), timeout_seconds=0.5, network=None, entrypoint=["sh"])
