# SPDX-License-Identifier: Apache-2.0
"""`version`, `info` and `events`: the engine itself."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from toolkit import __version__
from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.command import command, repeated
from toolkit.cli.containers import parse_filters
from toolkit.cli.moments import parse_moment
from toolkit.cli.output import escape, escape_lines, report, say, warn
from toolkit.cli.template import Template
from toolkit.cli.units import human_memory
from toolkit.client.client import NEWEST_API
from toolkit.errors import EngineUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NANOSECONDS: Final = 10**9
_template = click.option("-f", "--format", "template", default="", help="Template, or json.")

_PLUGINS: Final = ("Volume", "Network", "Log")
_INFO_LINES: Final = (
    ("Containers", "Containers"),
    (" Running", "ContainersRunning"),
    (" Paused", "ContainersPaused"),
    (" Stopped", "ContainersStopped"),
    ("Images", "Images"),
    ("Server Version", "ServerVersion"),
    ("Storage Driver", "Driver"),
    ("Logging Driver", "LoggingDriver"),
    ("Cgroup Driver", "CgroupDriver"),
    ("Cgroup Version", "CgroupVersion"),
    ("Default Runtime", "DefaultRuntime"),
    ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"),
    ("OSType", "OSType"),
    ("Architecture", "Architecture"),
    ("CPUs", "NCPU"),
    ("Total Memory", "MemTotal"),
    ("Name", "Name"),
    ("ID", "ID"),
    ("Root Dir", "DockerRootDir"),
    ("Debug Mode", "Debug"),
)


def show(document: Mapping[str, Any], template: str) -> None:
    """Print a document as JSON or by a template."""
    compiled = Template("{{json .}}" if template == "json" else template)
    say(escape_lines(compiled.render(document)))


@command("version")
@_template
@pass_access
def version(access: EngineAccess, template: str) -> int:
    """Show the versions of this command and of the engine."""
    client: dict[str, Any] = {
        "Version": __version__,
        "ApiVersion": "{}.{}".format(*NEWEST_API),
        "Python": platform.python_version(),
        "Os": platform.system().lower(),
        "Arch": platform.machine(),
    }
    try:
        server = access.client.system.version()
        client["ApiVersion"] = access.client.api_version
    except EngineUnreachableError as error:
        if not template:
            print_section("Client", client)
        report(error)
        return 1
    if template:
        show({"Client": client, "Server": server}, template)
        return 0
    print_section("Client", client)
    say("")
    print_section("Server", {key: server[key] for key in _SERVER_KEYS if server.get(key)})
    return 0


_SERVER_KEYS: Final = (
    "Version",
    "ApiVersion",
    "MinAPIVersion",
    "GitCommit",
    "Os",
    "Arch",
    "KernelVersion",
)


def print_section(title: str, values: Mapping[str, Any]) -> None:
    """Print names and values, aligned."""
    say(f"{title}:")
    for name, value in values.items():
        say(escape(f" {name + ':':<18}{value}"))


@command("info")
@_template
@pass_access
def info(access: EngineAccess, template: str) -> None:
    """Show what the engine has and can do."""
    document = access.client.system.info()
    if template:
        show(document, template)
        return
    for line in info_lines(document):
        say(escape(line))
    for warning in document.get("Warnings") or []:
        warn(str(warning))


def info_lines(document: Mapping[str, Any]) -> Iterable[str]:
    """Return the lines of `info` for what the engine told."""
    yield from _fact_lines(document)
    plugins = document.get("Plugins") or {}
    yield from _listed(
        "Plugins", (f"{k}: {' '.join(plugins[k])}" for k in _PLUGINS if k in plugins)
    )
    yield from _listed("Runtimes", sorted(document.get("Runtimes") or {}))
    registries = document.get("RegistryConfig") or {}
    insecure = [
        name for name, one in (registries.get("IndexConfigs") or {}).items() if not one["Secure"]
    ]
    yield from _listed("Security Options", document.get("SecurityOptions"))
    yield from _listed("Labels", document.get("Labels"))
    yield from _listed(
        "Insecure Registries", [*insecure, *(registries.get("InsecureRegistryCIDRs") or [])]
    )
    yield from _listed("Registry Mirrors", registries.get("Mirrors"))


def _listed(title: str, texts: Iterable[str] | None) -> Iterable[str]:
    """Return a title and a line for each text; nothing without texts."""
    lines = [f" {text}" for text in texts or ()]
    return [f"{title}:", *lines] if lines else []


def _fact_lines(document: Mapping[str, Any]) -> Iterable[str]:
    for name, key in _INFO_LINES:
        if key not in document:
            continue
        value = human_memory(document[key]) if key == "MemTotal" else document[key]
        yield f"{name}: {str(value).lower() if isinstance(value, bool) else value}"
        if key == "Driver":
            yield from (f" {left}: {right}" for left, right in document.get("DriverStatus") or [])


@command("events")
@repeated("-f", "--filter", help="Condition, key=value.")
@click.option("--format", "template", default="", help="Template, or json.")
@click.option("--since", default="", help="From then on: a time, or how long ago.")
@click.option("--until", default="", help="Up to then: a time, or how long ago.")
@pass_access
def events(access: EngineAccess, template: str, **options: Any) -> None:
    """Print what happens, as it happens."""
    stream = access.client.system.events(
        since=parse_moment(options["since"]),
        until=parse_moment(options["until"]),
        filters=parse_filters(options["filter"]),
    )
    compiled = Template(template)
    for event in stream:
        if template == "json":
            say(escape_lines(json.dumps(event)))
        else:
            say(escape(compiled.render(event) if template else event_line(event)))


def event_line(event: Mapping[str, Any]) -> str:
    """Return an event as docker prints it."""
    actor = event.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    nanoseconds = int(event.get("timeNano") or int(event.get("time", 0)) * _NANOSECONDS)
    seconds, fraction = divmod(nanoseconds, _NANOSECONDS)
    moment = datetime.fromtimestamp(seconds, UTC).astimezone()
    offset = moment.strftime("%z")
    zone = f"{offset[:3]}:{offset[3:]}" if moment.utcoffset() else "Z"
    when = f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:09d}{zone}"
    shown = ", ".join(f"{key}={attributes[key]}" for key in sorted(attributes))
    words = f"{when} {event.get('Type')} {event.get('Action')} {actor.get('ID')}"
    return f"{words} ({shown})" if shown else words
