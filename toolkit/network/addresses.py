# SPDX-License-Identifier: Apache-2.0
"""The addresses of one network: which container gets which (rules 6.15-6.19).

Handed out round robin, so that one that was released is taken last: whoever
still knows its old holder has time to forget. The pool is memory only. The store
knows who holds what; an engine that starts gives that to the pool, and so no
address is given twice after a crash.
"""

from __future__ import annotations

import threading
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from toolkit.errors import AddressInUseError, AddressPoolExhaustedError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class AddressPool:
    """The addresses of a subnet, IPv4 or IPv6; threads may share it.

    Attributes:
        subnet: The network.
        gateway: The bridge's address, never handed out.
    """

    def __init__(
        self,
        subnet: Network,
        gateway: Address,
        *,
        allocatable: Network | None = None,
        taken: Iterable[Address] = (),
        last: Address | None = None,
    ) -> None:
        """Take over a subnet.

        Args:
            subnet: The network.
            gateway: The bridge's address.
            allocatable: The part to hand out addresses from (``--fixed-cidr``, ``--ip-range``).
            taken: What the store says is held.
            last: What was handed out last; the next comes behind it.
        """
        self.subnet = subnet
        self.gateway = gateway
        self._make = type(subnet.network_address)
        base = int(subnet.network_address)
        source = allocatable or subnet
        if source.version != subnet.version or not _contains(subnet, source):
            raise InvalidRequestError(f"address range {source} is not in subnet {subnet}")
        offset = int(source.network_address) - base
        self._first = max(1, offset)
        self._last = min(subnet.num_addresses - 2, offset + source.num_addresses - 1)
        self._base = base
        # Rule 6.19: network address + 1 is never handed out, whoever the gateway is.
        self._skipped = {int(gateway) - base, 1}
        self._taken = {int(address) - base for address in taken if address in subnet}
        self._cursor = self._wrapped(int(last) - base + 1) if last else self._first
        self._lock = threading.Lock()

    def reserve(self, wanted: Address | None = None) -> Address:
        """Return an address nobody holds, and hold it; *wanted* asks for a certain one.

        Raises:
            AddressPoolExhaustedError: All are held.
            AddressInUseError: The wanted one is.
            InvalidRequestError: The wanted one is not of this subnet.
        """
        with self._lock:
            return self._next() if wanted is None else self._reserve(wanted)

    def release(self, address: Address) -> None:
        """Let go of an address; one that is not held is as good."""
        position = int(address) - self._base
        with self._lock:
            if position not in self._taken:
                return
            if self._is_exhausted():
                self._cursor = self._wrapped(position)
            self._taken.remove(position)

    @property
    def last(self) -> Address:
        """What was handed out last, or would have been: the next comes behind it."""
        with self._lock:
            position = self._cursor - 1
        return self._make(self._base + (position if position >= self._first else self._last))

    def taken(self) -> frozenset[Address]:
        """Return the addresses that are held."""
        with self._lock:
            return frozenset(self._make(self._base + position) for position in self._taken)

    def _reserve(self, wanted: Address) -> Address:
        position = int(wanted) - self._base
        if wanted not in self.subnet or not 0 < position <= self.subnet.num_addresses - 2:
            raise InvalidRequestError(f"no address for a container in {self.subnet}: {wanted}")
        if wanted == self.gateway or position in self._taken:
            raise AddressInUseError(str(wanted))
        self._taken.add(position)
        return wanted

    def _next(self) -> Address:
        if self._is_exhausted():
            raise AddressPoolExhaustedError(str(self.subnet))
        while True:
            position = self._cursor
            self._cursor = self._wrapped(position + 1)
            if position not in self._taken and position not in self._skipped:
                self._taken.add(position)
                return self._make(self._base + position)

    def _is_exhausted(self) -> bool:
        held = self._taken | self._skipped
        inside = sum(1 for position in held if self._first <= position <= self._last)
        return inside >= self._last - self._first + 1

    def _wrapped(self, position: int) -> int:
        return position if self._first <= position <= self._last else self._first


def _contains(subnet: Network, part: Network) -> bool:
    return part.network_address in subnet and part.broadcast_address in subnet


def mac_of(address: IPv4Address) -> str:
    """Return docker's MAC for an address: ``02:42`` and its four bytes."""
    return "02:42:" + address.packed.hex(":")
