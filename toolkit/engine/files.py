# SPDX-License-Identifier: Apache-2.0
"""The files of a container on this host: its directory, and what is mounted over /etc.

`hosts`, `hostname` and `resolv.conf` are written anew at each start (rule 1.10).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from toolkit.config import Instance
    from toolkit.engine.model import ContainerId, ContainerRecord

_HOSTS_TAIL: Final = (
    "\n"
    "127.0.0.1\tlocalhost\n"
    "::1\t\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\t\tip6-localnet\n"
    "ff00::0\t\tip6-mcastprefix\n"
    "ff02::1\t\tip6-allnodes\n"
    "ff02::2\t\tip6-allrouters\n"
)
ADDRESS_WITHOUT_NETWORK: Final = "127.0.1.1"
_HOST_ETC: Final = Path("/etc")
_LARGEST_BYTES: Final = 256 * 1024


@dataclass(frozen=True)
class ContainerFiles:
    """Where everything of one container is.

    Attributes:
        dir: Durable, ``<data>/containers/<id>``.
        bundle_dir: Volatile, ``<run>/containers/<id>``.
    """

    dir: Path
    bundle_dir: Path

    @classmethod
    def of(cls, instance: Instance, container_id: ContainerId) -> ContainerFiles:
        """Return the places of a container, whether they exist or not."""
        return cls(instance.containers_dir / container_id, instance.bundles_dir / container_id)

    @property
    def log(self) -> Path:
        """JSON log of its output."""
        return self.dir / f"{self.dir.name}-json.log"

    @property
    def exit_status(self) -> Path:
        """How its program ended, written by the shim."""
        return self.dir / "exit.json"

    @property
    def hosts(self) -> Path:
        """Mounted on /etc/hosts."""
        return self.dir / "hosts"

    @property
    def hostname(self) -> Path:
        """Mounted on /etc/hostname."""
        return self.dir / "hostname"

    @property
    def resolv_conf(self) -> Path:
        """Mounted on /etc/resolv.conf."""
        return self.dir / "resolv.conf"

    def write_etc(self, record: ContainerRecord) -> None:
        """Write the three files that a container sees in its /etc."""
        _write(self.hostname, f"{record.spec.hostname}\n")
        _write(self.hosts, hosts_text(record))
        _write(self.resolv_conf, resolv_conf_text(record))


def hosts_text(record: ContainerRecord, address: str = ADDRESS_WITHOUT_NETWORK) -> str:
    """Return a container's hosts file; on the host's network the host's own with additions."""
    spec = record.spec
    if spec.host.network_mode == "host":
        text = _read(_HOST_ETC / "hosts")
    else:
        names = spec.hostname
        if spec.domainname:
            names = f"{spec.hostname}.{spec.domainname} {spec.hostname}"
        text = f"{address}\t{names}\n{_HOSTS_TAIL}"
    for entry in spec.host.extra_hosts:
        name, _, given = entry.partition(":")
        if given != "host-gateway":
            text += f"{given.removeprefix('[').removesuffix(']')}\t{name}\n"
    return text


def resolv_conf_text(record: ContainerRecord) -> str:
    """Return a container's resolv.conf: what it asked for, the host's for the rest."""
    host = record.spec.host
    lines = [line for line in _read(_HOST_ETC / "resolv.conf").splitlines() if line.strip()]
    asked = (
        ("nameserver", [f"nameserver {address}" for address in host.dns]),
        ("search", _joined("search", [name for name in host.dns_search if name != "."])),
        ("options", _joined("options", host.dns_options)),
    )
    for word, replacement in asked:
        if replacement or (word == "search" and host.dns_search):
            also = {word, "domain"} if word == "search" else {word}
            lines = [line for line in lines if line.split()[0] not in also] + replacement
    return "".join(f"{line}\n" for line in lines)


def _joined(word: str, values: list[str] | tuple[str, ...]) -> list[str]:
    return [f"{word} {' '.join(values)}"] if values else []


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_BYTES).decode(errors="replace")
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    """Replace a file by a new one: the container may hold the old one open (row S-72)."""
    temporary = path.with_name(f".{path.name}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(temporary, flags, 0o644), "w", encoding="utf-8") as file:
        file.write(text)
    temporary.chmod(0o644)
    temporary.rename(path)
