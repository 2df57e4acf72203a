# SPDX-License-Identifier: Apache-2.0
"""From the desired state to the rules of iptables, chain by chain.

Pure. Four chains of the instance's own, each jumped to from a chain of the
kernel:

===========  ============================  ================================================
chain        from                          what it decides
===========  ============================  ================================================
``-RAW``     raw PREROUTING                nobody speaks to containers but over their bridge,
                                           or to 127.0.0.0/8 but over lo (rows S-80, S-81)
``-DNAT``    nat PREROUTING, OUTPUT,       published ports (rule 6.13), one rule each
             for addresses of the host
``-SNAT``    nat POSTROUTING               masquerading (rule 6.10, 1)
``-FORWARD`` filter FORWARD                who may pass a bridge (rule 6.10, 2-4)
===========  ============================  ================================================

A published port needs no rule in ``-FORWARD``: "was translated on its way" is
matched once per network. What is forwarded to a bridge and is neither an answer
nor translated is dropped, so the policy of FORWARD does not matter, networks are
kept apart, and an unpublished port is out of reach twice over.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Final, NamedTuple

from toolkit.network.firewall import FAMILIES, FirewallState, LinkName
from toolkit.network.firewall_text import Argument, Backend, ChainName, Option, Rule, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolkit.network.firewall import Family, LinkedPort, PublishedPort

LOOPBACK: Final[dict[Family, IPv4Network | IPv6Network]] = {
    4: IPv4Network("127.0.0.0/8"),
    6: IPv6Network("::1/128"),
}
_LO: Final = LinkName("lo")
_PROTOCOLS: Final = {"tcp": Option.TCP, "udp": Option.UDP, "sctp": Option.SCTP}
_ANSWERS: Final = (Option.MATCH, Option.CONNTRACK, Option.CONNECTION_STATE, Option.ANSWERS)
_TRANSLATED: Final = (Option.MATCH, Option.CONNTRACK, Option.CONNECTION_STATE, Option.TRANSLATED)
_TO_THE_HOST: Final = (Option.MATCH, Option.ADDRESS_TYPE, Option.DESTINATION_TYPE, Option.LOCAL)


class Chains(NamedTuple):
    """The chains of an instance."""

    raw: ChainName
    dnat: ChainName
    snat: ChainName
    forward: ChainName

    @classmethod
    def of(cls, instance: str) -> Chains:
        """Return the chains of an instance."""
        return cls(*(ChainName(f"{instance}-{suffix}") for suffix in _SUFFIXES))

    def by_table(self) -> list[tuple[Table, ChainName]]:
        """Return each with its table."""
        return [
            ("raw", self.raw),
            ("nat", self.dnat),
            ("nat", self.snat),
            ("filter", self.forward),
        ]


_SUFFIXES: Final = ("RAW", "DNAT", "SNAT", "FORWARD")


def jumps(chains: Chains, state: FirewallState, family: Family) -> list[Rule]:
    """Return the rules that lead from the kernel's chains to the instance's."""
    not_loopback = (Option.NOT, Option.DESTINATION, LOOPBACK[family]) if state.has_proxies else ()
    prerouting, output = ChainName("PREROUTING"), ChainName("OUTPUT")
    to_dnat = (*_TO_THE_HOST, Option.JUMP, chains.dnat)
    return [
        Rule("raw", prerouting, (Option.JUMP, chains.raw)),
        Rule("nat", prerouting, to_dnat),
        Rule("nat", output, (*not_loopback, *to_dnat)),
        Rule("nat", ChainName("POSTROUTING"), (Option.JUMP, chains.snat)),
        Rule("filter", ChainName("FORWARD"), (Option.JUMP, chains.forward)),
    ]


def every_jump(chains: Chains, family: Family) -> list[Rule]:
    """Return the jumps of any state, for removing those of an earlier engine."""
    states = (FirewallState(has_proxies=has_proxies) for has_proxies in (False, True))
    return list(dict.fromkeys(jump for state in states for jump in jumps(chains, state, family)))


def rules(chains: Chains, state: FirewallState, family: Family) -> list[Rule]:
    """Return every rule of the instance's chains, in order."""
    return [
        *(Rule("raw", chains.raw, arguments) for arguments in _raw(state, family)),
        *(Rule("nat", chains.dnat, arguments) for arguments in _before_ports(state, family)),
        *port_rules(chains, state, family),
        *(Rule("nat", chains.snat, arguments) for arguments in _snat(state, family)),
        *(Rule("filter", chains.forward, arguments) for arguments in _forward(state, family)),
    ]


