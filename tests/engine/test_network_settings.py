# SPDX-License-Identifier: Apache-2.0
"""What the variables of an engine's networks may say (rule 6.1)."""

from __future__ import annotations

import pytest

from toolkit.engine.network_settings import NetworkSettings
from toolkit.errors import InvalidRequestError

read = NetworkSettings.from_environment


def test_nothing_set_is_dockers_default() -> None:
    assert read({}) == NetworkSettings()
    assert read({"TOOLKIT_MTU": "0", "TOOLKIT_BIP": "", "TOOLKIT_ICC": ""}) == NetworkSettings()


def test_what_is_set_is_taken() -> None:
    settings = read(
        {
            "TOOLKIT_BIP": "172.20.5.1/24",
            "TOOLKIT_FIXED_CIDR": "172.20.5.128/25",
            "TOOLKIT_IPV6": "true",
            "TOOLKIT_FIXED_CIDR_V6": "fd00:5::9/64",
            "TOOLKIT_IP": "::1",
            "TOOLKIT_ICC": "false",
            "TOOLKIT_IPTABLES": "0",
            "TOOLKIT_IP_FORWARD": "no",
            "TOOLKIT_USERLAND_PROXY": "False",
            "TOOLKIT_MTU": "1400",
            "TOOLKIT_DNS": "10.0.0.2, 2001:db8::1",
            "TOOLKIT_DNS_SEARCH": "lan.test,_tcp.test.",
            "TOOLKIT_DNS_OPT": "ndots:2, rotate",
        }
    )
    assert settings == NetworkSettings(
        bridge_address="172.20.5.1/24",
        fixed_cidr="172.20.5.128/25",
        ipv6=True,
        fixed_cidr_v6="fd00:5::/64",
        publish_address="::1",
        icc=False,
        with_iptables=False,
        may_forward=False,
        has_proxies=False,
        mtu=1400,
        dns=("10.0.0.2", "2001:db8::1"),
        dns_search=("lan.test", "_tcp.test."),
        dns_options=("ndots:2", "rotate"),
    )
    assert settings.resolv_conf.text == (
        "nameserver 10.0.0.2\nnameserver 2001:db8::1\n"
        "search lan.test _tcp.test.\noptions ndots:2 rotate\n"
    )


def test_a_part_without_a_bridge_address_is_the_whole_subnet() -> None:
    """As docker's --fixed-cidr without --bip."""
    settings = read({"TOOLKIT_FIXED_CIDR": "10.9.8.0/24"})
    assert (settings.bridge_address, settings.fixed_cidr) == ("10.9.8.1/24", "10.9.8.0/24")


def test_an_ipv6_subnet_without_ipv6_does_nothing_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As dockerd; so that --ipv6=false overrules an environment."""
    environ = {"TOOLKIT_FIXED_CIDR_V6": "fd00:5::/64"}
    assert read(environ) == NetworkSettings()
    assert "fd00:5::/64 does nothing without --ipv6" in caplog.text
    caplog.clear()
    assert read({**environ, "TOOLKIT_IPV6": "1"}).ipv6
    assert read({"TOOLKIT_IPV6": "1"}) == NetworkSettings(ipv6=True)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("BIP", "nonsense", "--bip (or TOOLKIT_BIP) 'nonsense': use a host's address"),
        ("BIP", "10.0.0.0/24", "as in 172.20.0.1/16"),
        ("BIP", "10.0.0.255/24", "as in 172.20.0.1/16"),
        ("BIP", "10.0.0.1", "as in 172.20.0.1/16"),
        ("BIP", "10.0.0.1/31", "as in 172.20.0.1/16"),
        ("BIP", "fd00::1/64", "as in 172.20.0.1/16"),
        ("FIXED_CIDR", "10.0.0.0/33", "--fixed-cidr (or TOOLKIT_FIXED_CIDR)"),
        ("FIXED_CIDR", "10.0.0.0/31", "use a larger network"),
        ("FIXED_CIDR_V6", "10.0.0.0/8", "--fixed-cidr-v6 (or TOOLKIT_FIXED_CIDR_V6) '10.0.0.0/8'"),
        ("FIXED_CIDR_V6", "fd00:5::", "use an IPv6 network of at most 126 bits, as in fd00:1::/64"),
        ("FIXED_CIDR_V6", "fd00:5::/127", "of at most 126 bits"),
        ("FIXED_CIDR_V6", "fd00:5::%eth0/64", "use an IPv6 network"),
        ("FIXED_CIDR_V6", "fe80::/64", "use an IPv6 network"),
        ("FIXED_CIDR_V6", "ff05::/64", "use an IPv6 network"),
        ("FIXED_CIDR_V6", "::/0", "use an IPv6 network"),
        ("FIXED_CIDR_V6", "::ffff:10.0.0.0/104", "use an IPv6 network"),
        ("IPV6", "perhaps", "--ipv6 (or TOOLKIT_IPV6) 'perhaps': use true or false"),
        ("IP", "localhost", "use an address of this machine"),
        ("MTU", "1279", "from 1280 to 65535"),
        ("MTU", "65536", "from 1280 to 65535"),
        ("MTU", "1" * 5000, "from 1280 to 65535"),
        ("MTU", "-1", "from 1280 to 65535"),
        ("DNS", "10.0.0.2,resolver", "--dns (or TOOLKIT_DNS) 'resolver'"),
        ("DNS_SEARCH", "lan.test,a b", "--dns-search (or TOOLKIT_DNS_SEARCH) 'a b': use a domain"),
        ("DNS_SEARCH", "lan.test\nnameserver 6.6.6.6", "as in lan.example, or . alone for none"),
        ("DNS_OPT", "ndots:2,-x", "--dns-opt (or TOOLKIT_DNS_OPT) '-x': use an option of resolv"),
        ("DNS_OPT", "rotate\nnameserver 6.6.6.6", "as in ndots:2 or rotate"),
        ("ICC", "perhaps", "use true or false"),
        ("IP_FORWARD", "2", "--ip-forward (or TOOLKIT_IP_FORWARD) '2': use true or false"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line_with_the_remedy(
    name: str, value: str, says: str
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read({f"TOOLKIT_{name}": value})
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_part_outside_the_bridges_network_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"use a part of 10\.0\.0\.0/24"):
        read({"TOOLKIT_BIP": "10.0.0.1/24", "TOOLKIT_FIXED_CIDR": "10.0.1.0/24"})
