# SPDX-License-Identifier: Apache-2.0
"""What a person chose about the machines, and where their things are kept.

Owns the variables' names and the directories. All of it derives from the
instance's name, so two sets of machines live beside each other.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from toolkit.config import DEFAULT_INSTANCE, Instance
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

REPOSITORY: Final = Path(__file__).resolve().parents[2]
CGROUP_FLAVOURS: Final = ("", "v1", "v2")
_NAME: Final = "container-toolkit"
_MOST_MACHINES: Final = 16


@dataclass(frozen=True, kw_only=True)
class Places:
    """Directories, by how long what is in them has to last.

    Attributes:
        state_dir: Vagrant's memory of the machines; without it they are orphans.
        cache_dir: The local box; it can be built again.
        runtime_dir: Sockets; gone with a restart. Short: a socket's path has 104 bytes.
    """

    state_dir: Path
    cache_dir: Path
    runtime_dir: Path

    @classmethod
    def of(cls, environ: Mapping[str, str], *, is_root: bool) -> Self:
        """Return root's places by the FHS, anybody else's by XDG."""
        if is_root:
            return cls(
                state_dir=Path("/var/lib") / _NAME,
                cache_dir=Path("/var/cache") / _NAME,
                runtime_dir=Path("/run") / _NAME,
            )
        home = Path(environ.get("HOME", "/"))
        temporary = environ.get("TMPDIR", "/tmp")  # noqa: S108 - made 0700, and its owner checked
        runtime = environ.get("XDG_RUNTIME_DIR")
        short = Path(temporary) / f"toolkit-{os.getuid()}"
        return cls(
            state_dir=Path(environ.get("XDG_STATE_HOME") or home / ".local/state") / _NAME,
            cache_dir=Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / _NAME,
            runtime_dir=Path(runtime) / _NAME if runtime else short,
        )


@dataclass(frozen=True, kw_only=True)
class MachineSettings:
    """One set of machines.

    Attributes:
        instance_name: Begins the machines' names.
        provider: Vagrant's word for who runs them; empty: what is there.
        count: How many.
        memory_mib: Of each, in MiB.
        cgroups: Flavour that the kernel is booted with; empty: the box's own.
        box: Name of a box that somebody chose; empty: ours.
    """

    instance_name: str = DEFAULT_INSTANCE
    provider: str = ""
    count: int = 1
    memory_mib: int = 2048
    cpus: int = 2
    cgroups: str = ""
    box: str = ""
    places: Places
    repository: Path = REPOSITORY

    def __post_init__(self) -> None:
        Instance(name=self.instance_name)  # refuses what cannot be one
        if self.cgroups not in CGROUP_FLAVOURS:
            raise InvalidRequestError(f"control groups {self.cgroups!r}: choose v1 or v2")
        if not 1 <= self.count <= _MOST_MACHINES:
            raise InvalidRequestError(f"{self.count} machines: choose 1 to {_MOST_MACHINES}")

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str],
        *,
        provider: str = "",
        count: int = 0,
        cgroups: str = "",
        instance: str = "",
    ) -> Self:
        """Return what the arguments say, else TOOLKIT_PROVIDER, _MACHINES, _CGROUPS and so on.

        Raises:
            InvalidRequestError: A value cannot be used.
        """
        return cls(
            instance_name=instance or environ.get("TOOLKIT_INSTANCE") or DEFAULT_INSTANCE,
            provider=provider or environ.get("TOOLKIT_PROVIDER", ""),
            count=count or _number(environ, "TOOLKIT_MACHINES", 1),
            memory_mib=_number(environ, "TOOLKIT_MEMORY", 2048),
            cpus=_number(environ, "TOOLKIT_CPUS", 2),
            cgroups=cgroups or environ.get("TOOLKIT_CGROUPS", ""),
            box=environ.get("TOOLKIT_BOX", ""),
            places=Places.of(environ, is_root=is_root()),
        )

    @property
    def is_system_wide(self) -> bool:
        """Whether the things are root's, below /var, and not in somebody's home."""
        return self.places.state_dir.is_relative_to("/var")

    @property
    def machine_names(self) -> tuple[str, ...]:
        """Vagrant's names of the machines."""
        return tuple(f"machine{number}" for number in range(1, self.count + 1))

    @property
    def state_dir(self) -> Path:
        """Where this set's memory is kept."""
        return self.places.state_dir / "machines" / self.instance_name

    @property
    def runtime_dir(self) -> Path:
        """Where this set's sockets are."""
        return self.places.runtime_dir / self.instance_name


def is_root() -> bool:
    """Tell whether this process may change this machine (never, where there is no such user)."""
    return sys.platform != "win32" and os.geteuid() == 0


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal() or not int(text):
        raise InvalidRequestError(f"{name} {text!r}: use a whole number above 0")
    return int(text)
