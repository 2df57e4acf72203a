# SPDX-License-Identifier: Apache-2.0
"""The compiled filters of an instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.config import Instance
from toolkit.engine import assembly
from toolkit.engine.assembly import FilterPrograms, read_boot_id
from toolkit.errors import KernelFeatureMissingError

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[FilterPrograms, list[str]]:
    compiled: list[str] = []

    def compile_filter(profile: dict[str, object], cache_dir: Path) -> bytes:
        assert cache_dir == tmp_path / "data" / "seccomp"
        compiled.append(str(profile))
        return str(profile).encode()

    monkeypatch.setattr(assembly, "is_available", lambda: True)
    monkeypatch.setattr(assembly, "compile_filter", compile_filter)
    (tmp_path / "run").mkdir()
    instance = Instance(name="test", data_dir=tmp_path / "data", run_dir=tmp_path / "run")
    return FilterPrograms(instance), compiled


def test_each_set_of_capabilities_is_compiled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filters, compiled = programs(tmp_path, monkeypatch)
    admin = frozenset({"CAP_SYS_ADMIN"})
    paths = [filters.path_for(kept) for kept in (frozenset(), admin, frozenset(), admin)]
    assert paths[:2] == paths[2:]
    assert len(set(paths)) == len(compiled) == 2
    assert (tmp_path / "run" / "seccomp").stat().st_mode & 0o777 == 0o700


def test_a_host_without_the_library_runs_without_filters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filters, _ = programs(tmp_path, monkeypatch)

    def missing(*_: object) -> bytes:
        raise KernelFeatureMissingError("libseccomp.so.2 was not found")

    monkeypatch.setattr(assembly, "compile_filter", missing)
    assert filters.path_for(frozenset()) == ""


def test_a_kernel_without_filters_gets_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filters, compiled = programs(tmp_path, monkeypatch)
    monkeypatch.setattr(assembly, "is_available", lambda: False)
    assert filters.path_for(frozenset()) == ""
    assert compiled == []


def test_the_boot_has_an_id() -> None:
    assert len(read_boot_id()) == 36
