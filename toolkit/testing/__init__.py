# SPDX-License-Identifier: Apache-2.0
"""Containers in tests: what a test imports beside the fixtures of the pytest plugin.

The plugin is imported by every run of pytest, so nothing here is loaded before it
is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.errors import NotReadyError
    from toolkit.testing.container import Address, Container, ExecResult
    from toolkit.testing.engine import ContainerEngine, RunContainer
    from toolkit.testing.images import ContainerImage
    from toolkit.testing.infra import ContainerHost
    from toolkit.testing.readiness import (
        Condition,
        all_of,
        any_of,
        exited,
        healthy,
        http,
        listening,
        log,
    )
    from toolkit.testing.resources import Network, Volume
    from toolkit.testing.spec import HealthCheck
    from toolkit.testing.terminal import ContainerTerminal, Terminal

__all__ = [
    "Address",
    "Condition",
    "Container",
    "ContainerEngine",
    "ContainerHost",
    "ContainerImage",
    "ContainerTerminal",
    "ExecResult",
    "HealthCheck",
    "Network",
    "NotReadyError",
    "RunContainer",
    "Terminal",
    "Volume",
    "all_of",
    "any_of",
    "exited",
    "healthy",
    "http",
    "listening",
    "log",
]

_PLACES = {
    "Address": "toolkit.testing.container",
    "Container": "toolkit.testing.container",
    "ContainerEngine": "toolkit.testing.engine",
    "ContainerHost": "toolkit.testing.infra",
    "ContainerImage": "toolkit.testing.images",
    "ContainerTerminal": "toolkit.testing.terminal",
    "ExecResult": "toolkit.testing.container",
    "HealthCheck": "toolkit.testing.spec",
    "Network": "toolkit.testing.resources",
    "NotReadyError": "toolkit.errors",
    "RunContainer": "toolkit.testing.engine",
    "Terminal": "toolkit.testing.terminal",
    "Volume": "toolkit.testing.resources",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415  # not before it is needed

    return getattr(importlib.import_module(_PLACES.get(name, "toolkit.testing.readiness")), name)
