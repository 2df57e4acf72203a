# SPDX-License-Identifier: Apache-2.0
"""``LxcConf``: settings that a person passes through to LXC, last in the file (rule 4.3, row 28).

Owns which of them may pass, and the names that LXC gave them since 0.7.2's time
(rule 4.7). What is let through still goes through the one writer.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import InvalidRequestError
from toolkit.kernel.cgroup_v2 import cpu_weight

if TYPE_CHECKING:
    from toolkit.runtime.lxc.config_writer import ConfigWriter

_LEGACY: Final = {
    "lxc.aa_profile": "lxc.apparmor.profile",
    "lxc.console": "lxc.console.path",
    "lxc.id_map": "lxc.idmap",
    "lxc.init_cmd": "lxc.init.cmd",
    "lxc.logfile": "lxc.log.file",
    "lxc.loglevel": "lxc.log.level",
    "lxc.mount": "lxc.mount.fstab",
    "lxc.network.flags": "lxc.net.0.flags",
    "lxc.network.hwaddr": "lxc.net.0.hwaddr",
    "lxc.network.ipv4": "lxc.net.0.ipv4.address",
    "lxc.network.ipv4.gateway": "lxc.net.0.ipv4.gateway",
    "lxc.network.link": "lxc.net.0.link",
    "lxc.network.mtu": "lxc.net.0.mtu",
    "lxc.network.name": "lxc.net.0.name",
    "lxc.network.type": "lxc.net.0.type",
    "lxc.pts": "lxc.pty.max",
    "lxc.rootfs": "lxc.rootfs.path",
    "lxc.se_context": "lxc.selinux.context",
    "lxc.seccomp": "lxc.seccomp.profile",
    "lxc.stopsignal": "lxc.signal.stop",
    "lxc.tty": "lxc.tty.max",
    "lxc.utsname": "lxc.uts.name",
}
_CGROUP2: Final = {
    "cpu.shares": "cpu.weight",
    "memory.limit_in_bytes": "memory.max",
    "memory.soft_limit_in_bytes": "memory.low",
}
# What neither runs a program, nor reads or writes a path of the host, nor moves the
# container out of the place where the engine finds it again.
_ALLOWED: Final = re.compile(
    r"lxc\.(cgroup2?\.(?!dir\b|relative\b)[a-z0-9_.]+"
    r"|apparmor\.profile|cap\.(drop|keep)|no_new_privs|prlimit\.[a-z]+|proc\.[a-z_]+"
    r"|pty\.max|selinux\.context|signal\.[a-z]+|sysctl\.[a-zA-Z0-9_./-]+|tty\.max|uts\.name"
    r"|net\.[0-9]+\.(flags|hwaddr|link|mtu|name|type|ipv[46]\.(address|gateway)))"
)


def add_passthrough(writer: ConfigWriter, annotations: dict[str, str], cgroup_version: int) -> None:
    """Add the settings of a document's ``toolkit.lxc.conf``.

    Raises:
        InvalidRequestError: A setting is refused; it is named.
    """
    pairs: list[Any] = json.loads(annotations.get("toolkit.lxc.conf") or "[]")
    is_unsafe = annotations.get("toolkit.lxc.unsafe") == "1"
    for key, value in pairs:
        name, text = translate(key, value, cgroup_version)
        field = f"LxcConf {key!r}"
        if not is_unsafe and not _ALLOWED.fullmatch(name):
            raise InvalidRequestError(
                f"{field}: this setting can run programs as the host's root or leave the "
                "container; an engine started with TOOLKIT_LXC_UNSAFE=1 takes it"
            )
        writer.set_unchecked_key(name, text, field=field)


def translate(key: str, value: str, cgroup_version: int) -> tuple[str, str]:
    """Return a setting as LXC >= 3 knows it; on a cgroup v2 host as that knows it."""
    name = _LEGACY.get(key, key)
    if cgroup_version == 1 or not name.startswith("lxc.cgroup."):
        return name, value
    file = name.removeprefix("lxc.cgroup.")
    if file == "cpu.shares" and value.isdigit():
        value = str(cpu_weight(int(value)))
    return f"lxc.cgroup2.{_CGROUP2.get(file, file)}", value
