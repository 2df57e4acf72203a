# SPDX-License-Identifier: Apache-2.0
"""Links between two containers: variables, hosts entry and firewall rules, as plain values.

The parent uses the link, the child is linked to (rule 7.2). Which links there are, and which is
active, is the engine's; names are kept in `toolkit.network.graph`; the rules are carried out by
`toolkit.network.firewall`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

from toolkit.errors import InvalidLinkError
from toolkit.network.hosts_file import HostsEntry
from toolkit.network.ports import Protocol, is_number, parse_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Address = IPv4Address | IPv6Address

_ALIAS: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", re.ASCII)  # row S-74
_LONGEST_ALIAS: Final = 128
_PARTS: Final = 2
_NOT_PASSED: Final = frozenset({"HOME", "PATH"})


@dataclass(frozen=True, kw_only=True)
class LinkRule:
    """Packets on the bridge that are let through; insert it on top of the forward chain (7.11)."""

    protocol: Protocol
    source: Address
    destination: Address
    source_port: int | None = None
    destination_port: int | None = None


@dataclass(frozen=True, kw_only=True)
class Link:
    """A link while both containers run.

    Attributes:
        parent_address: Of the container that uses it.
        child_address: Of the container that is linked to.
        name: Full path, ``/parent/alias``.
        child_environment: The child's own variables.
        ports: What the child exposes, ``6379/tcp``.
    """

    parent_address: Address
    child_address: Address
    name: str
    bridge: str
    child_environment: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_alias(self.alias)
        for port in self.ports:
            parse_port(port)

    @property
    def alias(self) -> str:
        """What the parent calls the child."""
        return self.name.rpartition("/")[2]

    def environment(self) -> list[str]:
        """Return the variables that the parent gets, in 0.7.2's order (rules 7.8 and 7.9).

        A ``-`` of the alias stays. Variables of the child whose value holds a ``=`` are left out
        (defect D-23 is kept), so each entry has exactly one.
        """
        prefix = self.alias.upper()
        ports = sort_ports(self.ports)
        lines = []
        if ports:
            lines.append(f"{prefix}_PORT={self._url(ports[0])}")
        for port in ports:
            lines += self._port_variables(prefix, port)
        lines.append(f"{prefix}_NAME={self.name}")
        for variable in self.child_environment:
            key, _, value = variable.partition("=")
            if variable.count("=") == 1 and key not in _NOT_PASSED:
                lines.append(f"{prefix}_ENV_{key}={value}")
        return lines

    def rules(self) -> Iterator[LinkRule]:
        """Return the pair of rules of each port: there, then back (rules 7.11 and 7.12)."""
        for port in self.ports:
            number, protocol = parse_port(port)
            parent, child = self.parent_address, self.child_address
            yield LinkRule(
                protocol=protocol, source=parent, destination=child, destination_port=number
            )
            yield LinkRule(protocol=protocol, source=child, destination=parent, source_port=number)

    def hosts_entry(self, child_hostname: str, child_name: str) -> HostsEntry:
        """Return the line of the parent's hosts file: alias, host name and name, each once."""
        names = dict.fromkeys((self.alias, child_hostname, child_name.removeprefix("/")))
        return HostsEntry(self.child_address, tuple(name for name in names if name))

    def _url(self, port: str) -> str:
        number, _, protocol = port.partition("/")
        return f"{protocol}://{self._in_url}:{number}"

    @property
    def _in_url(self) -> str:
        child = self.child_address
        return f"[{child}]" if isinstance(child, IPv6Address) else str(child)

    def _port_variables(self, prefix: str, port: str) -> list[str]:
        number, _, protocol = port.partition("/")
        name = f"{prefix}_PORT_{number}_{protocol.upper()}"
        return [
            f"{name}={self._url(port)}",
            f"{name}_ADDR={self.child_address}",
            f"{name}_PORT={number}",
            f"{name}_PROTO={protocol}",
        ]


def parse_link(text: str) -> tuple[str, str]:
    """Return name and alias of ``name:alias`` (rule 7.5).

    Raises:
        InvalidLinkError: It has not exactly these two parts, or the alias is none.
    """
    parts = text.split(":")
    if len(parts) != _PARTS or not all(parts):
        # Two spaces: 0.7.2's words.
        raise InvalidLinkError(
            f"Invalid format to parse.  {text[:200]} should match template name:alias"
        )
    check_alias(parts[1])
    return parts[0], parts[1]


def check_alias(alias: str) -> None:
    """Refuse an alias that could be anything but a name: it goes into variables and files.

    Raises:
        InvalidLinkError: It is no name.
    """
    if len(alias) > _LONGEST_ALIAS or not _ALIAS.fullmatch(alias):
        raise InvalidLinkError(
            f"invalid link alias {alias[:80]!r}: use letters, digits, '_', '.' and '-', "
            f"a letter or digit first, at most {_LONGEST_ALIAS}"
        )


def check_link(
    *, parent_id: str, child_id: str, child_name: str, link_name: str, child_is_running: bool
) -> None:
    """Refuse a link that cannot be made active (rule 7.3).

    Raises:
        InvalidLinkError: Both are one, or the child does not run.
    """
    if parent_id == child_id:
        raise InvalidLinkError(f"Cannot link to self: {parent_id} == {child_id}")
    if not child_is_running:
        raise InvalidLinkError(
            f"Cannot link to a non running container: {child_name} AS {link_name}"
        )


def sort_ports(ports: Iterable[str]) -> list[str]:
    """Return ports by number, tcp before others (rule 7.8)."""
    return sorted(ports, key=_rank)


def _rank(port: str) -> tuple[int, bool, str]:
    number, _, protocol = port.partition("/")
    protocol = protocol.lower()
    return (int(number) if is_number(number) else 0, protocol != "tcp", protocol)
