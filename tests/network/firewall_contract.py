# SPDX-License-Identifier: Apache-2.0
"""What every firewall does: used here on fakes, and in `integration/network` in the kernel."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING, Any

from toolkit.network.firewall import (
    BridgedNetwork,
    FirewallState,
    LinkedPort,
    LinkName,
    PublishedPort,
    RuleOwner,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolkit.network.firewall import Firewall


def network(
    name: str = "tkt0", interface: str = "172.17.42.1/16", **options: Any
) -> BridgedNetwork:
    return BridgedNetwork(bridge=LinkName(name), interface=ip_interface(interface), **options)  # type: ignore[arg-type]  # the texts here are IPv4


def published(number: int, host: str = "0.0.0.0", protocol: Any = "tcp") -> PublishedPort:  # noqa: S104 - what 0.7.2 calls every address
    six = ":" in host
    return PublishedPort(
        owner=RuleOwner(f"{number:064x}"),
        protocol=protocol,
        host_address=ip_address(host),
        host_port=8000 + number,
        container_address=ip_address("fd00::2" if six else "172.17.0.2"),
        container_port=80,
    )


def linked(port: int = 53) -> LinkedPort:
    return LinkedPort(
        owner=RuleOwner("a" * 64),
        bridge=LinkName("tkt0"),
        source=ip_address("172.17.0.2"),
        destination=ip_address("172.17.0.3"),
        protocol="udp",
        port=port,
    )


PLAIN = FirewallState(networks=(network(),), ports=frozenset({published(1)}))
SIX = network(interface6=ip_interface("fd00::1/64"))


class FirewallContract:
    """A `Firewall` agrees with each state that it is given."""

    firewall: Firewall
    flushed: Callable[[], None]

    def test_all_is_there_after_the_first_change(self) -> None:
        assert self.firewall.missing(PLAIN)
        self.firewall.apply(None, PLAIN)
        assert not self.firewall.missing(PLAIN)

    def test_a_port_is_published_and_withdrawn(self) -> None:
        self.firewall.apply(None, PLAIN)
        more = replace(PLAIN, ports=PLAIN.ports | {published(2), published(3, "127.0.0.1")})
        self.firewall.apply(PLAIN, more)
        assert not self.firewall.missing(more)
        assert self.firewall.missing(PLAIN)
        self.firewall.apply(more, PLAIN)
        assert not self.firewall.missing(PLAIN)

    def test_tcp_and_udp_share_a_number(self) -> None:
        both = replace(PLAIN, ports=frozenset({published(1), published(1, protocol="udp")}))
        self.firewall.apply(None, both)
        assert not self.firewall.missing(both)

    def test_networks_and_links_come_and_go(self) -> None:
        self.firewall.apply(None, PLAIN)
        other = network("tktAB", "172.18.0.1/16", icc=False, internal=True)
        more = replace(PLAIN, networks=(*PLAIN.networks, other), links=frozenset({linked()}))
        self.firewall.apply(PLAIN, more)
        assert not self.firewall.missing(more)
        self.firewall.apply(more, PLAIN)
        assert not self.firewall.missing(PLAIN)

    def test_ipv6_comes_with_the_first_network_that_has_it(self) -> None:
        self.firewall.apply(None, PLAIN)
        six = FirewallState(networks=(SIX,), ports=frozenset({published(1), published(2, "::")}))
        self.firewall.apply(PLAIN, six)
        assert not self.firewall.missing(six)

    def test_proxies_take_what_the_kernel_did(self) -> None:
        self.firewall.apply(None, PLAIN)
        proxied = replace(PLAIN, has_proxies=True)
        self.firewall.apply(PLAIN, proxied)
        assert not self.firewall.missing(proxied)
        assert self.firewall.missing(PLAIN)

    def test_what_somebody_flushed_is_repaired(self) -> None:
        """S-82, F-13."""
        self.firewall.apply(None, PLAIN)
        self.flushed()
        assert self.firewall.repair(PLAIN)
        assert not self.firewall.missing(PLAIN)
        assert not self.firewall.repair(PLAIN)

    def test_a_change_after_a_flush_writes_everything(self) -> None:
        """S-82, F-13: 0.7.2 fails to publish until it is started again."""
        state = replace(PLAIN, networks=(SIX,), ports=frozenset({published(1), published(2, "::")}))
        self.firewall.apply(None, state)
        self.flushed()
        changed = replace(state, ports=state.ports - {published(1)})
        self.firewall.apply(state, changed)
        assert not self.firewall.missing(changed)

    def test_a_second_engine_takes_over_what_a_crash_left(self) -> None:
        """S-83: rules of containers that are gone go with the first change."""
        self.firewall.apply(None, replace(PLAIN, links=frozenset({linked()})))
        self.firewall.apply(None, PLAIN)
        assert not self.firewall.missing(PLAIN)

    def test_nothing_is_left_after_a_flush_of_our_own(self) -> None:
        self.firewall.apply(None, replace(PLAIN, networks=(SIX,)))
        self.firewall.flush()
        assert self.rules_of_ours() == []
        self.firewall.flush()

    def rules_of_ours(self) -> list[str]:
        """Return what the kernel has with our name."""
        raise NotImplementedError
