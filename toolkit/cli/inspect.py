# SPDX-License-Identifier: Apache-2.0
"""`inspect`: everything that the engine knows about containers and images."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.command import command, switch
from toolkit.cli.output import escape_lines, report, say
from toolkit.cli.template import Template, TemplateError
from toolkit.client import ApiError
from toolkit.errors import EngineUnreachableError, NotFoundError, ToolkitError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from toolkit.client import Client
    from toolkit.client.jsonstream import Document

    Find = Callable[[str], Document]

EXIT_BAD_TEMPLATE: Final = 64
_HTTP_NOT_FOUND: Final = 404
_KINDS: Final = ("container", "image", "network", "volume")

_template = click.option("-f", "--format", "template", default="", help="Template, or json.")
_targets = click.argument("names", nargs=-1, required=True, metavar="NAME...")


class ObjectNotFoundError(NotFoundError):
    """Nothing has that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"No such object: {name}")


@command("inspect")
@_template
@switch("-s", "--size", help="Show the sizes of a container.")
@click.option("--type", "kind", default="", type=click.Choice(["", *_KINDS]), help="What to find.")
@_targets
@pass_access
def inspect(
    access: EngineAccess, names: tuple[str, ...], *, template: str, size: bool, kind: str
) -> int:
    """Show everything about containers, images, networks or volumes, as JSON or by a template."""
    finders = _finders(access.client, with_sizes=size)
    wanted = [find for name, find in finders.items() if kind in {"", name}]
    return show_each(names, wanted, template)


@command("inspect")
@_template
@switch("-s", "--size", help="Show the sizes of a container.")
@_targets
@pass_access
def inspect_container(
    access: EngineAccess, names: tuple[str, ...], *, template: str, size: bool
) -> int:
    """Show everything about containers."""
    return show_each(names, [_finders(access.client, with_sizes=size)["container"]], template)


@command("inspect")
@_template
@_targets
@pass_access
def inspect_image(access: EngineAccess, names: tuple[str, ...], *, template: str) -> int:
    """Show everything about images."""
    return show_each(names, [_finders(access.client, with_sizes=False)["image"]], template)


def _finders(client: Client, *, with_sizes: bool) -> dict[str, Find]:
    return {
        "container": lambda name: client.containers.inspect(name, with_sizes=with_sizes),
        "image": client.images.inspect,
        "network": client.networks.inspect,
        "volume": client.volumes.inspect,
    }


def show_each(names: Sequence[str], finders: Sequence[Find], template: str) -> int:
    """Show each object that one of the finders finds; what is missing is said afterwards."""
    try:
        compiled = Template("{{json .}}" if template == "json" else template)
    except TemplateError as error:
        report(error)
        return EXIT_BAD_TEMPLATE
    found: list[Document] = []
    errors: list[ToolkitError] = []
    for name in names:
        try:
            document = _find(name, finders)
            found.append(document)
            if template:
                say(escape_lines(compiled.render(document)))
        except EngineUnreachableError:
            raise
        except ToolkitError as error:
            errors.append(error)
    if not template:
        say(as_json(found))
    for missing in errors:
        report(missing)
    return 1 if errors else 0


def _find(name: str, finders: Sequence[Find]) -> Document:
    for find in finders:
        try:
            return find(name)
        except ApiError as error:
            if error.status != _HTTP_NOT_FOUND or len(finders) == 1:
                raise
    raise ObjectNotFoundError(name)


def as_json(documents: Sequence[Any]) -> str:
    """Return documents as people read them; no character in it steers a terminal."""
    text = json.dumps(documents, indent=4, ensure_ascii=False)
    return "\n".join(
        line if line.isprintable() else "".join(_as_json_escape(one) for one in line)
        for line in text.split("\n")
    )


def _as_json_escape(character: str) -> str:
    return (
        character
        if character.isprintable()
        else json.dumps(character)[1:-1].replace("\x7f", "\\u007f")
    )
