# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fakes.firewall import FakeIptables
from tests.network.firewall_contract import PLAIN, FirewallContract, linked, network, published
from toolkit.errors import FirewallError
from toolkit.network.firewall import FirewallState
from toolkit.network.firewall_iptables import IptablesFirewall


class TestIptablesFirewall(FirewallContract):
    @pytest.fixture(autouse=True)
    def _make(self) -> None:
        self.runner = FakeIptables()
        self.firewall = IptablesFirewall("tkt", self.runner)

    def flushed(self) -> None:
        self.runner.flush()

    def rules_of_ours(self) -> list[str]:
        lines = (self.runner.save(4) + self.runner.save(6)).splitlines()
        return [line for line in lines if "tkt" in line]

    def test_a_published_port_is_one_line(self) -> None:
        """RT 6.13: protocol, host address where one was given, port, and where it leads."""
        self.firewall.apply(None, PLAIN)
        before = self.runner.texts[:]
        self.firewall.apply(PLAIN, replace(PLAIN, ports=PLAIN.ports | {published(2, "10.0.0.1")}))
        (text,) = self.runner.texts[len(before) :]
        assert text.splitlines() == [
            "*nat",
            (
                "-A tkt-DNAT -d 10.0.0.1/32 -p tcp -m tcp --dport 8002 -m comment "
                "--comment 000000000000 -j DNAT --to-destination 172.17.0.2:80"
            ),
            "COMMIT",
        ]

    def test_the_programs_of_the_families_in_use_are_started_ahead(self) -> None:
        """IPv6 costs nothing until a network has it."""
        self.firewall.expect()
        assert self.runner.expected == set()
        self.firewall.apply(None, FirewallState(networks=(network("tkt0"),)))
        self.firewall.expect()
        assert self.runner.expected == {4}
        self.firewall.close()
        assert self.runner.expected == set()

    def test_legacy_iptables_tells_nothing_so_each_change_looks_at_the_jumps(self) -> None:
        runner = FakeIptables(tells_changes=False)
        firewall = IptablesFirewall("tkt", runner)
        firewall.apply(None, PLAIN)
        runner.tables[4]["nat"]["PREROUTING"].clear()
        more = replace(PLAIN, ports=PLAIN.ports | {published(2)})
        firewall.apply(PLAIN, more)
        assert not firewall.missing(more)

    def test_rules_of_others_stay_where_they_are(self) -> None:
        """F-13: a foreign rule put first."""
        foreign = self.runner.tables[4]["filter"]["FORWARD"]
        foreign.append("-j ACCEPT")
        self.firewall.apply(None, PLAIN)
        self.runner.tables[4]["filter"]["FORWARD"].insert(0, "-s 10.0.0.0/8 -j DROP")
        self.firewall.apply(None, PLAIN)
        assert self.runner.tables[4]["filter"]["FORWARD"] == [
            "-s 10.0.0.0/8 -j DROP", "-j tkt-FORWARD", "-j ACCEPT",
        ]  # fmt: skip
        self.firewall.flush()
        assert self.runner.tables[4]["filter"]["FORWARD"] == ["-s 10.0.0.0/8 -j DROP", "-j ACCEPT"]

    def test_jumps_are_there_once(self) -> None:
        for _ in range(3):
            IptablesFirewall("tkt", self.runner).apply(None, PLAIN)
        jumps = [line for line in self.rules_of_ours() if "-j tkt-" in line]
        assert len(jumps) == len(set(jumps)) == 5

    def test_instances_do_not_meet(self) -> None:
        other = IptablesFirewall("tkt2", self.runner)
        other.apply(None, PLAIN)
        self.firewall.apply(None, PLAIN)
        self.firewall.flush()
        assert not other.missing(PLAIN)

    def test_the_order_of_the_forward_chain_matters(self) -> None:
        self.firewall.apply(None, PLAIN)
        self.runner.tables[4]["filter"]["tkt-FORWARD"].reverse()
        assert self.firewall.missing(PLAIN) == ["filter: order of tkt-FORWARD"]

    def test_a_rule_that_somebody_added_to_our_chain_is_told(self) -> None:
        self.firewall.apply(None, PLAIN)
        self.runner.tables[4]["raw"]["tkt-RAW"].insert(0, "-j ACCEPT")
        assert self.firewall.missing(PLAIN) == ["raw: too much: -A tkt-RAW -j ACCEPT"]

    def test_ipv6_is_not_touched_without_need(self) -> None:
        del self.runner.tables[6]
        self.firewall.apply(None, PLAIN)
        assert not self.firewall.missing(PLAIN)

    def test_a_refusal_changes_nothing_and_is_told(self) -> None:
        del self.runner.tables[4]["nat"]
        with pytest.raises(FirewallError, match="line"):
            self.firewall.apply(None, PLAIN)

    def test_unpublished_ports_and_other_networks_are_out_of_reach_whatever_the_policy(
        self,
    ) -> None:
        """S-81: dropped in raw and, for what is forwarded, in filter."""
        self.firewall.apply(None, FirewallState(networks=(network(),)))
        raw, forward = (
            self.runner.tables[4][table][f"tkt-{chain}"]
            for table, chain in (("raw", "RAW"), ("filter", "FORWARD"))
        )
        assert "-d 172.17.0.0/16 ! -i tkt0 -j DROP" in raw
        assert "! -i tkt0 -o tkt0 -j DROP" in forward

    def test_a_link_is_let_through_before_icc_drops(self) -> None:
        """RT 7.11 a, 7.14."""
        state = FirewallState(networks=(network(icc=False),), links=frozenset({linked()}))
        self.firewall.apply(None, state)
        forward = self.runner.tables[4]["filter"]["tkt-FORWARD"]
        link = next(i for i, rule in enumerate(forward) if "--dport 53" in rule)
        assert link < forward.index("-i tkt0 -o tkt0 -j DROP")
