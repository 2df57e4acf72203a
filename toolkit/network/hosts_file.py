# SPDX-License-Identifier: Apache-2.0
"""A container's hosts file: 0.7.2's form (rule 1.10), written so that nothing can be injected.

Owns the text and the file. Whose names stand in it, and when, is the engine's to decide. Entries
are addresses and checked names, so no value can begin a line of its own (row S-70).

The file is mounted on the container's /etc/hosts, which the container may write to: it is changed
in place, by a descriptor of our own file, and never followed anywhere (rows S-71 and S-72).
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from toolkit.errors import InvalidNameError, InvalidRequestError, KernelCallError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

Address = IPv4Address | IPv6Address

ADDRESS_WITHOUT_DAEMON_NETWORK: Final = IPv4Address("127.0.1.1")
LARGEST_BYTES: Final = 256 * 1024
_MODE: Final = 0o644
_NAME: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]*", re.ASCII)
_LONGEST_NAME: Final = 253
_LOOPBACK_LINES: Final = (
    "127.0.0.1\tlocalhost\n"
    "::1\t\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\t\tip6-localnet\n"
    "ff00::0\t\tip6-mcastprefix\n"
    "ff02::1\t\tip6-allnodes\n"
    "ff02::2\t\tip6-allrouters\n"
)


@dataclass(frozen=True)
class HostsEntry:
    """One line: an address and its names.

    Raises:
        InvalidNameError: There is no name, or one is no host name.
    """

    address: Address
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.address, IPv4Address | IPv6Address):
            raise InvalidRequestError(f"invalid address for a hosts file: {self.address!r:.80}")
        if not self.names:
            raise InvalidNameError("an entry of a hosts file needs a name")
        for name in self.names:
            check_host_name(name)

    @property
    def line(self) -> str:
        """The line, with its end."""
        return f"{self.address}\t{' '.join(self.names)}\n"


def check_host_name(name: str) -> None:
    """Refuse what cannot be a name: RFC 1123 and ``_``, with any end, as containers have it.

    Raises:
        InvalidNameError: It cannot.
    """
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise InvalidNameError(f"invalid host name: {name[:80]!r}")


def render_hosts(
    address: Address | None, hostname: str, domainname: str = "", extra: Iterable[HostsEntry] = ()
) -> str:
    """Return a container's hosts file.

    Args:
        address: The container's; None where it alone has no network: the line begins with the tab.
        hostname: Its name.
        domainname: Its domain; empty for none.
        extra: What was asked for beside that, and links.

    Raises:
        InvalidNameError: A name is none.
    """
    names = hostname
    if domainname:
        check_host_name(domainname)
        names = f"{hostname}.{domainname} {hostname}"
    check_host_name(hostname)
    own = "" if address is None else str(address)
    lines = "".join(entry.line for entry in extra)
    return f"{own}\t{names}\n\n{_LOOPBACK_LINES}{lines}"


def parse_extra_host(text: str, gateway: Address | None = None) -> HostsEntry:
    """Return the entry of ``name:address``; ``host-gateway`` stands for the host's address.

    Raises:
        InvalidRequestError: The text is none, or there is no gateway.
    """
    name, _, given = text.partition(":")
    if given == "host-gateway":
        if gateway is None:
            raise InvalidRequestError(f"{text[:80]!r}: this network has no gateway")
        return HostsEntry(gateway, (name,))
    try:
        address = ip_address(given.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise InvalidRequestError(f"bad format for add-host: {text[:80]!r}") from None
    return HostsEntry(address, (name,))


def add_entries(text: str, entries: Iterable[HostsEntry]) -> str:
    """Return a hosts file with entries at its end; those that stand there already stay."""
    present = set(text.splitlines())
    if text and not text.endswith("\n"):
        text += "\n"
    return text + "".join(entry.line for entry in entries if entry.line.rstrip("\n") not in present)


def remove_entries(text: str, entries: Iterable[HostsEntry]) -> str:
    """Return a hosts file without entries; what the container wrote itself stays."""
    gone = {entry.line.rstrip("\n") for entry in entries}
    return "".join(line for line in text.splitlines(keepends=True) if line.rstrip("\n") not in gone)


def replace_entry(text: str, old: HostsEntry, new: HostsEntry) -> str:
    """Return a hosts file in which an entry stands in the place of another."""
    wanted = old.line.rstrip("\n")
    lines = text.splitlines(keepends=True)
    return "".join(new.line if line.rstrip("\n") == wanted else line for line in lines)


def move_address(text: str, name: str, address: Address) -> str:
    """Return a hosts file in which the lines of a name have a new address.

    It is what a link's user sees when the linked container comes back with another one.
    """
    lines = []
    for line in text.splitlines(keepends=True):
        old, tab, names = line.partition("\t")
        if tab and name in names.split() and _is_address(old):
            lines.append(f"{address}\t{names}")
        else:
            lines.append(line)
    return "".join(lines)


class EtcFile:
    """A file of ours that is mounted into a container, changed in place.

    Args:
        path: The file, in a directory that only we can write to.
        largest_bytes: What a container has written beyond that is cut off when we write.
    """

    def __init__(self, path: Path, largest_bytes: int = LARGEST_BYTES) -> None:
        self._path = path
        self._largest_bytes = largest_bytes

    def read(self) -> str:
        """Return what it holds, whole lines within the bound; a missing file is empty.

        Raises:
            KernelCallError: It is no regular file, or cannot be read.
        """
        try:
            fd = self._open(os.O_RDONLY)
        except KernelCallError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return ""
            raise
        try:
            content = os.pread(fd, self._largest_bytes + 1, 0)
        finally:
            os.close(fd)
        if len(content) > self._largest_bytes:
            content = content[: content.rfind(b"\n", 0, self._largest_bytes) + 1]
        return content.decode(errors="surrogateescape")

    def write(self, text: str) -> None:
        """Make the file hold a text, under the same inode.

        Raises:
            InvalidRequestError: The text is too long.
            KernelCallError: It is no regular file, or cannot be written.
        """
        content = text.encode(errors="surrogateescape")
        if len(content) > self._largest_bytes:
            raise InvalidRequestError(
                f"{self._path.name} would take {len(content)} bytes, "
                f"the most is {self._largest_bytes}"
            )
        fd = self._open(os.O_WRONLY | os.O_CREAT)
        try:
            _write_whole(fd, content)
            os.ftruncate(fd, len(content))
        except OSError as error:
            raise KernelCallError("write", str(self._path), error.errno or 0) from error
        finally:
            os.close(fd)

    def add(self, entries: Sequence[HostsEntry]) -> None:
        """Add entries of a hosts file, and keep what else it holds."""
        self.write(add_entries(self.read(), entries))

    def remove(self, entries: Sequence[HostsEntry]) -> None:
        """Remove entries of a hosts file, and keep what else it holds."""
        self.write(remove_entries(self.read(), entries))

    def replace(self, old: HostsEntry, new: HostsEntry) -> None:
        """Put an entry of a hosts file in the place of another."""
        self.write(replace_entry(self.read(), old, new))

    def move(self, name: str, address: Address) -> None:
        """Give a name of a hosts file a new address."""
        self.write(move_address(self.read(), name, address))

    def _open(self, flags: int) -> int:
        always = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
        try:
            fd = os.open(self._path, flags | always, _MODE)
        except OSError as error:
            raise KernelCallError("open", str(self._path), error.errno or 0) from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise KernelCallError("open", f"{self._path} (no regular file)", errno.EINVAL)
        if flags & os.O_CREAT:
            os.fchmod(fd, _MODE)  # whatever the umask
        return fd


def _write_whole(fd: int, content: bytes) -> None:
    written = 0
    while written < len(content):
        written += os.pwrite(fd, content[written:], written)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
