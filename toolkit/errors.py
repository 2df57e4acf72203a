# SPDX-License-Identifier: Apache-2.0
"""The tree of errors: what happened, to what, and what to do next.

Each class carries the HTTP status and the exit code that it leads to, and a
hint for the person. Raise the leaf, catch the branch.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class ToolkitError(Exception):
    """Something went wrong that the toolkit can name.

    Attributes:
        status: HTTP status of the answer that reports it.
        exit_code: Exit code of a command that ends with it.
        hint: What a person can do next; empty if nothing.
    """

    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 125
    hint: ClassVar[str] = ""


class InvalidRequestError(ToolkitError):
    """A value that the caller gave cannot be used."""

    status = 400


class InvalidReferenceError(InvalidRequestError):
    """A text is not an image reference."""


class InvalidNameError(InvalidRequestError):
    """A text is not a name for a container."""


class InvalidPortError(InvalidRequestError):
    """A text or number is not a port, or not a way to publish one."""


class InvalidLinkError(InvalidRequestError):
    """A text is not a link, or the containers cannot be linked."""


class DockerfileError(InvalidRequestError):
    """A Dockerfile says something that cannot be.

    Attributes:
        line: Number of the line, from 1; 0 for the file as a whole.
    """

    def __init__(self, message: str, line: int) -> None:
        where = f"dockerfile parse error line {line}: " if line else ""
        super().__init__(f"{where}{message}")
        self.line = line


class UnsafeArchiveError(InvalidRequestError):
    """An archive holds a member that would leave its root, or is not an archive.

    Attributes:
        member: Name of the member, as it stands in the archive.
    """

    hint = "Do not trust this archive; make it again with tar from a known tree."

    def __init__(self, member: str, reason: str) -> None:
        super().__init__(f"archive member {member!r}: {reason}" if member else reason)
        self.member = member


class NotFoundError(ToolkitError):
    """Something that the caller named does not exist."""

    status = 404


class ContainerNotFoundError(NotFoundError):
    """No container has that name or id."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"No such container: {reference}")
        self.reference = reference


class ImageNotFoundError(NotFoundError):
    """No image has that reference or id."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"No such image: {reference}")
        self.reference = reference


class NetworkNotFoundError(NotFoundError):
    """No network has that name or id."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"network {reference} not found")
        self.reference = reference


class ExecNotFoundError(NotFoundError):
    """No exec session has that id."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"No such exec instance: {reference}")
        self.reference = reference


class ConflictError(ToolkitError):
    """The request contradicts the present state."""

    status = 409


class NameInUseError(ConflictError):
    """Another container holds the name that was asked for.

    Attributes:
        holder: Id of that container.
    """

    def __init__(self, name: str, holder: str) -> None:
        super().__init__(
            f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
            "You have to remove (or rename) that container to be able to reuse that name."
        )
        self.name = name
        self.holder = holder


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


class DriverNotFoundError(NotFoundError):
    """There is no network driver of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f'plugin "{name[:80]}" not found: there is only the driver bridge')


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


class ImageInUseError(ConflictError):
    """An image cannot be removed while something stands on it."""


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


class AllPortsTakenError(ConflictError):
    """No port is free in the range that was to be looked through."""

    hint = "Remove containers that publish ports, or name a port."

    def __init__(self, address: str, first: int, last: int, protocol: str = "tcp") -> None:
        super().__init__(f"all {protocol} ports from {first} to {last} of {address} are allocated")
        self.address = address
        self.first = first
        self.last = last


class InstanceLockedError(ConflictError):
    """Another engine owns the instance."""

    hint = "Use that engine, stop it, or choose another --instance."


class MoveRefusedError(ConflictError):
    """A container cannot make that move in the state that it is in.

    Attributes:
        state: The state, one of docker's words.
        move: The move that was asked for.
    """

    def __init__(self, state: str, move: str, subject: str = "container") -> None:
        super().__init__(f"cannot {move} {subject}: it is {state}")
        self.state = state
        self.move = move


class NotRunningError(ConflictError):
    """The container would have to run for this."""

    def __init__(self, container_id: str) -> None:
        super().__init__(f"container {container_id} is not running")
        self.container_id = container_id


class NotModifiedError(ToolkitError):
    """The container is already in the state that was asked for."""

    status = 304


class CommandError(ToolkitError):
    """The program of a container could not be started."""

    status = 400


class CommandNotFoundError(CommandError):
    """The program does not exist in the container."""

    exit_code = 127


