# SPDX-License-Identifier: Apache-2.0
"""Forwarding parameters of the kernel, and warnings where they are not as containers need.

Owns ``/proc/sys/net`` of this namespace as far as it is about passing packets
on. Rules 3.3 and 3.7 for the warning.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from toolkit.network.firewall import LinkName

FORWARDING_DISABLED: Final = "IPv4 forwarding is disabled."  # rule 3.7, in a create reply
_SYSCTL: Final = Path("/proc/sys/net")
_ON: Final = "1"
_BRIDGE_FILTERS: Final = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables")


class Forwarding:
    """The parameters of the network namespace of the calling thread.

    Args:
        sysctl_dir: ``/proc/sys/net``.
        may_enable: Switch forwarding on (``--ip-forward``); otherwise only warn where it is off.
    """

    def __init__(self, sysctl_dir: Path = _SYSCTL, *, may_enable: bool = True) -> None:
        self._dir = sysctl_dir
        self._may_enable = may_enable

    @property
    def is_enabled(self) -> bool:
        """Whether the host passes IPv4 on: the first byte is ``1`` (rule 3.3)."""
        return self._read("ipv4/ip_forward").startswith(_ON)

    def enable(self, *, ipv6: bool = False) -> list[str]:
        """Let the host pass packets on; return a warning for each thing that could not be.

        Switching IPv6 forwarding on makes an interface ignore router
        advertisements unless ``accept_ra`` is 2: those that take them are kept.
        """
        warnings = []
        if not self.is_enabled and not self._switch_on("ipv4/ip_forward"):
            warnings.append(f"WARNING: {FORWARDING_DISABLED}")
        if ipv6 and not self._read("ipv6/conf/all/forwarding").startswith(_ON):
            if self._may_enable:
                self._keep_advertisements()
            if not self._switch_on("ipv6/conf/all/forwarding"):
                warnings.append("WARNING: IPv6 forwarding is disabled.")
        return warnings

    def _switch_on(self, path: str) -> bool:
        return self._may_enable and self._write(path, _ON)

    def _keep_advertisements(self) -> None:
        for accepting in sorted((self._dir / "ipv6/conf").glob("*/accept_ra")):
            relative = str(accepting.relative_to(self._dir))
            if self._read(relative) == _ON:
                self._write(relative, "2")

    def filter_bridges(self, *, ipv6: bool = False) -> list[str]:
        """Let packets between two ports of a bridge pass the firewall; return warnings.

        Without it ``icc=false`` keeps nobody apart, and a port that a neighbour on
        the same bridge publishes cannot be reached through the host's address.
        """
        names = _BRIDGE_FILTERS if ipv6 else _BRIDGE_FILTERS[:1]
        return [
            f"WARNING: {name} is disabled"
            for name in names
            if self._read(f"bridge/{name}") != _ON and not self._write(f"bridge/{name}", _ON)
        ]

    @property
    def filters_bridges(self) -> bool:
        """Whether packets between two ports of a bridge pass the firewall."""
        return self._read(f"bridge/{_BRIDGE_FILTERS[0]}") == _ON

    def allow_loopback_nat(self, bridge: LinkName) -> bool:
        """Let 127.0.0.1 be translated to a container; tell whether it can be.

        The kernel then also routes 127.0.0.0/8 that comes *from* the bridge: the
        raw rules, which drop that everywhere but on lo, must be in place first.
        """
        path = f"ipv4/conf/{bridge.text}/route_localnet"
        return self._read(path) == _ON or self._write(path, _ON)

    def _read(self, path: str) -> str:
        try:
            return (self._dir / path).read_text(encoding="ascii").strip()
        except OSError:
            return ""

    def _write(self, path: str, value: str) -> bool:
        try:
            (self._dir / path).write_text(value, encoding="ascii")
        except OSError:
            return False
        return True
