# SPDX-License-Identifier: Apache-2.0
"""Entry point of `toolkit`: finds the command, imports only that, and ends with its code.

Owns the list of commands and how an error becomes an exit code. A command returns its
exit code, or None for 0.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Final, NoReturn

import click

from toolkit import __version__
from toolkit.cli.access import EngineAccess
from toolkit.cli.command import OutputClosedError
from toolkit.cli.output import report, warn
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXIT_FAILURE: Final = 1
EXIT_USAGE: Final = 125  # docker's code for a flag that it does not know
EXIT_INTERRUPTED: Final = 130
EXIT_PIPE: Final = 141

_CONTAINER_COMMANDS: Final = {
    "attach": "attach:attach",
    "create": "run:create",
    "exec": "attach:exec_",
    "inspect": "inspect:inspect_container",
    "kill": "lifecycle:kill",
    "logs": "containers:logs",
    "ls": "containers:ps",
    "list": "containers:ps",
    "pause": "lifecycle:pause",
    "port": "ports:port",
    "ps": "containers:ps",
    "rename": "lifecycle:rename",
    "restart": "lifecycle:restart",
    "rm": "lifecycle:rm",
    "run": "run:run",
    "start": "attach:start",
    "stats": "stats:stats",
    "stop": "lifecycle:stop",
    "top": "containers:top",
    "unpause": "lifecycle:unpause",
    "wait": "lifecycle:wait",
    "commit": "files:commit",
    "cp": "copying:cp",
    "diff": "files:diff",
    "export": "files:export",
    "prune": "prune:prune_containers",
}
_IMAGE_COMMANDS: Final = {
    "build": "build:build",
    "bootstrap": "bootstrap:bootstrap",
    "import": "images:import_",
    "inspect": "inspect:inspect_image",
    "list": "images:images",
    "load": "archives:load",
    "ls": "images:images",
    "pull": "registry:pull",
    "push": "registry:push",
    "rm": "images:rmi",
    "save": "archives:save",
    "tag": "images:tag",
    "history": "images:history",
    "prune": "prune:prune_images",
}
_BUILDER_COMMANDS: Final = {"build": "build:build", "prune": "prune:prune_builds"}
_VOLUME_COMMANDS: Final = {
    "create": "volumes:create",
    "inspect": "volumes:inspect",
    "list": "volumes:ls",
    "ls": "volumes:ls",
    "prune": "prune:prune_volumes",
    "rm": "volumes:rm",
}
_NETWORK_COMMANDS: Final = {
    "connect": "networks:connect",
    "create": "networks:create",
    "disconnect": "networks:disconnect",
    "inspect": "networks:inspect",
    "list": "networks:ls",
    "ls": "networks:ls",
    "prune": "prune:prune_networks",
    "remove": "networks:rm",
    "rm": "networks:rm",
}
_SYSTEM_COMMANDS: Final = {
    "df": "disk_usage:df",
    "events": "system:events",
    "info": "system:info",
    "prune": "prune:prune_system",
}
_NOT_AT_TOP: Final = frozenset({"ls", "list", "inspect", "prune"})
_COMMANDS: Final = {
    **{name: at for name, at in _CONTAINER_COMMANDS.items() if name not in _NOT_AT_TOP},
    "build": "build:build",
    "engine": "engine:engine",
    "events": "system:events",
    "history": "images:history",
    "images": "images:images",
    "import": "images:import_",
    "info": "system:info",
    "inspect": "inspect:inspect",
    "load": "archives:load",
    "login": "registry:login",
    "logout": "registry:logout",
    "pull": "registry:pull",
    "push": "registry:push",
    "prune": "prune:prune",
    "rmi": "images:rmi",
    "save": "archives:save",
    "search": "registry:search",
    "tag": "images:tag",
    "version": "system:version",
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def __init__(self, name: str, places: Mapping[str, str], help: str) -> None:  # noqa: A002  # click's
        super().__init__(name, help=help)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every name, sorted."""
        return sorted({*self._places, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, importing what it needs."""
        place = self._places.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module_name, _, attribute = place.partition(":")
        module = importlib.import_module(f"toolkit.cli.{module_name}")
        command: click.Command = getattr(module, attribute)
        return command


cli = LazyGroup("toolkit", _COMMANDS, "Run containers; docker's commands and flags.")
cli.params += [
    click.Option(["-H", "--host"], help="Engine to talk to: unix:// and a path."),
    click.Option(["-v", "--version"], is_flag=True, help="Print the version and quit."),
]
cli.invoke_without_command = True
cli.no_args_is_help = True
cli.add_command(LazyGroup("container", _CONTAINER_COMMANDS, "Everything about containers."))
cli.add_command(LazyGroup("builder", _BUILDER_COMMANDS, "Everything about builds."))
cli.add_command(LazyGroup("image", _IMAGE_COMMANDS, "Everything about images."))
cli.add_command(LazyGroup("volume", _VOLUME_COMMANDS, "Everything about volumes."))
cli.add_command(LazyGroup("network", _NETWORK_COMMANDS, "Everything about networks."))
cli.add_command(LazyGroup("system", _SYSTEM_COMMANDS, "Everything about the engine."))


def _choose_engine(host: str | None, version: bool) -> None:  # noqa: FBT001  # click calls it
    context = click.get_current_context()
    if version:
        click.echo(f"toolkit version {__version__}")
        context.exit()
    context.obj = EngineAccess(host)
    context.call_on_close(context.obj.close)


cli.callback = _choose_engine


def run_command(arguments: Sequence[str]) -> int:
    """Run a command line; print what went wrong; return the exit code."""
    try:
        ended_with = cli.main(args=list(arguments), prog_name="toolkit", standalone_mode=False)
    except click.UsageError as error:
        return _report_usage(error)
    except click.ClickException as error:
        report(ToolkitError(error.format_message()))
        return EXIT_FAILURE
    except ToolkitError as error:
        report(error)
        return EXIT_FAILURE
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except OutputClosedError:
        return _close_output()
    return ended_with if isinstance(ended_with, int) else 0


def _close_output() -> int:
    """Send what is still buffered to nobody; return the code of a broken pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return EXIT_PIPE


def _report_usage(error: click.UsageError) -> int:
    warn(f"toolkit: {error.format_message()}")
    if error.ctx is not None:
        warn(f"See '{error.ctx.command_path} --help'.")
    if isinstance(error, click.MissingParameter):  # a bad parameter, too, to click
        return EXIT_FAILURE
    bad_flag = (click.NoSuchOption, click.BadOptionUsage, click.BadParameter)
    return EXIT_USAGE if isinstance(error, bad_flag) else EXIT_FAILURE


def main() -> NoReturn:
    """Run the command line of this process and end with its exit code."""
    exit_code = run_command(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        exit_code = _close_output()
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
