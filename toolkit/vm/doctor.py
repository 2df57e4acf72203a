# SPDX-License-Identifier: Apache-2.0
"""What this machine has of what containers need: one line a feature, with the remedy.

Owns the list of features and how each is judged. Changes nothing; installing is
`toolkit.vm.packages`'.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolkit.bootstrap.busybox import find_static_busybox
from toolkit.bootstrap.errors import BusyboxMissingError
from toolkit.vm import commands, probes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

OLDEST_KERNEL: Final = (5, 12)  # mount_setattr
NEEDED_CONTROLLERS: Final = ("cpu", "cpuset", "memory", "pids")
V1_ONLY_CONTROLLERS: Final = ("devices", "freezer")  # v2 has these without a controller
NAMESPACES: Final = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
PYTHON_MODULES: Final = ("h11", "msgspec", "pyroute2")


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One thing that containers need of a machine.

    Attributes:
        detail: What was seen.
        remedy: How to get it, when it is missing.
        package: Debian package that brings it; empty if none does.
        is_required: Nothing runs without it.
    """

    name: str
    is_present: bool
    detail: str = ""
    remedy: str = ""
    package: str = ""
    is_required: bool = True

    def line(self) -> str:
        """Return the feature as one line for a person."""
        if self.is_present:
            return f"{self.name:<16} ok       {self.detail}".rstrip()
        word = "MISSING" if self.is_required else "missing"
        return f"{self.name:<16} {word:<8} {self.detail or self.remedy}" + (
            f" - {self.remedy}" if self.detail else ""
        )


@dataclass(frozen=True, kw_only=True)
class Host:
    """The questions that the doctor asks; a test answers them itself.

    Attributes:
        root: Where ``/proc``, ``/bin`` and the like are read.
    """

    root: Path = Path("/")
    release: str = ""
    is_root: bool = False
    which: Callable[[str], str | None] = shutil.which
    has_system_call: Callable[[str], bool] = probes.has_system_call
    has_library: Callable[[str], bool] = probes.has_library
    find_busybox: Callable[[], Path] = find_static_busybox
    succeeds: Callable[[Sequence[str]], bool] = commands.succeeds

    @classmethod
    def this(cls) -> Host:
        """Return the machine that this process runs on."""
        return cls(release=os.uname().release, is_root=os.geteuid() == 0)

    def text(self, path: str) -> str:
        """Return a small file's text, empty if it cannot be read."""
        try:
            return (self.root / path).read_text(errors="replace")
        except OSError:
            return ""


def examine(host: Host) -> list[Feature]:
    """Return every feature, in the order in which a person would mend them."""
    return [
        _root(host),
        _kernel(host),
        _system_calls(host),
        _namespaces(host),
        _cgroups(host),
        _overlay(host),
        _seccomp(host),
        _libseccomp(host),
        _busybox(host),
        _python_modules(),
        *_network(host),
        _lxc(host),
    ]


def is_fit(features: Sequence[Feature]) -> bool:
    """Tell whether nothing that is required is missing."""
    return all(feature.is_present or not feature.is_required for feature in features)


def _root(host: Host) -> Feature:
    return Feature(
        name="root",
        is_present=host.is_root,
        remedy="run as root: namespaces, mounts and control groups need it",
    )


def _kernel(host: Host) -> Feature:
    numbers = re.match(r"(\d+)\.(\d+)", host.release)
    version = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    return Feature(
        name="kernel",
        is_present=version >= OLDEST_KERNEL,
        detail=host.release,
        remedy="boot a kernel of {}.{} or newer".format(*OLDEST_KERNEL),
    )


def _system_calls(host: Host) -> Feature:
    missing = [name for name in probes.SYSTEM_CALLS if not host.has_system_call(name)]
    return Feature(
        name="system calls",
        is_present=not missing,
        detail=" ".join(missing or probes.SYSTEM_CALLS),
        remedy="boot a newer kernel, or allow them in the sandbox that this machine runs in",
    )


def _namespaces(host: Host) -> Feature:
    missing = [name for name in NAMESPACES if not (host.root / "proc/self/ns" / name).exists()]
    return Feature(
        name="namespaces",
        is_present=not missing,
        detail=" ".join(missing or NAMESPACES),
        remedy="boot a kernel with CONFIG_NAMESPACES and each of these",
    )


