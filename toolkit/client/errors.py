# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between a client and an engine, beside what `toolkit.errors` names."""

from __future__ import annotations

from toolkit.errors import EngineUnreachableError, ToolkitError


class ApiError(ToolkitError):
    """The engine answered that it could not do what was asked.

    Attributes:
        status: HTTP status of the answer.
        message: The engine's words.
    """

    status: int  # type: ignore[misc]  # each answer has its own; the class keeps the default

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message or f"the engine answered {status}")
        self.status = status
        self.message = message


class EngineForbiddenError(EngineUnreachableError):
    """The socket of the engine may not be opened by this user."""

    hint = "Run it as root, or join the group that owns the socket."


class ConnectionLostError(EngineUnreachableError):
    """The engine went away in the middle of an answer."""

    hint = "The engine may have been stopped: look at its log, then try again."


class EngineSilentError(ConnectionLostError):
    """The engine did not answer in the time that the client gives it."""

    hint = "The engine may be busy, or hang: look at its log."


class StreamError(ToolkitError):
    """A stream of the engine is not what it should be, or carries an error.

    Attributes:
        code: The error's own number, e.g. the exit code of a failed build step.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
