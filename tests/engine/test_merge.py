# SPDX-License-Identifier: Apache-2.0
"""What was asked for and what the image says, made one."""

from __future__ import annotations

import pytest

from toolkit.engine.merge import ImageDefaults, image_defaults, merged, merged_env, program_of
from toolkit.engine.model import ContainerSpec
from toolkit.errors import InvalidRequestError


def test_values_of_the_request_win_and_collections_are_joined() -> None:
    """RT-075, API-084, in today's form."""
    image = image_defaults(
        {
            "User": "daemon",
            "WorkingDir": "/srv",
            "Env": ["VAR1=1", "VAR2=2"],
            "ExposedPorts": {"1111/tcp": {}, "2222/tcp": {}},
            "Volumes": {"/test1": {}, "/test2": None},
            "Labels": {"a": "image", "b": "image"},
            "StopSignal": "SIGQUIT",
            "Cmd": ["run"],
        }
    )
    spec = ContainerSpec(
        image="x",
        env=("VAR2=3", "VAR3=3"),
        exposed_ports=("3333/tcp", "1111/tcp"),
        volumes=("/test3",),
        labels={"a": "asked"},
        user="bin",
    )
    result = merged(spec, image)
    assert result.env == ("VAR2=3", "VAR3=3", "VAR1=1")
    assert result.exposed_ports == ("3333/tcp", "1111/tcp", "2222/tcp")
    assert result.volumes == ("/test3", "/test1", "/test2")
    assert result.labels == {"a": "asked", "b": "image"}
    assert (result.user, result.working_dir, result.stop_signal) == ("bin", "/srv", "SIGQUIT")
    assert result.command == ("run",)


IMAGE = ImageDefaults(entrypoint=["/entry"], cmd=["-x"])


@pytest.mark.parametrize(
    ("entrypoint", "command", "words"),
    [
        (None, None, ("/entry", "-x")),
        (None, ("a",), ("/entry", "a")),
        (("/mine",), None, ("/mine",)),
        (("/mine",), ("a",), ("/mine", "a")),
        (("",), ("a",), ("a",)),
        ((), ("a",), ("a",)),
        ((), None, ("-x",)),
    ],
)
def test_entrypoint_and_command(
    entrypoint: tuple[str, ...] | None, command: tuple[str, ...] | None, words: tuple[str, ...]
) -> None:
    """RT-059, RT-060, rules 10.15 and 10.16."""
    spec = ContainerSpec(image="x", entrypoint=entrypoint, command=command)
    assert program_of(merged(spec, IMAGE)) == words


@pytest.mark.parametrize("image", [ImageDefaults(), ImageDefaults(cmd=[]), ImageDefaults(cmd=[""])])
def test_without_any_command_the_request_is_refused(image: ImageDefaults) -> None:
    with pytest.raises(InvalidRequestError, match="No command specified"):
        program_of(merged(ContainerSpec(image="x"), image))


def test_a_bare_name_hides_the_images_variable() -> None:
    assert merged_env(["FOO"], ["FOO=1", "BAR=2"]) == ("FOO", "BAR=2")


@pytest.mark.parametrize(
    "config",
    [
        {"Env": "A=1"},
        {"Env": [1]},
        {"Cmd": {"x": 1}},
        {"Volumes": ["/x"]},
        {"Labels": {"a": 1}},
        {"User": 0},
        {"StopTimeout": "soon"},
    ],
)
def test_an_image_config_of_the_wrong_shape_is_refused(config: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError, match="image config"):
        image_defaults(config)


def test_an_image_gives_no_privileges() -> None:
    """Row S-96."""
    image = image_defaults({"Cmd": ["x"], "Privileged": True, "HostConfig": {"Binds": ["/:/h"]}})
    assert merged(ContainerSpec(image="x"), image).host == ContainerSpec(image="x").host
