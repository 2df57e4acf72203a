# SPDX-License-Identifier: Apache-2.0
"""Asking again: when it is worth it, and after what pause."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeVar

from toolkit.errors import RegistryUnreachableError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from toolkit.images.registry.settings import RegistrySettings

_Result = TypeVar("_Result")


class TransientError(RegistryUnreachableError):
    """It may work when it is asked again.

    Attributes:
        pause_seconds: How long the registry wants to be left alone.
    """

    def __init__(self, message: str, pause_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.pause_seconds = pause_seconds


class NoConnectionError(TransientError):
    """Nobody who speaks the protocol answers there."""


def pause_seconds(settings: RegistrySettings, failures: int, wanted: float = 0.0) -> float:
    """Return how long to wait after that many failures: doubling, with jitter."""
    longest = settings.longest_pause_seconds
    pause = min(longest, settings.first_pause_seconds * 2.0 ** min(failures - 1, 30))
    # Not for secrets: clients that failed together shall not come back together.
    return min(longest, max(wanted, pause * random.uniform(0.5, 1.0)))  # noqa: S311 - see above


def retried(
    settings: RegistrySettings, stop: threading.Event, attempt: Callable[[], _Result]
) -> _Result:
    """Return what *attempt* returns, made again while it fails for the moment.

    Raises:
        TransientError: It failed as often as the settings allow, or *stop* was set.
    """
    failures = 0
    while True:
        try:
            return attempt()
        except TransientError as error:
            failures += 1
            if failures >= settings.attempts:
                raise
            if stop.wait(pause_seconds(settings, failures, error.pause_seconds)):
                raise
