# SPDX-License-Identifier: Apache-2.0
"""What is set for the networks of an engine (rule 6.1): by flags, else by the environment."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property, partial
from ipaddress import IPv4Interface, IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final

from toolkit.config import listed
from toolkit.errors import InvalidRequestError
from toolkit.network.resolv_conf import ResolvConf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_WORDS: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_SMALLEST_MTU: Final = 1280  # RFC 8200
_LARGEST_MTU: Final = 65535  # of a veth
_LONGEST_PREFIX: Final = 30  # the bridge and one container
_LONGEST_PREFIX6: Final = 126
# Unspecified and loopback, IPv4 in another form, link-local and multicast.
_NO_SUBNETS6: Final = tuple(map(IPv6Network, ("::/127", "::ffff:0:0/96", "fe80::/10", "ff00::/8")))

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """The daemon's settings for networks.

    Attributes:
        bridge_address: Of the default bridge, in CIDR form (``--bip``); empty: a free one.
        fixed_cidr: The part of its subnet that containers get (``--fixed-cidr``).
        ipv6: The default bridge has IPv6, too (``--ipv6``).
        fixed_cidr_v6: Its IPv6 subnet (``--fixed-cidr-v6``); empty: one of the instance's own.
        publish_address: Where ports are published that name no address (``--ip``).
        icc: Containers of the default bridge may speak to each other (``--icc``).
        with_iptables: Use iptables where the host has it, else nftables alone.
        may_forward: Switch the kernel's forwarding on (``--ip-forward``).
        has_proxies: Userland proxies serve 127.0.0.1 and containers (``--userland-proxy``).
        mtu: Of bridges and containers' links, bytes.
        dns: Resolvers of containers that name none (``--dns``).
        dns_search: Search domains of those that name none (``--dns-search``); ``.``: none at all.
        dns_options: Resolver options of those that name none (``--dns-opt``).
    """

    bridge_address: str = ""
    fixed_cidr: str = ""
    ipv6: bool = False
    fixed_cidr_v6: str = ""
    publish_address: str = "0.0.0.0"  # noqa: S104 - docker's default: every address of the host
    icc: bool = True
    with_iptables: bool = True
    may_forward: bool = True
    has_proxies: bool = True
    mtu: int = 1500
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> NetworkSettings:
        """Return what the variables TOOLKIT_BIP, TOOLKIT_MTU and their like say.

        Raises:
            InvalidRequestError: A value is not what it should be.
        """
        bip, fixed_cidr = _subnets(environ)
        ipv6, fixed_cidr_v6 = _ipv6(environ)
        return cls(
            bridge_address=bip,
            fixed_cidr=fixed_cidr,
            ipv6=ipv6,
            fixed_cidr_v6=fixed_cidr_v6,
            publish_address=_checked(environ, "TOOLKIT_IP", ip_address) or cls.publish_address,
            icc=_flag(environ, "TOOLKIT_ICC"),
            with_iptables=_flag(environ, "TOOLKIT_IPTABLES"),
            may_forward=_flag(environ, "TOOLKIT_IP_FORWARD"),
            has_proxies=_flag(environ, "TOOLKIT_USERLAND_PROXY"),
            mtu=_mtu(environ.get("TOOLKIT_MTU", "")) or cls.mtu,
            dns=_each_checked(environ, "TOOLKIT_DNS", ip_address),
            dns_search=_each_checked(environ, "TOOLKIT_DNS_SEARCH", _check_search_domain),
            dns_options=_each_checked(environ, "TOOLKIT_DNS_OPT", _check_resolver_option),
        )

    @cached_property
    def resolv_conf(self) -> ResolvConf:
        """What is for containers that name no resolvers, search domains or options."""
        nameservers = tuple(ip_address(text) for text in self.dns)
        return ResolvConf(nameservers, self.dns_search, self.dns_options)


_REMEDIES: Final = {
    "TOOLKIT_BIP": "use a host's address with its prefix length, as in 172.20.0.1/16",
    "TOOLKIT_FIXED_CIDR": "use an IPv4 network, as in 172.20.128.0/17",
    "TOOLKIT_FIXED_CIDR_V6": "use an IPv6 network of at most 126 bits, as in fd00:1::/64",
    "TOOLKIT_IP": "use an address of this machine, or 0.0.0.0 for all",
    "TOOLKIT_DNS": "use the address of a resolver, as in 10.0.0.2",
    "TOOLKIT_DNS_SEARCH": "use a domain, as in lan.example, or . alone for none",
    "TOOLKIT_DNS_OPT": "use an option of resolv.conf, as in ndots:2 or rotate",
}


def _refused(name: str, value: str, remedy: str) -> InvalidRequestError:
    flag = name.removeprefix("TOOLKIT_").lower().replace("_", "-")
    return InvalidRequestError(f"--{flag} (or {name}) {value[:80]!r}: {remedy}")


def _checked(environ: Mapping[str, str], name: str, check: Callable[[str], object]) -> str:
    """Return a value that *check* takes; empty for none."""
    value = environ.get(name, "").strip()
    if value:
        try:
            check(value)
        except (ValueError, InvalidRequestError):
            raise _refused(name, value, _REMEDIES[name]) from None
    return value


def _subnets(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the bridge's address and the containers' part; that alone is the whole subnet."""
    bip = _checked(environ, "TOOLKIT_BIP", _check_bridge_address)
    fixed_cidr = _checked(environ, "TOOLKIT_FIXED_CIDR", partial(IPv4Network, strict=False))
    if not fixed_cidr:
        return bip, fixed_cidr
    part = IPv4Network(fixed_cidr, strict=False)
    if not bip:
        if part.prefixlen > _LONGEST_PREFIX:
            raise _refused("TOOLKIT_FIXED_CIDR", fixed_cidr, "use a larger network, or --bip too")
        return f"{part.network_address + 1}/{part.prefixlen}", str(part)
    if not part.subnet_of(IPv4Interface(bip).network):
        remedy = f"use a part of {IPv4Interface(bip).network}, the network of --bip"
        raise _refused("TOOLKIT_FIXED_CIDR", fixed_cidr, remedy)
    return bip, str(part)


