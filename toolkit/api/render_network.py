# SPDX-License-Identifier: Apache-2.0
"""Networks, and what a container shows of them.

In this version there are the two networks that need nothing on the host: none
and host.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from toolkit.api.times import NEVER

if TYPE_CHECKING:
    from toolkit.config import Instance
    from toolkit.engine.model import ContainerRecord

PREDEFINED: Final = {"host": "host", "none": "null"}
_CONTAINER: Final = "container:"
_EMPTY_ENDPOINT: Final[dict[str, Any]] = {
    "IPAMConfig": None,
    "Links": None,
    "Aliases": None,
    "MacAddress": "",
    "DriverOpts": None,
    "NetworkID": "",
    "EndpointID": "",
    "Gateway": "",
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "DNSNames": None,
}
_EMPTY_SETTINGS: Final[dict[str, Any]] = {
    "Bridge": "",
    "SandboxID": "",
    "SandboxKey": "",
    "Ports": {},
    "HairpinMode": False,
    "LinkLocalIPv6Address": "",
    "LinkLocalIPv6PrefixLen": 0,
    "SecondaryIPAddresses": None,
    "SecondaryIPv6Addresses": None,
    "EndpointID": "",
    "Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "MacAddress": "",
}


def network_id(instance: Instance, name: str) -> str:
    """Return the id of a predefined network: the same each time the engine starts."""
    return sha256(f"{instance.name}/network/{name}".encode()).hexdigest()


def network_object(instance: Instance, name: str) -> dict[str, Any]:
    """Return a predefined network as docker shows it."""
    return {
        "Name": name,
        "Id": network_id(instance, name),
        "Created": NEVER,
        "Scope": "local",
        "Driver": PREDEFINED[name],
        "EnableIPv4": True,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": None},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": {},
        "Labels": {},
    }


def endpoints(record: ContainerRecord, instance: Instance) -> dict[str, Any]:
    """Return ``Networks``: the container's seat on each of its networks."""
    mode = record.spec.host.network_mode
    if mode.startswith(_CONTAINER):
        return {}
    known = network_id(instance, mode) if mode in PREDEFINED else ""
    return {mode: _EMPTY_ENDPOINT | {"NetworkID": known}}


def network_settings(record: ContainerRecord, instance: Instance) -> dict[str, Any]:
    """Return ``NetworkSettings`` of an inspect document."""
    return _EMPTY_SETTINGS | {"Networks": endpoints(record, instance)}


def ports_of_list(record: ContainerRecord) -> list[dict[str, Any]]:
    """Return ``Ports`` of a list entry: what is exposed and not published."""
    if record.spec.host.network_mode in PREDEFINED:
        return []
    ports = (port.partition("/") for port in record.spec.exposed_ports)
    return [{"PrivatePort": int(number), "Type": protocol} for number, _, protocol in ports]
