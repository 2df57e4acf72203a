# SPDX-License-Identifier: Apache-2.0
"""0.7.2's notation of published and exposed ports, word for word (rules 6.29 and 6.30).

It is what old clients send as ``PortSpecs``. Today's notation, with ranges, is read on the
client's side of the wire by `toolkit.cli.specs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from toolkit.errors import InvalidPortError

if TYPE_CHECKING:
    from collections.abc import Iterable

_TEMPLATE: Final = "ip:hostPort:containerPort"
_LAST_PORT: Final = 65535
_DIGITS: Final = 5


@dataclass(frozen=True)
class HostBinding:
    """Where a port is published; either may be empty, and neither text is checked further."""

    host_ip: str
    host_port: str


def split_by_template(text: str, template: str) -> dict[str, str]:
    """Return the parts of a text between colons, by the words of a template.

    Raises:
        InvalidPortError: There are not as many parts as words.
    """
    words, parts = template.split(":"), text.split(":")
    if len(words) != len(parts):
        # Two spaces: 0.7.2's words.
        raise InvalidPortError(f"Invalid format to parse.  {text} should match template {template}")
    return dict(zip(words, parts, strict=True))


def parse_port_specs(texts: Iterable[str]) -> dict[str, list[HostBinding]]:
    """Return the bindings of each port, ``80/tcp``, in the order of the texts.

    Raises:
        InvalidPortError: A text does not follow ``[[ip:][hostPort]:]containerPort[/proto]``.
    """
    bindings: dict[str, list[HostBinding]] = {}
    for text in texts:
        port, binding = _parse(text)
        bindings.setdefault(port, []).append(binding)
    return bindings


def parse_exposed(texts: Iterable[str]) -> list[str]:
    """Return the ports of ``-expose`` texts; ``53/udp`` stays in that order (defect D-11).

    Raises:
        InvalidPortError: A text has a colon, or its number is no port.
    """
    ports = []
    for text in texts:
        if ":" in text:
            raise InvalidPortError(f"Invalid port format for -expose: {text}")
        number, protocol = _cut_protocol(text)
        if not _is_port(number):
            raise InvalidPortError(f"Invalid containerPort: {number}")
        ports.append(f"{number}/{protocol}")
    return ports


def _parse(text: str) -> tuple[str, HostBinding]:
    spec, protocol = _cut_protocol(text)
    missing = 2 - spec.count(":")
    parts = split_by_template(":" * max(missing, 0) + spec, _TEMPLATE)
    container_port, host_port = parts["containerPort"], parts["hostPort"]
    if not container_port:
        raise InvalidPortError(f"No port specified: {text}<empty>")
    if not _is_port(container_port):
        raise InvalidPortError(f"Invalid containerPort: {container_port}")
    if host_port and not _is_port(host_port):
        raise InvalidPortError(f"Invalid hostPort: {host_port}")
    return f"{container_port}/{protocol}", HostBinding(parts["ip"], host_port)


def _cut_protocol(text: str) -> tuple[str, str]:
    """Return what stands before the last slash, and the protocol behind it."""
    spec, slash, protocol = text.rpartition("/")
    return (spec, protocol) if slash else (text, "tcp")


def _is_port(text: str) -> bool:
    digits = text.isascii() and text.isdecimal() and len(text) <= _DIGITS
    return digits and int(text) <= _LAST_PORT
