# SPDX-License-Identifier: Apache-2.0
"""A registry that does as it is told, and a store to pull into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.registry import FakeRegistry
from tests.storage.archives import archive, member
from toolkit.images.references import Reference
from toolkit.images.registry.registries import Registries
from toolkit.images.registry.settings import RegistrySettings
from toolkit.images.store import ImageStore
from toolkit.storage.layers import LayerStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from toolkit.images.image import Image
    from toolkit.images.progress import ProgressMessage

QUICK: dict[str, Any] = {
    "first_pause_seconds": 0.01,
    "longest_pause_seconds": 0.02,
    "read_seconds": 2.0,
    "attempts": 3,
}


@dataclass
class Shelf:
    """An instance's images, without an engine."""

    data_dir: Path
    options: dict[str, Any] = field(default_factory=dict)
    told: list[ProgressMessage] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.layers = LayerStore(self.data_dir, "vfs")
        self.images = ImageStore(self.data_dir, self.layers)
        settings = RegistrySettings(**{**QUICK, **self.options})
        self.registries = Registries(self.data_dir, self.images, self.layers, settings)

    def pull(self, text: str, **options: Any) -> Image:
        return self.registries.pull(Reference.parse(text), self.told.append, **options)[0]

    def push(self, text: str, **options: Any) -> list[str]:
        return self.registries.push(Reference.parse(text), self.told.append, **options)

    @property
    def statuses(self) -> list[str]:
        return [message.status for message in self.told]

    def of(self, shown: str) -> list[str]:
        """Return what was told of one layer, each word once."""
        return list(dict.fromkeys(one.status for one in self.told if one.id == shown))

    @property
    def downloads(self) -> list[Path]:
        return list((self.data_dir / "downloads").iterdir())

    @property
    def is_clean(self) -> bool:
        """Whether nothing at all is here."""
        staged = list((self.data_dir / "layers/vfs/staging").iterdir())
        return not (self.images.list() or self.layers.layers() or staged)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as fake:
        yield fake


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    opened = Shelf(tmp_path)
    yield opened
    opened.registries.close()


def layer(name: str, size: int = 100) -> bytes:
    """Return a layer's archive with one file."""
    return archive(member(name, name.encode()[:1] * size)).getvalue()


def big_layer(name: str, size: int = 300_000) -> bytes:
    return layer(name, size)
