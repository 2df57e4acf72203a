# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import InvalidRequestError
from toolkit.vm.settings import MachineSettings, Places


def test_roots_places_are_the_fhs_ones() -> None:
    places = Places.of({"HOME": "/root"}, is_root=True)
    assert places.state_dir == Path("/var/lib/container-toolkit")
    assert places.runtime_dir == Path("/run/container-toolkit")


def test_anybody_elses_places_are_xdgs() -> None:
    environ = {"HOME": "/h", "XDG_CACHE_HOME": "/c", "XDG_RUNTIME_DIR": "/r"}
    places = Places.of(environ, is_root=False)
    assert places.state_dir == Path("/h/.local/state/container-toolkit")
    assert places.cache_dir == Path("/c/container-toolkit")
    assert places.runtime_dir == Path("/r/container-toolkit")


def test_without_a_runtime_directory_sockets_are_in_the_temporary_one() -> None:
    places = Places.of({"HOME": "/h", "TMPDIR": "/var/folders/x"}, is_root=False)
    assert places.runtime_dir.parent == Path("/var/folders/x")


def test_the_environment_is_read_and_arguments_go_before_it() -> None:
    environ = {
        "TOOLKIT_INSTANCE": "tku",
        "TOOLKIT_MACHINES": "3",
        "TOOLKIT_MEMORY": "4096",
        "TOOLKIT_CGROUPS": "v1",
    }
    settings = MachineSettings.from_environment(environ, count=2)
    assert (settings.instance_name, settings.count, settings.memory_mib) == ("tku", 2, 4096)
    assert settings.cgroups == "v1"
    assert settings.machine_names == ("machine1", "machine2")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOOLKIT_MACHINES", "many"),
        ("TOOLKIT_MACHINES", "0"),
        ("TOOLKIT_MACHINES", "17"),
        ("TOOLKIT_CGROUPS", "v3"),
        ("TOOLKIT_INSTANCE", "No Name"),
        ("TOOLKIT_CPUS", "-1"),
    ],
)
def test_what_cannot_be_used_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidRequestError):
        MachineSettings.from_environment({name: value})
