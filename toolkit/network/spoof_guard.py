# SPDX-License-Identifier: Apache-2.0
"""Keeps containers from speaking in another's name on a bridge (row S-84).

What comes out of a container's veth must carry the MAC and the addresses that
the container was given: in the frame, in IP, in ARP and in IPv6's neighbour
advertisements; and no container advertises itself as a router. The rules stand
in an nftables table of family ``bridge`` and are written once; a container is
three or four set elements, added in 0.2 ms.

On a host without nftables there is no guard (`NoGuard`): ebtables is not used.
A container then needs the capability NET_RAW taken away to be kept from this.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any, Final, Protocol

from toolkit.errors import FirewallError
from toolkit.network.nft_sets import key_of
from toolkit.network.rtnetlink import packed_mac

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address

    from toolkit.network.nft import Command, NftRunner
    from toolkit.network.nft_sets import Element

_SETS: Final = {
    "ports": "ifname",
    "macs": ["ifname", "ether_addr"],
    "sources": ["ifname", "ipv4_addr"],
    "sources6": ["ifname", "ipv6_addr"],
}
_BEFORE_EVERYTHING: Final = -310
_NEIGHBOUR_ADVERTISEMENT: Final = "nd-neighbor-advert"
_OF_ROUTERS: Final = {"nd-router-advert", "nd-redirect"}


class SetsWriter(Protocol):
    """Changes elements of sets in family ``bridge``; see `toolkit.network.nft_sets`."""

    def change(self, table: str, added: Iterable[Element], removed: Iterable[Element] = ()) -> None:
        """Add, then remove, in one transaction, or raise FirewallError."""


class SpoofGuard(Protocol):
    """Knows which link may send in whose name."""

    def admit(self, link: str, mac: str, addresses: Iterable[IPv4Address | IPv6Address]) -> None:
        """Let a link send as these, and as nobody else."""

    def dismiss(self, link: str) -> None:
        """Forget a link; one that is not known is as good."""

    def reset(self) -> None:
        """Write the rules anew, with those that are admitted."""

    def flush(self) -> None:
        """Remove everything of this instance."""

    def is_whole(self) -> bool:
        """Tell whether the rules are in the kernel as they were written."""


class NoGuard:
    """Guards nothing: the host has no nftables."""

    def admit(self, link: str, mac: str, addresses: Iterable[IPv4Address | IPv6Address]) -> None:
        """Do nothing."""

    def dismiss(self, link: str) -> None:
        """Do nothing."""

    def reset(self) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Do nothing."""

    def is_whole(self) -> bool:
        """Tell that nothing is missing."""
        return True


class LockedGuard:
    """A guard that threads may share."""

    def __init__(self, guard: SpoofGuard) -> None:
        self._guard = guard
        self._lock = threading.Lock()

    def admit(self, link: str, mac: str, addresses: Iterable[IPv4Address | IPv6Address]) -> None:
        """Let a link send as these, and as nobody else."""
        with self._lock:
            self._guard.admit(link, mac, addresses)

    def dismiss(self, link: str) -> None:
        """Forget a link."""
        with self._lock:
            self._guard.dismiss(link)

    def reset(self) -> None:
        """Write the rules anew, with those that are admitted."""
        with self._lock:
            self._guard.reset()

    def flush(self) -> None:
        """Remove everything of this instance."""
        with self._lock:
            self._guard.flush()

    def is_whole(self) -> bool:
        """Tell whether the rules are in the kernel as they were written."""
        with self._lock:
            return self._guard.is_whole()


