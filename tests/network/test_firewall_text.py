# SPDX-License-Identifier: Apache-2.0
"""Row S-85: nothing but words of ours reaches a transaction."""

from __future__ import annotations

import string
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.firewall import FakeIptables
from toolkit.errors import InvalidRequestError
from toolkit.network.firewall import (
    BridgedNetwork,
    FirewallState,
    LinkedPort,
    LinkName,
    PublishedPort,
    RuleOwner,
)
from toolkit.network.firewall_iptables import IptablesFirewall
from toolkit.network.firewall_rules import Chains, rules
from toolkit.network.firewall_text import ChainName, Option, Rule, rule_line, transaction

HOSTILE = [
    "x -j ACCEPT", "x\nCOMMIT\n*filter\n-A INPUT -j ACCEPT", "-j", "", " ", "x;y", "$(id)", "x\0",
    "x\r", "a" * 29, "é", "x'", 'x"', "../x", "0.0.0.0/0", "!",
]  # fmt: skip

hostile = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40))
ids = st.text(alphabet="0123456789abcdef", min_size=64, max_size=64).map(RuleOwner)
names = st.text(alphabet=string.ascii_letters + string.digits, min_size=1, max_size=15)
links = names.map(LinkName)
addresses = st.integers(1, 2**32 - 2).map(IPv4Address)
ports = st.integers(1, 65535)
protocols: Any = st.sampled_from(["tcp", "udp", "sctp"])
networks = st.builds(
    BridgedNetwork,
    bridge=links,
    interface=st.builds(
        lambda address, bits: IPv4Interface((int(address), bits)), addresses, st.integers(8, 30)
    ),
    icc=st.booleans(),
    internal=st.booleans(),
    masquerade=st.booleans(),
)
states = st.builds(
    FirewallState,
    networks=st.lists(networks, max_size=3, unique_by=lambda n: n.bridge).map(tuple),
    ports=st.frozensets(
        st.builds(
            PublishedPort, owner=ids, protocol=protocols, host_address=addresses, host_port=ports,
            container_address=addresses, container_port=ports,
        ),
        max_size=4,
    ),
    links=st.frozensets(
        st.builds(
            LinkedPort, owner=ids, bridge=links, source=addresses, destination=addresses,
            protocol=protocols, port=ports,
        ),
        max_size=3,
    ),
    has_proxies=st.booleans(),
)  # fmt: skip


@given(st.lists(states, min_size=1, max_size=4))
def test_what_iptables_has_after_a_transaction_is_the_model(each: list[FirewallState]) -> None:
    """S-85: parsed back, every rule of every state is there, and no other."""
    runner = FakeIptables()
    firewall = IptablesFirewall("tkt", runner)
    previous = None
    for state in each:
        firewall.apply(previous, state)
        assert not firewall.missing(state)
        previous = state
    lines = [line for text in runner.texts for line in text.splitlines()]
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert {line for line in lines if line.startswith("*")} <= {"*raw", "*nat", "*filter"}


@given(state=states)
def test_a_transaction_has_one_line_for_each_rule(state: FirewallState) -> None:
    wanted = rules(Chains.of("tkt"), state, 4)
    for rule in wanted:
        line = rule_line(rule)
        assert line.split()[:2] == ["-A", rule.chain.text]
        assert len(line.splitlines()) == 1


@pytest.mark.parametrize("make", [LinkName, ChainName, RuleOwner])
@given(text=hostile)
def test_a_text_becomes_a_name_only_if_it_is_one_word_of_plain_letters(
    make: Any, text: str
) -> None:
    """S-85: names, aliases and ids with options, blanks and line ends."""
    allowed = set(string.ascii_letters + string.digits + "_.-")
    try:
        made = make(text)
    except InvalidRequestError:
        return
    assert set(text) <= allowed
    assert text[0] in string.ascii_letters + string.digits
    assert made


@pytest.mark.parametrize("argument", ["-j ACCEPT", b"x", None, 1.5, ("a",)])
def test_no_argument_of_a_rule_is_a_text(argument: Any) -> None:
    rule = Rule("nat", ChainName("X"), (Option.JUMP, argument))
    with pytest.raises(TypeError):
        rule_line(rule)


@pytest.mark.parametrize(
    "change",
    [
        {"host_port": 0},
        {"host_port": 65536},
        {"container_port": -1},
        {"protocol": "tcp -j ACCEPT"},
        {"host_address": IPv6Address("::")},
    ],
)
def test_a_port_that_is_none_is_refused(change: dict[str, Any]) -> None:
    fields: dict[str, Any] = {
        "owner": RuleOwner("a" * 64), "protocol": "tcp", "host_address": IPv4Address(0),
        "host_port": 80, "container_address": IPv4Address("10.0.0.2"), "container_port": 80,
    }  # fmt: skip
    with pytest.raises(InvalidRequestError):
        PublishedPort(**{**fields, **change})


def test_the_name_of_every_instance_makes_names_of_chains() -> None:
    assert all(len(chain.text) <= 28 for chain in Chains.of("a" * 11))


def test_a_table_without_lines_is_left_out() -> None:
    rule = Rule("nat", ChainName("X"), (Option.DESTINATION, IPv4Network("10.0.0.0/8")))
    text = transaction([("raw", []), ("nat", [rule_line(rule)])])
    assert text == "*nat\n-A X -d 10.0.0.0/8\nCOMMIT\n"
