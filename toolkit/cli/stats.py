# SPDX-License-Identifier: Apache-2.0
"""`stats`: what running containers use."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import click

from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.command import command, switch
from toolkit.cli.containers import SHORT_ID, print_rows
from toolkit.cli.output import say
from toolkit.cli.terminal import is_terminal
from toolkit.cli.units import human_memory, human_size
from toolkit.client import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from toolkit.client import Client

_HTTP_NOT_FOUND: Final = 404
_SECONDS_BETWEEN: Final = 1.0
_CLEAR: Final = "\x1b[2J\x1b[H"
_COLUMNS: Final = {
    "CONTAINER ID": "ID",
    "NAME": "Name",
    "CPU %": "CPUPerc",
    "MEM USAGE / LIMIT": "MemUsage",
    "MEM %": "MemPerc",
    "NET I/O": "NetIO",
    "BLOCK I/O": "BlockIO",
    "PIDS": "PIDs",
}


@command("stats")
@switch("-a", "--all", help="Show stopped ones, too.")
@click.option("--format", "template", default="", help="table, json, or a template.")
@switch("--no-stream", help="Show it once.")
@switch("--no-trunc", help="Do not cut anything short.")
@click.argument("containers", nargs=-1, metavar="[CONTAINER...]")
@pass_access
def stats(access: EngineAccess, containers: tuple[str, ...], **options: Any) -> None:
    """Show what containers use, again and again."""
    while True:
        names = containers or _listed(access.client, every=options["all"])
        rows = list(_rows(access.client, names, is_cut=not options["no_trunc"]))
        if not options["no_stream"] and is_terminal(1):
            say(_CLEAR)
        print_rows(rows, _COLUMNS, options["template"])
        if options["no_stream"]:
            return
        time.sleep(_SECONDS_BETWEEN)  # a display's pace: nothing is waited for


def _listed(client: Client, *, every: bool) -> Sequence[str]:
    return [document["Id"] for document in client.containers.list(every=every)]


def _rows(client: Client, names: Sequence[str], *, is_cut: bool) -> Iterator[dict[str, str]]:
    for name in names:
        try:
            for sample in client.containers.stats(name, stream=False):
                yield stats_row(sample, is_cut=is_cut)
        except ApiError as error:
            if error.status != _HTTP_NOT_FOUND:  # it ended meanwhile
                raise


def stats_row(sample: Mapping[str, Any], *, is_cut: bool) -> dict[str, str]:
    """Return a sample by docker's names of columns."""
    container_id = str(sample.get("id", ""))
    memory = sample.get("memory_stats") or {}
    used, limit = used_memory(memory), memory.get("limit") or 0
    networks = list((sample.get("networks") or {}).values())
    received = sum(one.get("rx_bytes", 0) for one in networks)
    sent = sum(one.get("tx_bytes", 0) for one in networks)
    read, written = block_io(sample.get("blkio_stats") or {})
    return {
        "ID": container_id[:SHORT_ID] if is_cut else container_id,
        "Container": container_id,
        "Name": str(sample.get("name", "")).removeprefix("/"),
        "CPUPerc": f"{cpu_percent(sample):.2f}%",
        "MemUsage": f"{human_memory(used)} / {human_memory(limit)}",
        "MemPerc": f"{100 * used / limit if limit else 0:.2f}%",
        "NetIO": f"{human_size(received, 3)} / {human_size(sent, 3)}",
        "BlockIO": f"{human_size(read, 3)} / {human_size(written, 3)}",
        "PIDs": str((sample.get("pids_stats") or {}).get("current", 0)),
    }


def used_memory(memory: Mapping[str, Any]) -> int:
    """Return the memory in use without the page cache that can go at once."""
    usage = int(memory.get("usage", 0))
    details = memory.get("stats") or {}
    cached = int(details.get("total_inactive_file", details.get("inactive_file", 0)))
    return usage - cached if cached < usage else usage


def cpu_percent(sample: Mapping[str, Any]) -> float:
    """Return the share of one CPU since the sample before."""
    now, before = sample.get("cpu_stats") or {}, sample.get("precpu_stats") or {}
    used = _total(now) - _total(before)
    system = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    if used <= 0 or system <= 0:
        return 0.0
    return float(used / system * (now.get("online_cpus") or 1) * 100)


def _total(stats_of_cpu: Mapping[str, Any]) -> int:
    return int((stats_of_cpu.get("cpu_usage") or {}).get("total_usage", 0))


def block_io(stats_of_blocks: Mapping[str, Any]) -> tuple[int, int]:
    """Return the bytes read and written."""
    totals = {"read": 0, "write": 0}
    for entry in stats_of_blocks.get("io_service_bytes_recursive") or []:
        operation = str(entry.get("op", "")).lower()
        if operation in totals:
            totals[operation] += int(entry.get("value", 0))
    return totals["read"], totals["write"]