def port_rules(chains: Chains, state: FirewallState, family: Family) -> list[Rule]:
    """Return the rules of published ports; certain addresses before unspecified ones."""
    ports = sorted(state.ports_of(family), key=_certain_first)
    return [Rule("nat", chains.dnat, _dnat(port)) for port in ports]


def _certain_first(port: PublishedPort) -> tuple[bool, str]:
    return port.host_address.is_unspecified, repr(port)


def _raw(state: FirewallState, family: Family) -> Iterator[tuple[Argument, ...]]:
    networks = state.networks_of(family)
    if networks:
        yield (
            Option.DESTINATION, LOOPBACK[family], Option.NOT, Option.INCOMING, _LO,
            Option.JUMP, Option.DROP,
        )  # fmt: skip
    for network, interface in networks:
        yield Option.DESTINATION, ip_network(interface.ip), Option.JUMP, Option.RETURN
        yield (
            Option.DESTINATION, interface.network, Option.NOT, Option.INCOMING, network.bridge,
            Option.JUMP, Option.DROP,
        )  # fmt: skip


def _before_ports(state: FirewallState, family: Family) -> Iterator[tuple[Argument, ...]]:
    if state.has_proxies:
        for network, _ in state.networks_of(family):
            yield Option.INCOMING, network.bridge, Option.JUMP, Option.RETURN


def _dnat(port: PublishedPort) -> tuple[Argument, ...]:
    host: tuple[Argument, ...] = ()
    if not port.host_address.is_unspecified:
        host = (Option.DESTINATION, ip_network(port.host_address))
    protocol = _PROTOCOLS[port.protocol]
    return (
        *host, Option.PROTOCOL, protocol, Option.MATCH, protocol,
        Option.DESTINATION_PORT, port.host_port,
        Option.MATCH, Option.COMMENT_MATCH, Option.COMMENT, port.owner,
        Option.JUMP, Option.TRANSLATED,
        Option.TO_DESTINATION, Backend(port.container_address, port.container_port),
    )  # fmt: skip


def _snat(state: FirewallState, family: Family) -> Iterator[tuple[Argument, ...]]:
    masquerade = (Option.JUMP, Option.MASQUERADE)
    for network, interface in state.networks_of(family):
        source = (Option.SOURCE, interface.network)
        onto_bridge = (Option.OUTGOING, network.bridge)
        if network.masquerade and not network.internal:
            yield (*source, Option.NOT, *onto_bridge, *masquerade)
        if not state.has_proxies and not network.internal:
            # A neighbour, or the container itself, answers past us unless it sees our address.
            yield (*source, *onto_bridge, *_TRANSLATED, *masquerade)
            if family == FAMILIES[0]:
                yield (Option.SOURCE, LOOPBACK[family], *onto_bridge, *masquerade)


def _forward(state: FirewallState, family: Family) -> Iterator[tuple[Argument, ...]]:
    networks = [network for network, _ in state.networks_of(family)]
    accept, drop = (Option.JUMP, Option.ACCEPT), (Option.JUMP, Option.DROP)
    for network in networks:
        if network.internal:  # first: a translated port of another network is outside as well
            yield (
                Option.INCOMING, network.bridge, Option.NOT, Option.OUTGOING, network.bridge, *drop
            )  # fmt: skip
    for network in networks:
        yield (Option.OUTGOING, network.bridge, *_ANSWERS, *accept)
        if not network.internal:
            yield (Option.OUTGOING, network.bridge, *_TRANSLATED, *accept)
    for network in networks:
        yield (
            Option.NOT, Option.INCOMING, network.bridge, Option.OUTGOING, network.bridge, *drop
        )  # fmt: skip
    for link in state.links_of(family):
        yield _linked(link)
    for network in networks:
        inside = (Option.INCOMING, network.bridge, Option.OUTGOING, network.bridge)
        yield (*inside, *(accept if network.icc else drop))
        if not network.internal:
            yield (
                Option.INCOMING, network.bridge, Option.NOT, Option.OUTGOING, network.bridge,
                *accept,
            )  # fmt: skip


def _linked(link: LinkedPort) -> tuple[Argument, ...]:
    """Return the one rule of a linked port.

    0.7.2 has another for what comes *from* the port (7.11 b), by which the linked
    container reaches every port of the other: answers are let through anyway.
    """
    protocol = _PROTOCOLS[link.protocol]
    return (
        Option.SOURCE, ip_network(link.source), Option.DESTINATION, ip_network(link.destination),
        Option.INCOMING, link.bridge, Option.OUTGOING, link.bridge,
        Option.PROTOCOL, protocol, Option.MATCH, protocol, Option.DESTINATION_PORT, link.port,
        Option.MATCH, Option.COMMENT_MATCH, Option.COMMENT, link.owner,
        Option.JUMP, Option.ACCEPT,
    )  # fmt: skip
