# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from toolkit.errors import MachineError
from toolkit.vm.memory import Memory
from toolkit.vm.settings import MachineSettings, Places

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path) -> MachineSettings:
    places = Places(state_dir=tmp_path, cache_dir=tmp_path, runtime_dir=tmp_path)
    return MachineSettings(provider="libvirt", count=2, memory_mib=4096, places=places)


def test_without_an_up_there_is_no_memory(tmp_path: Path) -> None:
    assert Memory.read(tmp_path) is None


def test_what_is_written_is_read_again(tmp_path: Path, settings: MachineSettings) -> None:
    memory = Memory.of(settings, {"TOOLKIT_BOX": "b"})
    memory.write(tmp_path / "deep")
    assert Memory.read(tmp_path / "deep") == memory


def test_later_commands_need_not_say_what_the_machines_are(settings: MachineSettings) -> None:
    memory = Memory.of(settings, {})
    bare = replace(settings, provider="", count=1, memory_mib=2048)
    assert memory.applied_to(bare) == settings


def test_more_machines_may_be_asked_for_later(settings: MachineSettings) -> None:
    assert Memory.of(settings, {}).applied_to(replace(settings, count=3)).count == 3


@pytest.mark.parametrize("change", [{"provider": "qemu"}, {"cgroups": "v1"}])
def test_what_a_machine_cannot_become_is_refused(
    settings: MachineSettings, change: dict[str, str]
) -> None:
    memory = Memory.of(settings, {})
    with pytest.raises(MachineError, match="invoke destroy"):
        memory.applied_to(replace(settings, **change))  # type: ignore[arg-type]


def test_a_damaged_file_says_which(tmp_path: Path) -> None:
    (tmp_path / "machines.json").write_text('{"provider": 1}')
    with pytest.raises(MachineError, match=r"machines\.json cannot be read"):
        Memory.read(tmp_path)
