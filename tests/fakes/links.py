# SPDX-License-Identifier: Apache-2.0
"""Links without a kernel: a network namespace in memory, and a guard that remembers."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING

from toolkit.errors import LinkError
from toolkit.network.interfaces import Link

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address, IPv6Address

    from toolkit.network.interfaces import VethPair
    from toolkit.network.rtnetlink import Address, Interface


class FakeNetworkStack:
    """A `NetworkStack` in memory.

    Attributes:
        by_index: Its links.
        inside: The other ends of veths, by the namespace's descriptor.
        fails: Name of a call that is to fail, and its errno.
    """

    def __init__(self) -> None:
        self.by_index: dict[int, Link] = {}
        self.inside: dict[int, VethPair] = {}
        self.forgotten: list[Address] = []
        self.settled: list[str] = []
        self.fails: tuple[str, int] = "", 0
        self._addresses: dict[int, list[Interface]] = {}
        self._last = 1

    def links(self) -> list[Link]:
        return list(self.by_index.values())

    def link(self, name: str) -> Link | None:
        return next((link for link in self.links() if link.name == name), None)

    def create_bridge(self, name: str, *, mac: str, mtu: int) -> None:
        self._check("create bridge", name)
        self._add(Link(index=0, name=name, kind="bridge", mac=mac, mtu=mtu))

    def create_veth(self, pair: VethPair) -> None:
        self._check("create veth", pair.name)
        self._add(
            Link(
                index=0, name=pair.name, kind="veth", alias=pair.alias,
                master=pair.bridge_index, mtu=pair.mtu, is_up=True,
            )
        )  # fmt: skip
        self.inside[pair.peer_netns_fd] = pair

    def delete_link(self, name: str, *, index: int = 0) -> None:
        link = self.by_index.get(index) if index else self.link(name)
        if link:
            del self.by_index[link.index]
            for port in self.links():
                if port.master == link.index:
                    self._change(port.index, master=0)

    def settle(self, name: str) -> bool:
        self.settled.append(name)
        return self.link(name) is not None

    def set_up(self, index: int) -> None:
        self._change(index, is_up=True)

    def set_down(self, index: int) -> None:
        self._change(index, is_up=False)

    def set_alias(self, index: int, alias: str) -> None:
        self._change(index, alias=alias)

    def set_master(self, index: int, bridge_index: int) -> None:
        self._change(index, master=bridge_index)

    def set_mtu(self, index: int, mtu: int) -> None:
        self._change(index, mtu=mtu)

    def rename(self, index: int, name: str) -> None:
        self._change(index, name=name)

    def add_address(self, index: int, interface: Interface) -> None:
        self._check("add address", str(interface), is_new=False)
        self._addresses.setdefault(index, []).append(interface)

    def delete_address(self, index: int, interface: Interface) -> None:
        self._addresses.get(index, []).remove(interface)

    def addresses(self, index: int) -> list[Interface]:
        return list(self._addresses.get(index, []))

    def forget_neighbour(self, index: int, address: Address) -> None:
        assert index in self.by_index
        self.forgotten.append(address)

    def _check(self, call: str, name: str, *, is_new: bool = True) -> None:
        if self.fails[0] == call:
            raise LinkError(call, name, self.fails[1])
        if is_new and self.link(name):
            raise LinkError(call, name, errno.EEXIST)

    def _add(self, link: Link) -> None:
        self._last += 1
        self.by_index[self._last] = replace(link, index=self._last)

    def _change(self, index: int, **changes: object) -> None:
        self.by_index[index] = replace(self.by_index[index], **changes)  # type: ignore[arg-type]  # fields of Link


class FakeGuard:
    """A `SpoofGuard` that remembers who is admitted."""

    def __init__(self) -> None:
        self.admitted: dict[str, tuple[str, list[IPv4Address | IPv6Address]]] = {}

    def admit(self, link: str, mac: str, addresses: Iterable[IPv4Address | IPv6Address]) -> None:
        self.admitted[link] = mac, list(addresses)

    def dismiss(self, link: str) -> None:
        self.admitted.pop(link, None)

    def reset(self) -> None:
        """Do nothing: nothing was lost."""

    def flush(self) -> None:
        self.admitted.clear()

    def is_whole(self) -> bool:
        return True
