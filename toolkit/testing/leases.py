# SPDX-License-Identifier: Apache-2.0
"""Something that the processes of a run make once and share.

The engine holds it by connection: the first who asks makes it, the others wait
and get what the first one told, and when the last one lets go (or dies) the
engine removes what carries its label. On docker's engine each process makes its own.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Self

from toolkit.client import StreamError
from toolkit.testing import owners

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolkit.client.extensions import Lines
    from toolkit.testing.engine import ContainerEngine

LEASE_LABEL = "toolkit.lease"


class LeaseFailedError(StreamError):
    """What another process of the run tried to make could not be made."""


class Lease:
    """One process's share.

    Attributes:
        labels: What everything that it holds carries.
    """

    def __init__(self, engine: ContainerEngine, name: str) -> None:
        self._engine = engine
        key = hashlib.sha256(f"{engine.run_id}\0{name}".encode()).hexdigest()[:32]
        self.name = key
        self.labels = {LEASE_LABEL: key, owners.OWNER_LABEL: owners.own_name()}
        self._lines: Lines | None = None
        self._said: dict[str, Any] = {"Make": True}

    @classmethod
    def join(cls, engine: ContainerEngine, name: str) -> Self:
        """Ask for a share; returns when it is ours to make, or is made."""
        lease = cls(engine, name)
        if "leases" in engine.features:
            lease._lines, lease._said = engine.client.extensions.open_lease(lease.name)
        else:
            lease.labels = dict(engine.labels)
        return lease

    def value(self, make: Callable[[], Any]) -> Any:
        """Return what was made: by *make* if we are the first, else by who was.

        Raises:
            LeaseFailedError: Another process could not make it; says why.
        """
        if "Value" in self._said:
            return self._said["Value"]
        if "Error" in self._said:
            self.close()
            raise LeaseFailedError(str(self._said["Error"]))
        try:
            value = make()
        except BaseException as error:
            self._tell({"Error": f"{type(error).__name__}: {error}"})
            self.close()
            raise
        self._tell({"Value": value})
        return value

    def keep(self, container_id: str) -> None:
        """Have a container outlive the lease."""
        if self._lines is not None:
            self._lines.keep(container_id)

    def close(self) -> None:
        """Let go; the last one returns when all is gone. A second call does nothing.

        An engine that does not answer in time is left to it, with a warning.
        """
        lines, self._lines = self._lines, None
        if lines is not None:
            self._engine.ending.let_go(lines)

    def _tell(self, document: dict[str, Any]) -> None:
        self._said = document
        if self._lines is not None:
            self._lines.send(document)
