# SPDX-License-Identifier: Apache-2.0
"""Which ports of the host are given to which container (rules 6.20 to 6.23, 6.33 to 6.37).

Owns the numbers, nothing else: sockets are `toolkit.network.port_sockets`'s, rules of the
firewall `toolkit.network.firewall`'s, what lasts the store's, which says at construction what is
held. TCP and UDP are separate throughout (defects D-8 and D-12 are not kept).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from itertools import chain
from typing import TYPE_CHECKING, Final, Literal

from toolkit.errors import AllPortsTakenError, InvalidPortError, PortInUseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Protocol = Literal["tcp", "udp"]
HostAddress = IPv4Address | IPv6Address

PROTOCOLS: Final[tuple[Protocol, ...]] = ("tcp", "udp")
FIRST_RANDOM_PORT: Final = 49153
LAST_RANDOM_PORT: Final = 65534  # 0.7.2's generator never gives 65535
LAST_PORT: Final = 65535
_EVERY_IPV4: Final = IPv4Address(0)


@dataclass(frozen=True)
class HostPort:
    """A port of the host: protocol, address, number."""

    protocol: Protocol
    address: HostAddress
    port: int

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise InvalidPortError(f"invalid protocol {self.protocol!r:.80}: publish tcp or udp")
        if not 1 <= self.port <= LAST_PORT:
            raise InvalidPortError(f"invalid host port {self.port}: use 1 to {LAST_PORT}")


@dataclass(frozen=True)
class PortWish:
    """What a container would like to have published.

    Attributes:
        container_port: The port inside.
        first: The lowest port of the host that will do; 0 for any of the random ones.
        last: The highest one; 0 for *first* alone.
        is_everywhere: No address was named: IPv6 will do beside IPv4.
    """

    container_port: int
    protocol: Protocol
    address: HostAddress
    first: int = 0
    last: int = 0
    is_everywhere: bool = False

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise InvalidPortError(f"invalid protocol {self.protocol!r:.80}: publish tcp or udp")
        last = self.last or self.first
        if not 1 <= self.container_port <= LAST_PORT:
            raise InvalidPortError(f"invalid container port {self.container_port}")
        if not 0 <= self.first <= last <= LAST_PORT or (last and not self.first):
            raise InvalidPortError(f"invalid host port {self.first}-{last}")


@dataclass(frozen=True)
class PublishedPort:
    """A port of the host that leads to a port of a container."""

    container_port: int
    host: HostPort


class PortAllocator:
    """Gives ports of the host to containers; safe in threads.

    Args:
        held: What containers hold already, by the store's word.
    """

    def __init__(self, held: Mapping[HostPort, str] | None = None) -> None:
        self._holders: dict[tuple[Protocol, int], dict[HostAddress, str]] = {}
        self._cursor: dict[Protocol, int] = dict.fromkeys(PROTOCOLS, FIRST_RANDOM_PORT)
        self._lock = threading.Lock()
        for host_port, holder in (held or {}).items():
            self._mark(host_port, holder)

    def reserve(self, wish: PortWish, holder: str) -> PublishedPort:
        """Give a container one port.

        Raises:
            PortInUseError: The one port that would do is another container's, or this one's.
            AllPortsTakenError: Several would do, and all are taken.
        """
        with self._lock:
            host_port = self._find(wish)
            self._mark(host_port, holder)
        return PublishedPort(wish.container_port, host_port)

    def reserve_all(self, wishes: Iterable[PortWish], holder: str) -> list[PublishedPort]:
        """Give a container all that it wishes, or nothing at all; raises as `reserve`."""
        given: list[PublishedPort] = []
        try:
            given.extend(self.reserve(wish, holder) for wish in wishes)
        except BaseException:
            for published in given:
                self.release(published.host, holder)
            raise
        return given

    def hold(self, held: Mapping[HostPort, str]) -> None:
        """Note what containers hold already, by the store's word."""
        with self._lock:
            for host_port, holder in held.items():
                self._mark(host_port, holder)

    def release(self, host_port: HostPort, holder: str) -> None:
        """Take a port back; never fails, and leaves what others hold."""
        with self._lock:
            self._unmark(host_port, holder)

    def release_all(self, holder: str) -> None:
        """Take back whatever a container holds."""
        with self._lock:
            for host_port in [port for port, other in self._held() if other == holder]:
                self._unmark(host_port, holder)

    def holder_of(self, host_port: HostPort) -> str | None:
        """Return who stands in the way of a port, if somebody does."""
        with self._lock:
            return self._conflict(host_port)

    def held(self) -> dict[HostPort, str]:
        """Return who holds what."""
        with self._lock:
            return dict(self._held())

    def _held(self) -> list[tuple[HostPort, str]]:
        return [
            (HostPort(protocol, address, port), holder)
            for (protocol, port), by_address in self._holders.items()
            for address, holder in by_address.items()
        ]

    def _mark(self, host_port: HostPort, holder: str) -> None:
        key = (host_port.protocol, host_port.port)
        self._holders.setdefault(key, {})[host_port.address] = holder

    def _unmark(self, host_port: HostPort, holder: str) -> None:
        key = (host_port.protocol, host_port.port)
        by_address = self._holders.get(key, {})
        if by_address.get(host_port.address) == holder:
            del by_address[host_port.address]
            if not by_address:
                del self._holders[key]

    def _conflict(self, wanted: HostPort) -> str | None:
        by_address = self._holders.get((wanted.protocol, wanted.port), {})
        for address, holder in by_address.items():
            if overlaps(address, wanted.address):
                return holder
        return None

    def _find(self, wish: PortWish) -> HostPort:
        if not wish.first:
            return self._next_random(wish)
        last = wish.last or wish.first
        if last == wish.first:
            wanted = HostPort(wish.protocol, wish.address, wish.first)
            holder = self._conflict(wanted)
            if holder is not None:
                raise PortInUseError(str(wish.address), wish.first, holder, wish.protocol)
            return wanted
        found = self._first_free(wish, range(wish.first, last + 1))
        if found is None:
            raise AllPortsTakenError(str(wish.address), wish.first, last, wish.protocol)
        return found

    def _next_random(self, wish: PortWish) -> HostPort:
        """Return the generator's next free number; what it passes is not given back (6.22)."""
        start = self._cursor[wish.protocol]
        numbers = chain(range(start, LAST_RANDOM_PORT + 1), range(FIRST_RANDOM_PORT, start))
        found = self._first_free(wish, numbers)
        if found is None:
            raise AllPortsTakenError(
                str(wish.address), FIRST_RANDOM_PORT, LAST_RANDOM_PORT, wish.protocol
            )
        after = found.port + 1
        self._cursor[wish.protocol] = FIRST_RANDOM_PORT if after > LAST_RANDOM_PORT else after
        return found

    def _first_free(self, wish: PortWish, numbers: Iterable[int]) -> HostPort | None:
        for number in numbers:
            wanted = HostPort(wish.protocol, wish.address, number)
            if self._conflict(wanted) is None:
                return wanted
        return None


