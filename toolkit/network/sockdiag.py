# SPDX-License-Identifier: Apache-2.0
"""Sockets of a network namespace, by sock_diag(7): who listens where.

Owns the request and the answer of ``inet_diag``; what a listener is good for is
the business of `listening`.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Self

from toolkit.network.netlink import NETLINK_SOCK_DIAG, Message, NetlinkSocket, attributes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address, IPv6Address

Protocol = Literal["tcp", "udp"]

_SOCK_DIAG_BY_FAMILY: Final = 20
_TCP_LISTEN, _TCP_CLOSE = 10, 7
_INET_DIAG_SKV6ONLY: Final = 11
# struct inet_diag_req_v2 with struct inet_diag_sockid, and the head of struct inet_diag_msg
_REQUEST: Final = struct.Struct("=BBBxI2s2s16s16sIII")
_ANSWER: Final = struct.Struct("=BBBB2s2s16s16sIII IIIII")
_STATE: Final = {"tcp": (socket.IPPROTO_TCP, _TCP_LISTEN), "udp": (socket.IPPROTO_UDP, _TCP_CLOSE)}
_ADDRESS_BYTES: Final = {socket.AF_INET: 4, socket.AF_INET6: 16}


@dataclass(frozen=True)
class Listener:
    """A socket that takes connections, or datagrams of anybody.

    Attributes:
        only_ipv6: An unspecified IPv6 address that does not mean all of IPv4 as well.
    """

    protocol: Protocol
    address: IPv4Address | IPv6Address
    port: int
    only_ipv6: bool = False

    def hears(self, address: IPv4Address | IPv6Address) -> bool:
        """Tell whether what is sent to *address* reaches this socket."""
        if self.address.is_unspecified:
            return self.address.version == address.version or (
                address.version == 4 and not self.only_ipv6  # noqa: PLR2004 - its name
            )
        return address in {self.address, getattr(self.address, "ipv4_mapped", None)}


class SocketDiagnosis:
    """A question to the kernel about sockets, asked as often as one likes."""

    def __init__(self, netlink: NetlinkSocket | None = None) -> None:
        self._netlink = netlink or NetlinkSocket(NETLINK_SOCK_DIAG)

    @classmethod
    def inside(cls, netns_fd: int) -> Self:
        """Ask about another network namespace."""
        return cls(NetlinkSocket.inside(netns_fd, NETLINK_SOCK_DIAG))

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def listeners(self, protocol: Protocol, port: int = 0) -> list[Listener]:
        """Return who listens, on one port or on any."""
        return [
            listener
            for family in (socket.AF_INET, socket.AF_INET6)
            for listener in self._of_family(family, protocol, port)
        ]

    def _of_family(self, family: int, protocol: Protocol, port: int) -> Iterator[Listener]:
        number, state = _STATE[protocol]
        body = _REQUEST.pack(
            family, number, 0, 1 << state, port.to_bytes(2, "big"),
            b"", b"", b"", 0, 0xFFFFFFFF, 0xFFFFFFFF,
        )  # fmt: skip
        message = Message(_SOCK_DIAG_BY_FAMILY, body, call="sock_diag", subject=protocol)
        for _, answer in self._netlink.dump(message):
            fields = _ANSWER.unpack_from(answer)
            found = int.from_bytes(fields[4], "big")
            if found and port in {0, found}:
                packed = fields[6][: _ADDRESS_BYTES[socket.AddressFamily(family)]]
                only = attributes(answer, _ANSWER.size).get(_INET_DIAG_SKV6ONLY, b"")
                yield Listener(protocol, ipaddress.ip_address(packed), found, only[:1] == b"\1")
