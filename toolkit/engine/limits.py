# SPDX-License-Identifier: Apache-2.0
"""What a container may use: what is refused, what this host cannot hold, OCI's words for it.

A limit that the kernel lacks is dropped with docker's warning instead of refused
(rules 3.2 to 3.8, detected before any container is restarted: defect D-7).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import InvalidRequestError
from toolkit.runtime.document import DEFAULT_PIDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from toolkit.engine.model import Limits
    from toolkit.engine.ports import Cgroups

SMALLEST_MEMORY_BYTES: Final = 512 * 1024
_LARGEST: Final = 2**63 - 1
_CPU_LIST: Final = re.compile(r"[0-9]{1,4}(?:-[0-9]{1,4})?(?:,[0-9]{1,4}(?:-[0-9]{1,4})?)*")
_NANO: Final = 1_000_000_000
_DEFAULT_PERIOD_US: Final = 100_000


@dataclass(frozen=True, kw_only=True)
class HostLimits:
    """Which limits this host can hold a container to."""

    memory: bool = True
    swap: bool = True
    pids: bool = True
    cpu_shares: bool = True
    cpu_quota: bool = True
    cpuset: bool = True
    blkio_weight: bool = True
    oom_kill_disable: bool = True

    @classmethod
    def of(cls, cgroups: Cgroups) -> HostLimits:
        """Return what the control groups of this host support."""
        return cls(
            memory=cgroups.supports("memory"),
            swap=cgroups.supports("swap"),
            pids=cgroups.supports("pids"),
            cpu_shares=cgroups.supports("cpu.shares"),
            cpu_quota=cgroups.supports("cpu.quota"),
            cpuset=cgroups.supports("cpuset"),
            blkio_weight=cgroups.supports("blkio.weight"),
            oom_kill_disable=cgroups.supports("oom_kill_disable"),
        )


def check_limits(limits: Limits) -> None:
    """Refuse limits that contradict themselves or the machine.

    Raises:
        InvalidRequestError: With docker's words.
    """
    numbers = (
        *(limits.memory_bytes, limits.memory_swap_bytes, limits.memory_reservation_bytes),
        *(limits.cpu_shares, limits.cpu_quota_us, limits.nano_cpus, limits.pids or 0),
    )
    if any(abs(number) > _LARGEST for number in numbers):
        raise InvalidRequestError("a limit is larger than 64 bits hold")
    _check_memory(limits)
    _check_cpus(limits)
    if limits.blkio_weight and not 10 <= limits.blkio_weight <= 1000:  # noqa: PLR2004 - the kernel's own bounds
        raise InvalidRequestError("Range of blkio weight is from 10 to 1000")


def downgraded(limits: Limits, host: HostLimits) -> tuple[Limits, list[str]]:
    """Return the limits that this host can hold, and a warning for each one dropped."""
    warnings: list[str] = []

    def drop(what: str) -> None:
        warnings.append(f"Your kernel does not support {what}. Limitation discarded.")

    if limits.memory_bytes > 0 and not host.memory:
        drop("memory limit capabilities")
        limits = replace(limits, memory_bytes=0, memory_swap_bytes=0, memory_reservation_bytes=0)
    if limits.memory_bytes > 0 and not host.swap:
        drop("memory swap capabilities")
        limits = replace(limits, memory_swap_bytes=-1)
    if (limits.pids or 0) > 0 and not host.pids:
        drop("pids limit capabilities or the cgroup is not mounted")
        limits = replace(limits, pids=-1)
    if limits.cpu_shares and not host.cpu_shares:
        drop("CPU shares or the cgroup is not mounted")
        limits = replace(limits, cpu_shares=0)
    if (limits.nano_cpus or limits.cpu_quota_us or limits.cpu_period_us) and not host.cpu_quota:
        drop("CPU CFS scheduler or the cgroup is not mounted")
        limits = replace(limits, nano_cpus=0, cpu_quota_us=0, cpu_period_us=0)
    if (limits.cpuset_cpus or limits.cpuset_mems) and not host.cpuset:
        drop("cpuset or the cgroup is not mounted")
        limits = replace(limits, cpuset_cpus="", cpuset_mems="")
    if limits.blkio_weight and not host.blkio_weight:
        drop("Block I/O weight or the cgroup is not mounted")
        limits = replace(limits, blkio_weight=0)
    if limits.oom_kill_disable and not host.oom_kill_disable:
        drop("OomKillDisable")
        limits = replace(limits, oom_kill_disable=False)
    return limits, warnings


def allowed_oom_score(wanted: int, *, own: int, may_lower: bool) -> tuple[int, list[str]]:
    """Return the score that the kernel lets us give, and a warning if it is another one.

    Args:
        wanted: What was asked for; less is killed later.
        own: The engine's own.
        may_lower: The engine holds CAP_SYS_RESOURCE.
    """
    if may_lower or not wanted or wanted >= own:
        return wanted, []
    return own, [
        (
            f"oom score adj {wanted} is lower than this host allows without CAP_SYS_RESOURCE: "
            f"{own} is used."
        )
    ]


def resources(limits: Limits, host: HostLimits) -> dict[str, Any]:
    """Return OCI ``linux.resources`` without the device rules."""
    found: dict[str, Any] = {}
    if memory := _memory(limits):
        found["memory"] = memory
    if cpu := _cpu(limits):
        found["cpu"] = cpu
    pids = DEFAULT_PIDS if limits.pids is None else limits.pids
    if host.pids:
        found["pids"] = {"limit": pids if pids > 0 else -1}
    if limits.blkio_weight:
        found["blockIO"] = {"weight": limits.blkio_weight}
    return found


def _memory(limits: Limits) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if limits.memory_bytes:
        found["limit"] = limits.memory_bytes
        # Without a word about swap the two together are twice the memory (rule 3.8).
        found["swap"] = limits.memory_swap_bytes or 2 * limits.memory_bytes
    if limits.memory_reservation_bytes:
        found["reservation"] = limits.memory_reservation_bytes
    if limits.oom_kill_disable:
        found["disableOOMKiller"] = True
    return found


def _cpu(limits: Limits) -> dict[str, Any]:
    found: dict[str, Any] = {
        "shares": limits.cpu_shares,
        "quota": limits.cpu_quota_us,
        "period": limits.cpu_period_us,
        "cpus": limits.cpuset_cpus,
        "mems": limits.cpuset_mems,
    }
    if limits.nano_cpus:
        found["period"] = _DEFAULT_PERIOD_US
        found["quota"] = limits.nano_cpus * _DEFAULT_PERIOD_US // _NANO
    return {name: value for name, value in found.items() if value}


def _check_memory(limits: Limits) -> None:
    memory, swap = limits.memory_bytes, limits.memory_swap_bytes
    reservation = limits.memory_reservation_bytes
    if memory and memory < SMALLEST_MEMORY_BYTES:
        raise InvalidRequestError("Minimum memory limit allowed is 512k")
    if swap > 0 and not memory:
        raise InvalidRequestError(
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        )
    if swap < -1 or 0 < swap < memory:
        raise InvalidRequestError(
            "Minimum memoryswap limit should be larger than memory limit, see usage"
        )
    if reservation < 0 or 0 < reservation < SMALLEST_MEMORY_BYTES:
        raise InvalidRequestError("Minimum memory reservation allowed is 512k")
    if memory and reservation > memory:
        raise InvalidRequestError(
            "Minimum memory limit can not be less than memory reservation limit, see usage"
        )


def _check_cpus(limits: Limits) -> None:
    if limits.cpu_shares < 0:
        raise InvalidRequestError(
            f"invalid CPU shares ({limits.cpu_shares}): value must be a positive integer"
        )
    if limits.nano_cpus:
        count = os.cpu_count() or 1
        if limits.cpu_period_us or limits.cpu_quota_us:
            raise InvalidRequestError(
                "Conflicting options: Nano CPUs and CPU Period or Quota cannot both be set."
            )
        if not _NANO // 100 <= limits.nano_cpus <= count * _NANO:
            raise InvalidRequestError(
                f"range of CPUs is from 0.01 to {count}.00, "
                f"as there are only {count} CPUs available"
            )
    if limits.cpu_period_us and not 1000 <= limits.cpu_period_us <= 1_000_000:  # noqa: PLR2004 - the kernel's own bounds
        raise InvalidRequestError(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if limits.cpu_quota_us not in {0, -1} and limits.cpu_quota_us < 1000:  # noqa: PLR2004 - the kernel's own bound
        raise InvalidRequestError("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if limits.cpuset_cpus:
        _check_set(limits.cpuset_cpus, "cpuset cpus", os.sched_getaffinity(0))
    if limits.cpuset_mems and not _CPU_LIST.fullmatch(limits.cpuset_mems):
        raise InvalidRequestError(f"Invalid value {limits.cpuset_mems[:80]!r} for cpuset mems")


def _check_set(text: str, field: str, available: Iterable[int]) -> None:
    if not _CPU_LIST.fullmatch(text):
        raise InvalidRequestError(f"Invalid value {text[:80]!r} for {field}")
    wanted: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        wanted.update(range(int(first), int(last or first) + 1))
    have = sorted(available)
    if not wanted or not wanted.issubset(have):
        raise InvalidRequestError(
            f"Requested CPUs are not available - requested {text}, "
            f"available: {','.join(map(str, have))}"
        )
