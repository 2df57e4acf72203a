# SPDX-License-Identifier: Apache-2.0
"""Hosts files."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import InvalidNameError, InvalidRequestError, KernelCallError
from toolkit.network.hosts_file import (
    ADDRESS_WITHOUT_DAEMON_NETWORK,
    EtcFile,
    HostsEntry,
    parse_extra_host,
    render_hosts,
)

if TYPE_CHECKING:
    from pathlib import Path

OWN = ip_address("172.17.0.2")
TAIL = """
127.0.0.1\tlocalhost
::1\t\tlocalhost ip6-localhost ip6-loopback
fe00::0\t\tip6-localnet
ff00::0\t\tip6-mcastprefix
ff02::1\t\tip6-allnodes
ff02::2\t\tip6-allrouters
"""
DB = HostsEntry(ip_address("172.17.0.3"), ("db", "redis"))


def test_the_form_is_docker_s() -> None:
    """Rule 1.10."""
    assert render_hosts(OWN, "web") == f"172.17.0.2\tweb\n{TAIL}"
    assert render_hosts(OWN, "web", "lan") == f"172.17.0.2\tweb.lan web\n{TAIL}"
    assert render_hosts(None, "web") == f"\tweb\n{TAIL}"
    assert render_hosts(ADDRESS_WITHOUT_DAEMON_NETWORK, "web") == f"127.0.1.1\tweb\n{TAIL}"
    assert render_hosts(OWN, "web", extra=[DB]).endswith("\n172.17.0.3\tdb redis\n")


@pytest.mark.parametrize("name", ["", "a b", "a\n1.2.3.4 b", "a\tb", "-", "a#", "x" * 254, "a\0"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    """Row S-70."""
    with pytest.raises(InvalidNameError):
        HostsEntry(OWN, (name,))
    with pytest.raises(InvalidNameError):
        render_hosts(OWN, name)


@given(st.lists(st.text(max_size=12), min_size=1, max_size=3), st.text(max_size=12))
def test_whatever_the_names_each_line_is_an_address_and_those_names(
    names: list[str], domain: str
) -> None:
    """Row S-70."""
    try:
        text = render_hosts(OWN, names[0], domain, [HostsEntry(OWN, tuple(names))])
    except InvalidNameError:
        return
    assert text.splitlines()[-1] == f"172.17.0.2\t{' '.join(names)}"
    assert len(text.splitlines()) == 9


def test_extra_hosts_are_read_and_checked() -> None:
    assert parse_extra_host("db:[fd00::1]").line == "fd00::1\tdb\n"
    assert parse_extra_host("up:host-gateway", OWN).line == "172.17.0.2\tup\n"
    for text in ("db", "db:", "db:1.2.3.4\nx", "a b:1.2.3.4", "up:host-gateway"):
        with pytest.raises(InvalidRequestError):
            parse_extra_host(text)


def test_a_file_is_changed_in_place(tmp_path: Path) -> None:
    """Row S-72: a bind mount of it sees the change."""
    path = tmp_path / "hosts"
    file = EtcFile(path)
    file.write(render_hosts(OWN, "a-long-name-that-goes"))
    inode = path.stat().st_ino
    file.write(render_hosts(OWN, "web"))
    assert path.read_text() == render_hosts(OWN, "web")
    assert path.stat().st_ino == inode
    assert path.stat().st_mode & 0o777 == 0o644


def test_what_the_container_wrote_stays_when_entries_come_and_go(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(b"172.17.0.2\tweb\n9.9.9.9 mine \xff")
    file = EtcFile(path)
    file.add([DB])
    file.add([DB])
    assert path.read_bytes() == (b"172.17.0.2\tweb\n9.9.9.9 mine \xff\n172.17.0.3\tdb redis\n")
    file.move("db", ip_address("172.17.0.9"))
    assert path.read_bytes().endswith(b"\n172.17.0.9\tdb redis\n")
    file.remove([HostsEntry(ip_address("172.17.0.9"), ("db", "redis"))])
    assert path.read_bytes() == b"172.17.0.2\tweb\n9.9.9.9 mine \xff\n"


def test_a_link_in_the_file_s_place_is_not_followed(tmp_path: Path) -> None:
    """Rows S-71 and S-72."""
    canary = tmp_path / "canary"
    canary.write_text("untouched")
    (tmp_path / "hosts").symlink_to(canary)
    with pytest.raises(KernelCallError):
        EtcFile(tmp_path / "hosts").write("x")
    with pytest.raises(KernelCallError):
        EtcFile(tmp_path / "hosts").add([DB])
    assert canary.read_text() == "untouched"


def test_a_pipe_in_the_file_s_place_does_not_hang(tmp_path: Path) -> None:
    """Row S-72."""
    os.mkfifo(tmp_path / "hosts")
    with pytest.raises(KernelCallError):
        EtcFile(tmp_path / "hosts").write("x")
    with pytest.raises(KernelCallError):
        EtcFile(tmp_path / "hosts").read()


def test_what_a_container_made_too_large_is_cut_at_a_line(tmp_path: Path) -> None:
    """Row S-72: size bounded."""
    path = tmp_path / "hosts"
    path.write_text("1.2.3.4\ta\n" * 100)
    file = EtcFile(path, largest_bytes=95)
    assert file.read() == "1.2.3.4\ta\n" * 9
    with pytest.raises(InvalidRequestError, match="the most is 95"):
        file.add([DB])
    assert EtcFile(tmp_path / "none").read() == ""
