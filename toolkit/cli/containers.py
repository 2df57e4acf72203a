# SPDX-License-Identifier: Apache-2.0
"""What containers there are, what they wrote, and what runs in them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.command import command, repeated, switch
from toolkit.cli.moments import ago, local_time, parse_moment
from toolkit.cli.output import escape, say, table
from toolkit.cli.ports import port_words
from toolkit.cli.session import write_all
from toolkit.cli.specs import parse_pairs
from toolkit.cli.template import Template
from toolkit.cli.units import human_size
from toolkit.client.frames import STDERR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHORT_ID: Final = 12
_COMMAND_WIDTH: Final = 20
_TOP_WIDTH: Final = 20
_PS_COLUMNS: Final = {
    "CONTAINER ID": "ID",
    "IMAGE": "Image",
    "COMMAND": "Command",
    "CREATED": "RunningFor",
    "STATUS": "Status",
    "PORTS": "Ports",
    "NAMES": "Names",
}


@command("ps")
@switch("-a", "--all", help="Show stopped ones, too.")
@repeated("-f", "--filter", help="Condition, key=value.")
@click.option("--format", "template", default="", help="table, json, or a template.")
@click.option("-n", "--last", type=int, default=-1, help="Show the last n, in any state.")
@switch("-l", "--latest", help="Show the last one, in any state.")
@switch("--no-trunc", help="Do not cut anything short.")
@switch("-q", "--quiet", help="Print ids only.")
@switch("-s", "--size", help="Show sizes.")
@pass_access
def ps(access: EngineAccess, **options: Any) -> None:
    """List containers."""
    last = 1 if options["latest"] else options["last"]
    documents = access.client.containers.list(
        every=options["all"],
        limit=last if last > 0 else None,
        with_sizes=options["size"],
        filters=parse_filters(options["filter"]),
    )
    rows = [container_row(one, is_cut=not options["no_trunc"]) for one in documents]
    if options["quiet"]:
        print_lines(row["ID"] for row in rows)
        return
    columns = _PS_COLUMNS | ({"SIZE": "Size"} if options["size"] else {})
    print_rows(rows, columns, options["template"])


def parse_filters(texts: Iterable[str]) -> dict[str, list[str]]:
    """Return ``key=value`` conditions as the wire has them."""
    filters: dict[str, list[str]] = {}
    for text in texts:
        for key, value in parse_pairs("filter", [text]).items():
            filters.setdefault(key, []).append(value)
    return filters


def print_lines(lines: Iterable[str]) -> None:
    """Print each line, nothing if there is none."""
    for line in lines:
        say(escape(line))


def print_rows(rows: list[dict[str, str]], columns: Mapping[str, str], template: str) -> None:
    """Print rows as docker's table, as JSON, or by a template."""
    if template == "json":
        print_lines(json.dumps(row) for row in rows)
    elif not template or template == "table":
        say(table(list(columns), ([row[key] for key in columns.values()] for row in rows)))
    else:
        compiled = Template(template.removeprefix("table ").replace("\\t", "\t"))
        for row in rows:
            say("\t".join(escape(cell) for cell in compiled.render(row).split("\t")))


def container_row(document: Mapping[str, Any], *, is_cut: bool) -> dict[str, str]:
    """Return a container of a list by docker's names of columns."""
    names = [name.removeprefix("/") for name in document.get("Names") or []]
    shown = [name for name in names if "/" not in name] if is_cut else names
    created = int(document["Created"])
    words = str(document["Command"])
    if is_cut and len(words) > _COMMAND_WIDTH:
        words = words[: _COMMAND_WIDTH - 1] + "…"
    labels = document.get("Labels") or {}
    return {
        "ID": document["Id"][:SHORT_ID] if is_cut else document["Id"],
        "Image": document["Image"],
        "Command": f'"{words}"',
        "CreatedAt": local_time(created),
        "RunningFor": ago(created),
        "Status": document["Status"],
        "State": document.get("State", ""),
        "Ports": port_words(document.get("Ports") or []),
        "Names": ",".join(shown),
        "Labels": ",".join(f"{key}={value}" for key, value in labels.items()),
        "Mounts": ",".join(
            str(mount.get("Name") or mount.get("Source", ""))
            for mount in document.get("Mounts") or []
        ),
        "Networks": ",".join(sorted((document.get("NetworkSettings") or {}).get("Networks") or {})),
        "Size": _size_words(document),
    }


def _size_words(document: Mapping[str, Any]) -> str:
    own = human_size(document.get("SizeRw", 0), 3)
    whole = document.get("SizeRootFs", 0)
    return f"{own} (virtual {human_size(whole, 3)})" if whole else own


@command("logs")
@switch("-f", "--follow", help="Go on as it writes more.")
@click.option("--since", default="", help="From then on: a time, or how long ago.")
@click.option("--until", default="", help="Up to then: a time, or how long ago.")
@click.option("-n", "--tail", default="all", help="Lines from the end.")
@switch("-t", "--timestamps", help="Show when each line was written.")
@click.argument("container")
@pass_access
def logs(access: EngineAccess, container: str, **options: Any) -> None:
    """Print what a container wrote."""
    document = access.client.containers.inspect(container)
    chunks = access.client.containers.logs(
        container,
        framed=not document["Config"]["Tty"],
        follow=options["follow"],
        timestamps=options["timestamps"],
        tail=options["tail"],
        since=parse_moment(options["since"]),
        until=parse_moment(options["until"]),
    )
    for kind, payload in chunks:
        write_all(2 if kind == STDERR else 1, payload)


@command("top", interspersed=False)
@click.argument("container")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PS OPTION...]")
@pass_access
def top(access: EngineAccess, container: str, arguments: tuple[str, ...]) -> None:
    """Show the processes of a container."""
    document = access.client.containers.top(container, ps_arguments=" ".join(arguments))
    say(table(document["Titles"], document["Processes"] or [], min_width=_TOP_WIDTH))
