# SPDX-License-Identifier: Apache-2.0
"""`build`: an image of a Dockerfile."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.buildcontext import opened_context
from toolkit.cli.command import command, repeated, switch
from toolkit.cli.output import escape_lines, report
from toolkit.cli.progress import show_progress
from toolkit.cli.specs import parse_labels
from toolkit.cli.terminal import is_terminal
from toolkit.cli.units import parse_memory
from toolkit.client import StreamError
from toolkit.client.logins import LoginFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from toolkit.client.query import QueryValue


@command("build")
@repeated("--add-host", help="Host and address that the steps know, name:address.")
@repeated("--build-arg", help="Value of an ARG, NAME=VALUE; NAME takes it from here.")
@click.option("-c", "--cpu-shares", type=int, default=0, help="Weight of the steps' CPU time.")
@click.option("-f", "--file", "dockerfile", default="", help="Dockerfile; - reads standard input.")
@switch("--force-rm", help="Remove the steps' containers, also of a build that fails.")
@click.option("--iidfile", default="", help="Write the image's id to this file.")
@repeated("--label", help="Label of the image, NAME=VALUE.")
@click.option("-m", "--memory", default="", help="Most memory of a step.")
@click.option("--network", default="", help="Network of the steps.")
@switch("--no-cache", help="Do every step again.")
@click.option("--platform", default="", help="Platform of the base image.")
@switch("--pull", help="Ask the registry for newer base images.")
@switch("-q", "--quiet", help="Print the image's id only.")
@click.option("--rm/--no-rm", default=True, help="Remove the steps' containers.")
@click.option("--shm-size", default="", help="Size of the steps' /dev/shm.")
@repeated("-t", "--tag", help="Name of the image, NAME[:TAG].")
@click.option("--target", default="", help="Stage to end with.")
@click.argument("path", metavar="PATH|-")
@pass_access
def build(access: EngineAccess, path: str, **options: Any) -> int:
    """Build an image of a directory with a Dockerfile."""
    with opened_context(path, options["dockerfile"]) as (context, dockerfile):
        query = build_query(options, os.environ) | {"dockerfile": dockerfile}
        image_id = ""
        try:
            messages = access.client.images.build(
                context, query=query, logins=LoginFile.of(os.environ).every()
            )
            image_id = _show(messages)
        except StreamError as error:
            report(error)
            return error.code or 1
    if options["iidfile"]:
        with open(options["iidfile"], "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(image_id)
    return 0


def build_query(options: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, QueryValue]:
    """Return a build's options as docker's API takes them."""
    query: dict[str, QueryValue] = {
        "t": options["tag"],
        "buildargs": _pairs(options["build_arg"], environ) or None,
        "labels": parse_labels(options["label"]) or None,
        "cpushares": options["cpu_shares"] or None,
        "memory": parse_memory(options["memory"]) if options["memory"] else None,
        "shmsize": parse_memory(options["shm_size"]) if options["shm_size"] else None,
        "networkmode": options["network"] or None,
        "platform": options["platform"] or None,
        "target": options["target"] or None,
        "extrahosts": ",".join(options["add_host"]) or None,
        "nocache": options["no_cache"] or None,
        "pull": options["pull"] or None,
        "q": options["quiet"] or None,
        "rm": options["rm"],
        "forcerm": options["force_rm"] or None,
    }
    return query


def _pairs(texts: Iterable[str], environ: Mapping[str, str]) -> dict[str, str | None]:
    """Return values by name; a bare name has this environment's, or none."""
    pairs: dict[str, str | None] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        pairs[name] = value if equals else environ.get(name)
    return pairs


def _show(messages: Iterator[Mapping[str, Any]]) -> str:
    """Show messages as they come; return the image's id."""
    image_id = ""
    raw = not is_terminal(sys.stdout.fileno())
    for message in messages:
        if "aux" in message:
            image_id = str((message["aux"] or {}).get("ID", ""))
        elif "stream" in message:
            text = str(message["stream"])
            sys.stdout.write(text if raw else escape_lines(text))
            sys.stdout.flush()
        else:
            show_progress([message])
    return image_id
