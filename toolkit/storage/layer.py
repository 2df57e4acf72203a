# SPDX-License-Identifier: Apache-2.0
"""What a layer is, how it is named, and which layers there are: values, no files."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NewType

from toolkit.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable

ChainId = NewType("ChainId", str)

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


class LayerNotFoundError(StorageError):
    """A layer or a container's own directory does not exist."""


class LayerInUseError(StorageError):
    """A layer cannot be removed: a layer or a container stands on it."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer on those below it.

    Attributes:
        chain_id: Names the layer together with all below it.
        diff_id: Digest of the layer's own uncompressed archive.
        size_bytes: Of the files in that archive.
        number: Of its directory.
        hides_all_below: Its root is opaque.
    """

    chain_id: ChainId
    diff_id: str
    parent: ChainId | None
    size_bytes: int
    number: int
    hides_all_below: bool = False


def chain_id_of(parent: ChainId | None, diff_id: str) -> ChainId:
    """Return the id of a layer on a parent, as the OCI image specification defines it."""
    if parent is None:
        return ChainId(diff_id)
    return ChainId(f"sha256:{hashlib.sha256(f'{parent} {diff_id}'.encode()).hexdigest()}")


def chain_id_or_none(text: str) -> ChainId | None:
    """Return a text as a chain id; None for any other text."""
    return ChainId(text) if _DIGEST.fullmatch(text) else None


@dataclass
class LayerIndex:
    """Which layers there are and what stands on them; the store guards it with its lock.

    Attributes:
        layers: By chain id.
        inits: Directory numbers of the init layers, by the top that they are for.
        tops: What each container stands on.
        held: Layers that are being used without anything on disk that says so.
    """

    layers: dict[ChainId, Layer] = field(default_factory=dict)
    inits: dict[ChainId | None, int] = field(default_factory=dict)
    tops: dict[str, ChainId | None] = field(default_factory=dict)
    held: Counter[ChainId] = field(default_factory=Counter)

    def get(self, chain_id: ChainId) -> Layer:
        """Return a layer.

        Raises:
            LayerNotFoundError: There is none.
        """
        try:
            return self.layers[chain_id]
        except KeyError:
            raise LayerNotFoundError(f"No such layer: {chain_id}") from None

    def ancestry(self, top: ChainId | None) -> list[Layer]:
        """Return a layer and all below it, topmost first.

        Raises:
            LayerNotFoundError: One of them is missing.
        """
        found: list[Layer] = []
        while top is not None:
            found.append(self.get(top))
            top = found[-1].parent
        return found

    def visible(self, top: ChainId | None) -> list[Layer]:
        """Return the layers that are seen at all, topmost first."""
        seen = []
        for layer in self.ancestry(top):
            seen.append(layer)
            if layer.hides_all_below:
                break
        return seen

    def hold(self, chain_id: ChainId | None) -> None:
        """Keep a layer from being collected until it is settled as often."""
        if chain_id is not None:
            self.held[chain_id] += 1

    def settle(self, chain_id: ChainId | None) -> None:
        """Take one hold back."""
        if chain_id is not None:
            self.held[chain_id] -= 1
            if self.held[chain_id] <= 0:
                del self.held[chain_id]

    def is_used(self, chain_id: ChainId) -> bool:
        """Tell whether a layer, a container or a hold stands on a layer directly."""
        return (
            chain_id in self.held
            or chain_id in self.tops.values()
            or any(layer.parent == chain_id for layer in self.layers.values())
        )

    def unneeded(self, keep: Iterable[ChainId]) -> list[Layer]:
        """Return the layers below no top in *keep*, no container and no hold; newest first."""
        needed = set()
        for top in (*keep, *self.held, *self.tops.values()):
            while top in self.layers and top not in needed:
                needed.add(top)
                top = self.layers[top].parent  # noqa: PLW2901 - walks down from it
        left = [layer for layer in self.layers.values() if layer.chain_id not in needed]
        return sorted(left, key=lambda layer: layer.number, reverse=True)
