# SPDX-License-Identifier: Apache-2.0
"""What links are called, so that they are found again without our memory.

A name has room for 15 bytes, and begins with the instance:

- ``<instance>0`` is the bridge of the default network;
- ``<instance><LETTERS>`` is the bridge of another network, or our end of a
  container's veth. The letters fill the name up and are derived from the ids.
  No instance has capital letters, so the name says whose the link is.

Who it belongs to in full stands in the link's alias (``ip link`` shows it):
``toolkit:<instance>:<network id>`` and, for a veth, ``:<container id>``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

    from toolkit.network.interfaces import Link

LONGEST_NAME: Final = 15
_PREFIX: Final = "toolkit"
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class LinkOwner:
    """Who a link was made for; *container_id* is empty for a bridge."""

    instance: str
    network_id: str
    container_id: str = ""

    def __post_init__(self) -> None:
        for text in (self.network_id, self.container_id or "0"):
            if not _ID.fullmatch(text):
                raise ValueError(f"no id: {text!r}")

    @property
    def alias(self) -> str:
        """What is left on the link."""
        parts = (_PREFIX, self.instance, self.network_id, self.container_id)
        return ":".join(part for part in parts if part)

    @classmethod
    def of(cls, alias: str) -> Self | None:
        """Return who an alias names; None for a text that is not ours."""
        prefix, *parts = alias.split(":")
        if prefix != _PREFIX or len(parts) not in {2, 3}:
            return None
        try:
            return cls(*parts)
        except ValueError:
            return None

    def link_name(self, attempt: int = 0) -> str:
        """Return the derived name; another *attempt*, where two ids have met in one."""
        letters = LONGEST_NAME - len(self.instance)
        digest = hashlib.sha256(f"{self.alias}#{attempt}".encode()).digest()
        return self.instance + "".join(chr(65 + byte % 26) for byte in digest[:letters])


def belongs_to(instance: str, link: Link) -> bool:
    """Tell whether an instance made a link: by its alias, or by its name alone.

    A veth has no alias yet when the engine dies in the 0.1 ms between making it
    and leaving the alias.
    """
    owner = LinkOwner.of(link.alias)
    if owner:
        return owner.instance == instance
    letters = link.name.removeprefix(instance)
    is_derived = len(link.name) == LONGEST_NAME and letters.isalpha() and letters.isupper()
    return link.name.startswith(instance) and (letters == "0" or is_derived)


def find_leftovers(
    instance: str, links: Iterable[Link], *, networks: set[str], containers: set[tuple[str, str]]
) -> list[Link]:
    """Return the links of an instance that nobody known should have.

    Args:
        instance: Whose links.
        links: Every link of the namespace.
        networks: Ids of the networks that there are.
        containers: Pairs of network and container that are connected.
    """
    return [
        link
        for link in links
        if belongs_to(instance, link)
        and not _is_known(LinkOwner.of(link.alias), networks, containers)
    ]


def _is_known(
    owner: LinkOwner | None, networks: set[str], containers: set[tuple[str, str]]
) -> bool:
    if owner is None:
        return False
    if owner.container_id:
        return (owner.network_id, owner.container_id) in containers
    return owner.network_id in networks
