# SPDX-License-Identifier: Apache-2.0
"""The small languages of docker's flags about ports, addresses and networks. Pure."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Binding = dict[str, str]
Endpoint = dict[str, Any]

_PROTOCOLS: Final = ("tcp", "udp", "sctp")
_LAST_PORT: Final = 65535
_LONG_NETWORK: Final = re.compile(r"\w+=\w+(,\w+=\w+)*")
_PREDEFINED: Final = frozenset({"", "default", "bridge", "host", "none"})
_CONFLICTS: Final = {
    "Aliases": "--network-alias and per-network alias",
    "IPAMConfig": "--ip and per-network addresses",
    "MacAddress": "--mac-address and per-network MAC address",
}


def parse_ports(
    published: Iterable[str], exposed: Iterable[str]
) -> tuple[dict[str, Any], dict[str, list[Binding]]]:
    """Return ``ExposedPorts`` and ``PortBindings`` of ``-p`` and ``--expose`` texts.

    Raises:
        InvalidRequestError: A text is no port.
    """
    ports: dict[str, Any] = {}
    bindings: dict[str, list[Binding]] = {}
    for text in published:
        for port, binding in _published(_short_form(text)):
            ports[port] = {}
            bindings.setdefault(port, []).append(binding)
    for text in exposed:
        if ":" in text:
            raise InvalidRequestError(f"invalid port format for --expose: {text}")
        numbers, protocol = _with_protocol(text)
        first, last = _port_range(numbers, text)
        ports |= {f"{number}/{protocol}": {} for number in range(first, last + 1)}
    return ports, bindings


def _short_form(text: str) -> str:
    """Return ``published=8080,target=80,protocol=tcp`` as ``8080:80/tcp``."""
    if "=" not in text:
        return text
    parts = {"published": "", "target": "", "protocol": "tcp"}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals or key not in parts:
            raise InvalidRequestError(f"invalid port {text!r}: use published=, target=, protocol=")
        parts[key] = value
    return f"{parts['published']}:{parts['target']}/{parts['protocol']}"


def _published(text: str) -> Iterator[tuple[str, Binding]]:
    spec, protocol = _with_protocol(text)
    left, _, container = spec.rpartition(":")
    address, colon, host = left.rpartition(":")
    address = address.removeprefix("[").removesuffix("]") if colon else ""
    if address and not is_address(address):
        raise InvalidRequestError(
            f"invalid port {text!r}: use [[ip:]hostPort:]containerPort[/protocol]"
        )
    first, last = _port_range(container, text)
    if not host:
        host_ports = [""] * (last - first + 1)
    else:
        host_first, host_last = _port_range(host, text)
        if first == last and host_first != host_last:
            host_ports = [f"{host_first}-{host_last}"]
        else:
            host_ports = [str(number) for number in range(host_first, host_last + 1)]
    if len(host_ports) != last - first + 1:
        raise InvalidRequestError(f"invalid port {text!r}: the ranges differ in length")
    for number, host_port in zip(range(first, last + 1), host_ports, strict=True):
        yield f"{number}/{protocol}", {"HostIp": address, "HostPort": host_port}


def _with_protocol(text: str) -> tuple[str, str]:
    spec, slash, protocol = text.partition("/")
    if slash and protocol.lower() not in _PROTOCOLS:
        raise InvalidRequestError(f"invalid port {text!r}: the protocol is tcp, udp or sctp")
    return spec, protocol.lower() or "tcp"


def _port_range(numbers: str, text: str) -> tuple[int, int]:
    first, dash, last = numbers.partition("-")
    values = (first, last if dash else first)
    if not all(value.isdecimal() and value.isascii() for value in values):
        raise InvalidRequestError(f"invalid port {text!r}: no number")
    low, high = int(values[0]), int(values[1])
    if low > high or high > _LAST_PORT:
        raise InvalidRequestError(f"invalid port {text!r}: use 0 to {_LAST_PORT}, lower first")
    return low, high


def is_address(text: str) -> bool:
    """Return whether a text is an IPv4 or IPv6 address."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False


def parse_address(flag: str, text: str) -> str:
    """Return an IP address as it stands.

    Raises:
        InvalidRequestError: It is none.
    """
    if not is_address(text.strip()):
        raise InvalidRequestError(f"--{flag} {text!r} is not an IP address")
    return text.strip()


