# SPDX-License-Identifier: Apache-2.0
"""When an IPv6 address can be used: told by rtnetlink's multicast, not asked for."""

from __future__ import annotations

import select
import struct
import time
from typing import TYPE_CHECKING, Final, Self

from toolkit.network.netlink import NetlinkSocket, attributes, decoded_number

if TYPE_CHECKING:
    from ipaddress import IPv6Address

_RTMGRP_IPV6_IFADDR: Final = 0x100
_RTM_NEWADDR: Final = 20
_IFA_ADDRESS, _IFA_FLAGS = 1, 8
_IFA_F_TENTATIVE: Final = 0x40
_IFADDR: Final = struct.Struct("=BBBBi")


class AddressNews:
    """Tells when an IPv6 address can be used; made before the address is.

    The kernel finds time for a new address when it finds it, even without looking
    for duplicates, and until then asks for its neighbours come to nothing.
    """

    def __init__(self) -> None:
        self._netlink = NetlinkSocket(groups=_RTMGRP_IPV6_IFADDR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._netlink.close()

    def await_usable(self, address: IPv6Address, timeout_seconds: float = 1.0) -> bool:
        """Wait until the kernel uses an address; tell whether it does."""
        deadline = time.monotonic() + timeout_seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._netlink], [], [], left)[0]:
                break
            if any(_is_usable(kind, body, address) for kind, body in self._netlink.receive()):
                return True
        return False


def _is_usable(kind: int, body: bytes, address: IPv6Address) -> bool:
    if kind != _RTM_NEWADDR:
        return False
    found = attributes(body, _IFADDR.size)
    flags = decoded_number(found, _IFA_FLAGS)
    return found.get(_IFA_ADDRESS) == address.packed and not flags & _IFA_F_TENTATIVE
