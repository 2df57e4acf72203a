# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a container, its program, its execs, and the engine they are asked of."""

from __future__ import annotations

from toolkit.errors.branches import (
    ConflictError,
    HostError,
    InvalidRequestError,
    ToolkitError,
    UnknownReferenceError,
)


class InvalidNameError(InvalidRequestError):
    """A text is not a name for a container."""


class ContainerNotFoundError(UnknownReferenceError):
    """No container has that name or id."""

    words = "No such container: {}"


class ExecNotFoundError(UnknownReferenceError):
    """No exec session has that id."""

    words = "No such exec instance: {}"


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


class CommandError(ToolkitError):
    """The program of a container could not be started."""

    status = 400


class CommandNotFoundError(CommandError):
    """The program does not exist in the container."""

    exit_code = 127


class CommandNotExecutableError(CommandError):
    """The program exists and may not be executed."""

    exit_code = 126


class BackendError(HostError):
    """The backend could not start or reach a container."""


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
