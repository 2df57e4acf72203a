# SPDX-License-Identifier: Apache-2.0
"""How a process lets go of what it has in an engine: no wait for that is without a limit.

A run ends by its own will or by Ctrl-C, and an engine that hangs must not keep it.
What the engine could not be asked for in time goes all the same: a session and a
lease are connections, and this process closes them.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from toolkit.client import Client, EngineSilentError
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolkit.client.extensions import Lines

END_SECONDS: Final = 20.0


class Ending:
    """Removes things, and waits for an engine that does not answer but once.

    Attributes:
        is_given_up: Whether the engine was silent for so long that it is asked no more.
    """

    def __init__(self, client: Client, *, timeout_factor: float = 1.0) -> None:
        self._client = client
        self._seconds = END_SECONDS * timeout_factor
        self._limited: Client | None = None
        self.is_given_up = False

    def remove(self, act: Callable[[Client], object]) -> None:
        """Have something removed by a client whose every wait has a limit.

        Raises:
            EngineSilentError: No answer in time, now or the last time.
            ApiError: The engine refused.
        """
        if self.is_given_up:
            raise EngineSilentError(self._silence("removes nothing"))
        if self._limited is None:
            version = self._client.api_version
            self._limited = Client(
                self._client.host, api_version=version, timeout_seconds=self._seconds
            )
        try:
            act(self._limited)
        except EngineSilentError as error:
            self.is_given_up = True
            raise EngineSilentError(self._silence("removes nothing")) from error

    def let_go(self, lines: Lines) -> None:
        """Let go of a session or a lease; return when what it had is gone, or the time is up."""
        if self.is_given_up:
            lines.close()
            return
        try:
            lines.end(timeout_seconds=self._seconds)
        except EngineSilentError:
            self.is_given_up = True
            warnings.warn(self._silence("still removes what this run had"), stacklevel=2)
        except (ToolkitError, OSError):  # one that is gone removes it when it is back
            return

    def close(self) -> None:
        """Close the connections of its own; a second call does nothing."""
        limited, self._limited = self._limited, None
        if limited is not None:
            with suppress(OSError):
                limited.close()

    def _silence(self, what: str) -> str:
        return (
            f"the engine {what}: no answer within {self._seconds:g} s. "
            "It does so when it can: what belongs to this process's session goes with it"
        )
