# SPDX-License-Identifier: Apache-2.0
"""What a container uses, as ``docker stats`` reads it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from toolkit.api.times import NEVER, rfc3339_nano_of_ns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from toolkit.engine.model import ContainerRecord
    from toolkit.kernel.cgroup_stats import BlkioEntry, CgroupStats
    from toolkit.network.traffic import Traffic


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a container had used at one moment.

    Attributes:
        stats: None for a container that does not run.
        system_cpu_ns: What the whole host's CPUs had done.
        traffic: Of each of its interfaces, by name.
    """

    time_ns: int
    stats: CgroupStats | None = None
    system_cpu_ns: int = 0
    online_cpus: int = 1
    memory_bytes: int = 0
    traffic: Mapping[str, Traffic] = field(default_factory=dict)


def stats_object(
    record: ContainerRecord, sample: Sample, previous: Sample | None
) -> dict[str, Any]:
    """Return one object of ``GET /containers/{name}/stats``."""
    used = sample.stats
    return {
        "name": f"/{record.name}",
        "id": record.id,
        "read": rfc3339_nano_of_ns(sample.time_ns),
        "preread": rfc3339_nano_of_ns(previous.time_ns) if previous else NEVER,
        "num_procs": 0,
        "pids_stats": _pids(used),
        "cpu_stats": _cpu(sample),
        "precpu_stats": _cpu(previous),
        "memory_stats": _memory(sample),
        "blkio_stats": {
            "io_service_bytes_recursive": _blkio(used.blkio_bytes if used else ()),
            "io_serviced_recursive": _blkio(used.blkio_operations if used else ()),
            "io_queue_recursive": [],
            "io_service_time_recursive": [],
            "io_wait_time_recursive": [],
            "io_merged_recursive": [],
            "io_time_recursive": [],
            "sectors_recursive": [],
        },
        "storage_stats": {},
        "networks": {name: asdict(counters) for name, counters in sample.traffic.items()},
    }


def _pids(used: CgroupStats | None) -> dict[str, int]:
    """Return ``pids_stats``."""
    if used is None:
        return {}
    limit = {"limit": used.pids_limit} if used.pids_limit is not None else {}
    return {"current": used.pids_current, **limit}


def _cpu(sample: Sample | None) -> dict[str, Any]:
    """Return ``cpu_stats``."""
    used = sample.stats if sample is not None else None
    document: dict[str, Any] = {
        "cpu_usage": {
            "total_usage": used.cpu_total_ns if used else 0,
            "usage_in_kernelmode": used.cpu_system_ns if used else 0,
            "usage_in_usermode": used.cpu_user_ns if used else 0,
        },
        "throttling_data": {
            "periods": used.cpu_periods if used else 0,
            "throttled_periods": used.cpu_throttled_periods if used else 0,
            "throttled_time": used.cpu_throttled_ns if used else 0,
        },
    }
    if sample is not None and used is not None:
        if used.cpu_per_cpu_ns:
            document["cpu_usage"]["percpu_usage"] = used.cpu_per_cpu_ns
        document["system_cpu_usage"] = sample.system_cpu_ns
        document["online_cpus"] = sample.online_cpus
    return document


def _memory(sample: Sample) -> dict[str, Any]:
    """Return ``memory_stats``; no limit is shown as the host's memory."""
    used = sample.stats
    if used is None:
        return {}
    return {
        "usage": used.memory_usage_bytes,
        "max_usage": used.memory_max_usage_bytes,
        "failcnt": used.memory_failures,
        "limit": used.memory_limit_bytes or sample.memory_bytes,
        "stats": used.memory_stats,
    }


def _blkio(entries: tuple[BlkioEntry, ...]) -> list[dict[str, Any]]:
    """Return one table of ``blkio_stats``."""
    return [
        {
            "major": entry.major,
            "minor": entry.minor,
            "op": entry.operation,
            "value": entry.value,
        }
        for entry in entries
    ]
