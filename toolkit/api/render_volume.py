# SPDX-License-Identifier: Apache-2.0
"""Volumes as docker shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.api.times import rfc3339_nano

if TYPE_CHECKING:
    from toolkit.engine.volumes import Volume


def volume_object(volume: Volume) -> dict[str, Any]:
    """Return a volume as lists and inspect show it."""
    return {
        "Name": volume.name,
        "Driver": "local",
        "Mountpoint": volume.place,
        "CreatedAt": rfc3339_nano(volume.created.replace(microsecond=0)),
        "Labels": volume.labels or None,
        "Scope": "local",
        "Options": volume.options or None,
    }
