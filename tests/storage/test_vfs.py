# SPDX-License-Identifier: Apache-2.0
"""The driver vfs, without root."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.storage.contract import CONTAINER, DriverContract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolkit.storage.driver import RootfsSource
    from toolkit.storage.layers import LayerStore


class TestVfs(DriverContract):
    driver_name = "vfs"

    @contextmanager
    def shown(self, source: RootfsSource) -> Iterator[Path]:
        assert source.kind == "bind"
        yield Path(source.base_dir) / source.bind_dir

    def test_what_to_bind_is_relative_to_the_stores_directory(
        self, store: LayerStore, tmp_path: Path
    ) -> None:
        store.create_rw(CONTAINER, None)
        source = store.rootfs(CONTAINER)
        assert source.base_dir == str(tmp_path / "data/layers/vfs")
        assert source.bind_dir == f"rw/{CONTAINER}/root"
