# SPDX-License-Identifier: Apache-2.0
"""What is told while images travel, in docker's words.

How it stands on the wire is `toolkit.api`'s; the words are those of today's
docker (api-and-cli 3.7), because clients read them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, kw_only=True)
class ProgressMessage:
    """One message of a pull, push or load.

    Attributes:
        status: What goes on.
        id: With which layer or tag; empty for the whole.
        current: Bytes done; None where nothing is counted.
        total: Bytes in all; None where nobody knows.
        stream: A line for people, instead of a status.
        aux: What programs read at the end of a push.
    """

    status: str = ""
    id: str = ""
    current: int | None = None
    total: int | None = None
    stream: str = ""
    aux: Mapping[str, Any] = field(default_factory=dict)


class Teller:
    """Hands messages on, one at a time, from whatever thread.

    What the listener raises reaches the thread that told; that is how a listener
    that is gone ends the work.
    """

    def __init__(self, listener: Callable[[ProgressMessage], None]) -> None:
        self._listener = listener
        self._lock = threading.Lock()

    def status(
        self, status: str, id_: str = "", *, current: int | None = None, total: int | None = None
    ) -> None:
        """Tell what goes on."""
        self.message(ProgressMessage(status=status, id=id_, current=current, total=total))

    def message(self, message: ProgressMessage) -> None:
        """Tell something else."""
        with self._lock:
            self._listener(message)
