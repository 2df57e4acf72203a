# SPDX-License-Identifier: Apache-2.0
"""An answer of the engine that is still to come, as something that `select` can wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.client.client import Response


class PendingAnswer:
    """A request that the engine has taken up; what its answer means is the subclass's."""

    def __init__(self, answer: Response) -> None:
        self._answer = answer

    def fileno(self) -> int:
        """Return what is readable when there is something to read, for `select`."""
        return self._answer.fileno()

    @property
    def has_data(self) -> bool:
        """Whether it is there already, where `select` does not see it."""
        return self._answer.has_data

    def close(self) -> None:
        """Wait no longer."""
        self._answer.close()
