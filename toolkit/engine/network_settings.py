# SPDX-License-Identifier: Apache-2.0
"""What is set for the networks of an engine (rule 6.1): by the environment, read at its start."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORDS: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """The daemon's settings for networks.

    Attributes:
        bridge_address: Of the default bridge, in CIDR form (``--bip``); empty: a free one.
        fixed_cidr: The part of its subnet that containers get (``--fixed-cidr``).
        publish_address: Where ports are published that name no address (``--ip``).
        icc: Containers of the default bridge may speak to each other (``--icc``).
        with_iptables: Use iptables where the host has it, else nftables alone.
        has_proxies: Userland proxies serve 127.0.0.1 and containers (``--userland-proxy``).
        mtu: Of bridges and containers' links, bytes.
    """

    bridge_address: str = ""
    fixed_cidr: str = ""
    publish_address: str = "0.0.0.0"  # noqa: S104 - docker's default: every address of the host
    icc: bool = True
    with_iptables: bool = True
    has_proxies: bool = True
    mtu: int = 1500

    def __post_init__(self) -> None:
        try:
            if self.bridge_address:
                IPv4Interface(self.bridge_address)
            if self.fixed_cidr:
                ip_network(self.fixed_cidr, strict=False)
            ip_address(self.publish_address)
        except ValueError as error:
            raise InvalidRequestError(f"network settings: {error}") from None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> NetworkSettings:
        """Return what TOOLKIT_BIP, _FIXED_CIDR, _IP, _ICC, _IPTABLES, _USERLAND_PROXY and _MTU say.

        Raises:
            InvalidRequestError: A value is not what it should be.
        """
        mtu = environ.get("TOOLKIT_MTU", "1500")
        if not (mtu.isascii() and mtu.isdecimal()):
            raise InvalidRequestError(f"TOOLKIT_MTU: {mtu[:20]!r} is no number")
        return cls(
            bridge_address=environ.get("TOOLKIT_BIP", ""),
            fixed_cidr=environ.get("TOOLKIT_FIXED_CIDR", ""),
            publish_address=environ.get("TOOLKIT_IP", "") or "0.0.0.0",  # noqa: S104 - docker's default
            icc=_flag(environ, "TOOLKIT_ICC"),
            with_iptables=_flag(environ, "TOOLKIT_IPTABLES"),
            has_proxies=_flag(environ, "TOOLKIT_USERLAND_PROXY"),
            mtu=int(mtu),
        )


def _flag(environ: Mapping[str, str], name: str) -> bool:
    text = environ.get(name, "true")
    if text.lower() not in _WORDS:
        raise InvalidRequestError(f"{name}: {text[:20]!r} is neither true nor false")
    return _WORDS[text.lower()]
