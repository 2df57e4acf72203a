# SPDX-License-Identifier: Apache-2.0
"""Elements of nftables' sets, by nfnetlink: a change takes 0.1 ms, by libnftables 0.9.

Owns how a key is packed and the frame of a transaction
(include/uapi/linux/netfilter/nf_tables.h). Tables, sets and rules are made by `nft`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from toolkit.errors import FirewallError, LinkError
from toolkit.network.netlink import (
    NETLINK_NETFILTER,
    NLM_F_ACK,
    NLM_F_CREATE,
    Message,
    NetlinkSocket,
    attribute,
    nested,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

Element = tuple[str, bytes]

_NFNL_SUBSYS_NFTABLES: Final = 10
_NFNL_MSG_BATCH_BEGIN, _NFNL_MSG_BATCH_END = 16, 17
_NFT_MSG_NEWSETELEM: Final = _NFNL_SUBSYS_NFTABLES << 8 | 12
_NFT_MSG_DELSETELEM: Final = _NFNL_SUBSYS_NFTABLES << 8 | 14
_NFTA_LIST_TABLE, _NFTA_LIST_SET, _NFTA_LIST_ELEMENTS = 1, 2, 3
_NFTA_LIST_ELEM: Final = 1
_NFTA_SET_ELEM_KEY: Final = 1
_NFTA_DATA_VALUE: Final = 1
_NFPROTO_BRIDGE: Final = 7
_IFNAMSIZ: Final = 16
_REGISTER_BYTES: Final = 4
_HEAD: Final = struct.Struct("=BBH")
_IN_NETWORK_ORDER: Final = struct.Struct(">H")


def key_of(link: str, *fields: bytes) -> bytes:
    """Return the key of a set by the name of a link and more: each fills whole registers."""
    parts = (link.encode().ljust(_IFNAMSIZ, b"\0"), *fields)
    return b"".join(part + bytes(-len(part) % _REGISTER_BYTES) for part in parts)


class NftSets:
    """The sets of family ``bridge`` in the network namespace that this was made in."""

    def __init__(self, netlink: NetlinkSocket | None = None) -> None:
        self._netlink = netlink or NetlinkSocket(NETLINK_NETFILTER)

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    def change(self, table: str, added: Iterable[Element], removed: Iterable[Element] = ()) -> None:
        """Add elements, then remove some, in one transaction; what is there may be added.

        Args:
            table: Whose sets these are.
            added: Name of the set, and key.
            removed: The same; each must be there.

        Raises:
            FirewallError: Nothing was changed.
        """
        messages = [
            *(_message(_NFT_MSG_NEWSETELEM, table, each, NLM_F_CREATE) for each in added),
            *(_message(_NFT_MSG_DELSETELEM, table, each) for each in removed),
        ]
        try:
            self._netlink.transact(
                [_frame(_NFNL_MSG_BATCH_BEGIN), *messages, _frame(_NFNL_MSG_BATCH_END)]
            )
        except LinkError as error:
            raise FirewallError("nftables refused a change", str(error)) from error


def _message(kind: int, table: str, element: Element, flags: int = 0) -> Message:
    name, key = element
    value = nested(_NFTA_SET_ELEM_KEY, attribute(_NFTA_DATA_VALUE, key))
    body = (
        _HEAD.pack(_NFPROTO_BRIDGE, 0, 0)
        + text(_NFTA_LIST_TABLE, table)
        + text(_NFTA_LIST_SET, name)
        + nested(_NFTA_LIST_ELEMENTS, nested(_NFTA_LIST_ELEM, value))
    )
    return Message(kind, body, flags | NLM_F_ACK, "change set", name)


def _frame(kind: int) -> Message:
    head = _HEAD.pack(0, 0, 0)[:2] + _IN_NETWORK_ORDER.pack(_NFNL_SUBSYS_NFTABLES)
    return Message(kind, head, call="change sets")
