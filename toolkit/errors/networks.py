# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with networks, addresses, ports and links between containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.errors.branches import (
    ConflictError,
    HostError,
    InvalidRequestError,
    NotFoundError,
    UnknownReferenceError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


class InvalidPortError(InvalidRequestError):
    """A text or number is not a port, or not a way to publish one."""


class InvalidLinkError(InvalidRequestError):
    """A text is not a link, or the containers cannot be linked."""


class NetworkNotFoundError(UnknownReferenceError):
    """No network has that name or id."""

    words = "network {} not found"


class DriverNotFoundError(NotFoundError):
    """There is no network driver of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f'plugin "{name[:80]}" not found: there is only the driver bridge')


class NetworkExistsError(ConflictError):
    """Another network holds the name that was asked for."""

    def __init__(self, name: str) -> None:
        super().__init__(f"network with name {name} already exists")
        self.name = name


class EndpointExistsError(ConflictError):
    """A container is on the network already that it was to be connected to."""

    status = 403  # docker's answer for this

    def __init__(self, container_name: str, network_name: str) -> None:
        super().__init__(
            f"endpoint with name {container_name} already exists in network {network_name}"
        )


class NetworkInUseError(ConflictError):
    """A network cannot be removed while containers are on it.

    Attributes:
        users: Names of those containers.
    """

    status = 403  # docker's answer for this
    hint = "Disconnect the containers first, or remove them."

    def __init__(self, name: str, network_id: str, users: Sequence[str] = ()) -> None:
        super().__init__(
            f"error while removing network: network {name} has active endpoints "
            f"({', '.join(users)}) (id {network_id})"
        )
        self.users = tuple(users)


class PredefinedNetworkError(ConflictError):
    """Something was asked of a network of every instance that cannot be done to it."""

    status = 403  # docker's answer for this


class PortInUseError(ConflictError):
    """A port of the host was asked for that is taken.

    Attributes:
        address: The host's address, as asked for.
        port: The host's port.
        holder: Id of the container that publishes it; empty: a process outside the toolkit.
    """

    hint = "Stop what holds it, or publish on port 0 to be given a free one."

    def __init__(self, address: str, port: int, holder: str = "", protocol: str = "tcp") -> None:
        where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        by = f"published by container {holder[:12]}" if holder else "in use by another process"
        super().__init__(f"Bind for {where} failed: port is already allocated ({protocol}, {by})")
        self.address = address
        self.port = port
        self.holder = holder
        self.protocol = protocol


class AllPortsTakenError(ConflictError):
    """No port is free in the range that was to be looked through."""

    hint = "Remove containers that publish ports, or name a port."

    def __init__(self, address: str, first: int, last: int, protocol: str = "tcp") -> None:
        super().__init__(f"all {protocol} ports from {first} to {last} of {address} are allocated")
        self.address = address
        self.first = first
        self.last = last


class AddressInUseError(ConflictError):
    """An address was asked for that another container has."""

    status = 403  # docker's answer for this

    def __init__(self, address: str) -> None:
        super().__init__(f"Address already in use: {address}")
        self.address = address


class AddressPoolExhaustedError(ConflictError):
    """Every address of a network is taken."""

    hint = "Disconnect containers, or create a network with a larger subnet."

    def __init__(self, subnet: str) -> None:
        super().__init__(f"No unallocated IP available in {subnet}")
        self.subnet = subnet


class SubnetOverlapError(ConflictError):
    """A subnet contains, or is contained in, one that is in use.

    Attributes:
        subnet: What was asked for.
        other: The network that is in the way.
    """

    status = 403  # docker's answer for this
    hint = "Choose another subnet with --subnet."

    def __init__(self, subnet: str, other: str, message: str = "") -> None:
        super().__init__(message or f"Pool {subnet} overlaps with {other} of this address space")
        self.subnet = subnet
        self.other = other


class NoFreeSubnetError(HostError):
    """Every subnet that could be chosen is routed or in use."""

    hint = "Give one: --bip for the bridge, --subnet for a network."


class LinkNameInUseError(ConflictError):
    """The bridge of a network cannot have its name.

    Attributes:
        name: Of the link that has it.
    """

    hint = "Choose another name: the network's option com.docker.network.bridge.name."

    def __init__(self, name: str) -> None:
        super().__init__(f"existing interface {name} is not this network's bridge")
        self.name = name


class FirewallError(HostError):
    """The rules of the firewall could not be read or changed.

    Attributes:
        detail: What the program said.
    """

    hint = "Run 'invoke doctor --repair': it writes the rules anew and says what is in the way."

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(f"{message}: {detail}" if detail else message)
        self.detail = detail


class ProxyError(HostError):
    """The proxy of a published port could not be started or reached."""


class NameServerError(HostError):
    """The name server of the user networks could not be started or reached."""