def overlaps(one: HostAddress, other: HostAddress) -> bool:
    """Return whether sockets at both addresses would meet: `0.0.0.0` meets all of IPv4."""
    if one.version != other.version:
        return False
    return one == other or one.is_unspecified or other.is_unspecified


def wishes_of(
    exposed: Iterable[str],
    bindings: Mapping[str, Sequence[tuple[str, str]]],
    *,
    publish_all: bool,
    default_address: HostAddress,
) -> list[PortWish]:
    """Return what a container wishes to have published (rules 6.33 to 6.35).

    Only exposed ports count. *bindings* are ``(host ip, host port)`` texts for each port; an
    empty address is the default one, and a port that is no number, or a range, counts as 0.

    Raises:
        InvalidPortError: A port or an address is none.
    """
    wishes = []
    for port in exposed:
        asked = bindings.get(port) or ([("", "")] if publish_all else ())
        for address_text, port_text in asked:
            address = parse_host_address(address_text, default_address)
            wish = _wish(port, address, port_text)
            is_everywhere = not address_text and address == _EVERY_IPV4
            wishes.append(replace(wish, is_everywhere=True) if is_everywhere else wish)
    return wishes


def parse_port(text: str) -> tuple[int, Protocol]:
    """Return number and protocol of ``80/tcp``.

    Raises:
        InvalidPortError: It is none.
    """
    number, _, protocol = text.partition("/")
    for known in PROTOCOLS:
        if known == (protocol or "tcp") and is_number(number) and 1 <= int(number) <= LAST_PORT:
            return int(number), known
    raise InvalidPortError(f"invalid port {text[:80]!r}: publish <number>/tcp or <number>/udp")


def parse_host_address(text: str, default: HostAddress) -> HostAddress:
    """Return an address of the host, the default for an empty text.

    Raises:
        InvalidPortError: It is no address.
    """
    plain = text.removeprefix("[").removesuffix("]")
    for kind in (IPv4Address, IPv6Address):
        try:
            return kind(plain) if plain else default
        except ValueError:
            continue
    raise InvalidPortError(f"invalid host address {text[:80]!r}: it is not an IP address")


def is_number(text: str) -> bool:
    """Return whether a text is a number in plain digits, short enough to be a port."""
    return text.isascii() and text.isdecimal() and len(text) <= len(str(LAST_PORT))


def _wish(port: str, address: HostAddress, host_port: str) -> PortWish:
    number, protocol = parse_port(port)
    first, _, last = host_port.partition("-")
    if not is_number(first):
        first = last = ""
    return PortWish(number, protocol, address, int(first or 0), int(last) if is_number(last) else 0)
