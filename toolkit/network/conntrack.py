# SPDX-License-Identifier: Apache-2.0
"""Flows that the kernel tracks, by ctnetlink: forgetting those of an address.

A UDP flow outlives the container that it was for: without this its datagrams go
on to the next holder of the address (row S-89), or a new rule for a port is not
looked at for a client that keeps sending.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Final, Self

from toolkit.errors import LinkError
from toolkit.network.netlink import (
    NETLINK_NETFILTER,
    Message,
    NetlinkSocket,
    attribute,
    attributes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address, IPv6Address

_NFNL_SUBSYS_CTNETLINK: Final = 1
_GET: Final = _NFNL_SUBSYS_CTNETLINK << 8 | 1
_DELETE: Final = _NFNL_SUBSYS_CTNETLINK << 8 | 2
_GET_STATS: Final = _NFNL_SUBSYS_CTNETLINK << 8 | 5
_CTA_STATS_GLOBAL_ENTRIES: Final = 1
_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY, _CTA_ID, _CTA_ZONE = 1, 2, 12, 18
_CTA_TUPLE_IP: Final = 1
_CTA_IP_SOURCES_AND_DESTINATIONS: Final = {4: (1, 2), 6: (3, 4)}
_NLA_F_NESTED: Final = 0x8000
_HEAD: Final = struct.Struct("=BBH")


class ConnectionTable:
    """The tracked flows of the network namespace that this was made in."""

    def __init__(self, netlink: NetlinkSocket | None = None) -> None:
        self._netlink = netlink or NetlinkSocket(NETLINK_NETFILTER)

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def forget(self, address: IPv4Address | IPv6Address) -> int:
        """Forget every flow from or to an address, in either direction; say how many.

        A kernel without ctnetlink forgets nothing, and 0 is returned: addresses
        that are reused last are the second defence.
        """
        try:
            # The walk takes 4 ms, whatever there is: the kernel's table is as large for none.
            flows = list(self._flows_of(address)) if self._has_any() else []
        except LinkError as error:
            if error.errno in {errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT}:
                return 0
            raise
        gone = frozenset({errno.ENOENT})
        for flow in flows:
            self._netlink.request(
                Message(_DELETE, flow, call="forget flow", subject=str(address),
                        accepted_errors=gone)
            )  # fmt: skip
        return len(flows)

    def _has_any(self) -> bool:
        """Tell whether anything is tracked in the namespace; a kernel that does not say: yes."""
        head = _HEAD.pack(socket.AF_UNSPEC, 0, 0)
        answer = self._netlink.query(Message(_GET_STATS, head, call="count flows"))
        found = attributes(answer, _HEAD.size) if answer else {}
        return found.get(_CTA_STATS_GLOBAL_ENTRIES) != bytes(4)

    def _flows_of(self, address: IPv4Address | IPv6Address) -> Iterator[bytes]:
        """Yield what names each flow of an address in a request to delete it."""
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004
        head = _HEAD.pack(family, 0, 0)
        kinds = _CTA_IP_SOURCES_AND_DESTINATIONS[address.version]
        for _, body in self._netlink.dump(Message(_GET, head, call="list flows")):
            flow = attributes(body, _HEAD.size)
            if address.packed in _addresses(flow, kinds):
                original = flow[_CTA_TUPLE_ORIG]
                yield (
                    head
                    + attribute(_CTA_TUPLE_ORIG | _NLA_F_NESTED, original)
                    + b"".join(
                        attribute(kind, flow[kind]) for kind in (_CTA_ID, _CTA_ZONE) if kind in flow
                    )
                )


def _addresses(flow: dict[int, bytes], kinds: tuple[int, int]) -> set[bytes]:
    found: set[bytes] = set()
    for tuple_kind in (_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY):
        ip = attributes(attributes(flow.get(tuple_kind, b"")).get(_CTA_TUPLE_IP, b""))
        found.update(ip[kind] for kind in kinds if kind in ip)
    return found
