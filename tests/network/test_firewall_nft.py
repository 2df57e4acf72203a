# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fakes.firewall import FakeNft
from tests.network.firewall_contract import PLAIN, FirewallContract, published
from toolkit.network.firewall_nft import NftFirewall


class TestNftFirewall(FirewallContract):
    @pytest.fixture(autouse=True)
    def _make(self) -> None:
        self.runner = FakeNft()
        self.firewall = NftFirewall("tkt", self.runner)

    def flushed(self) -> None:
        self.runner.flush()

    def rules_of_ours(self) -> list[str]:
        return [str(key) for key in self.runner.tables if "tkt" in str(key)]

    def test_a_published_port_is_two_elements_with_the_short_id(self) -> None:
        self.firewall.apply(None, PLAIN)
        before = len(self.runner.transactions)
        self.firewall.apply(PLAIN, replace(PLAIN, ports=PLAIN.ports | {published(2)}))
        (commands,) = self.runner.transactions[before:]
        elements = [command["add"]["element"] for command in commands]
        assert [element["name"] for element in elements] == ["any_to_address", "any_to_port"]
        assert all("'comment': '000000000000'" in str(element) for element in elements)

    def test_tables_of_others_stay(self) -> None:
        self.runner.tables["inet", "foreign"] = []
        self.firewall.apply(None, PLAIN)
        self.firewall.flush()
        assert list(self.runner.tables) == [("inet", "foreign")]

    def test_a_rule_that_somebody_added_to_our_chain_is_told(self) -> None:
        self.firewall.apply(None, PLAIN)
        objects = self.runner.tables["ip", "toolkit_tkt"]
        objects.append({"rule": {"chain": "raw", "expr": [{"accept": None}]}})
        assert self.firewall.missing(PLAIN) == ["ip: chain raw"]
