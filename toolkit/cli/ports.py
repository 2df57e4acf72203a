# SPDX-License-Identifier: Apache-2.0
"""`port`, and published ports as docker's tables show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.command import command
from toolkit.cli.naturally import natural_key
from toolkit.cli.output import escape, say
from toolkit.errors import InvalidRequestError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Port = Mapping[str, Any]

_LAST_PORT = 65535


@command("port")
@click.argument("container")
@click.argument("private_port", default="", metavar="[PORT[/PROTOCOL]]")
@pass_access
def port(access: EngineAccess, container: str, private_port: str) -> None:
    """Show where the ports of a container are published."""
    document = access.client.containers.inspect(container)
    ports: dict[str, Any] = (document.get("NetworkSettings") or {}).get("Ports") or {}
    if not private_port:
        lines = [f"{name} -> {place}" for name, found in ports.items() for place in _places(found)]
    else:
        lines = list(_places(ports.get(_full_port(private_port))))
        if not lines:
            raise NotFoundError(f"No public port '{private_port}' published for {container}")
    for line in sorted(lines, key=natural_key):
        say(escape(line))


def _full_port(text: str) -> str:
    """Return a port with its protocol.

    Raises:
        InvalidRequestError: It is no port.
    """
    number, _, protocol = text.partition("/")
    if not (number.isascii() and number.isdecimal() and int(number[:6]) <= _LAST_PORT):
        raise InvalidRequestError(f"invalid port ({number})")
    return f"{number}/{protocol or 'tcp'}"


def _places(bindings: Iterable[Mapping[str, str]] | None) -> Iterator[str]:
    for binding in bindings or ():
        yield join_address(binding["HostIp"], binding["HostPort"])


def join_address(address: str, port: object) -> str:
    """Return an address and a port as one text."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def port_words(ports: Iterable[Port]) -> str:
    """Return the ports of a container as ``ps`` shows them.

    Neighbours of one kind are folded into a range, ``8000-8002->8000-8002/tcp``, where the
    host's number is the container's. The others come last, each for itself.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    full: list[str] = []
    others: list[str] = []
    for one in sorted(ports, key=_order):
        address, kind, number = str(one.get("IP", "")), str(one["Type"]), one["PrivatePort"]
        if address and one.get("PublicPort", 0) != number:
            others.append(f"{join_address(address, one['PublicPort'])}->{number}/{kind}")
            continue
        group = groups.setdefault((address, kind), [number, number - 1])
        if number != group[1] + 1:
            full.append(_range_words(address, kind, *group))
            group[0] = number
        group[1] = number
    full += (_range_words(*key, *group) for key, group in groups.items())
    return ", ".join([*full, *others])


def _order(port: Port) -> tuple[int, str, int, str]:
    return (port["PrivatePort"], port.get("IP", ""), port.get("PublicPort", 0), port["Type"])


def _range_words(address: str, kind: str, first: int, last: int) -> str:
    numbers = f"{first}-{last}" if last > first else f"{first}"
    return f"{join_address(address, numbers)}->{numbers}/{kind}" if address else f"{numbers}/{kind}"
