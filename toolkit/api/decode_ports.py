# SPDX-License-Identifier: Apache-2.0
"""Ports as docker writes them: ``80/tcp``, ranges, and where they are published."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from toolkit.engine.model import PortBinding
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from toolkit.api import schemas

_PROTOCOLS: Final = frozenset({"tcp", "udp", "sctp"})
_HIGHEST_PORT: Final = 65535
_PORT_DIGITS: Final = 5


def read_exposed_ports(
    exposed: Iterable[str] | None,
    published: dict[str, list[schemas.PortBinding] | None] | None,
) -> tuple[str, ...]:
    """Return exposed ports, published ones included, each once, ranges spread out."""
    found: dict[str, None] = {}
    for texts in (exposed or (), published or ()):
        for text in texts:
            found.update(dict.fromkeys(spread(text)))
    return tuple(found)


def read_published_ports(
    published: dict[str, list[schemas.PortBinding] | None] | None,
) -> dict[str, tuple[PortBinding, ...]]:
    """Return where each port is published; no binding at all lets the engine choose."""
    ports = {}
    for text, bindings in (published or {}).items():
        for port in spread(text):
            ports[port] = tuple(_binding(wire) for wire in bindings or ()) or (PortBinding(),)
    return ports


def spread(text: str) -> list[str]:
    """Return ``80``, ``80/tcp`` or ``80-82/tcp`` as full ports."""
    numbers, _, protocol = text.partition("/")
    protocol = (protocol or "tcp").lower()
    if protocol not in _PROTOCOLS:
        raise InvalidRequestError(f"invalid proto: {protocol}")
    first, dash, last = numbers.partition("-")
    low = port_number(first, text)
    high = port_number(last, text) if dash else low
    if high < low or low == 0:
        raise InvalidRequestError(f"invalid port: {text}")
    return [f"{number}/{protocol}" for number in range(low, high + 1)]


def port_number(text: str, whole: str) -> int:
    """Return a port, 0 to 65535."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _PORT_DIGITS):
        raise InvalidRequestError(f"invalid port: {whole}")
    number = int(text)
    if number > _HIGHEST_PORT:
        raise InvalidRequestError(f"invalid port: {whole}")
    return number


def _binding(wire: schemas.PortBinding) -> PortBinding:
    """Return one place where a port is published."""
    host_ip = wire.host_ip or ""
    if host_ip:
        try:
            ipaddress.ip_address(host_ip)
        except ValueError:
            raise InvalidRequestError(f"invalid IP address: {host_ip}") from None
    first, dash, last = (wire.host_port or "0").partition("-")
    low = port_number(first, wire.host_port or "")
    high = port_number(last, wire.host_port or "") if dash else 0
    if dash and not 0 < low <= high:
        raise InvalidRequestError(f"invalid port: {wire.host_port}")
    return PortBinding(host_ip=host_ip, host_port=low, last_host_port=high if high > low else 0)