class CommandNotExecutableError(CommandError):
    """The program exists and may not be executed."""

    exit_code = 126


class HostError(ToolkitError):
    """The machine refused, or lacks something."""


class KernelCallError(HostError):
    """A system call failed.

    Attributes:
        call: Name of the call.
        subject: What it was applied to: a path, a name, a number.
        errno: The kernel's number.
    """

    def __init__(self, call: str, subject: str, errno: int) -> None:
        on = f" {subject}" if subject else ""
        super().__init__(f"{call}{on}: {os.strerror(errno)}")
        self.call = call
        self.subject = subject
        self.errno = errno


class MountError(KernelCallError):
    """A mount could not be made or taken away."""


class NamespaceError(KernelCallError):
    """A namespace could not be made or entered."""


class LinkError(KernelCallError):
    """A link, an address, a route or a neighbour could not be made, changed or removed."""


class CgroupError(KernelCallError):
    """A control group could not be made, changed or removed."""


class KernelFeatureMissingError(HostError):
    """The kernel lacks something that was asked for."""

    hint = "Run 'invoke doctor': it lists what is missing and how to get it."


class LinkNameInUseError(ConflictError):
    """The bridge of a network cannot have its name.

    Attributes:
        name: Of the link that has it.
    """

    hint = "Choose another name: the network's option com.docker.network.bridge.name."

    def __init__(self, name: str) -> None:
        super().__init__(f"existing interface {name} is not this network's bridge")
        self.name = name


class NoFreeSubnetError(HostError):
    """Every subnet that could be chosen is routed or in use."""

    hint = "Give one: --bip for the bridge, --subnet for a network."


class FirewallError(HostError):
    """The rules of the firewall could not be read or changed.

    Attributes:
        detail: What the program said.
    """

    hint = "Run 'invoke doctor --repair': it writes the rules anew and says what is in the way."

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(f"{message}: {detail}" if detail else message)
        self.detail = detail


class StorageError(HostError):
    """A layer or a container's file system could not be made or read."""


class BackendError(HostError):
    """The backend could not start or reach a container."""


class ProxyError(HostError):
    """The proxy of a published port could not be started or reached."""


class NameServerError(HostError):
    """The name server of the user networks could not be started or reached."""


class RegistryError(ToolkitError):
    """A registry did not give or take what it should."""


class RegistryAuthError(RegistryError):
    """A registry wants a login, or refuses the one that it was given."""

    status = 401
    hint = "Log in to that registry first."


class RegistryUnreachableError(RegistryError):
    """A registry does not answer, or not in time."""

    hint = (
        "Look at the engine's network and proxies. Images without a registry: "
        "toolkit image bootstrap, load, import"
    )


class RemoteImageNotFoundError(RegistryError):
    """A registry has no such repository or tag, or does not show it to us."""

    status = 404


class DigestMismatchError(RegistryError):
    """What a registry sent is not what its digest or size says.

    Attributes:
        expected: The digest or size that was asked for.
        found: What came.
    """

    def __init__(self, expected: str, found: str, subject: str = "content") -> None:
        super().__init__(f"{subject}: expected {expected}, got {found}")
        self.expected = expected
        self.found = found


class WrongContentError(DigestMismatchError):
    """An archive holds something that is not what its digest says."""

    status = 400


class EngineUnreachableError(ToolkitError):
    """No engine answers on the socket."""

    hint = "Start one with 'toolkit engine' as root, or set DOCKER_HOST to one that runs."


class NotReadyError(ToolkitError):
    """A container did not become ready in time, or ended instead.

    Attributes:
        condition: What was awaited.
        waited_seconds: For how long.
        state: The container's state then, one of docker's words; empty if unknown.
        ended_with: Exit code of its program; None while it runs.
        is_oom_killed: Whether the kernel killed it for its memory.
        log_tail: The last lines that it wrote.
    """

    def __init__(  # the facts of the moment, by name
        self,
        message: str,
        *,
        condition: str = "",
        waited_seconds: float = 0.0,
        state: str = "",
        ended_with: int | None = None,
        is_oom_killed: bool = False,
        log_tail: str = "",
    ) -> None:
        super().__init__(message)
        self.condition = condition
        self.waited_seconds = waited_seconds
        self.state = state
        self.ended_with = ended_with
        self.is_oom_killed = is_oom_killed
        self.log_tail = log_tail


class MachineError(ToolkitError):
    """The machine that the engine should run on cannot be prepared."""
