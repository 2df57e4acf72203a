# SPDX-License-Identifier: Apache-2.0
"""First images, built on this machine and sent to an engine; no registry is asked.

Owns what is in them. How an image is kept is the engine's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from toolkit.bootstrap.busybox import BUSYBOX_CHANGES, find_static_busybox, packed_busybox_root
from toolkit.bootstrap.debian import DEBIAN_CHANGES, debian_root

if TYPE_CHECKING:
    from toolkit.client import Client

IMAGE_KINDS: Final = ("busybox", "debian")

__all__ = ["IMAGE_KINDS", "bootstrap_image"]


def bootstrap_image(
    client: Client, kind: str, *, reference: str = "", suite: str = "", mirror: str = ""
) -> str:
    """Build an image of a kind, give it to the engine, and return its id.

    Raises:
        ToolchainMissingError: The program that it is made with is not installed.
        ApiError: The engine refused it.
    """
    name = reference or f"{kind}:latest"
    if kind == "busybox":
        with packed_busybox_root(find_static_busybox()) as archive:
            return client.images.import_tar(
                archive, reference=name, message="busybox", changes=BUSYBOX_CHANGES
            )
    with debian_root(suite=suite, mirror=mirror) as archive:
        return client.images.import_tar(
            archive, reference=name, message=f"debian {suite}".strip(), changes=DEBIAN_CHANGES
        )
