# SPDX-License-Identifier: Apache-2.0
"""`volume`: create, ls, inspect, rm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.command import command, repeated, switch
from toolkit.cli.containers import parse_filters, print_lines, print_rows
from toolkit.cli.inspect import show_each
from toolkit.cli.lifecycle import apply_to_each
from toolkit.cli.output import escape, say
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

_COLUMNS: Final = {"DRIVER": "Driver", "VOLUME NAME": "Name"}


@command("create")
@click.option("-d", "--driver", default="local", help="There is only local.")
@repeated("--label", help="Label, key=value.")
@repeated("-o", "--opt", help="Option of the driver, key=value.")
@click.argument("name", default="", metavar="[VOLUME]")
@pass_access
def create(
    access: EngineAccess, name: str, driver: str, label: tuple[str, ...], opt: tuple[str, ...]
) -> None:
    """Make a volume."""
    made = access.client.volumes.create(
        name, driver=driver, labels=_pairs(label), options=_pairs(opt)
    )
    say(escape(str(made["Name"])))


def _pairs(texts: Iterable[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, _, value = text.partition("=")
        if not key:
            raise InvalidRequestError(f"invalid label or option {text!r}: use key=value")
        pairs[key] = value
    return pairs


@command("ls")
@repeated("-f", "--filter", help="Condition, key=value.")
@click.option("--format", "template", default="", help="table, json, or a template.")
@switch("-q", "--quiet", help="Print names only.")
@pass_access
def ls(access: EngineAccess, **options: Any) -> None:
    """List volumes."""
    found = access.client.volumes.list(filters=parse_filters(options["filter"]))
    if options["quiet"]:
        print_lines(str(one["Name"]) for one in found)
        return
    rows = [
        {
            "Driver": str(one["Driver"]),
            "Name": str(one["Name"]),
            "Mountpoint": str(one["Mountpoint"]),
            "Scope": str(one["Scope"]),
            "Labels": ",".join(f"{k}={v}" for k, v in (one.get("Labels") or {}).items()),
        }
        for one in found
    ]
    print_rows(rows, _COLUMNS, options["template"])


@command("inspect")
@click.option("-f", "--format", "template", default="", help="Template, or json.")
@click.argument("names", nargs=-1, required=True, metavar="VOLUME...")
@pass_access
def inspect(access: EngineAccess, names: tuple[str, ...], *, template: str) -> int:
    """Show everything about volumes."""
    return show_each(names, [access.client.volumes.inspect], template)


@command("rm")
@switch("-f", "--force", help="Pass over one that is not there.")
@click.argument("names", nargs=-1, required=True, metavar="VOLUME...")
@pass_access
def rm(access: EngineAccess, names: tuple[str, ...], *, force: bool) -> int:
    """Remove volumes that no container has."""
    return apply_to_each(names, lambda one: access.client.volumes.remove(one, force=force))
