# SPDX-License-Identifier: Apache-2.0
"""The defaults of a launch document."""

from __future__ import annotations

from toolkit.kernel.capabilities import CAPABILITIES
from toolkit.runtime.document import (
    DEFAULT_CAPABILITIES,
    MASKED_PATHS,
    READONLY_PATHS,
    default_device_rules,
    default_document,
    default_mounts,
)


def test_a_container_keeps_podmans_eleven_capabilities() -> None:
    """Rows S-09 and G15."""
    assert len(DEFAULT_CAPABILITIES) == 11
    assert set(DEFAULT_CAPABILITIES) <= set(CAPABILITIES)
    sets = default_document()["process"]["capabilities"]
    assert not sets.keys() & {"inheritable", "ambient"}


def test_each_document_is_its_own() -> None:
    first, second = default_document(), default_document()
    first["linux"]["maskedPaths"].clear()
    first["annotations"]["x"] = "y"
    assert second == default_document()


def test_devices_are_denied_first_and_none_can_be_made() -> None:
    deny, *allowed = default_device_rules()
    assert deny == {"allow": False, "access": "rwm"}
    assert all(rule["access"] == "rw" for rule in allowed)
    assert not any(rule["major"] == 10 for rule in allowed)  # no tun


def test_sys_and_cgroups_are_read_only_unless_privileged() -> None:
    def options(target: str, *, privileged: bool) -> list[str]:
        mounts = default_mounts(shm_size_bytes=1, privileged=privileged)
        return next(list(m["options"]) for m in mounts if m["destination"] == target)

    for target in ("/sys", "/sys/fs/cgroup"):
        assert "ro" in options(target, privileged=False)
        assert "rw" in options(target, privileged=True)


def test_shm_has_the_size_that_was_asked_for() -> None:
    mounts = default_mounts(shm_size_bytes=12345)
    assert "size=12345" in next(m for m in mounts if m["source"] == "shm")["options"]


def test_parents_are_mounted_before_what_lies_below_them() -> None:
    targets = [mount["destination"] for mount in default_mounts(shm_size_bytes=1)]
    for position, target in enumerate(targets):
        assert not any(target.startswith(f"{later}/") for later in targets[position:])


def test_dockers_masked_paths_are_all_there() -> None:
    """Section 3 of the security notes: v28's ten and ours."""
    docker = (
        "/proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats "
        "/proc/sched_debug /proc/scsi /proc/timer_list /proc/timer_stats /sys/firmware "
        "/sys/devices/virtual/powercap"
    )
    assert set(docker.split()) < set(MASKED_PATHS)
    assert set(READONLY_PATHS) == {
        *("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
    }
