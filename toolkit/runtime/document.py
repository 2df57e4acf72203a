# SPDX-License-Identifier: Apache-2.0
"""The defaults of the OCI runtime-spec document that describes a start.

Owns what every container gets unless it asks for something else: capabilities,
mounts, devices, masked and read-only paths, sysctls (the measured target is
"closed at least like podman 4.3 and dockerd 28 together"). What one container
asks for is put in by `toolkit.engine.launch`.
"""

from __future__ import annotations

from typing import Any, Final

Document = dict[str, Any]

OCI_VERSION: Final = "1.0.2"
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_PIDS: Final = 2048
DEFAULT_SHM_BYTES: Final = 64 * 1024 * 1024

# podman's eleven; docker's fourteen have three more.
DEFAULT_CAPABILITIES: Final = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)
CAPABILITY_PROFILES: Final = {
    "podman": DEFAULT_CAPABILITIES,
    "docker": (*DEFAULT_CAPABILITIES, "CAP_AUDIT_WRITE", "CAP_MKNOD", "CAP_NET_RAW"),
}

MASKED_PATHS: Final = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/config.gz",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
    "/sys/module",
)
READONLY_PATHS: Final = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)

# type, major, minor of what a program may open; null stands for "any".
_ALLOWED_DEVICES: Final = (
    ("c", 1, 3),  # null
    ("c", 1, 5),  # zero
    ("c", 1, 7),  # full
    ("c", 1, 8),  # random
    ("c", 1, 9),  # urandom
    ("c", 5, 0),  # tty
    ("c", 5, 1),  # console
    ("c", 5, 2),  # ptmx
    ("c", 136, None),  # pts
)

NAMESPACES: Final = ("pid", "network", "ipc", "uts", "mount", "cgroup")


def default_mounts(*, shm_size_bytes: int, privileged: bool = False) -> list[Document]:
    """Return the file systems that each container gets, in the order to mount them."""
    access = "rw" if privileged else "ro"
    guarded = ["nosuid", "noexec", "nodev"]
    return [
        _mount("/proc", "proc", guarded),
        _mount("/dev", "tmpfs", ["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"]),
        _mount(
            "/dev/pts",
            "devpts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5", "max=1024"],
        ),
        _mount("/sys", "sysfs", [*guarded, access]),
        _mount("/sys/fs/cgroup", "cgroup", [*guarded, "relatime", access]),
        _mount("/dev/mqueue", "mqueue", guarded),
        _mount("/dev/shm", "tmpfs", [*guarded, "mode=1777", f"size={shm_size_bytes}"], "shm"),  # noqa: S108 - a path inside the container
    ]


def default_device_rules() -> list[Document]:
    """Return the device rules of the control group: deny all, then what is allowed."""
    rules: list[Document] = [{"allow": False, "access": "rwm"}]
    for kind, major, minor in _ALLOWED_DEVICES:
        rule: Document = {"allow": True, "type": kind, "major": major, "access": "rw"}
        if minor is not None:
            rule["minor"] = minor
        rules.append(rule)
    return rules


def node_making_rules() -> list[Document]:
    """Return what lets CAP_MKNOD make nodes; opening them is no part of it."""
    return [{"allow": True, "type": kind, "access": "m"} for kind in "cb"]


def default_sysctls() -> dict[str, str]:
    """Return the kernel settings of a container's own network namespace."""
    return {
        "net.ipv4.ip_forward": "0",  # a new namespace has what the host has: 1, for its bridge
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 2147483647",
    }


def default_document() -> Document:
    """Return a new document with the defaults of an unprivileged container."""
    capabilities = list(DEFAULT_CAPABILITIES)
    return {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": [],
            "env": [],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities,
            },
            "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
            "noNewPrivileges": False,
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "",
        "mounts": [],
        "linux": {
            "namespaces": [{"type": kind} for kind in NAMESPACES],
            "cgroupsPath": "",
            "resources": {"devices": default_device_rules()},
            "maskedPaths": list(MASKED_PATHS),
            "readonlyPaths": list(READONLY_PATHS),
            "rootfsPropagation": "private",
        },
        "annotations": {},
    }


def _mount(target: str, kind: str, options: list[str], source: str = "") -> Document:
    return {"destination": target, "type": kind, "source": source or kind, "options": options}
