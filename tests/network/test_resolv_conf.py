# SPDX-License-Identifier: Apache-2.0
"""Resolver files of host and containers."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import InvalidRequestError
from toolkit.network.resolv_conf import (
    PUBLIC_RESOLVERS,
    ResolvConf,
    for_container,
    host_resolv_conf,
    is_local_resolver,
    nameservers_as_cidr,
    parse,
    read_host_file,
    upstream_resolvers,
)

if TYPE_CHECKING:
    from pathlib import Path

HOST = ResolvConf((ip_address("10.0.2.3"), ip_address("fd00::53")), ("lan",), ("edns0",))
ONE = ip_address("1.1.1.1")


def test_the_host_s_file_is_read_as_it_is(tmp_path: Path) -> None:
    """RT-103, API-117."""
    path = tmp_path / "resolv.conf"
    path.write_bytes(b"# a\nnameserver 1.2.3.4 \xff\n\n")
    assert read_host_file(path) == path.read_bytes()
    with pytest.raises(FileNotFoundError):
        read_host_file(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "is_local"),
    [
        ("# Dynamic\nnameserver 10.0.2.3\nsearch dotcloud.net\n", False),
        ("# Dynamic\n#nameserver 127.0.0.1\nnameserver 10.0.2.3\nsearch dotcloud.net\n", False),
        ("# Dynamic\nnameserver 10.0.2.3 #not used 127.0.1.1\nsearch dotcloud.net\n", False),
        ("# Dynamic\n#nameserver 10.0.2.3\n#search dotcloud.net\n", True),
        ("# Dynamic\nnameserver 127.0.0.1\nsearch dotcloud.net\n", True),
        ("# Dynamic\nnameserver 127.0.1.1\nsearch dotcloud.net\n", True),
        ("# Dynamic\n", True),
        ("", True),
    ],
)
def test_a_local_resolver_is_known(text: str, is_local: bool) -> None:  # noqa: FBT001 - a table
    """RT-104, API-118."""
    assert is_local_resolver(text.encode()) is is_local


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        (
            "nameserver 1.2.3.4\nnameserver 40.3.200.10\nsearch a.b",
            ["1.2.3.4/32", "40.3.200.10/32"],
        ),
        ("search example.com", []),
        ("nameserver 1.2.3.4\nsearch a.b\nnameserver 4.3.2.1", ["1.2.3.4/32", "4.3.2.1/32"]),
        ("", []),
        ("  nameserver  1.2.3.4   ", ["1.2.3.4/32"]),
        ("#nameserver 1.2.3.4\nnameserver 4.3.2.1", ["4.3.2.1/32"]),
        ("nameserver 1.2.3.4 # not 4.3.2.1", ["1.2.3.4/32"]),
    ],
)
def test_nameservers_are_networks_of_one_address(text: str, networks: list[str]) -> None:
    """RT-105, API-123."""
    assert nameservers_as_cidr(text.encode()) == networks


def test_custom_resolvers_are_one_line_each() -> None:
    """Rule 10.22."""
    made = for_container(ResolvConf(), nameservers=(ONE, ip_address("8.8.8.8")))
    assert made.text == "nameserver 1.1.1.1\nnameserver 8.8.8.8\n"


def test_what_was_not_asked_for_is_the_host_s() -> None:
    assert for_container(HOST).text == (
        "nameserver 10.0.2.3\nnameserver fd00::53\nsearch lan\noptions edns0\n"
    )
    assert for_container(HOST, search=(".",), options=("rotate",)).text == (
        "nameserver 10.0.2.3\nnameserver fd00::53\noptions rotate\n"
    )


def test_loopback_resolvers_of_the_host_are_none_for_a_container() -> None:
    """Rule 10.21."""
    local = ResolvConf((ip_address("127.0.0.1"),))
    assert upstream_resolvers(local) == PUBLIC_RESOLVERS
    assert upstream_resolvers(local, (ONE,)) == (ONE,)
    assert upstream_resolvers(ResolvConf((ip_address("127.0.0.1"), ONE))) == (ONE,)


def test_a_container_on_a_user_network_asks_the_embedded_resolver() -> None:
    made = for_container(HOST, nameservers=(ONE,), embedded=True)
    assert made.text == "nameserver 127.0.0.11\nsearch lan\noptions edns0 ndots:0\n"
    assert for_container(HOST, options=("ndots:2",), embedded=True).options == ("ndots:2",)


def test_behind_the_stub_of_systemd_are_the_real_ones(tmp_path: Path) -> None:
    stub, real = tmp_path / "stub", tmp_path / "real"
    stub.write_text("nameserver 127.0.0.53\noptions edns0\n")
    assert host_resolv_conf(stub, real).nameservers == (ip_address("127.0.0.53"),)
    real.write_text("nameserver 10.0.2.3\n")
    assert host_resolv_conf(stub, real).nameservers == (ip_address("10.0.2.3"),)
    assert host_resolv_conf(tmp_path / "none", real) == ResolvConf()


def test_the_last_search_line_counts_and_options_add_up() -> None:
    text = b"domain a\nsearch b c # d\noptions x\noptions y x\nnameserver ::1\nnameserver junk\n"
    assert parse(text) == ResolvConf((ip_address("::1"),), ("b", "c"), ("x", "y"))


@given(st.text(max_size=20), st.text(max_size=20))
def test_whatever_is_asked_for_no_line_is_injected(domain: str, option: str) -> None:
    """Row S-70: what is written reads back as what was asked for."""
    try:
        made = ResolvConf((ONE,), (domain,), (option,))
    except InvalidRequestError:
        return
    assert len(made.text.splitlines()) <= 3
    again = parse(made.text.encode())
    assert again == (made if domain != "." else ResolvConf((ONE,), (), (option,)))


@given(st.binary(max_size=200))
def test_any_bytes_can_be_read(content: bytes) -> None:
    parse(content)
    is_local_resolver(content)
    nameservers_as_cidr(content)


def test_a_resolver_is_an_address() -> None:
    """Row S-70."""
    with pytest.raises(InvalidRequestError):
        ResolvConf(("1.1.1.1\nsearch evil",))  # type: ignore[arg-type]  # what a slip would pass
