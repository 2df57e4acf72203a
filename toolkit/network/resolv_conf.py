# SPDX-License-Identifier: Apache-2.0
"""A container's resolv.conf, and what the host's says (rules 6.5, 10.21 and 10.22).

Owns the text. Values are addresses, checked domains and checked options, so none can begin a
line of its own (row S-70). The file itself is an `toolkit.network.hosts_file.EtcFile`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

from toolkit.errors import InvalidRequestError

Address = IPv4Address | IPv6Address

HOST_PATH: Final = Path("/etc/resolv.conf")
# systemd-resolved's list of what stands behind its own 127.0.0.53 (systemd-resolved(8)).
RESOLVED_PATH: Final = Path("/run/systemd/resolve/resolv.conf")
EMBEDDED: Final = IPv4Address("127.0.0.11")
PUBLIC_RESOLVERS: Final = (IPv4Address("8.8.8.8"), IPv4Address("8.8.4.4"))
LARGEST_BYTES: Final = 256 * 1024

_STUB: Final = IPv4Address("127.0.0.53")
_LABEL: Final = r"_?[a-zA-Z0-9](?:[a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?"
_DOMAIN: Final = re.compile(rf"\.|{_LABEL}(?:\.{_LABEL})*\.?", re.ASCII)
_OPTION: Final = re.compile(r"[a-z][a-z0-9-]*(?::[0-9]{1,5})?", re.ASCII)
_NAMESERVER: Final = re.compile(rb"^[ \t]*nameserver[ \t]+(\S+)[ \t]*$", re.MULTILINE)
_IPV4_NAMESERVER: Final = re.compile(
    rb"^\s*nameserver\s*((?:(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])\.){3}"
    rb"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9]))\s*$"
)


@dataclass(frozen=True)
class ResolvConf:
    """Where names are asked for, and how.

    Raises:
        InvalidRequestError: A value is not what it should be.
    """

    nameservers: tuple[Address, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for address in self.nameservers:
            if not isinstance(address, IPv4Address | IPv6Address):
                raise InvalidRequestError(f"invalid nameserver: {address!r:.80}")
        for domain in self.search:
            if not _DOMAIN.fullmatch(domain):
                raise InvalidRequestError(f"invalid dns search domain: {domain[:80]!r}")
        for option in self.options:
            if not _OPTION.fullmatch(option):
                raise InvalidRequestError(f"invalid dns option: {option[:80]!r}")

    @property
    def text(self) -> str:
        """The file: first the ``nameserver`` lines, which are all that 0.7.2 writes."""
        lines = [f"nameserver {address}\n" for address in self.nameservers]
        domains = [domain for domain in self.search if domain != "."]
        if domains:
            lines.append(f"search {' '.join(domains)}\n")
        if self.options:
            lines.append(f"options {' '.join(self.options)}\n")
        return "".join(lines)


def read_host_file(path: Path = HOST_PATH) -> bytes:
    """Return the bytes of the host's file.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return file.read(LARGEST_BYTES)


def strip_comments(content: bytes) -> bytes:
    """Return the lines without what stands behind a ``#``."""
    return b"\n".join(line.partition(b"#")[0] for line in content.split(b"\n"))


def is_local_resolver(content: bytes) -> bool:
    """Return whether a container cannot use the host's resolvers (rule 10.21)."""
    plain = strip_comments(content)
    if b"nameserver" not in plain:
        return True
    return b"127.0.0.1" in plain or b"127.0.1.1" in plain


def nameservers_as_cidr(content: bytes) -> list[str]:
    """Return the IPv4 resolvers as networks of one address, in their order (rule 6.5)."""
    found = map(_IPV4_NAMESERVER.match, strip_comments(content).split(b"\n"))
    return [f"{match[1].decode('ascii')}/32" for match in found if match]


def nameservers_of(content: bytes) -> tuple[Address, ...]:
    """Return the resolvers of both kinds, in their order; what is no address is passed over."""
    addresses: list[Address] = []
    for match in _NAMESERVER.finditer(strip_comments(content)):
        try:
            address = ip_address(match[1].decode("ascii"))
        except ValueError:
            continue
        if address not in addresses:
            addresses.append(address)
    return tuple(addresses)


def parse(content: bytes) -> ResolvConf:
    """Return what a file says; the last ``search`` or ``domain`` counts, options add up."""
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in strip_comments(content).decode("ascii", "replace").splitlines():
        word, *values = line.split() or [""]
        if word in {"search", "domain"}:
            search = tuple(value for value in values if _DOMAIN.fullmatch(value))
        elif word == "options":
            options += [value for value in values if _OPTION.fullmatch(value)]
    return ResolvConf(nameservers_of(content), search, tuple(dict.fromkeys(options)))


def host_resolv_conf(path: Path = HOST_PATH, resolved_path: Path = RESOLVED_PATH) -> ResolvConf:
    """Return the host's resolvers, those behind systemd-resolved where only its stub is named.

    A file that cannot be read names none.
    """
    own = _parse_file(path)
    if own.nameservers == (_STUB,):
        behind = _parse_file(resolved_path)
        if behind.nameservers:
            return behind
    return own


def for_container(
    host: ResolvConf,
    *,
    nameservers: tuple[Address, ...] = (),
    search: tuple[str, ...] = (),
    options: tuple[str, ...] = (),
    embedded: bool = False,
) -> ResolvConf:
    """Return a container's file: what was asked for, the host's for the rest.

    The host's own loopback resolvers are none for a container: where no other is left, the
    public ones take their place (rule 10.21).

    Args:
        host: What the host uses.
        nameservers: Asked for, by container or engine (rule 10.22).
        search: Asked for; ``.`` alone asks for none.
        options: Asked for.
        embedded: The container is on a user network: its resolver is 127.0.0.11, which asks
            others for it (`from_host`).
    """
    resolvers = (EMBEDDED,) if embedded else upstream_resolvers(host, nameservers)
    chosen = options or host.options
    if embedded and not any(option.startswith("ndots:") for option in chosen):
        chosen = (*chosen, "ndots:0")
    return ResolvConf(resolvers, search or host.search, chosen)


def upstream_resolvers(
    host: ResolvConf, nameservers: tuple[Address, ...] = ()
) -> tuple[Address, ...]:
    """Return the resolvers that a container's queries end at."""
    if nameservers:
        return nameservers
    reachable = tuple(address for address in host.nameservers if not address.is_loopback)
    return reachable or PUBLIC_RESOLVERS


def from_host(host: ResolvConf, nameservers: tuple[Address, ...] = ()) -> tuple[Address, ...]:
    """Return the resolvers that are asked for a container from the host's own network.

    There the host's loopback resolvers answer.
    """
    return nameservers or host.nameservers or PUBLIC_RESOLVERS


def _parse_file(path: Path) -> ResolvConf:
    try:
        return parse(read_host_file(path))
    except OSError:
        return ResolvConf()
