# SPDX-License-Identifier: Apache-2.0
"""`cp`: between a container and this machine, or a tar on a standard stream.

Owns docker's rules of where things go; what is written here is
`toolkit.cli.localtree`'s.
"""

from __future__ import annotations

import os
import posixpath
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.command import command, switch
from toolkit.cli.localtree import packed, unpack
from toolkit.client import ApiError
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from toolkit.client import Client

_DIRECTORY: Final = 1 << 31  # of Go's file modes
_SYMLINK: Final = 1 << 27
_MOST_LINKS: Final = 40
_NOT_FOUND: Final = 404


class Place(NamedTuple):
    """One side of a copy; *container* is empty for this machine."""

    container: str
    path: str


@command("cp")
@switch("-a", "--archive", help="Keep owners.")
@switch("-L", "--follow-link", help="Copy what a link leads to.")
@switch("-q", "--quiet", help="Say nothing.")
@click.argument("source", metavar="[CONTAINER:]SOURCE|-")
@click.argument("target", metavar="[CONTAINER:]TARGET|-")
@pass_access
def cp(
    access: EngineAccess,
    source: str,
    target: str,
    *,
    archive: bool,
    follow_link: bool,
    quiet: bool,
) -> None:
    """Copy files between a container and this machine."""
    del quiet
    here, there = split_place(source), split_place(target)
    if bool(here.container) == bool(there.container):
        both = "copying between containers is not supported"
        raise InvalidRequestError(
            both if here.container else "must specify at least one container source"
        )
    if here.container:
        _copy_out(access.client, here, target, with_owner=archive, follow=follow_link)
    else:
        _copy_in(access.client, source, there, with_owner=archive, follow=follow_link)


def split_place(text: str) -> Place:
    """Return what ``container:path`` means; a path that begins with a slash or dot is here."""
    name, colon, path = text.partition(":")
    if text == "-" or not colon or text.startswith(("/", ".")) or not name:
        return Place("", text)
    return Place(name, path or "/")


def _copy_out(
    client: Client, source: Place, target: str, *, with_owner: bool, follow: bool
) -> None:
    path = source.path
    if follow:
        found = client.containers.stat_path(source.container, path)
        if int(found["mode"]) & _SYMLINK:
            path = str(found["linkTarget"])
    found, chunks = client.containers.copy_out(source.container, path)
    if target == "-":
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return
    base = _local_base(path, found, target)
    unpack(chunks, *base, with_owner=with_owner)


def _local_base(path: str, found: dict[str, Any], target: str) -> tuple[str, str]:
    """Return the directory to write into, and the name of the top there; empty for its content."""
    is_directory = bool(int(found["mode"]) & _DIRECTORY)
    wants_content = path.endswith("/.")
    if os.path.isdir(target):  # noqa: PTH112  # pathlib costs an import
        name = posixpath.basename(posixpath.normpath(path))
        return target, "" if wants_content or name in {"", ".", "/"} else name
    if os.path.lexists(target) and is_directory:
        raise InvalidRequestError(f"cannot copy a directory onto the file {target}")
    if target.endswith("/") and not is_directory:
        raise InvalidRequestError(f"{target}: no such directory")
    clean = target.rstrip("/") or "/"
    parent, name = os.path.split(os.path.abspath(clean))  # noqa: PTH100  # as above
    if not os.path.isdir(parent):  # noqa: PTH112  # as above
        raise InvalidRequestError(f"{parent}: no such directory")
    return parent, name


def _copy_in(client: Client, source: str, target: Place, *, with_owner: bool, follow: bool) -> None:
    if source == "-":
        client.containers.copy_in(
            target.container, target.path, sys.stdin.buffer, as_user=with_owner
        )
        return
    if not os.path.lexists(source):
        raise InvalidRequestError(f"lstat {source}: no such file or directory")
    is_directory = os.path.isdir(source) and (follow or not _is_bare_link(source))  # noqa: PTH112  # as above
    directory, name = _place_in(client, target, source, is_directory=is_directory)
    with packed(source, name, with_owner=with_owner, follow=follow) as stream:
        client.containers.copy_in(target.container, directory, stream, as_user=with_owner)


def _is_bare_link(path: str) -> bool:
    return os.path.islink(path) and not path.endswith(("/", "/."))  # noqa: PTH114  # as above


def _place_in(client: Client, target: Place, source: str, *, is_directory: bool) -> tuple[str, str]:
    """Return the directory of the container to unpack into, and the name of the top there."""
    path, found = _followed(client, target)
    if found is None:
        if target.path.endswith("/") and not is_directory:
            raise InvalidRequestError(f"no such directory: {target.container}:{target.path}")
        return posixpath.split(path.rstrip("/"))
    if int(found["mode"]) & _DIRECTORY:
        if is_directory and source.endswith("/."):
            return path, "."
        return path, os.path.basename(os.path.abspath(source))  # noqa: PTH100, PTH119  # as above
    if is_directory:
        raise InvalidRequestError(f"cannot copy a directory onto {target.container}:{path}")
    return posixpath.split(path)


def _followed(client: Client, target: Place) -> tuple[str, dict[str, Any] | None]:
    """Return where a path of a container leads in the end, and what is there, if anything."""
    path = target.path if target.path.startswith("/") else f"/{target.path}"
    for _ in range(_MOST_LINKS):
        try:
            found = client.containers.stat_path(target.container, path)
        except ApiError as error:
            if error.status != _NOT_FOUND or "No such container" in str(error):
                raise
            return path, None
        if not int(found["mode"]) & _SYMLINK:
            return path, found
        path = str(found["linkTarget"])
    raise InvalidRequestError(f"{target.path}: too many links")
