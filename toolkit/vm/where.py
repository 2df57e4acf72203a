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
    environ: Mapping[str, str], *, here: bool, provider: str, platform: str, is_root: bool
) -> Where:
    """Return where the engine is to run.

    Raises:
        InvalidRequestError: This machine is asked for and cannot, or both are asked for.
    """
    named = provider or environ.get("TOOLKIT_PROVIDER", "")
    if here and provider:
        raise InvalidRequestError("--here and --provider: choose one")
    if here and platform != "linux":
        raise InvalidRequestError("--here: the engine needs a Linux kernel; leave it out")
    if here:
        return Where(is_here=True, reason="asked for")
    if named:
        return Where(is_here=False, reason=f"provider {named} is asked for")
    if platform != "linux":
        return Where(is_here=False, reason="the engine needs a Linux kernel")
    if is_root:
        return Where(is_here=True, reason="Linux, and you are root")
    return Where(is_here=False, reason="you are not root here (--here as root needs no machine)")
