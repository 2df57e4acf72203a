# SPDX-License-Identifier: Apache-2.0
"""The files that a container sees in its /etc."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.engine import files
from toolkit.engine.files import ContainerFiles, hosts_text, resolv_conf_text
from toolkit.engine.model import (
    ContainerId,
    ContainerRecord,
    ContainerSpec,
    EndpointId,
    EndpointRecord,
    HostOptions,
    ImageId,
    NetworkId,
)
from toolkit.network.resolv_conf import ResolvConf

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def host_etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "hosts").write_text("127.0.0.1 the-host\n")
    (etc / "resolv.conf").write_text("nameserver 10.0.0.1\nsearch host.example\noptions ndots:1\n")
    monkeypatch.setattr(files, "_HOST_ETC", etc)
    return etc


def record(*, domainname: str = "", **host: Any) -> ContainerRecord:
    options = HostOptions(**host)
    spec = ContainerSpec(image="x", hostname="web", domainname=domainname, host=options)
    return ContainerRecord(
        id=ContainerId("f" * 64),
        name="n",
        created=datetime.now(UTC),
        image_id=ImageId(""),
        path="x",
        args=(),
        spec=spec,
    )


def test_the_hosts_file_has_the_exact_form() -> None:
    """Rule 1.10."""
    assert hosts_text(record(domainname="example.org")) == (
        "127.0.1.1\tweb.example.org web\n"
        "\n"
        "127.0.0.1\tlocalhost\n"
        "::1\t\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::0\t\tip6-localnet\n"
        "ff00::0\t\tip6-mcastprefix\n"
        "ff02::1\t\tip6-allnodes\n"
        "ff02::2\t\tip6-allrouters\n"
    )
    assert hosts_text(record()).startswith("127.0.1.1\tweb\n\n")


def test_more_hosts_come_last_and_the_hosts_network_has_its_hosts() -> None:
    text = hosts_text(record(network_mode="host", extra_hosts=("db:10.0.0.9", "v6:[::1]")))
    assert text == "127.0.0.1 the-host\n10.0.0.9\tdb\n::1\tv6\n"


def test_the_resolver_is_the_hosts_where_nothing_is_asked() -> None:
    """Rule 10.22."""
    assert resolv_conf_text(record()) == (
        "nameserver 10.0.0.1\nsearch host.example\noptions ndots:1\n"
    )


def test_what_is_asked_replaces_the_hosts_line_of_its_kind() -> None:
    text = resolv_conf_text(record(dns=("8.8.8.8", "8.8.4.4"), dns_options=("ndots:5",)))
    assert text == (
        "nameserver 8.8.8.8\nnameserver 8.8.4.4\nsearch host.example\noptions ndots:5\n"
    )
    assert "search" not in resolv_conf_text(record(dns_search=(".",)))


def test_the_engines_resolvers_are_for_those_who_name_none() -> None:
    """Rule 10.22; on the host's network, too."""
    defaults = ResolvConf(nameservers=(IPv4Address("10.0.0.9"),))
    own = resolv_conf_text(record(dns=("8.8.8.8",)), defaults)
    assert own.startswith("nameserver 8.8.8.8\nsearch")
    for mode in ("bridge", "host"):
        text = resolv_conf_text(record(network_mode=mode), defaults)
        assert text.startswith("nameserver 10.0.0.9\nsearch")


@pytest.mark.parametrize("mode", ["bridge", "host"])
def test_the_engines_search_domains_and_options_are_for_those_who_name_none(mode: str) -> None:
    """As dockerd's --dns-search and --dns-opt; each kind by itself, ``.`` asks for none."""
    defaults = ResolvConf(search=("lan.test", "test"), options=("ndots:2", "rotate"))
    first = "nameserver 10.0.0.1\n"
    asked: list[tuple[dict[str, Any], str]] = [
        ({}, "search lan.test test\noptions ndots:2 rotate\n"),
        ({"dns_search": ("own.test",)}, "search own.test\noptions ndots:2 rotate\n"),
        ({"dns_search": (".",)}, "options ndots:2 rotate\n"),
        ({"dns_options": ("use-vc",)}, "search lan.test test\noptions use-vc\n"),
    ]
    for own, rest in asked:
        text = resolv_conf_text(record(network_mode=mode, **own), defaults)
        assert text == first + rest
    assert "search" not in resolv_conf_text(record(), ResolvConf(search=(".",)))


def test_a_host_without_a_resolver_gives_public_ones(host_etc: Path) -> None:
    """Rule 10.21."""
    (host_etc / "resolv.conf").unlink()
    assert resolv_conf_text(record()) == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"


def test_a_container_on_networks_finds_itself_at_its_addresses() -> None:
    """Rule 1.10."""
    seat = EndpointRecord(
        network_id=NetworkId("n"), id=EndpointId("e"), interface="eth0", link="l",
        ipv4="172.17.0.2", prefix_length=16, gateway="172.17.42.1", mac="02:42:ac:11:00:02",
    )  # fmt: skip
    second = replace(seat, ipv4="172.18.0.2", gateway="")
    with_seats = replace(
        record(extra_hosts=("up:host-gateway",)), endpoints={"bridge": seat, "b": second}
    )
    lines = hosts_text(with_seats).splitlines()
    assert lines[0] == "172.17.0.2\tweb"
    assert lines[-2:] == ["172.18.0.2\tweb", "172.17.42.1\tup"]


def test_the_files_are_replaced_not_rewritten_through_a_link(tmp_path: Path) -> None:
    """Rows S-71 and S-72."""
    own = ContainerFiles(tmp_path / ("f" * 64), tmp_path / "bundle")
    own.dir.mkdir()
    canary = tmp_path / "canary"
    canary.write_text("untouched")
    own.hosts.symlink_to(canary)
    own.write_etc(record())
    assert canary.read_text() == "untouched"
    assert own.hosts.read_text() == hosts_text(record())
    assert own.hosts.stat().st_mode & 0o777 == 0o644
    assert own.hostname.read_text() == "web\n"
    assert sorted(path.name for path in own.dir.iterdir()) == ["hostname", "hosts", "resolv.conf"]