class NftGuard:
    """The guard in nftables' family ``bridge``."""

    def __init__(self, instance: str, nft: NftRunner, sets: SetsWriter | None = None) -> None:
        """Guard an instance.

        Args:
            instance: Whose containers.
            nft: Writes all of the guard.
            sets: Writes what is elements of sets alone, if there is a quicker way.
        """
        self._nft = nft
        self._sets = sets
        self._table = f"toolkit_{instance}"
        self._admitted: dict[str, tuple[str, list[IPv4Address | IPv6Address]]] = {}
        self._is_written = False

    def admit(self, link: str, mac: str, addresses: Iterable[IPv4Address | IPv6Address]) -> None:
        """Let a link send as these, and as nobody else."""
        self.dismiss(link)
        seat = (mac, list(addresses))
        self._admitted[link] = seat
        try:
            if self._sets is not None and _is_plain(seat[1]):
                self._sets.change(self._table, _elements(link, *seat))
            else:
                self._nft.run(self._admission(link, *seat))
        except FirewallError:  # not written yet, or somebody flushed
            self._write_anew_with(link)
        self._is_written = True

    def _write_anew_with(self, link: str) -> None:
        try:
            self.reset()
        except FirewallError:
            del self._admitted[link]
            raise

    def dismiss(self, link: str) -> None:
        """Forget a link; one that is not known is as good."""
        seat = self._admitted.pop(link, None)
        if seat is None:
            return
        with suppress(FirewallError):  # without table there is nothing to forget
            self._take_back(link, *seat)

    def _take_back(self, link: str, mac: str, addresses: list[IPv4Address | IPv6Address]) -> None:
        """Delete an admission; what somebody flushed is put back first: else it is an error."""
        if self._sets is not None and _is_plain(addresses):
            elements = _elements(link, mac, addresses)
            self._sets.change(self._table, elements, elements)
            return
        added = self._admission(link, mac, addresses)
        gone = [
            {"delete": command["add"]}
            for command in reversed(added)
            if "rule" not in command["add"]
        ]
        self._nft.run([*added, *gone])

    def reset(self) -> None:
        """Write table, sets and rules anew, with those that are admitted."""
        table = {"table": {"family": "bridge", "name": self._table}}
        rules = self._rule_bodies()
        targets = {"map": self._named("targets", type="ifname", map="verdict")}
        hook = {"type": "filter", "hook": "prerouting", "prio": _BEFORE_EVERYTHING}
        chain = {"chain": self._named("prerouting", **hook, policy="accept")}
        self._nft.run(
            [
                {"add": table},
                {"delete": table},
                {"add": table},
                *({"add": {"set": self._named(name, type=kind)}} for name, kind in _SETS.items()),
                {"add": targets},
                {"add": chain},
                *({"add": {"rule": self._rule("prerouting", body)}} for body in rules),
                *self._admissions(),
            ]
        )
        self._is_written = True

    def flush(self) -> None:
        """Remove everything of this instance."""
        table = {"table": {"family": "bridge", "name": self._table}}
        self._nft.run([{"add": table}, {"delete": table}])
        self._admitted.clear()
        self._is_written = False

    def is_whole(self) -> bool:
        """Tell whether table, rules and every admitted link are there.

        Before the first admission nothing is written, and so nothing can be missing.
        """
        if not self._is_written:
            return True
        wanted = [next(iter(command["add"])) for command in self._admissions()]
        found = self._nft.list({"table": {"family": "bridge", "name": self._table}})
        rules = sum("rule" in entry for entry in found)
        bags = [entry.get("set") or entry.get("map") or {} for entry in found]
        elements = sum(len(bag.get("elem", ())) for bag in bags)
        return rules == len(self._rule_bodies()) + wanted.count(
            "rule"
        ) and elements == wanted.count("element")

    def _admissions(self) -> list[Command]:
        return [
            command
            for link, seat in self._admitted.items()
            for command in self._admission(link, *seat)
        ]

    def _admission(
        self, link: str, mac: str, addresses: list[IPv4Address | IPv6Address]
    ) -> list[Command]:
        sixes: list[IPv6Address] = [a for a in addresses if isinstance(a, IPv6Address)]
        commands = [
            self._element("ports", link),
            self._element("macs", {"concat": [link, mac]}),
            *(
                self._element("sources", {"concat": [link, str(address)]})
                for address in addresses
                if not isinstance(address, IPv6Address)
            ),
        ]
        if sixes:
            sixes.append(link_local_of(mac))
            commands += [self._element("sources6", {"concat": [link, str(a)]}) for a in sixes]
            commands += self._neighbour_chain(link, sixes)
        return commands

    def _neighbour_chain(self, link: str, addresses: list[IPv6Address]) -> list[Command]:
        """Return the commands that let a link advertise its own addresses, and no other."""
        chain = f"neighbour-{link}"
        target = {"payload": {"base": "th", "offset": 64, "len": 128}}
        own = (
            [_match(target, f"0x{int(address):032x}"), {"return": None}] for address in addresses
        )
        bodies = [*own, [_DROP]]
        return [
            {"add": {"chain": self._named(chain)}},
            *({"add": {"rule": self._rule(chain, body)}} for body in bodies),
            self._element("targets", [link, {"jump": {"target": chain}}]),
        ]

    def _rule_bodies(self) -> list[list[Command]]:
        kind = _payload("icmpv6", "type")
        by_link = {"vmap": {"key": _LINK, "data": "@targets"}}
        advertised = [_of_type("ip6"), _next_is_icmpv6()]
        return [
            [_match(_LINK, "@ports", "!="), {"accept": None}],
            [_unless_in("macs", _payload("ether", "saddr")), _DROP],
            [_of_type("arp"), _unless_in("macs", _payload("arp", "saddr ether")), _DROP],
            [_of_type("arp"), _unless_in("sources", _payload("arp", "saddr ip")), _DROP],
            [_of_type("ip"), _unless_in("sources", _payload("ip", "saddr")), _DROP],
            # Looking for an address that is taken has no source yet (RFC 4862, 5.4.2).
            [
                _of_type("ip6"),
                _match(_payload("ip6", "saddr"), "::", "!="),
                _unless_in("sources6", _payload("ip6", "saddr")),
                _DROP,
            ],
            [*advertised, _match(kind, {"set": sorted(_OF_ROUTERS)}), _DROP],
            [*advertised, _match(kind, _NEIGHBOUR_ADVERTISEMENT), by_link],
            [_match(_payload("ether", "type"), {"set": ["arp", "ip", "ip6"]}, "!="), _DROP],
        ]

    def _in_table(self, **fields: Any) -> Command:
        return {"family": "bridge", "table": self._table, **fields}

    def _named(self, name: str, **fields: Any) -> Command:
        return self._in_table(name=name, **fields)

    def _rule(self, chain: str, body: list[Command]) -> Command:
        return self._in_table(chain=chain, expr=body)

    def _element(self, name: str, value: Any) -> Command:
        return {"add": {"element": self._named(name, elem=[value])}}


