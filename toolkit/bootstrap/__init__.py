# SPDX-License-Identifier: Apache-2.0
"""First images, built on this machine and sent to an engine; no registry is asked.

Owns what is in them. How an image is kept is the engine's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from toolkit.bootstrap.busybox import BUSYBOX_CHANGES, find_static_busybox, packed_busybox_root
from toolkit.bootstrap.debian import DEBIAN_CHANGES, debian_root
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.client import Client

IMAGE_KINDS: Final = ("busybox", "debian")

__all__ = ["IMAGE_KINDS", "bootstrap_image"]


def bootstrap_image(  # what can be said about an image, by name
    client: Client,
    kind: str,
    *,
    reference: str = "",
    suite: str = "",
    mirror: str = "",
    packages: Sequence[str] = (),
    changes: Sequence[str] = (),
) -> str:
    """Build an image of a kind, give it to the engine, and return its id.

    Args:
        client: The engine.
        kind: ``busybox`` or ``debian``.
        reference: Its name; the kind's without.
        suite: Debian's release; this machine's without.
        mirror: Where packages come from.
        packages: Debian packages beside the minimal system.
        changes: Dockerfile lines over the kind's own configuration.

    Raises:
        InvalidRequestError: There is no such kind.
        ToolchainMissingError: The program that it is made with is not installed.
        ApiError: The engine refused it.
    """
    if kind not in IMAGE_KINDS:
        raise InvalidRequestError(f"kind {kind!r} of image: use {' or '.join(IMAGE_KINDS)}")
    name = reference or f"{kind}:latest"
    if kind == "busybox":
        with packed_busybox_root(find_static_busybox()) as archive:
            return client.images.import_tar(
                archive, reference=name, message="busybox", changes=[*BUSYBOX_CHANGES, *changes]
            )
    with debian_root(suite=suite, mirror=mirror, packages=packages) as archive:
        return client.images.import_tar(
            archive,
            reference=name,
            message=f"debian {suite}".strip(),
            changes=[*DEBIAN_CHANGES, *changes],
        )
