# SPDX-License-Identifier: Apache-2.0
"""Where the engine is to run: this machine, or machines of Vagrant's, and why.

Owns that one decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Where:
    """The decision.

    Attributes:
        is_here: This machine runs the engine.
        reason: As a person is told.
    """

    is_here: bool
    reason: str


def decide(
    environ: Mapping[str, str],
    *,
    here: bool,
    provider: str,
    platform: str,
    is_root: bool,
    asked_of_machines: str = "",
    has_machines: bool = False,
) -> Where:
    """Return where the engine is to run.

    Args:
        environ: May name a provider, in TOOLKIT_PROVIDER.
        here: This machine is asked for.
        provider: A machine of that provider's is asked for.
        platform: `sys.platform`.
        is_root: This process may change this machine.
        asked_of_machines: An option that only a machine can honour; empty: none was given.
        has_machines: The instance has machines, running or not.

    Raises:
        InvalidRequestError: This machine is asked for and cannot, or both are asked for.
    """
    if here:
        return _here(platform, other="--provider" if provider else asked_of_machines)
    if named := provider or environ.get("TOOLKIT_PROVIDER", ""):
        asked_of_machines = f"provider {named}"
    elif has_machines:
        reason = "this instance has one (invoke destroy removes it, --here passes it over)"
        return Where(is_here=False, reason=reason)
    if asked_of_machines:
        return Where(is_here=False, reason=f"{asked_of_machines} is asked for")
    if platform != "linux":
        return Where(is_here=False, reason="the engine needs a Linux kernel")
    if is_root:
        return Where(is_here=True, reason="Linux, and you are root")
    return Where(is_here=False, reason="you are not root here (--here as root needs no machine)")


def _here(platform: str, *, other: str) -> Where:
    if other:
        raise InvalidRequestError(f"--here and {other}: choose one")
    if platform != "linux":
        raise InvalidRequestError("--here: the engine needs a Linux kernel; leave it out")
    return Where(is_here=True, reason="asked for")
