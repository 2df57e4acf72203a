# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.fakes.stub_engine import StubEngine, streams
from toolkit.cli.stats import cpu_percent, stats_row, used_memory

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine

SAMPLE: dict[str, Any] = {
    "id": "0123456789abcdef",
    "name": "/x",
    "cpu_stats": {"cpu_usage": {"total_usage": 300}, "system_cpu_usage": 2000, "online_cpus": 2},
    "precpu_stats": {"cpu_usage": {"total_usage": 100}, "system_cpu_usage": 1000},
    "memory_stats": {"usage": 3 << 20, "limit": 4 << 20, "stats": {"total_inactive_file": 1 << 20}},
    "networks": {"eth0": {"rx_bytes": 1000, "tx_bytes": 2000}},
    "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": 5}]},
    "pids_stats": {"current": 4},
}


def test_a_sample_is_computed_as_dockers_client_does() -> None:
    assert cpu_percent(SAMPLE) == 40.0
    assert used_memory(SAMPLE["memory_stats"]) == 2 << 20
    row = stats_row(SAMPLE, is_cut=True)
    assert row["MemUsage"] == "2MiB / 4MiB"
    assert row["MemPerc"] == "50.00%"
    assert row["NetIO"] == "1kB / 2kB"
    assert row["BlockIO"] == "5B / 0B"
    assert row["PIDs"] == "4"


def test_a_stopped_container_uses_nothing() -> None:
    row = stats_row({"id": "a", "name": "/a"}, is_cut=True)
    assert (row["CPUPerc"], row["MemPerc"], row["PIDs"]) == ("0.00%", "0.00%", "0")


def test_stats_once_is_one_table(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("GET /containers/x/stats", streams([json.dumps(SAMPLE).encode()]))
    result = toolkit("stats", "--no-stream", "x")
    assert "0123456789ab" in result.out
    assert "40.00%" in result.out
    assert stub.lines == ["GET /containers/x/stats?stream=0"]
