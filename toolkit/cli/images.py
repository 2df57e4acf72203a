# SPDX-License-Identifier: Apache-2.0
"""What images there are; making, naming and removing them."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.command import command, repeated, switch
from toolkit.cli.containers import SHORT_ID, parse_filters, print_lines, print_rows
from toolkit.cli.moments import ago, local_time
from toolkit.cli.output import escape, report, say
from toolkit.cli.references import split_tag
from toolkit.cli.units import human_size
from toolkit.errors import EngineUnreachableError, InvalidRequestError, ToolkitError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NONE: Final = "<none>"
_COLUMNS: Final = {
    "REPOSITORY": "Repository",
    "TAG": "Tag",
    "IMAGE ID": "ID",
    "CREATED": "CreatedSince",
    "SIZE": "Size",
}


@command("images")
@switch("-a", "--all", help="Show images between others, too.")
@switch("--digests", help="Show digests.")
@repeated("-f", "--filter", help="Condition, key=value.")
@click.option("--format", "template", default="", help="table, json, or a template.")
@switch("--no-trunc", help="Do not cut anything short.")
@switch("-q", "--quiet", help="Print ids only.")
@click.argument("name", default="", metavar="[REPOSITORY[:TAG]]")
@pass_access
def images(access: EngineAccess, name: str, **options: Any) -> None:
    """List images."""
    filters = parse_filters(options["filter"])
    if name:
        filters.setdefault("reference", []).append(name)
    documents = access.client.images.list(every=options["all"], filters=filters)
    is_cut = not options["no_trunc"]
    rows = [row for one in documents for row in image_rows(one, is_cut=is_cut)]
    if options["quiet"]:
        print_lines(dict.fromkeys(row["ID"] for row in rows))
        return
    columns = dict(_COLUMNS)
    if options["digests"]:
        columns = {"REPOSITORY": "Repository", "TAG": "Tag", "DIGEST": "Digest"} | columns
    print_rows(rows, columns, options["template"])


def image_rows(document: Mapping[str, Any], *, is_cut: bool) -> Iterator[dict[str, str]]:
    """Return an image of a list by docker's names of columns, a row for each of its names."""
    image_id = str(document["Id"])
    created = int(document["Created"])
    digests = {
        name: digest
        for name, _, digest in (one.partition("@") for one in document.get("RepoDigests") or [])
    }
    for reference in document.get("RepoTags") or [f"{_NONE}:{_NONE}"]:
        name, _, tag = reference.rpartition(":")
        yield {
            "Repository": name,
            "Tag": tag,
            "ID": image_id.removeprefix("sha256:")[:SHORT_ID] if is_cut else image_id,
            "Digest": digests.get(name, _NONE),
            "CreatedAt": local_time(created),
            "CreatedSince": ago(created),
            "Size": human_size(document["Size"], 3),
        }


_HISTORY_COLUMNS: Final = {
    "IMAGE": "ID",
    "CREATED": "CreatedSince",
    "CREATED BY": "CreatedBy",
    "SIZE": "Size",
    "COMMENT": "Comment",
}
_SHOWN_COMMAND: Final = 45


@command("history")
@click.option("--format", "template", default="", help="table, json, or a template.")
@click.option("-H", "--human", default=True, type=bool, help="Sizes and times for people.")
@switch("--no-trunc", help="Do not cut anything short.")
@switch("-q", "--quiet", help="Print ids only.")
@click.argument("image")
@pass_access
def history(access: EngineAccess, image: str, **options: Any) -> None:
    """Show the steps that an image was made in."""
    rows = [
        history_row(one, is_cut=not options["no_trunc"], for_people=options["human"])
        for one in access.client.images.history(image)
    ]
    if options["quiet"]:
        print_lines(row["ID"] for row in rows)
    else:
        print_rows(rows, _HISTORY_COLUMNS, options["template"])


def history_row(document: Mapping[str, Any], *, is_cut: bool, for_people: bool) -> dict[str, str]:
    """Return a step by docker's names of columns."""
    image_id, made_by = str(document["Id"]), str(document["CreatedBy"])
    created, size = int(document["Created"]), int(document["Size"])
    if is_cut:
        image_id = image_id.removeprefix("sha256:")[:SHORT_ID]
        if len(made_by) > _SHOWN_COMMAND:
            made_by = made_by[: _SHOWN_COMMAND - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return {
        "ID": image_id,
        "CreatedAt": local_time(created),
        "CreatedSince": ago(created) if for_people else local_time(created),
        "CreatedBy": made_by,
        "Size": human_size(size, 3) if for_people else str(size),
        "Comment": str(document["Comment"]),
    }


@command("import")
@repeated("-c", "--change", help="Dockerfile line that sets the image's configuration.")
@click.option("-m", "--message", default="", help="Comment for its history.")
@click.argument("source", metavar="FILE|URL|-")
@click.argument("reference", default="", metavar="[REPOSITORY[:TAG]]")
@pass_access
def import_(
    access: EngineAccess, source: str, reference: str, change: tuple[str, ...], message: str
) -> None:
    """Make an image of a root file system's tar; the engine fetches one at a URL."""
    images = access.client.images
    options: dict[str, Any] = {"reference": reference, "message": message, "changes": change}
    if source.startswith(("http://", "https://")):
        image_id = images.import_url(source, **options)
    else:
        with ExitStack() as undo:
            image_id = images.import_tar(_opened(source, undo), **options)
    say(escape(image_id))


def _opened(source: str, undo: ExitStack) -> BinaryIO:
    if source == "-":
        return sys.stdin.buffer
    try:
        return undo.enter_context(open(source, "rb"))  # noqa: PTH123  # pathlib costs an import
    except OSError as error:
        raise InvalidRequestError(f"{source}: {error.strerror}") from error


@command("rmi")
@switch("-f", "--force", help="Remove it although something stands on it.")
@switch("--no-prune", help="Keep its parents without a name.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@pass_access
def rmi(access: EngineAccess, images: tuple[str, ...], *, force: bool, no_prune: bool) -> int:
    """Remove names of images, and images without a name."""
    exit_code = 0
    for one in images:
        try:
            removed = access.client.images.remove(one, force=force, noprune=no_prune)
        except EngineUnreachableError:
            raise
        except ToolkitError as error:
            report(error)
            exit_code = 1
        else:
            print_lines(f"{verb}: {what}" for record in removed for verb, what in record.items())
    return exit_code


@command("tag")
@click.argument("source", metavar="IMAGE")
@click.argument("target", metavar="REPOSITORY[:TAG]")
@pass_access
def tag(access: EngineAccess, source: str, target: str) -> None:
    """Give an image another name."""
    name, tag_name = split_tag(target)
    access.client.images.tag(source, name, tag_name or "latest")
