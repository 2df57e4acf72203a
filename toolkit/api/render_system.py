# SPDX-License-Identifier: Apache-2.0
"""The engine and its host as docker shows them: ``/info`` and ``/version``."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from toolkit import __version__
from toolkit.api.router import MAXIMUM_VERSION, MINIMUM_VERSION, version_text
from toolkit.api.times import rfc3339_nano
from toolkit.config import BACKENDS

if TYPE_CHECKING:
    from datetime import datetime

    from toolkit.api.facade import EngineInfo
    from toolkit.config import Instance

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def version_object(kernel_version: str) -> dict[str, Any]:
    """Return what ``GET /version`` shows."""
    api_version, oldest = version_text(MAXIMUM_VERSION), version_text(MINIMUM_VERSION)
    architecture = go_architecture(platform.machine())
    details = {
        "ApiVersion": api_version,
        "Arch": architecture,
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": f"python {platform.python_version()}",
        "KernelVersion": kernel_version,
        "MinAPIVersion": oldest,
        "Os": "linux",
    }
    return {
        "Platform": {"Name": "container-toolkit"},
        "Components": [{"Name": "Engine", "Version": __version__, "Details": details}],
        "Version": __version__,
        **details,
        "Experimental": False,
    }


def go_architecture(machine: str) -> str:
    """Return docker's word for a machine."""
    return _ARCHITECTURES.get(machine, machine)