def cgroup_mounts(mountinfo: str) -> Iterator[tuple[int, Path, frozenset[str]]]:
    """Yield version, mount point and options of each control group hierarchy."""
    for line in mountinfo.splitlines():
        place, _, kind = line.partition(" - ")
        fields, (file_system, _, options) = place.split(), kind.split(maxsplit=2)
        if file_system in {"cgroup", "cgroup2"}:
            version = 2 if file_system == "cgroup2" else 1
            yield version, Path(fields[4]), frozenset(options.split(","))


def _cgroups(host: Host) -> Feature:
    found: dict[str, int] = {}
    has_v2 = False
    for version, place, options in cgroup_mounts(host.text("proc/self/mountinfo")):
        has_v2 = has_v2 or version == 2  # noqa: PLR2004 - the version is a word here
        names = options
        if version != 1:
            names = frozenset(host.text(f"{place}/cgroup.controllers".lstrip("/")).split())
        found |= {name: version for name in names if name in _KNOWN_CONTROLLERS}
    needed = list(NEEDED_CONTROLLERS)
    if not has_v2 or any(found.get(name) == 1 for name in NEEDED_CONTROLLERS):
        needed += V1_ONLY_CONTROLLERS
    missing = [name for name in needed if name not in found]
    seen = " ".join(f"{name}(v{version})" for name, version in sorted(found.items()))
    return Feature(
        name="control groups",
        is_present=not missing,
        detail=f"lacks {' '.join(missing)}" if missing else seen,
        remedy="mount the hierarchies on /sys/fs/cgroup; for memory boot with cgroup_enable=memory",
    )


_KNOWN_CONTROLLERS: Final = frozenset(
    (*NEEDED_CONTROLLERS, *V1_ONLY_CONTROLLERS, "blkio", "cpuacct", "io", "hugetlb")
)


def _overlay(host: Host) -> Feature:
    return Feature(
        name="overlay",
        is_present="\toverlay\n" in host.text("proc/filesystems"),
        remedy="modprobe overlay; or start the engine with --storage-driver vfs (slow copies)",
    )


def _seccomp(host: Host) -> Feature:
    actions = host.text("proc/sys/kernel/seccomp/actions_avail").strip()
    return Feature(
        name="seccomp",
        is_present="errno" in actions.split(),
        detail=actions,
        remedy="boot a kernel with CONFIG_SECCOMP_FILTER",
    )


def _libseccomp(host: Host) -> Feature:
    return Feature(
        name="libseccomp",
        is_present=host.has_library("libseccomp.so.2"),
        remedy="apt-get install libseccomp2",
        package="libseccomp2",
    )


def _busybox(host: Host) -> Feature:
    try:
        found = str(host.find_busybox())
    except BusyboxMissingError:
        found = ""
    return Feature(
        name="static busybox",
        is_present=bool(found),
        detail=found,
        remedy="apt-get install busybox-static: the first image is made from it",
        package="busybox-static",
    )


def _python_modules() -> Feature:
    missing = [name for name in PYTHON_MODULES if importlib.util.find_spec(name) is None]
    return Feature(
        name="python modules",
        is_present=not missing,
        detail=" ".join(missing or PYTHON_MODULES),
        remedy="pip install 'container-toolkit[engine]'",
    )


def _network(host: Host) -> Iterator[Feature]:
    yield Feature(
        name="ip",
        is_present=host.which("ip") is not None,
        remedy="apt-get install iproute2 (tests and measurements use it)",
        package="iproute2",
        is_required=False,
    )
    for kind in ("bridge", "veth"):
        yield Feature(
            name=kind,
            is_present=host.succeeds(
                _in_empty_network(sys.executable, "-m", "toolkit.vm.link_probe", kind)
            ),
            remedy=f"modprobe {kind} (networks need it; none and host do not)",
            is_required=False,
        )
    yield Feature(
        name="iptables",
        is_present=host.which("iptables-restore") is not None
        and host.succeeds(_in_empty_network("iptables", "--wait", "-t", "nat", "-S")),
        remedy="apt-get install iptables (networks need it, or nftables)",
        package="iptables",
        is_required=False,
    )


def _in_empty_network(*argv: str) -> tuple[str, ...]:
    """Return a command that runs another in a network namespace of its own, gone with it."""
    return ("unshare", "--net", *argv)


def _lxc(host: Host) -> Feature:
    tools = ("lxc-start", "lxc-execute")
    missing = [tool for tool in tools if host.which(tool) is None]
    return Feature(
        name="lxc",
        is_present=not missing,
        detail=" ".join(missing or tools),
        remedy="apt-get install lxc (the lxc backend needs it)",
        package="lxc",
        is_required=False,
    )
