# SPDX-License-Identifier: Apache-2.0
"""The sockets of a container's resolver, opened inside its network namespace.

They are bound to 127.0.0.11 at a port that the kernel draws, and port 53 is redirected there by
rules of the namespace itself, as docker does: a container's own server may then take port 53 of
all addresses. Nothing but the namespace's own processes can send to its loopback (row S-88).

Where the host has neither nft nor iptables the sockets take port 53 itself; then a server in the
container that wants 0.0.0.0:53 is refused.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from toolkit.errors import NamespaceError
from toolkit.kernel.namespaces import CLONE_NEWNET, enter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ADDRESS: Final = "127.0.0.11"
PORT: Final = 53
_BACKLOG: Final = 64
_RULE_SECONDS: Final = 10.0
_PATH: Final = "/usr/sbin:/sbin:/usr/bin:/bin"
_NFT_RULES: Final = """\
add table ip toolkit_names
delete table ip toolkit_names
table ip toolkit_names {{
  chain output {{
    type nat hook output priority -110; policy accept;
    ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:{udp}
    ip daddr 127.0.0.11 tcp dport 53 dnat to 127.0.0.11:{tcp}
  }}
}}
"""
_IPTABLES_RULES: Final = """\
*nat
:TOOLKIT_NAMES - [0:0]
-A TOOLKIT_NAMES -d 127.0.0.11/32 -p udp --dport 53 -j DNAT --to-destination 127.0.0.11:{udp}
-A TOOLKIT_NAMES -d 127.0.0.11/32 -p tcp --dport 53 -j DNAT --to-destination 127.0.0.11:{tcp}
-I OUTPUT -d 127.0.0.11/32 -j TOOLKIT_NAMES
COMMIT
"""


@dataclass(frozen=True)
class ResolverSockets:
    """What a container's questions arrive at."""

    datagrams: socket.socket
    listener: socket.socket

    def close(self) -> None:
        """Close both."""
        self.datagrams.close()
        self.listener.close()


@contextmanager
def inside(netns_fd: int) -> Iterator[None]:
    """Be in another network namespace within the block; for a process with one thread."""
    own_fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(netns_fd, CLONE_NEWNET)
        try:
            yield
        finally:
            try:
                enter(own_fd, CLONE_NEWNET)
            except NamespaceError:
                os._exit(1)  # to go on in a container's namespace would be worse
    finally:
        os.close(own_fd)


def open_in(netns_fd: int) -> ResolverSockets:
    """Return the sockets of the namespace's resolver, reachable at port 53.

    Raises:
        OSError: They cannot be had, not even at port 53 itself.
        NamespaceError: The namespace cannot be entered.
    """
    with inside(netns_fd):
        sockets = _open_pair()
        ports = {
            "udp": sockets.datagrams.getsockname()[1],
            "tcp": sockets.listener.getsockname()[1],
        }
        if _redirect(ports):
            return sockets
        sockets.close()
        return _open_pair(PORT)


def _open_pair(port: int = 0) -> ResolverSockets:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        datagrams.bind((ADDRESS, port))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS, port))
        listener.listen(_BACKLOG)
    except OSError:
        datagrams.close()
        listener.close()
        raise
    return ResolverSockets(datagrams, listener)


def _redirect(ports: dict[str, int]) -> bool:
    """Redirect port 53 within the present namespace; say whether that could be done."""
    nft = shutil.which("nft", path=_PATH)
    if nft and _run((nft, "-f", "-"), _NFT_RULES.format_map(ports)):
        return True
    restore = shutil.which("iptables-restore", path=_PATH)
    iptables = shutil.which("iptables", path=_PATH)
    if not restore or not iptables:
        return False
    jump = ("-t", "nat", "-D", "OUTPUT", "-d", f"{ADDRESS}/32", "-j", "TOOLKIT_NAMES")
    _run((iptables, "--wait", "5", *jump))  # of a server before us; there may be none
    return _run((restore, "--noflush", "--wait", "5"), _IPTABLES_RULES.format_map(ports))


def _run(command: Sequence[str], text: str = "") -> bool:
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(  # noqa: S603 - the host's own tools and our own words
            command,
            input=text.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": _PATH},
            timeout=_RULE_SECONDS,
            check=False,
        )
        return done.returncode == 0
    return False
