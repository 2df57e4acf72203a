# SPDX-License-Identifier: Apache-2.0
"""Commands that do one thing to each of several containers and say their names."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.command import command, switch
from toolkit.cli.output import escape, report, say
from toolkit.errors import EngineUnreachableError, ToolkitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_targets = click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")


def apply_to_each(names: Iterable[str], act: Callable[[str], object]) -> int:
    """Do something to each, print the name of each that went well, and go on after an error.

    Returns:
        1 if anything failed, else 0.

    Raises:
        EngineUnreachableError: The rest would fail alike.
    """
    exit_code = 0
    for name in names:
        try:
            act(name)
        except EngineUnreachableError:
            raise
        except ToolkitError as error:
            report(error)
            exit_code = 1
        else:
            say(escape(name))
    return exit_code


def _stop_options(act: Callable[..., object]) -> Callable[..., object]:
    """Give a command containers to stop, and how long and with which signal."""
    seconds = click.option(
        "-t", "--time", "--timeout", "timeout_seconds", type=int, help="Seconds before killing it."
    )
    signal = click.option("-s", "--signal", default="", help="First signal.")
    return seconds(signal(_targets(act)))


@command("stop")
@_stop_options
@pass_access
def stop(access: EngineAccess, containers: tuple[str, ...], **grace: Any) -> int:
    """Stop running containers."""
    return apply_to_each(containers, partial(access.client.containers.stop, **grace))


@command("restart")
@_stop_options
@pass_access
def restart(access: EngineAccess, containers: tuple[str, ...], **grace: Any) -> int:
    """Stop containers if they run, and start them."""
    return apply_to_each(containers, partial(access.client.containers.restart, **grace))


@command("kill")
@click.option("-s", "--signal", default="", help="Signal instead of KILL.")
@_targets
@pass_access
def kill(access: EngineAccess, containers: tuple[str, ...], signal: str) -> int:
    """Send a signal to running containers."""
    kill_one = access.client.containers.kill
    return apply_to_each(containers, lambda one: kill_one(one, signal=signal))


@command("pause")
@_targets
@pass_access
def pause(access: EngineAccess, containers: tuple[str, ...]) -> int:
    """Freeze every process of containers."""
    return apply_to_each(containers, access.client.containers.pause)


@command("unpause")
@_targets
@pass_access
def unpause(access: EngineAccess, containers: tuple[str, ...]) -> int:
    """Let frozen containers go on."""
    return apply_to_each(containers, access.client.containers.unpause)


@command("rename")
@click.argument("container")
@click.argument("name")
@pass_access
def rename(access: EngineAccess, container: str, name: str) -> None:
    """Give a container another name."""
    access.client.containers.rename(container, name)


@command("rm")
@switch("-f", "--force", help="Kill it first if it runs.")
@switch("-v", "--volumes", help="Remove its unnamed volumes, too.")
@switch("-l", "--link", help="Remove a link, not a container.")
@_targets
@pass_access
def rm(
    access: EngineAccess, containers: tuple[str, ...], *, force: bool, volumes: bool, link: bool
) -> int:
    """Remove containers."""
    remove = access.client.containers.remove
    return apply_to_each(
        containers, lambda one: remove(one, force=force, volumes=volumes, link=link)
    )


@command("wait")
@_targets
@pass_access
def wait(access: EngineAccess, containers: tuple[str, ...]) -> int:
    """Wait until containers stop, and print their exit codes."""
    exit_code = 0
    for one in containers:
        try:
            ended = access.client.containers.wait(one).result()
        except EngineUnreachableError:
            raise
        except ToolkitError as error:
            report(error)
            exit_code = 1
        else:
            say(str(ended.exit_code))
    return exit_code