def _ipv6(environ: Mapping[str, str]) -> tuple[bool, str]:
    """Return whether the default bridge has IPv6, and its subnet; without IPv6 it has none."""
    is_wanted = _flag(environ, "TOOLKIT_IPV6", default="false")
    subnet = _checked(environ, "TOOLKIT_FIXED_CIDR_V6", _check_subnet6)
    if subnet and not is_wanted:  # as dockerd, which passes over it without a word
        _log.warning(
            "--fixed-cidr-v6 (or TOOLKIT_FIXED_CIDR_V6) %s does nothing without --ipv6", subnet
        )
    if not (subnet and is_wanted):
        return is_wanted, ""
    return is_wanted, str(IPv6Network(subnet, strict=False))


def _check_subnet6(text: str) -> None:
    """Raise ValueError for what is no IPv6 subnet with room for a container."""
    network = IPv6Network(text, strict=False)
    is_too_small = network.prefixlen > _LONGEST_PREFIX6
    if "%" in text or is_too_small or any(map(network.overlaps, _NO_SUBNETS6)):
        raise ValueError(text)


def _check_bridge_address(text: str) -> None:
    """Raise ValueError for what is no host's address in a subnet with room for a container."""
    interface = IPv4Interface(text)
    network = interface.network
    ends = (network.network_address, network.broadcast_address)
    if network.prefixlen > _LONGEST_PREFIX or interface.ip in ends:
        raise ValueError(text)


def _each_checked(
    environ: Mapping[str, str], name: str, check: Callable[[str], object]
) -> tuple[str, ...]:
    """Return the parts of a list with commas, each of which *check* takes."""
    return tuple(_checked({name: each}, name, check) for each in listed(environ.get(name, "")))


def _check_search_domain(text: str) -> None:
    ResolvConf(search=(text,))


def _check_resolver_option(text: str) -> None:
    ResolvConf(options=(text,))


def _mtu(text: str) -> int:
    """Return the bytes that are named; 0 for none, as docker has it."""
    if text in {"", "0"}:
        return 0
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(_LARGEST_MTU))
    if not is_number or not _SMALLEST_MTU <= int(text) <= _LARGEST_MTU:
        remedy = f"use a number of bytes from {_SMALLEST_MTU} to {_LARGEST_MTU}"
        raise _refused("TOOLKIT_MTU", text, remedy)
    return int(text)


def _flag(environ: Mapping[str, str], name: str, *, default: str = "true") -> bool:
    text = environ.get(name, "") or default
    if text.lower() not in _WORDS:
        raise _refused(name, text, "use true or false")
    return _WORDS[text.lower()]
