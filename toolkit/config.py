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
BACKEND_LABEL = "toolkit.backend"  # of a create request: chooses one for this container
STORAGE_DRIVERS = ("overlay", "btrfs", "vfs")
CAPABILITY_PROFILES = ("podman", "docker")

# The name begins interface names (15 bytes with a suffix) and iptables chains.
_INSTANCE_NAME = re.compile(r"[a-z][a-z0-9-]{0,10}")


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One engine's share of the host.

    Attributes:
        name: Begins every path, cgroup, link and chain of this instance.
        backend: Default backend of its containers: ``native`` or ``lxc``.
        storage_driver: ``overlay``, ``btrfs`` or ``vfs``; images are seen by their own driver.
        data_dir: What survives a reboot (``/var/lib/<name>``).
        run_dir: What does not (``/run/<name>``).
        socket_path: Where the engine listens.
        insecure_registries: Hosts (``host[:port]``) and networks (CIDR) of registries that
            may be spoken to in plain HTTP or without a good certificate.
        registry_mirrors: URLs that are asked before Docker Hub.
        registry_certs_dir: ``<host:port>/*.crt`` below it vouch for that registry.
        most_unpacked_bytes: What one layer, or one archive of images, may hold (row S-56).
        capability_profile: What a program keeps if it asks for nothing: ``podman``'s eleven
            capabilities, or ``docker``'s fourteen with MKNOD, NET_RAW and AUDIT_WRITE (row S-09).
    """

    name: str = DEFAULT_INSTANCE
    backend: str = "native"
    storage_driver: str = "overlay"
    data_dir: Path = field(default=Path())
    run_dir: Path = field(default=Path())
    socket_path: Path = field(default=Path())
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    registry_certs_dir: Path = Path("/etc/docker/certs.d")
    most_unpacked_bytes: int = 10 * 1024**3
    capability_profile: str = "podman"

    def __post_init__(self) -> None:
        if not _INSTANCE_NAME.fullmatch(self.name):
            raise InvalidRequestError(
                f"instance name {self.name!r}: use a letter, then up to ten of a-z, 0-9 and '-'"
            )
        if self.backend not in BACKENDS:
            raise InvalidRequestError(f"backend {self.backend!r}: choose native or lxc")
        if self.storage_driver not in STORAGE_DRIVERS:
            raise InvalidRequestError(
                f"storage driver {self.storage_driver!r}: choose overlay, btrfs or vfs"
            )
        if self.capability_profile not in CAPABILITY_PROFILES:
            raise InvalidRequestError(
                f"capability profile {self.capability_profile!r}: choose podman or docker"
            )
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
        """Return what TOOLKIT_INSTANCE, _BACKEND, _STORAGE_DRIVER and _DATA_ROOT name.

        TOOLKIT_INSECURE_REGISTRIES and TOOLKIT_REGISTRY_MIRRORS are lists with commas,
        TOOLKIT_REGISTRY_CERTS is a directory, TOOLKIT_MAX_UNPACKED a number of bytes,
        TOOLKIT_CAP_PROFILE is ``podman`` or ``docker``.

        Raises:
            InvalidRequestError: One of them cannot be used.
        """
        certs_dir = environ.get("TOOLKIT_REGISTRY_CERTS", "")
        return cls(
            name=environ.get("TOOLKIT_INSTANCE", DEFAULT_INSTANCE),
            backend=environ.get("TOOLKIT_BACKEND", "native"),
            storage_driver=environ.get("TOOLKIT_STORAGE_DRIVER", "overlay"),
            data_dir=_absolute(environ.get("TOOLKIT_DATA_ROOT", "")),
            insecure_registries=listed(environ.get("TOOLKIT_INSECURE_REGISTRIES", "")),
            registry_mirrors=listed(environ.get("TOOLKIT_REGISTRY_MIRRORS", "")),
            registry_certs_dir=_absolute(certs_dir or str(cls.registry_certs_dir)),
            most_unpacked_bytes=_natural(
                environ.get("TOOLKIT_MAX_UNPACKED", ""), cls.most_unpacked_bytes
            ),
            capability_profile=environ.get("TOOLKIT_CAP_PROFILE", "") or cls.capability_profile,
        )

    @property
    def containers_dir(self) -> Path:
        """Durable directory of each container, named by its full id."""
        return self.data_dir / "containers"

    @property
    def builds_dir(self) -> Path:
        """Directory of what builds were sent and fetched, for as long as they last."""
        return self.data_dir / "builds"

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


def _absolute(text: str) -> Path:
    """Return a directory that is named; the empty path for none."""
    return Path(text).absolute() if text else Path()


def listed(text: str) -> tuple[str, ...]:
    """Return the parts of a list with commas."""
    return tuple(part for one in text.split(",") if (part := one.strip()))


def _natural(text: str, default: int) -> int:
    """Return a number that is given in decimal digits."""
    if not text:
        return default
    if not text.isascii() or not text.isdecimal():
        raise InvalidRequestError(f"{text!r} is no number of bytes")
    return int(text)
