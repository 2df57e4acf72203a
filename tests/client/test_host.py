# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from toolkit.client import resolve_host
from toolkit.config import Instance
from toolkit.errors import InvalidRequestError


def test_the_option_wins_over_the_environment() -> None:
    host = resolve_host("unix:///a", {"TOOLKIT_HOST": "unix:///b", "DOCKER_HOST": "unix:///c"})
    assert (host.socket_path, host.source) == ("/a", "--host")


def test_our_variable_wins_over_dockers() -> None:
    host = resolve_host(None, {"TOOLKIT_HOST": "unix:///b", "DOCKER_HOST": "unix:///c"})
    assert (host.socket_path, host.source, host.is_default) == ("/b", "TOOLKIT_HOST", False)


def test_dockers_variable_is_honoured() -> None:
    assert resolve_host(None, {"DOCKER_HOST": "unix:///c"}).url == "unix:///c"


@pytest.mark.parametrize("name", ["toolkit", "ci-2"])
def test_the_default_is_the_socket_of_the_instance(name: str) -> None:
    host = resolve_host(None, {"TOOLKIT_INSTANCE": name})
    assert host.socket_path == str(Instance(name=name).socket_path)
    assert host.is_default


def test_nothing_said_is_the_default_instance() -> None:
    assert resolve_host(None, {}).socket_path == str(Instance().socket_path)


@pytest.mark.parametrize(
    "text", ["tcp://1.2.3.4:2375", "udp://127.0.0.1:4243", "relative", "unix://relative"]
)
def test_another_kind_of_address_is_refused(text: str) -> None:
    """RT-238, API-115: of 0.7.2's addresses only sockets are left, unchanged."""
    assert resolve_host("unix:///var/run/docker.sock", {}).url == "unix:///var/run/docker.sock"
    with pytest.raises(InvalidRequestError, match="unix://"):
        resolve_host(None, {"DOCKER_HOST": text})


@pytest.mark.parametrize("name", ["../etc", "Upper", "a" * 12])
def test_an_instance_name_cannot_leave_its_directory(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="TOOLKIT_INSTANCE"):
        resolve_host(None, {"TOOLKIT_INSTANCE": name})
