# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.errors import MachineError
from toolkit.vm import box as box_module
from toolkit.vm.box import BOX_NAME, Box
from toolkit.vm.settings import REPOSITORY, MachineSettings, Places

if TYPE_CHECKING:
    from collections.abc import Sequence


class FakePrograms:
    """mmdebstrap, mke2fs and qemu-img: make the files that the next step reads."""

    def __init__(self) -> None:
        self.ran: list[list[str]] = []

    def run(self, argv: Sequence[str], **_: Any) -> str:
        self.ran.append(list(argv))
        if argv[0] == "mmdebstrap":
            boot = Path(argv[-1]) / "boot"
            boot.mkdir(parents=True)
            (boot / "vmlinuz-6.1.0").write_bytes(b"kernel")
            (boot / "initrd.img-6.1.0").write_bytes(b"initrd")
        if argv[0] == "qemu-img":
            Path(argv[-1]).write_bytes(b"disk")
        return ""


@pytest.fixture
def programs() -> FakePrograms:
    return FakePrograms()


@pytest.fixture
def box(tmp_path: Path, programs: FakePrograms, monkeypatch: pytest.MonkeyPatch) -> Box:
    places = Places(state_dir=tmp_path, cache_dir=tmp_path / "cache", runtime_dir=tmp_path)
    monkeypatch.setattr("toolkit.vm.box.os.geteuid", lambda: 0)
    monkeypatch.setattr("toolkit.vm.box.shutil.which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(Box, "_login_key", lambda *_: tmp_path / "vagrant.pub")
    return Box(
        settings=MachineSettings(places=places),
        machine="x86_64",
        say=lambda _: None,
        run=programs.run,
    )


def test_the_box_has_what_vagrant_and_a_direct_start_need(box: Box) -> None:
    catalogue = json.loads(box.build().read_text())
    assert catalogue["name"] == BOX_NAME
    assert catalogue["versions"][0]["version"] == box.version
    with tarfile.open(box.directory / "box.tar") as archive:
        assert archive.getnames() == list(box_module._PARTS)
        metadata = archive.extractfile("metadata.json")
        assert metadata is not None
        assert json.load(metadata)["provider"] == "libvirt"


def test_equal_builds_are_equal_bytes(box: Box) -> None:
    box.build()
    first = (box.directory / "box.tar").read_bytes()
    box.catalogue.unlink()
    box.build()
    assert (box.directory / "box.tar").read_bytes() == first


def test_a_box_that_is_there_is_not_built_again(box: Box, programs: FakePrograms) -> None:
    box.build()
    before = len(programs.ran)
    assert box.build() == box.catalogue
    assert len(programs.ran) == before


def test_a_new_box_takes_the_place_of_older_ones(box: Box) -> None:
    old = box.directory.parent / "1.0.1"
    old.mkdir(parents=True)
    box.build()
    assert [path.name for path in box.directory.parent.iterdir()] == [box.version]


def test_a_step_that_fails_leaves_nothing(box: Box) -> None:
    def fails(argv: Sequence[str], **_: Any) -> str:
        raise MachineError(f"{argv[0]} failed")

    with pytest.raises(MachineError):
        replace(box, run=fails).build()
    assert list(box.directory.parent.iterdir()) == []


def test_the_tree_is_debian_with_the_packages_of_the_lists(
    box: Box, programs: FakePrograms
) -> None:
    box.build()
    command = next(argv for argv in programs.ran if argv[0] == "mmdebstrap")
    included = next(word for word in command if word.startswith("--include="))
    assert {"lxc", "systemd-sysv", "openssh-server"} <= set(included[10:].split(","))
    assert "linux-image-cloud-amd64" in included


def test_wheels_are_those_of_the_boxs_python(box: Box, programs: FakePrograms) -> None:
    box.build()
    command = next(argv for argv in programs.ran if "download" in argv)
    assert "--python-version=3.11" in command
    assert any(word.startswith("msgspec") for word in command)
    assert not any(word.startswith("container-toolkit") for word in command)


def test_the_version_follows_the_recipe(box: Box, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    scripts = repository / "vagrant" / "box"
    scripts.mkdir(parents=True)
    (repository / "pyproject.toml").write_bytes((REPOSITORY / "pyproject.toml").read_bytes())
    other = replace(box, settings=replace(box.settings, repository=repository))
    (scripts / "customize.sh").write_text("one")
    first = other.version
    (scripts / "customize.sh").write_text("two")
    assert other.version != first
    assert replace(other, machine="aarch64").version != other.version


def test_other_hardware_is_refused(box: Box) -> None:
    with pytest.raises(MachineError, match="riscv64"):
        _ = replace(box, machine="riscv64").architecture


def test_without_root_it_says_why(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.vm.box.os.geteuid", lambda: 1000)
    with pytest.raises(MachineError, match="run as root"):
        box.build()


def test_missing_programs_are_named_by_their_packages(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.vm.box.shutil.which", lambda _: None)
    with pytest.raises(MachineError, match="apt-get install mmdebstrap e2fsprogs qemu-utils"):
        box.build()
