# SPDX-License-Identifier: Apache-2.0
"""The files of a container on this host: its directory, and what is mounted over /etc.

`hosts`, `hostname` and `resolv.conf` are written anew at each start (rule 1.10).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolkit.engine.network_index import BRIDGE
from toolkit.network.hosts_file import (
    ADDRESS_WITHOUT_DAEMON_NETWORK,
    EtcFile,
    HostsEntry,
    add_entries,
    parse_extra_host,
    remove_entries,
    render_hosts,
)
from toolkit.network.resolv_conf import ResolvConf, for_container, host_resolv_conf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.config import Instance
    from toolkit.engine.model import ContainerId, ContainerRecord

_HOST_ETC: Final = Path("/etc")
_LOOPBACK: Final = IPv4Address("127.0.0.1")
_LARGEST_BYTES: Final = 256 * 1024
_NOTHING_SET: Final = ResolvConf()


@dataclass(frozen=True)
class ContainerFiles:
    """Where everything of one container is.

    Attributes:
        dir: Durable, ``<data>/containers/<id>``.
        bundle_dir: Volatile, ``<run>/containers/<id>``.
        defaults: Resolvers, search domains and options of one that names none (rule 10.22).
    """

    dir: Path
    bundle_dir: Path
    defaults: ResolvConf = _NOTHING_SET

    @classmethod
    def of(
        cls,
        instance: Instance,
        container_id: ContainerId,
        *,
        defaults: ResolvConf = _NOTHING_SET,
    ) -> ContainerFiles:
        """Return the places of a container, whether they exist or not."""
        places = instance.containers_dir / container_id, instance.bundles_dir / container_id
        return cls(*places, defaults=defaults)

    def of_peer(self, container_id: str) -> ContainerFiles:
        """Return the places of another container of the instance."""
        return ContainerFiles(
            self.dir.with_name(container_id),
            self.bundle_dir.with_name(container_id),
            defaults=self.defaults,
        )

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

    def write_etc(self, record: ContainerRecord, linked: Sequence[HostsEntry] = ()) -> None:
        """Write the three files that a container sees in its /etc.

        Args:
            record: The container's.
            linked: What its links add to its hosts file.
        """
        for path, text in (
            (self.hostname, f"{record.spec.hostname}\n"),
            (self.hosts, add_entries(hosts_text(record), linked)),
            (self.resolv_conf, resolv_conf_text(record, self.defaults)),
        ):
            put_new_file(path, text.encode(), 0o644)

    def renew_etc(self, before: ContainerRecord, record: ContainerRecord) -> None:
        """Change the files of a running container whose networks have changed.

        Its own additions stay, and a resolv.conf that it has changed is its own.

        Raises:
            ToolkitError: It has put something else in their place.
        """
        old, new = own_entries(before), own_entries(record)
        hosts = EtcFile(self.hosts)
        hosts.write(add_entries(remove_entries(hosts.read(), set(old) - set(new)), new))
        resolv_conf = EtcFile(self.resolv_conf)
        old_text, new_text = (resolv_conf_text(each, self.defaults) for each in (before, record))
        if old_text != new_text and resolv_conf.read() == old_text:
            resolv_conf.write(new_text)


def hosts_text(record: ContainerRecord) -> str:
    """Return a container's hosts file; on the host's network the host's own with additions.

    Rule 1.10, with a line for each further network.
    """
    spec = record.spec
    extra = [parse_extra_host(entry, _gateway(record)) for entry in spec.host.extra_hosts]
    if spec.host.network_mode == "host":
        return add_entries(_read(_HOST_ETC / "hosts"), extra)
    own = own_entries(record)
    address = own[0].address if own else ADDRESS_WITHOUT_DAEMON_NETWORK
    return render_hosts(address, spec.hostname, spec.domainname, [*own[1:], *extra])


def own_entries(record: ContainerRecord) -> list[HostsEntry]:
    """Return the lines of a hosts file that tell a container's own addresses."""
    spec, seats = record.spec, list(record.endpoints.values())
    names: tuple[str, ...] = (spec.hostname,)
    if spec.domainname:
        names = (f"{spec.hostname}.{spec.domainname}", spec.hostname)
    texts = [seat.ipv4 for seat in seats] + [seat.ipv6 for seat in seats if seat.ipv6]
    return [HostsEntry(ip_address(text), names) for text in texts]


def _gateway(record: ContainerRecord) -> IPv4Address | None:
    """Return what ``host-gateway`` stands for in a container."""
    if record.spec.host.network_mode == "host":
        return _LOOPBACK
    found = next((seat.gateway for seat in record.endpoints.values() if seat.gateway), "")
    return IPv4Address(found) if found else None


def resolv_conf_text(record: ContainerRecord, defaults: ResolvConf = _NOTHING_SET) -> str:
    """Return a container's resolv.conf: what it asked for, the engine's, the host's for the rest.

    Args:
        record: The container's.
        defaults: The engine's resolvers, search domains and options, for one that names none.
    """
    host = record.spec.host
    nameservers = tuple(ip_address(text) for text in host.dns) or defaults.nameservers
    search = host.dns_search or defaults.search
    options = host.dns_options or defaults.options
    if host.network_mode == "host" and not (nameservers or search or options):
        return _read(_HOST_ETC / "resolv.conf")
    return for_container(
        host_resolv_conf(_HOST_ETC / "resolv.conf"),
        nameservers=nameservers,
        search=search,
        options=options,
        embedded=any(name != BRIDGE for name in record.endpoints),
    ).text


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_BYTES).decode(errors="replace")
    except OSError:
        return ""


def put_new_file(path: Path, data: bytes, mode: int) -> None:
    """Put a new file in a file's place, in few steps: a start waits for each.

    Who holds the old one open keeps it (row S-72).
    """
    name = os.fspath(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, mode)
    except FileExistsError:
        path.unlink()
        fd = os.open(name, flags, mode)
    try:
        os.fchmod(fd, mode)  # whatever the umask is
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)
