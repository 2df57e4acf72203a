# SPDX-License-Identifier: Apache-2.0
"""The flags that `run` and `create` share. What they mean on the wire is `create_body`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from toolkit.cli.command import repeated, switch

if TYPE_CHECKING:
    from collections.abc import Callable

_TEXTS: Final = (
    ("--cgroupns", "Cgroup namespace to use: host or private."),
    ("--cidfile", "Write the container's id to this file."),
    ("--cpus", "Number of CPUs."),
    ("--cpuset-cpus", "CPUs to run on, as 0-3 or 0,1."),
    ("--cpuset-mems", "Memory nodes to use."),
    ("--domainname", "Domain name of the container."),
    ("--health-cmd", "Command for a shell that tells whether the container is well."),
    ("--health-interval", "Time between two health checks, as 30s."),
    ("--health-start-interval", "Time between two checks in the start period."),
    ("--health-start-period", "Failures this soon after the start do not count."),
    ("--health-timeout", "Longest time that a check may take."),
    ("--ip", "IPv4 address on the network."),
    ("--ip6", "IPv6 address on the network."),
    ("--ipc", "IPC mode."),
    ("--log-driver", "Logging driver."),
    ("--mac-address", "MAC address."),
    ("--memory-reservation", "Soft memory limit."),
    ("--memory-swap", "Memory and swap together; -1 for unlimited swap."),
    ("--name", "Name of the container."),
    ("--pid", "PID namespace to use."),
    ("--platform", "Platform of the image."),
    ("--restart", "What to do when the program ends: no, always, on-failure[:n], unless-stopped."),
    ("--runtime", "Backend to use: native or lxc."),
    ("--shm-size", "Size of /dev/shm."),
    ("--stop-signal", "Signal that stops the container."),
    ("--userns", "User namespace to use."),
    ("--uts", "UTS namespace to use."),
)
_SHORT_TEXTS: Final = (
    ("-h", "--hostname", "Host name of the container."),
    ("-m", "--memory", "Memory limit, as 64m."),
    ("-u", "--user", "User, and group after a colon."),
    ("-w", "--workdir", "Working directory in the container."),
)
_NUMBERS: Final = (
    ("--blkio-weight", "Block I/O weight, 10 to 1000."),
    ("--cpu-period", "CFS period in microseconds."),
    ("--cpu-quota", "CFS quota in microseconds."),
    ("--health-retries", "Failures in a row that make it unhealthy."),
    ("--memory-swappiness", "Swappiness, 0 to 100."),
    ("--oom-score-adj", "The kernel's preference for killing it."),
    ("--pids-limit", "Most processes; -1 for no limit."),
    ("--stop-timeout", "Seconds to wait before killing it."),
)
_LISTS: Final = (
    ("--add-host", "Line for /etc/hosts, name:address."),
    ("--cap-add", "Add a capability."),
    ("--cap-drop", "Drop a capability."),
    ("--device", "Give a device of the host."),
    ("--dns", "Name server."),
    ("--dns-search", "Search domain."),
    ("--env-file", "File of environment variables."),
    ("--expose", "Port to expose."),
    ("--group-add", "Further group of the program."),
    ("--label-file", "File of labels."),
    ("--link", "Link to a container, name:alias."),
    ("--link-local-ip", "Link-local address on the network."),
    ("--log-opt", "Option of the logging driver."),
    ("--lxc-conf", "Raw LXC setting, key=value."),
    ("--mount", "Mount, as type=bind,source=...,target=..."),
    ("--security-opt", "Security option."),
    ("--sysctl", "Kernel setting of the container."),
    ("--tmpfs", "Mount a tmpfs, path[:options]."),
    ("--ulimit", "Resource limit, name=soft[:hard]."),
    ("--volumes-from", "Take over the volumes of a container."),
)
_LISTS_OF_TWO_NAMES: Final = (
    ("--dns-option", "--dns-opt", "Resolver option."),
    ("--network", "--net", "Network to connect to, by name or as name=...,alias=...,ip=..."),
    ("--network-alias", "--net-alias", "Further name on the network."),
)
_SHORT_LISTS: Final = (
    ("-a", "--attach", "Attach to stdin, stdout or stderr."),
    ("-e", "--env", "Environment variable."),
    ("-l", "--label", "Label, key=value."),
    ("-p", "--publish", "Publish a port, [[ip:]hostPort:]containerPort."),
    ("-v", "--volume", "Mount a volume or a directory, [source:]target[:ro]."),
)
_SWITCHES: Final = (
    ("--init", "Run an init that reaps processes."),
    ("--no-healthcheck", "Run no health check, whatever the image says."),
    ("--oom-kill-disable", "Do not kill it when memory runs out."),
    ("--privileged", "Give it every privilege."),
    ("--read-only", "Mount its root read-only."),
    ("--rm", "Remove it when it ends."),
)
_SHORT_SWITCHES: Final = (
    ("-P", "--publish-all", "Publish every exposed port."),
    ("-i", "--interactive", "Keep standard input open."),
    ("-t", "--tty", "Give it a terminal."),
)


def create_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Declare every flag that says what a container shall be."""
    for name, text in _TEXTS:
        function = click.option(name, default="", help=text)(function)
    for short, name, text in _SHORT_TEXTS:
        function = click.option(short, name, default="", help=text)(function)
    for name, text in _NUMBERS:
        function = click.option(name, type=int, default=None, help=text)(function)
    for name, text in _LISTS:
        function = repeated(name, help=text)(function)
    for short, name, text in _SHORT_LISTS:
        function = repeated(short, name, help=text)(function)
    for name, text in _SWITCHES:
        function = switch(name, help=text)(function)
    for short, name, text in _SHORT_SWITCHES:
        function = switch(short, name, help=text)(function)
    function = click.option("-c", "--cpu-shares", type=int, default=None, help="CPU shares.")(
        function
    )
    for name, other, text in _LISTS_OF_TWO_NAMES:
        function = repeated(name, other, help=text)(function)
    return click.option("--entrypoint", default=None, help="Program instead of the image's.")(
        function
    )
