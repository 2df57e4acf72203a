# SPDX-License-Identifier: Apache-2.0
"""`diff`, `export` and `commit`: what a container has made of its files."""

from __future__ import annotations

import click

from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.archives import check_output, write_archive
from toolkit.cli.command import command, repeated
from toolkit.cli.containers import print_lines
from toolkit.cli.output import escape, say
from toolkit.cli.references import split_tag


@command("diff")
@click.argument("container")
@pass_access
def diff(access: EngineAccess, container: str) -> None:
    """Show what a container has changed (C), added (A) and deleted (D)."""
    found = access.client.containers.changes(container)
    print_lines(f"{'CAD'[int(change['Kind'])]} {change['Path']}" for change in found)


@command("export")
@click.option("-o", "--output", default="", help="Write to a file instead of standard output.")
@click.argument("container")
@pass_access
def export(access: EngineAccess, container: str, output: str) -> None:
    """Write a container's whole tree as a tar."""
    check_output(output)
    write_archive(output, access.client.containers.export(container))


@command("commit")
@click.option("-a", "--author", default="", help="Who made it.")
@repeated("-c", "--change", help="Dockerfile line that sets the image's configuration.")
@click.option("-m", "--message", default="", help="Comment for its history.")
@click.option("-p", "--pause", default=True, type=bool, help="Freeze the container meanwhile.")
@click.argument("container")
@click.argument("reference", default="", metavar="[REPOSITORY[:TAG]]")
@pass_access
def commit(
    access: EngineAccess,
    container: str,
    reference: str,
    *,
    author: str,
    change: tuple[str, ...],
    message: str,
    pause: bool,
) -> None:
    """Make an image of what a container has changed."""
    repository, tag = split_tag(reference) if reference else ("", "")
    image_id = access.client.containers.commit(
        container,
        repository=repository,
        tag=tag,
        message=message,
        author=author,
        changes=change,
        pause=pause,
    )
    say(escape(image_id))
