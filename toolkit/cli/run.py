# SPDX-License-Identifier: Apache-2.0
"""`run` and `create`: make a container, and see it through.

Owns the order of requests, which is docker's: attach and wait before start, so that
neither the first byte nor the exit code can be missed.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import click

from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.attach import AttachedRun, attach_and_see_through
from toolkit.cli.command import command, switch
from toolkit.cli.create_body import Attached, attached_streams, create_body
from toolkit.cli.create_options import create_options
from toolkit.cli.detach import parse_detach_keys
from toolkit.cli.output import report, say, warn
from toolkit.cli.references import split_tag, with_tag
from toolkit.cli.terminal import NoTerminalError, check_terminal, terminal_size
from toolkit.client import ApiError
from toolkit.errors import InvalidRequestError, ToolkitError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from toolkit.client import Client

EXIT_ENGINE: Final = 125
EXIT_NOT_EXECUTABLE: Final = 126
EXIT_NOT_FOUND: Final = 127
_HTTP_NOT_FOUND: Final = 404
_NOT_FOUND_WORDS: Final = ("executable file not found", "no such file or directory")
_NOT_EXECUTABLE_WORDS: Final = ("permission denied", "is a directory", "exec format error")


@command("run", interspersed=False)
@create_options
@switch("-d", "--detach", help="Leave it in the background and print its id.")
@click.option("--detach-keys", default="", help="Keys that leave its terminal.")
@click.option("--sig-proxy/--no-sig-proxy", default=True, help="Hand signals on to it.")
@click.option("--pull", default="missing", type=click.Choice(["always", "missing", "never"]))
@switch("-q", "--quiet", help="Do not show the pull.")
@click.argument("image")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND] [ARG...]")
@pass_access
def run(access: EngineAccess, image: str, arguments: tuple[str, ...], **options: Any) -> int:
    """Create a container from an image, start it, and end with its exit code."""
    if options["attach"] and options["detach"]:
        raise ConflictingFlagsError("cannot specify both --attach and --detach")
    try:
        return _run(access, image, arguments, options)
    except NoTerminalError:  # 1, as docker's
        raise
    except ToolkitError as error:
        report(error)
        return exit_code_of(error)


@command("create", interspersed=False)
@create_options
@click.option("--pull", default="missing", type=click.Choice(["always", "missing", "never"]))
@switch("-q", "--quiet", help="Do not show the pull.")
@click.argument("image")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND] [ARG...]")
@pass_access
def create(access: EngineAccess, image: str, arguments: tuple[str, ...], **options: Any) -> None:
    """Create a container and print its id; do not start it."""
    body = create_body(image, arguments, options, environ=os.environ, console=terminal_size())
    say(_create(access.client, body, options))


class ConflictingFlagsError(InvalidRequestError):
    """Two flags contradict each other."""

    def __init__(self, what: str) -> None:
        super().__init__(f"conflicting options: {what}")


def exit_code_of(error: ToolkitError) -> int:
    """Return docker's code for a container that could not be run, by the engine's words."""
    text = str(error)
    if not isinstance(error, ApiError):
        return EXIT_ENGINE
    if any(words in text for words in _NOT_FOUND_WORDS):
        return EXIT_NOT_FOUND
    if any(words in text for words in _NOT_EXECUTABLE_WORDS):
        return EXIT_NOT_EXECUTABLE
    return EXIT_ENGINE


def _run(
    access: EngineAccess, image: str, arguments: tuple[str, ...], options: Mapping[str, Any]
) -> int:
    attached = attached_streams(options)
    check_terminal(has_tty=options["tty"], with_stdin=attached.stdin and options["interactive"])
    detach_keys = parse_detach_keys(options["detach_keys"])
    body = create_body(image, arguments, options, environ=os.environ, console=terminal_size())
    client = access.client
    container_id = _create(client, body, options)
    if not any(attached):
        _start(client, container_id, auto_remove=options["rm"])
        say(container_id)
        return 0
    plan = AttachedRun(
        container_id=container_id,
        has_tty=options["tty"],
        with_stdin=attached.stdin and options["interactive"],
        with_stdout=attached.stdout,
        with_stderr=attached.stderr,
        detach_keys=detach_keys,
        server_detach_keys=options["detach_keys"],
        proxies_signals=options["sig_proxy"],
        condition="removed" if options["rm"] else "next-exit",
        shows_id=_shows_only_id(attached),
    )
    return attach_and_see_through(
        client, plan, lambda: _start(client, container_id, auto_remove=options["rm"])
    )


def _shows_only_id(attached: Attached) -> bool:
    return not attached.stdout and not attached.stderr


def _start(client: Client, container_id: str, *, auto_remove: bool) -> None:
    try:
        client.containers.start(container_id)
    except ApiError:
        if auto_remove:
            with suppress(ToolkitError):  # the engine may have removed it already
                client.containers.remove(container_id, force=True, volumes=True)
        raise


def _create(client: Client, body: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    with _id_file(options["cidfile"]) as write_id:
        if options["pull"] == "always":
            _pull(client, body["Image"], options)
        try:
            created = client.containers.create(
                body, name=options["name"], platform=options["platform"]
            )
        except ApiError as error:
            if error.status != _HTTP_NOT_FOUND or options["pull"] == "never":
                raise
            warn(f"Unable to find image '{with_tag(body['Image'])}' locally")
            _pull(client, body["Image"], options)
            created = client.containers.create(
                body, name=options["name"], platform=options["platform"]
            )
        write_id(created.id)
    for warning in created.warnings:
        warn(f"WARNING: {warning}")
    return created.id


def _pull(client: Client, image: str, options: Mapping[str, Any]) -> None:
    from toolkit.cli.progress import show_progress  # noqa: PLC0415  # rarely needed
    from toolkit.cli.registry import login_for  # noqa: PLC0415  # as above

    name, tag = split_tag(with_tag(image))
    messages = client.images.pull(name, tag, platform=options["platform"], login=login_for(name))
    if options["quiet"]:
        for _ in messages:  # failures are raised
            pass
    else:
        show_progress(messages, out=sys.stderr)


class _IdFile:
    """Where a container's id goes, if anywhere."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    def __call__(self, container_id: str) -> None:
        if self._fd is not None:
            os.write(self._fd, container_id.encode())


@contextmanager
def _id_file(path: str) -> Iterator[_IdFile]:
    """Take the file before anything is made; an existing one is refused."""
    if not path:
        yield _IdFile(None)
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise InvalidRequestError(
            f"container ID file found, make sure the other container isn't running or delete {path}"
        ) from None
    except OSError as error:
        raise InvalidRequestError(f"cannot create {path}: {error.strerror}") from error
    try:
        yield _IdFile(fd)
    except BaseException:
        os.unlink(path)  # noqa: PTH108  # pathlib costs an import
        raise
    finally:
        os.close(fd)