def parse_extra_host(text: str) -> str:
    """Return ``name:address`` of an ``--add-host`` text, which may use ``=``.

    Raises:
        InvalidRequestError: There is no address.
    """
    split = "=" if "=" in text else ":"
    name, _, address = text.partition(split)
    address = address.removeprefix("[").removesuffix("]")
    if not name or (address != "host-gateway" and not is_address(address)):
        raise InvalidRequestError(f"--add-host {text!r}: use name:address")
    return f"{name}:{address}"


def parse_link(text: str) -> str:
    """Return a link as it stands.

    Raises:
        InvalidRequestError: It is not ``name:alias``.
    """
    name, _, alias = text.partition(":")
    if not name or not alias or ":" in alias:
        raise InvalidRequestError(f"--link {text!r}: use name:alias")
    return text


def parse_network(text: str) -> tuple[str, Endpoint]:
    """Return a ``--network`` text as a name and what is asked for of it.

    The long form is ``name=lan,alias=web,ip=10.1.0.5``, the short one is the name.

    Raises:
        InvalidRequestError: A key is unknown, or the name is missing.
    """
    if not _LONG_NETWORK.search(text):
        return text, {}
    name, endpoint = "", Endpoint()
    for part in text.split(","):
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not key:
            raise InvalidRequestError(f"invalid field {part!r} in --network")
        if key.lower() == "name":
            name = value
        else:
            _set_endpoint_field(endpoint, key.lower(), value)
    if not name:
        raise InvalidRequestError("network name/id is not specified")
    return name, endpoint


def _set_endpoint_field(endpoint: Endpoint, key: str, value: str) -> None:
    addresses = {"ip": "IPv4Address", "ip6": "IPv6Address"}
    if key == "alias":
        endpoint.setdefault("Aliases", []).append(value)
    elif key == "mac-address":
        endpoint["MacAddress"] = value
    elif key in addresses:
        endpoint.setdefault("IPAMConfig", {})[addresses[key]] = value
    elif key == "link-local-ip":
        endpoint.setdefault("IPAMConfig", {}).setdefault("LinkLocalIPs", []).append(value)
    elif key == "driver-opt":
        name, _, text = value.partition("=")
        endpoint.setdefault("DriverOpts", {})[name] = text
    else:
        raise InvalidRequestError(f"invalid field key {key} in --network")


def endpoint_of(options: Mapping[str, Any]) -> Endpoint:
    """Return what the flags beside ``--network`` ask for of a container's first network."""
    addresses = {
        "IPv4Address": options["ip"],
        "IPv6Address": options["ip6"],
        "LinkLocalIPs": list(options["link_local_ip"]),
    }
    endpoint = {
        "Aliases": list(options["network_alias"]),
        "IPAMConfig": {name: value for name, value in addresses.items() if value},
        "MacAddress": options["mac_address"],
    }
    return {name: value for name, value in endpoint.items() if value}


def parse_networks(
    texts: Iterable[str], options: Mapping[str, Any]
) -> tuple[str, dict[str, Endpoint]]:
    """Return the network mode, and what is asked for of each network by name.

    The first network is the mode, and what the flags beside ``--network`` mean.

    Raises:
        InvalidRequestError: What is asked for contradicts itself, or needs another network.
    """
    networks: dict[str, Endpoint] = {}
    for text in texts or ("default",):
        name, endpoint = parse_network(text)
        if name in networks:
            raise InvalidRequestError(f"network {name!r} is specified multiple times")
        networks[name] = endpoint if networks else _merged(endpoint, options)
        _check_wishes(name, networks[name])
    if len({_is_user_defined(name) for name in networks}) > 1:
        raise InvalidRequestError(
            "conflicting options: cannot attach both user-defined and non-user-defined "
            "network-modes"
        )
    mode = next(iter(networks))
    return mode, {name: asked for name, asked in networks.items() if asked or name != mode}


def _merged(endpoint: Endpoint, options: Mapping[str, Any]) -> Endpoint:
    """Return what the long form and the flags ask for; not both may say the same."""
    flags = endpoint_of(options)
    for key, words in _CONFLICTS.items():
        if endpoint.get(key) and flags.get(key):
            raise InvalidRequestError(f"conflicting options: cannot specify both {words}")
    return endpoint | flags


def _check_wishes(name: str, endpoint: Endpoint) -> None:
    if endpoint.get("Aliases") and not _is_user_defined(name):
        raise InvalidRequestError(
            "network-scoped aliases are only supported for user-defined networks"
        )


def _is_user_defined(name: str) -> bool:
    return name not in _PREDEFINED and not name.startswith("container:")
