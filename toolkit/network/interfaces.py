# SPDX-License-Identifier: Apache-2.0
"""Network interfaces: as the kernel lists them, and what a veth is to become."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Link:
    """A network interface, as the kernel lists it.

    Attributes:
        kind: ``bridge``, ``veth``, or empty for hardware.
        alias: The text that whoever made it left on it.
        master: Index of the bridge that it is plugged into; 0 for none.
    """

    index: int
    name: str
    kind: str = ""
    alias: str = ""
    mac: str = ""
    mtu: int = 0
    master: int = 0
    is_up: bool = False


@dataclass(frozen=True, kw_only=True)
class VethPair:
    """What a veth is to become: our end here, the other born in another namespace.

    Attributes:
        hairpin: The bridge may send frames back to us: for a container that asks for
            its own published port, where packets on a bridge pass the firewall.
    """

    name: str
    bridge_index: int
    alias: str
    peer_name: str
    peer_mac: str
    peer_netns_fd: int
    mtu: int
    hairpin: bool = True
