# SPDX-License-Identifier: Apache-2.0
"""Who is called what on which network, and who may ask: the names alone, no wire, no sockets."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class NameRecord:
    """A container's place on one network.

    Attributes:
        names: Its name first, then aliases and its short id.
    """

    container: str
    names: tuple[str, ...]
    addresses: tuple[Address, ...]


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Whom a container asks.

    Attributes:
        networks: Ids of the networks that it asks, in order.
        resolvers: Asked for other names; none where no network leads outside (row S-88).
        private_names: What it alone calls others, aliases of links, to their names.
    """

    networks: tuple[str, ...]
    resolvers: tuple[Address, ...] = ()
    private_names: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Network:
    name: str
    records: dict[str, NameRecord] = field(default_factory=dict)
    by_name: dict[str, list[NameRecord]] = field(default_factory=dict)
    by_address: dict[Address, NameRecord] = field(default_factory=dict)

    def index(self) -> None:
        """Build what look-ups use; changes are rare, questions are not."""
        self.by_name = {}
        self.by_address = {}
        for record in self.records.values():
            for name in dict.fromkeys(plain.lower() for plain in record.names):
                self.by_name.setdefault(name, []).append(record)
            self.by_address |= dict.fromkeys(record.addresses, record)


@dataclass(frozen=True)
class _Seat:
    networks: tuple[str, ...]
    private_names: Mapping[str, str]


class NameTable:
    """Names of all networks, each visible to the containers that sit on it."""

    def __init__(self) -> None:
        self._networks: dict[str, _Network] = {}
        self._seats: dict[str, _Seat] = {}
        self._turn = 0

    def seat(
        self,
        container: str,
        networks: Iterable[str],
        private_names: Mapping[str, str] | None = None,
    ) -> None:
        """Say which networks a container asks, in order, and what it alone calls others.

        Args:
            container: Who asks.
            networks: Ids; the first that knows a name answers.
            private_names: Aliases of its links, to a name each.
        """
        lowered = {alias.lower(): name.lower() for alias, name in (private_names or {}).items()}
        self._seats[container] = _Seat(tuple(networks), lowered)

    def unseat(self, container: str) -> None:
        """Let a container ask nothing any more."""
        self._seats.pop(container, None)

    def publish(self, network: str, network_name: str, record: NameRecord) -> None:
        """Make a container known on a network, in the place of what was said of it before."""
        known = self._networks.setdefault(network, _Network(network_name))
        known.name = network_name
        known.records[record.container] = record
        known.index()

    def withdraw(self, network: str, container: str) -> None:
        """Make a container unknown on a network."""
        known = self._networks.get(network)
        if known is not None and known.records.pop(container, None) is not None:
            known.index()
            if not known.records:
                del self._networks[network]

    def published(self) -> dict[str, list[str]]:
        """Return the containers that are known, by network."""
        return {network: [*known.records] for network, known in self._networks.items()}

    def lookup(self, container: str, name: str) -> tuple[Address, ...] | None:
        """Return the addresses behind a name, another one first each time; None: not ours.

        Args:
            container: Who asks: it sees its own networks only.
            name: Without the dot at the end; a network's name may follow behind a dot.
        """
        seat = self._seats.get(container)
        if seat is None:
            return None
        name = name.lower()
        wanted = seat.private_names.get(name, name)
        for network in seat.networks:
            known = self._networks.get(network)
            if known is None:
                continue
            records = known.by_name.get(wanted)
            if records is None:
                records = known.by_name.get(wanted.removesuffix(f".{known.name.lower()}"))
            if records is not None:
                return self._in_turn(records)
        return None

    def reverse(self, container: str, address: Address) -> str | None:
        """Return ``name.network`` of an address on a container's networks; None: not ours."""
        seat = self._seats.get(container)
        for network in seat.networks if seat else ():
            known = self._networks.get(network)
            record = known.by_address.get(address) if known else None
            if known is not None and record is not None:
                return f"{record.names[0]}.{known.name}"
        return None

    def _in_turn(self, records: list[NameRecord]) -> tuple[Address, ...]:
        self._turn += 1
        first = self._turn % len(records)
        turned = records[first:] + records[:first]
        return tuple(dict.fromkeys(a for record in turned for a in record.addresses))