_DROP: Final[Command] = {"drop": None}
_LINK: Final = {"meta": {"key": "iifname"}}


def _is_plain(addresses: Iterable[IPv4Address | IPv6Address]) -> bool:
    """Tell whether an admission is elements of sets alone."""
    return not any(isinstance(address, IPv6Address) for address in addresses)


def _elements(link: str, mac: str, addresses: Iterable[IPv4Address | IPv6Address]) -> list[Element]:
    """Return what a link is that has no IPv6: the same as `NftGuard._admission` says in JSON."""
    return [
        ("ports", key_of(link)),
        ("macs", key_of(link, packed_mac(mac))),
        *(("sources", key_of(link, address.packed)) for address in addresses),
    ]


def _match(left: Any, right: Any, operator: str = "==") -> Command:
    return {"match": {"op": operator, "left": left, "right": right}}


def _payload(protocol: str, field: str) -> Command:
    return {"payload": {"protocol": protocol, "field": field}}


def _unless_in(name: str, field: Command) -> Command:
    return _match({"concat": [_LINK, field]}, f"@{name}", "!=")


def _of_type(name: str) -> Command:
    return _match(_payload("ether", "type"), name)


def _next_is_icmpv6() -> Command:
    return _match({"meta": {"key": "l4proto"}}, "ipv6-icmp")


def link_local_of(mac: str) -> IPv6Address:
    """Return the IPv6 address that a link with this MAC makes up (RFC 4291, appendix A)."""
    octets = bytearray(packed_mac(mac))
    octets[0] ^= 2
    return IPv6Address(b"\xfe\x80" + bytes(6) + bytes(octets[:3]) + b"\xff\xfe" + bytes(octets[3:]))
