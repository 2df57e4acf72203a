# SPDX-License-Identifier: Apache-2.0
"""Links as values."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import InvalidLinkError, InvalidPortError
from toolkit.network.links import Link, LinkRule, check_link, parse_link, sort_ports

PARENT = ip_address("172.0.17.3")
CHILD = ip_address("172.0.17.2")
LINK = Link(
    parent_address=PARENT,
    child_address=CHILD,
    name="/db/docker",
    bridge="toolkit0",
    child_environment=("PASSWORD=gordon",),
    ports=("6379/tcp",),
)


def test_a_link_knows_both_ends() -> None:
    """Row RT-108."""
    assert LINK.alias == "docker"
    assert (LINK.parent_address, LINK.child_address) == (PARENT, CHILD)
    assert LINK.bridge == "toolkit0"
    assert LINK.ports == ("6379/tcp",)


def test_the_environment_has_docker_s_form_and_order() -> None:
    """Row RT-109."""
    environment = LINK.environment()
    assert environment == [
        "DOCKER_PORT=tcp://172.0.17.2:6379",
        "DOCKER_PORT_6379_TCP=tcp://172.0.17.2:6379",
        "DOCKER_PORT_6379_TCP_ADDR=172.0.17.2",
        "DOCKER_PORT_6379_TCP_PORT=6379",
        "DOCKER_PORT_6379_TCP_PROTO=tcp",
        "DOCKER_NAME=/db/docker",
        "DOCKER_ENV_PASSWORD=gordon",
    ]
    assert all(entry.count("=") == 1 for entry in environment)


def test_variables_without_exactly_one_equals_sign_home_and_path_are_not_passed() -> None:
    """Rules 7.9 and 7.10; defect D-23 is kept."""
    link = replace(
        LINK, child_environment=("A=b=c", "BARE", "HOME=/", "PATH=/bin", "EMPTY=", "K=v"), ports=()
    )
    assert link.environment() == [
        "DOCKER_NAME=/db/docker",
        "DOCKER_ENV_EMPTY=",
        "DOCKER_ENV_K=v",
    ]


def test_a_dash_in_the_alias_stays() -> None:
    link = replace(LINK, name="/web/my-db.1", child_environment=(), ports=())
    assert link.environment() == ["MY-DB.1_NAME=/web/my-db.1"]


def test_an_ipv6_child_has_brackets_in_its_urls_only() -> None:
    link = replace(LINK, child_address=ip_address("fd00::2"))
    assert link.environment()[0] == "DOCKER_PORT=tcp://[fd00::2]:6379"
    assert "DOCKER_PORT_6379_TCP_ADDR=fd00::2" in link.environment()


def test_the_lowest_port_comes_first() -> None:
    """Row RT-106."""
    assert sort_ports(["6379/tcp", "22/tcp"])[0] == "22/tcp"


def test_tcp_comes_before_udp_of_one_number() -> None:
    """Row RT-107."""
    assert sort_ports(["8888/tcp", "8888/udp", "6379/udp", "6379/tcp"]) == [
        "6379/tcp",
        "6379/udp",
        "8888/tcp",
        "8888/udp",
    ]


def test_each_port_has_a_rule_there_and_one_back() -> None:
    """Rules 7.11 and 7.12."""
    assert list(replace(LINK, ports=("6379/tcp", "53/udp")).rules()) == [
        LinkRule(protocol="tcp", source=PARENT, destination=CHILD, destination_port=6379),
        LinkRule(protocol="tcp", source=CHILD, destination=PARENT, source_port=6379),
        LinkRule(protocol="udp", source=PARENT, destination=CHILD, destination_port=53),
        LinkRule(protocol="udp", source=CHILD, destination=PARENT, source_port=53),
    ]


def test_the_parent_finds_the_child_by_alias_host_name_and_name() -> None:
    assert LINK.hosts_entry("1a2b3c", "/redis").line == "172.0.17.2\tdocker 1a2b3c redis\n"
    assert LINK.hosts_entry("docker", "docker").line == "172.0.17.2\tdocker\n"


def test_a_link_is_a_name_and_an_alias() -> None:
    assert parse_link("redis:db") == ("redis", "db")


@pytest.mark.parametrize("text", ["redis", "a:b:c", ":b", "a:", ""])
def test_other_texts_are_refused_in_docker_s_words(text: str) -> None:
    with pytest.raises(InvalidLinkError) as caught:
        parse_link(text)
    assert str(caught.value) == (
        f"Invalid format to parse.  {text} should match template name:alias"
    )


@pytest.mark.parametrize(
    "alias", ["-j", "a b", "a\nb", "$(id)", "a;b", "a/b", "ä", "a" * 129, "db\n", "_db"]
)
def test_an_alias_with_other_characters_is_refused(alias: str) -> None:
    """Row S-74."""
    with pytest.raises(InvalidLinkError):
        parse_link(f"redis:{alias}")
    with pytest.raises(InvalidLinkError):
        replace(LINK, name=f"/web/{alias}" if "/" not in alias else "/web/")


@given(st.text(max_size=20))
def test_whatever_the_alias_no_line_is_injected(alias: str) -> None:
    """Row S-74."""
    try:
        link = replace(LINK, name=f"/web/{alias}")
    except InvalidLinkError:
        return
    for entry in (*link.environment(), link.hosts_entry("", "").line.rstrip("\n")):
        assert "\n" not in entry
        assert "\0" not in entry


def test_ports_are_numbers() -> None:
    with pytest.raises(InvalidPortError):
        replace(LINK, ports=("80 -j ACCEPT/tcp",))


def test_a_link_needs_two_containers_and_a_running_child() -> None:
    with pytest.raises(InvalidLinkError, match=r"^Cannot link to self: 1 == 1$"):
        check_link(
            parent_id="1", child_id="1", child_name="/a", link_name="/a/b", child_is_running=True
        )
    with pytest.raises(
        InvalidLinkError, match=r"^Cannot link to a non running container: /a AS /p/b$"
    ):
        check_link(
            parent_id="1", child_id="2", child_name="/a", link_name="/p/b", child_is_running=False
        )
    check_link(
        parent_id="1", child_id="2", child_name="/a", link_name="/p/b", child_is_running=True
    )
