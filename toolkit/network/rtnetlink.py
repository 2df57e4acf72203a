# SPDX-License-Identifier: Apache-2.0
"""Links, addresses, routes and neighbours of one network namespace, by rtnetlink(7).

Owns the one socket and what is said on it. Knows bridges and veths as the kernel
does; what they are called and what they are for is decided in `bridge` and
`endpoint`.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import ipaddress
import socket
import struct
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import TYPE_CHECKING, Final, Self

from toolkit.errors import LinkError
from toolkit.network.interfaces import Link
from toolkit.network.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    Message,
    NetlinkSocket,
    attribute,
    attributes,
    decoded_number,
    decoded_text,
    nested,
    number,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolkit.network.interfaces import VethPair

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface

_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK, _RTM_SETLINK = 16, 17, 18, 19
_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_RTM_NEWROUTE, _RTM_GETROUTE = 24, 26
_RTM_DELNEIGH, _RTM_GETNEIGH = 29, 30
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER = 1, 3, 4, 10
_IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_AF_SPEC, _IFLA_NET_NS_FD = 18, 20, 26, 28
_IFLA_INET6_ADDR_GEN_MODE, _IN6_ADDR_GEN_MODE_NONE = 8, 1
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFLA_INFO_SLAVE_KIND, _IFLA_INFO_SLAVE_DATA, _IFLA_BRPORT_MODE = 4, 5, 4
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFA_F_NODAD: Final = 0x2
_RTA_DST, _RTA_GATEWAY, _RTA_OIF, _RTA_TABLE = 1, 5, 4, 15
_RT_TABLE_MAIN, _RTPROT_BOOT, _RTN_UNICAST, _RTM_F_CLONED = 254, 3, 1, 0x200
_NDA_DST: Final = 1
_IFF_UP: Final = 1
_SIOCETHTOOL, _ETHTOOL_GLINK = 0x8946, 0xA  # ethtool_op_get_link() synchronizes linkwatch
_IFREQ: Final = struct.Struct("@16sP16x")

_IFINFO: Final = struct.Struct("=BxHiII")
_IFADDR: Final = struct.Struct("=BBBBi")
_RTMSG: Final = struct.Struct("=BBBBBBBBI")
_NDMSG: Final = struct.Struct("=BxHiHBB")


class NetworkStack:
    """One network namespace's links, addresses, routes and neighbours.

    Threads may share it: a request and its answer are never torn apart.
    """

    def __init__(self, netlink: NetlinkSocket | None = None) -> None:
        self._netlink = netlink or NetlinkSocket()

    @classmethod
    def inside(cls, netns_fd: int) -> Self:
        """Return the stack of another network namespace."""
        return cls(NetlinkSocket.inside(netns_fd))

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def links(self) -> list[Link]:
        """Return every link of the namespace."""
        message = Message(_RTM_GETLINK, _IFINFO.pack(0, 0, 0, 0, 0), call="RTM_GETLINK")
        return [_link(body) for _, body in self._netlink.dump(message)]

    def link(self, name: str) -> Link | None:
        """Return the link of that name, if there is one."""
        body = _IFINFO.pack(0, 0, 0, 0, 0) + text(_IFLA_IFNAME, name)
        gone = frozenset({errno.ENODEV})
        found = self._netlink.query(
            Message(_RTM_GETLINK, body, call="look up link", subject=name, accepted_errors=gone)
        )
        return _link(found) if found else None

    def create_bridge(self, name: str, *, mac: str, mtu: int) -> None:
        """Make a bridge, down and without address; addresses on it are given, never made up.

        Raises:
            LinkError: EEXIST: something has that name.
        """
        info = nested(_IFLA_LINKINFO, text(_IFLA_INFO_KIND, "bridge"))
        body = (
            _IFINFO.pack(0, 0, 0, 0, 0)
            + text(_IFLA_IFNAME, name)
            + attribute(_IFLA_ADDRESS, packed_mac(mac))
            + number(_IFLA_MTU, mtu)
            + info
        )
        flags = NLM_F_CREATE | NLM_F_EXCL
        self._netlink.request(Message(_RTM_NEWLINK, body, flags, "create bridge", name))

    def create_veth(self, pair: VethPair) -> None:
        """Make a veth: our end up and plugged in, the other named and addressed inside.

        The other end is *made* in its namespace: 0.5-0.9 ms, where moving it
        there takes 16-28 ms.

        Raises:
            LinkError: EEXIST: the name is taken, here or inside.
        """
        peer = (
            _IFINFO.pack(0, 0, 0, 0, 0)
            + text(_IFLA_IFNAME, pair.peer_name)
            + attribute(_IFLA_ADDRESS, packed_mac(pair.peer_mac))
            + number(_IFLA_MTU, pair.mtu)
            + number(_IFLA_NET_NS_FD, pair.peer_netns_fd)
        )
        info = nested(
            _IFLA_LINKINFO,
            text(_IFLA_INFO_KIND, "veth"),
            nested(_IFLA_INFO_DATA, attribute(_VETH_INFO_PEER, peer)),
        )
        born = (
            _IFINFO.pack(0, 0, 0, _IFF_UP, _IFF_UP)
            + text(_IFLA_IFNAME, pair.name)
            + number(_IFLA_MTU, pair.mtu)
            + number(_IFLA_MASTER, pair.bridge_index)
            + info
        )
        named = (
            _IFINFO.pack(0, 0, 0, 0, 0)
            + text(_IFLA_IFNAME, pair.name)
            + text(_IFLA_IFALIAS, pair.alias)
            + _without_ipv6()
            + _as_port(hairpin=pair.hairpin)
        )
        flags = NLM_F_CREATE | NLM_F_EXCL
        self._netlink.request(Message(_RTM_NEWLINK, born, flags, "create veth", pair.name))
        self._netlink.request(Message(_RTM_NEWLINK, named, 0, "set alias", pair.name))

    def delete_link(self, name: str, *, index: int = 0) -> None:
        """Delete a link; one that is not there is as good.

        With an *index* only that one: a new link may have taken its name.
        """
        by_name = b"" if index else text(_IFLA_IFNAME, name)
        body = _IFINFO.pack(0, 0, index, 0, 0) + by_name
        gone = frozenset({errno.ENODEV})
        self._netlink.request(
            Message(_RTM_DELLINK, body, 0, "delete link", name, accepted_errors=gone)
        )

    def set_up(self, index: int) -> None:
        """Bring a link up."""
        self._set(index, b"", "set link up", _IFF_UP)

    def set_down(self, index: int) -> None:
        """Take a link down; its routes go with it."""
        body = _IFINFO.pack(0, 0, index, 0, _IFF_UP)
        self._netlink.request(Message(_RTM_SETLINK, body, 0, "set link down", str(index)))

    def settle(self, name: str) -> bool:
        """Let the kernel take note now that a link's other end is up; tell whether it is.

        Else it does so when it finds time, and a bridge drops what comes meanwhile:
        a first packet that is lost is sent again after a second.
        """
        value = ctypes.create_string_buffer(struct.pack("=II", _ETHTOOL_GLINK, 0))
        request = _IFREQ.pack(name.encode(), ctypes.addressof(value))
        try:
            fcntl.ioctl(self._netlink.fileno(), _SIOCETHTOOL, request)
        except OSError as error:
            raise LinkError("ask for carrier of", name, error.errno or 0) from error
        return bool(struct.unpack_from("=II", value)[1])

    def set_alias(self, index: int, alias: str) -> None:
        """Leave a text on a link, by which it is found again."""
        self._set(index, text(_IFLA_IFALIAS, alias), "set alias")

    def set_master(self, index: int, bridge_index: int) -> None:
        """Plug a link into a bridge."""
        self._set(index, number(_IFLA_MASTER, bridge_index), "plug into bridge")

    def set_mtu(self, index: int, mtu: int) -> None:
        """Set the largest packet that a link takes."""
        self._set(index, number(_IFLA_MTU, mtu), "set mtu")

    def rename(self, index: int, name: str) -> None:
        """Give a link another name; kernels before 6.2 want it down."""
        self._set(index, text(_IFLA_IFNAME, name), "rename link")

    def _set(self, index: int, parts: bytes, call: str, flags: int = 0) -> None:
        body = _IFINFO.pack(0, 0, index, flags, flags) + parts
        self._netlink.request(Message(_RTM_SETLINK, body, 0, call, str(index)))

    def add_address(self, index: int, interface: Interface) -> None:
        """Give a link an address; one that it has is as good (RT 6.38: local = address)."""
        packed = interface.ip.packed
        body = (
            _IFADDR.pack(_family(interface.ip), interface.network.prefixlen, 0, 0, index)
            + attribute(_IFA_LOCAL, packed)
            + attribute(_IFA_ADDRESS, packed)
        )
        if interface.version == 6:  # noqa: PLR2004 - its name
            body += number(_IFA_FLAGS, _IFA_F_NODAD)
        there = frozenset({errno.EEXIST})
        flags = NLM_F_CREATE | NLM_F_EXCL
        self._netlink.request(
            Message(_RTM_NEWADDR, body, flags, "add address", str(interface), there)
        )

    def delete_address(self, index: int, interface: Interface) -> None:
        """Take an address away; one that is not there is as good."""
        body = _IFADDR.pack(
            _family(interface.ip), interface.network.prefixlen, 0, 0, index
        ) + attribute(_IFA_LOCAL, interface.ip.packed)
        gone = frozenset({errno.EADDRNOTAVAIL})
        self._netlink.request(Message(_RTM_DELADDR, body, 0, "delete address", str(index), gone))

    def addresses(self, index: int) -> list[Interface]:
        """Return the addresses of a link."""
        message = Message(_RTM_GETADDR, _IFADDR.pack(0, 0, 0, 0, 0), call="RTM_GETADDR")
        return [
            interface
            for _, body in self._netlink.dump(message)
            if (interface := _interface(body, index)) is not None
        ]

    def add_default_route(self, gateway: Address) -> None:
        """Send all that has no route of its own to *gateway*; replaces no route.

        Raises:
            LinkError: EEXIST: there is one.
        """
        body = _RTMSG.pack(
            _family(gateway), 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, 0, _RTN_UNICAST, 0
        ) + attribute(_RTA_GATEWAY, gateway.packed)
        flags = NLM_F_CREATE | NLM_F_EXCL
        self._netlink.request(
            Message(_RTM_NEWROUTE, body, flags, "add default route", str(gateway))
        )

    def routed_networks(self) -> list[IPv4Network]:
        """Return what subnets must keep clear of: IPv4, main table, no default (rule 6.5)."""
        body = _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        dumped = self._netlink.dump(Message(_RTM_GETROUTE, body, call="RTM_GETROUTE"))
        return [IPv4Network(network) for _, body in dumped for network in _routed(body)]

    def routed_networks6(self) -> list[IPv6Network]:
        """Return the same for IPv6."""
        body = _RTMSG.pack(socket.AF_INET6, 0, 0, 0, 0, 0, 0, 0, 0)
        dumped = self._netlink.dump(Message(_RTM_GETROUTE, body, call="RTM_GETROUTE"))
        return [IPv6Network(network) for _, body in dumped for network in _routed(body)]

    def has_default_route(self) -> bool:
        """Tell whether IPv4 packets have a way out."""
        body = _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        dumped = self._netlink.dump(Message(_RTM_GETROUTE, body, call="RTM_GETROUTE"))
        return any(
            body[1] == 0 and body[4] == _RT_TABLE_MAIN and body[7] == _RTN_UNICAST
            for _, body in dumped
        )

    def forget_neighbour(self, index: int, address: Address) -> None:
        """Forget which MAC an address has, so that its next holder is asked for."""
        body = _NDMSG.pack(_family(address), 0, index, 0, 0, 0) + attribute(
            _NDA_DST, address.packed
        )
        gone = frozenset({errno.ENOENT, errno.ENXIO, errno.ENODEV})
        self._netlink.request(
            Message(_RTM_DELNEIGH, body, 0, "forget neighbour", str(address), gone)
        )

    def neighbours(self, index: int) -> list[Address]:
        """Return the addresses that a link knows a neighbour for."""
        message = Message(_RTM_GETNEIGH, _NDMSG.pack(0, 0, 0, 0, 0, 0), call="RTM_GETNEIGH")
        return [
            ipaddress.ip_address(destination)
            for _, body in self._netlink.dump(message)
            if _NDMSG.unpack_from(body)[2] == index
            and (destination := attributes(body, _NDMSG.size).get(_NDA_DST))
        ]


def packed_mac(mac: str) -> bytes:
    """Return the six bytes of a MAC in its usual form."""
    return bytes.fromhex(mac.replace(":", ""))


def _as_port(*, hairpin: bool) -> bytes:
    """Return the attribute that lets a bridge send frames back where they came from, or not."""
    return nested(
        _IFLA_LINKINFO,
        text(_IFLA_INFO_SLAVE_KIND, "bridge"),
        nested(_IFLA_INFO_SLAVE_DATA, attribute(_IFLA_BRPORT_MODE, bytes([hairpin]))),
    )


def _without_ipv6() -> bytes:
    """Return the attribute that lets a link make up no address of its own."""
    mode = attribute(_IFLA_INET6_ADDR_GEN_MODE, bytes([_IN6_ADDR_GEN_MODE_NONE]))
    return nested(_IFLA_AF_SPEC, nested(socket.AF_INET6, mode))


def _family(address: Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004 - its name


def _link(body: bytes) -> Link:
    _, _, index, flags, _ = _IFINFO.unpack_from(body)
    found = attributes(body, _IFINFO.size)
    info = attributes(found.get(_IFLA_LINKINFO, b""))
    return Link(
        index=index,
        name=decoded_text(found, _IFLA_IFNAME),
        kind=decoded_text(info, _IFLA_INFO_KIND),
        alias=decoded_text(found, _IFLA_IFALIAS),
        mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=decoded_number(found, _IFLA_MTU),
        master=decoded_number(found, _IFLA_MASTER),
        is_up=bool(flags & _IFF_UP),
    )


def _interface(body: bytes, index: int) -> Interface | None:
    _, prefix_length, _, _, of_link = _IFADDR.unpack_from(body)
    found = attributes(body, _IFADDR.size)
    packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    if of_link != index or not packed:
        return None
    return ipaddress.ip_interface((packed, prefix_length))


def _routed(body: bytes) -> Iterator[tuple[bytes, int]]:
    _, length, _, _, table, _, _, _, flags = _RTMSG.unpack_from(body)
    found = attributes(body, _RTMSG.size)
    table = decoded_number(found, _RTA_TABLE) or table
    if table == _RT_TABLE_MAIN and not flags & _RTM_F_CLONED and _RTA_DST in found:
        yield found[_RTA_DST], length
