# SPDX-License-Identifier: Apache-2.0
"""`attach`, `start` and `exec`, and what `run` shares with them.

Owns the way from an attached stream to an exit code: signals, the terminal's size,
detaching, and an engine that goes away meanwhile.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.command import command, repeated, switch
from toolkit.cli.detach import DEFAULT_KEYS, parse_detach_keys
from toolkit.cli.output import report, say, warn
from toolkit.cli.session import Ending, Session
from toolkit.cli.specs import parse_environment
from toolkit.cli.terminal import check_terminal, terminal_size
from toolkit.client import ApiError
from toolkit.errors import ConflictError, EngineUnreachableError, InvalidRequestError, ToolkitError

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping

    from toolkit.client import Client, HijackedConnection
    from toolkit.client.containers import PendingExit

EXIT_ENGINE: Final = 125
_DETACHED: Final = "read escape sequence"


class AttachedRun(NamedTuple):
    """A container that is about to be started, or runs, with streams joined to ours.

    Attributes:
        condition: What to wait for; see the Engine API.
        server_detach_keys: As the person gave them, for the engine.
        shows_id: Print the id and end when input has been sent.
    """

    container_id: str
    has_tty: bool
    with_stdin: bool
    with_stdout: bool = True
    with_stderr: bool = True
    detach_keys: bytes = DEFAULT_KEYS
    server_detach_keys: str = ""
    proxies_signals: bool = True
    condition: str = "next-exit"
    shows_id: bool = False


def attach_and_see_through(
    client: Client, plan: AttachedRun, start: Callable[[], None] | None
) -> int:
    """Attach, start if asked to, copy to the end, and return the exit code.

    Raises:
        NoTerminalError: The container has a terminal, and we have none for its keys.
    """
    check_terminal(has_tty=plan.has_tty, with_stdin=plan.with_stdin)
    with ExitStack() as undo:
        stream = client.containers.attach(
            plan.container_id,
            stdin=plan.with_stdin,
            stdout=plan.with_stdout,
            stderr=plan.with_stderr,
            detach_keys=plan.server_detach_keys,
        )
        undo.callback(stream.close)
        pending = client.containers.wait(plan.container_id, condition=plan.condition)
        undo.callback(pending.close)
        undo.enter_context(_signals(client, plan))
        if start:
            start()
        if plan.has_tty:
            _resize(client.containers.resize, plan.container_id, redraw=start is None)
        if plan.shows_id:
            say(plan.container_id)
        ending = _session(plan, stream).run()
        if ending is Ending.DETACHED:
            warn(_DETACHED)
            return 0 if start else 1
        if plan.shows_id:
            return 0
        return _exit_code(client, plan, pending)


def _session(plan: AttachedRun, stream: HijackedConnection) -> Session:
    return Session(
        stream,
        has_tty=plan.has_tty,
        with_stdin=plan.with_stdin,
        detach_keys=plan.detach_keys,
    )


def _exit_code(client: Client, plan: AttachedRun, pending: PendingExit) -> int:
    """Return the exit code, from a new engine if ours went away while we were attached."""
    try:
        ended = pending.result()
    except EngineUnreachableError:
        ended = client.containers.wait(plan.container_id).result()
    if ended.error:
        report(ToolkitError(ended.error))
        return EXIT_ENGINE
    return ended.exit_code


def _resize(resize: Callable[..., None], reference: str, *, redraw: bool = False) -> None:
    """Tell the program the size of our terminal; *redraw* makes it draw itself anew."""
    if size := terminal_size():
        with suppress(ToolkitError):  # it may have ended already
            if redraw:
                resize(reference, rows=size.rows + 1, columns=size.columns + 1)
            resize(reference, rows=size.rows, columns=size.columns)


def _signals(client: Client, plan: AttachedRun) -> ExitStack:
    """Return the block in which signals reach the container."""
    undo = ExitStack()
    if not plan.has_tty and not plan.proxies_signals:
        return undo
    from toolkit.cli.signals import FORWARDED, WINDOW_CHANGED, handed_on  # noqa: PLC0415  # threads

    def receive(number: signal.Signals) -> None:
        with suppress(ToolkitError):  # it may have ended already
            if number in WINDOW_CHANGED:
                _resize(client.containers.resize, plan.container_id)
            else:
                client.containers.kill(plan.container_id, signal=number.name)

    undo.enter_context(handed_on(WINDOW_CHANGED if plan.has_tty else FORWARDED, receive))
    return undo


@command("attach")
@switch("--no-stdin", help="Do not attach standard input.")
@click.option("--sig-proxy/--no-sig-proxy", default=True, help="Hand signals on to it.")
@click.option("--detach-keys", default="", help="Keys that leave its terminal.")
@click.argument("container")
@pass_access
def attach(
    access: EngineAccess, container: str, *, no_stdin: bool, sig_proxy: bool, detach_keys: str
) -> int:
    """Join standard input, output and error to a running container."""
    keys = parse_detach_keys(detach_keys)
    document = access.client.containers.inspect(container)
    _check_attachable(document["State"])
    plan = AttachedRun(
        container_id=document["Id"],
        has_tty=document["Config"]["Tty"],
        with_stdin=document["Config"]["OpenStdin"] and not no_stdin,
        detach_keys=keys,
        server_detach_keys=detach_keys,
        proxies_signals=sig_proxy,
        condition="",
    )
    return attach_and_see_through(access.client, plan, None)


def _check_attachable(state: Mapping[str, Any]) -> None:
    for key, words in (("Paused", "a paused container, unpause it first"),):
        if state.get(key):
            raise ConflictError(f"You cannot attach to {words}")
    if state.get("Restarting"):
        raise ConflictError("You cannot attach to a restarting container, wait until it is running")
    if not state.get("Running"):
        raise ConflictError("You cannot attach to a stopped container, start it first")


@command("start")
@switch("-a", "--attach", help="Attach to its output and hand signals on.")
@switch("-i", "--interactive", help="Attach to its input.")
@click.option("--detach-keys", default="", help="Keys that leave its terminal.")
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
@pass_access
def start(
    access: EngineAccess,
    containers: tuple[str, ...],
    *,
    attach: bool,
    interactive: bool,
    detach_keys: str,
) -> int:
    """Start containers that exist."""
    if not attach and not interactive:
        from toolkit.cli.lifecycle import apply_to_each  # noqa: PLC0415  # not for `run`

        return apply_to_each(containers, access.client.containers.start)
    if len(containers) > 1:
        raise InvalidRequestError("you cannot start and attach multiple containers at once")
    document = access.client.containers.inspect(containers[0])
    container_id: str = document["Id"]
    plan = AttachedRun(
        container_id=container_id,
        has_tty=document["Config"]["Tty"],
        with_stdin=interactive and document["Config"]["OpenStdin"],
        detach_keys=parse_detach_keys(detach_keys),
        server_detach_keys=detach_keys,
        condition="removed" if document["HostConfig"].get("AutoRemove") else "next-exit",
    )
    return attach_and_see_through(
        access.client, plan, lambda: _ignore_result(access.client.containers.start(container_id))
    )


def _ignore_result(_was_changed: bool) -> None:  # noqa: FBT001  # 304 is a success, too
    return


@command("exec", interspersed=False)
@switch("-d", "--detach", help="Leave it in the background.")
@click.option("--detach-keys", default="", help="Keys that leave its terminal.")
@repeated("-e", "--env", help="Environment variable.")
@repeated("--env-file", help="File of environment variables.")
@switch("-i", "--interactive", help="Keep standard input open.")
@switch("--privileged", help="Give it every privilege.")
@switch("-t", "--tty", help="Give it a terminal.")
@click.option("-u", "--user", default="", help="User, and group after a colon.")
@click.option("-w", "--workdir", default="", help="Working directory in the container.")
@click.argument("container")
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND...")
@pass_access
def exec_(access: EngineAccess, container: str, arguments: tuple[str, ...], **options: Any) -> int:
    """Run a program in a running container and end with its exit code."""
    keys = parse_detach_keys(options["detach_keys"])
    if not options["detach"]:
        check_terminal(has_tty=options["tty"], with_stdin=options["interactive"])
    client = access.client
    exec_id = client.execs.create(container, exec_body(arguments, options))
    if options["detach"]:
        client.execs.start_detached(exec_id, has_tty=options["tty"])
        return 0
    from toolkit.cli.run import exit_code_of  # noqa: PLC0415  # `run` imports this module

    try:
        size = terminal_size() if options["tty"] else None
        stream = client.execs.start(exec_id, has_tty=options["tty"], size=size)
    except ApiError as error:
        report(error)
        return exit_code_of(error)
    with ExitStack() as undo:
        if options["tty"]:
            undo.enter_context(_followed_size(client, exec_id))
        session = Session(
            stream,
            has_tty=options["tty"],
            with_stdin=options["interactive"],
            detach_keys=keys,
        )
        if session.run() is Ending.DETACHED:
            warn(_DETACHED)
            return 1
    return int(client.execs.inspect(exec_id).get("ExitCode") or 0)


def exec_body(arguments: tuple[str, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return docker's exec body."""
    is_attached = not options["detach"]
    return {
        "Cmd": list(arguments),
        "Env": parse_environment(options["env"], options["env_file"], os.environ),
        "AttachStdin": is_attached and options["interactive"],
        "AttachStdout": is_attached,
        "AttachStderr": is_attached,
        "Tty": options["tty"],
        "User": options["user"],
        "WorkingDir": options["workdir"],
        "Privileged": options["privileged"],
        "DetachKeys": options["detach_keys"],
        "Detach": options["detach"],
    }


def _followed_size(client: Client, exec_id: str) -> ExitStack:
    """Return the block in which the program's terminal has the size of ours."""
    from toolkit.cli.signals import WINDOW_CHANGED, handed_on  # noqa: PLC0415  # threads

    _resize(client.execs.resize, exec_id)
    undo = ExitStack()
    undo.enter_context(
        handed_on(WINDOW_CHANGED, lambda _number: _resize(client.execs.resize, exec_id))
    )
    return undo
