# SPDX-License-Identifier: Apache-2.0
"""What an image that was committed says."""

from __future__ import annotations

from toolkit.engine.commit import container_config, merged_config
from toolkit.engine.model import ContainerSpec


def test_nothing_given_inherits_the_containers() -> None:
    """RT-157: 0.7.2 lost it (api-and-cli 3.6)."""
    spec = ContainerSpec(image="i", command=("sh",), env=("A=b",), user="u", labels={"l": "m"})
    inherited = {"Healthcheck": {"Test": ["CMD", "x"]}, "Cmd": ["old"]}
    config = merged_config(container_config(inherited, spec), {})
    assert config == {
        "Healthcheck": {"Test": ["CMD", "x"]},
        "Cmd": ["sh"],
        "Entrypoint": None,
        "Env": ["A=b"],
        "User": "u",
        "Labels": {"l": "m"},
    }


def test_what_is_given_goes_first_and_empty_values_say_nothing() -> None:
    """RT-156."""
    config = {"Cmd": ["sh"], "User": "u", "Env": ["A=1", "B=2"], "Labels": {"a": "1"}}
    given = {
        "Cmd": ["cat", "/world"],
        "User": "",
        "Env": ["B=3"],
        "Labels": {"b": "2"},
        "Tty": False,
    }
    assert merged_config(config, given) == {
        "Cmd": ["cat", "/world"],
        "User": "u",
        "Env": ["A=1", "B=3"],
        "Labels": {"a": "1", "b": "2"},
    }
