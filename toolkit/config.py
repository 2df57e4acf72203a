# SPDX-License-Identifier: Apache-2.0
"""Where an instance keeps its things: every path and name derives from its name.

Nothing is read from the environment at import; `Instance.from_environment`
reads it when an engine or a command starts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_INSTANCE = "toolkit"
BACKENDS = ("native", "lxc")

# The name begins interface names (15 bytes with a suffix) and iptables chains.
_INSTANCE_NAME = re.compile(r"[a-z][a-z0-9-]{0,10}")


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One engine's share of the host.

    Attributes:
        name: Begins every path, cgroup, link and chain of this instance.
        backend: Default backend of its containers: ``native`` or ``lxc``.
        data_dir: What survives a reboot (``/var/lib/<name>``).
        run_dir: What does not (``/run/<name>``).
        socket_path: Where the engine listens.
    """

    name: str = DEFAULT_INSTANCE
    backend: str = "native"
    storage_driver: str = "overlay"
    data_dir: Path = field(default=Path())
    run_dir: Path = field(default=Path())
    socket_path: Path = field(default=Path())

    def __post_init__(self) -> None:
        if not _INSTANCE_NAME.fullmatch(self.name):
            raise InvalidRequestError(
                f"instance name {self.name!r}: use a letter, then up to ten of a-z, 0-9 and '-'"
            )
        if self.backend not in BACKENDS:
            raise InvalidRequestError(f"backend {self.backend!r}: choose native or lxc")
        defaults = {
            "data_dir": Path("/var/lib") / self.name,
            "run_dir": Path("/run") / self.name,
        }
        for attribute, path in defaults.items():
            if getattr(self, attribute) == Path():
                object.__setattr__(self, attribute, path)
        if self.socket_path == Path():
            object.__setattr__(self, "socket_path", self.run_dir / "engine.sock")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Instance:
        """Return the instance that TOOLKIT_INSTANCE and TOOLKIT_BACKEND name."""
        return cls(
            name=environ.get("TOOLKIT_INSTANCE", DEFAULT_INSTANCE),
            backend=environ.get("TOOLKIT_BACKEND", "native"),
        )

    @property
    def containers_dir(self) -> Path:
        """Durable directory of each container, named by its full id."""
        return self.data_dir / "containers"

    @property
    def bundles_dir(self) -> Path:
        """Volatile directory of each started container: bundle and shim socket."""
        return self.run_dir / "containers"

    @property
    def bridge_name(self) -> str:
        """Name of the instance's bridge."""
        return f"{self.name}0"

    @property
    def cgroup_parent(self) -> str:
        """Path of the instance's control group below each hierarchy's root."""
        return self.name
