# SPDX-License-Identifier: Apache-2.0
"""What of the layer store does not depend on the driver."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

import pytest

from tests.storage.archives import archive, member
from toolkit.errors import InvalidRequestError, StorageError
from toolkit.storage import layers
from toolkit.storage.layer import chain_id_of
from toolkit.storage.layers import LayerStore

if TYPE_CHECKING:
    from pathlib import Path


def test_an_unknown_driver_is_refused(tmp_path: Path) -> None:
    """Rule 9.12."""
    with pytest.raises(InvalidRequestError, match="No such driver: aufs"):
        LayerStore(tmp_path, "aufs")


def test_chain_ids_are_those_of_the_specification() -> None:
    base = chain_id_of(None, "sha256:" + "a" * 64)
    assert base == "sha256:" + "a" * 64
    assert chain_id_of(base, "sha256:" + "b" * 64) == (
        "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c"
    )


def test_a_stack_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 10.13."""
    monkeypatch.setattr(layers, "MOST_LAYERS", 2)
    store = LayerStore(tmp_path, "vfs")
    top = store.unpack(archive(member("a")), None).chain_id
    top = store.unpack(archive(member("b")), top).chain_id
    with pytest.raises(StorageError, match="at most 2 layers"):
        store.unpack(archive(member("c")), top)


def test_the_same_layer_from_many_threads_is_kept_once(tmp_path: Path) -> None:
    store = LayerStore(tmp_path, "vfs")
    content = archive(*(member(f"f{number}") for number in range(50)), member("end")).getvalue()

    def unpack() -> None:
        store.unpack(io.BytesIO(content), None)

    threads = [threading.Thread(target=unpack) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.layers()) == 1
    assert list((tmp_path / "layers/vfs/staging").iterdir()) == []
