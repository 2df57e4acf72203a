# SPDX-License-Identifier: Apache-2.0
"""`toolkit engine`: the one place where the command line becomes an engine.

Everything below the process boundary is imported inside the command only.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from toolkit.cli.command import command, repeated
from toolkit.cli.units import parse_memory
from toolkit.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from toolkit.config import Instance

_EXTRA: Final = ("h11", "msgspec", "urllib3")
_VARIABLES: Final = {
    "storage_driver": "TOOLKIT_STORAGE_DRIVER",
    "data_root": "TOOLKIT_DATA_ROOT",
    "insecure_registry": "TOOLKIT_INSECURE_REGISTRIES",
    "registry_mirror": "TOOLKIT_REGISTRY_MIRRORS",
    "registry_certs": "TOOLKIT_REGISTRY_CERTS",
    "max_unpacked": "TOOLKIT_MAX_UNPACKED",
    "bip": "TOOLKIT_BIP",
    "fixed_cidr": "TOOLKIT_FIXED_CIDR",
    "ipv6": "TOOLKIT_IPV6",
    "fixed_cidr_v6": "TOOLKIT_FIXED_CIDR_V6",
    "ip": "TOOLKIT_IP",
    "mtu": "TOOLKIT_MTU",
    "dns": "TOOLKIT_DNS",
    "dns_search": "TOOLKIT_DNS_SEARCH",
    "dns_opt": "TOOLKIT_DNS_OPT",
    "icc": "TOOLKIT_ICC",
    "iptables": "TOOLKIT_IPTABLES",
    "ip_forward": "TOOLKIT_IP_FORWARD",
    "userland_proxy": "TOOLKIT_USERLAND_PROXY",
    "cap_profile": "TOOLKIT_CAP_PROFILE",
}


class EngineExtraMissingError(HostError):
    """The packages that an engine needs are not installed."""

    hint = "Install them: pip install 'container-toolkit[engine]'"


def _overruling(name: str, *, help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # noqa: A002  # click's word
    """Declare a boolean flag that overrules its variable, and only when it is given."""
    return click.option(f"{name}/--no-{name.removeprefix('--')}", default=None, help=help)


@command("engine")
@click.option("--instance", "name", default="", help="Name of the instance.")
@click.option("--backend", default="", help="Default backend: native or lxc.")
@click.option("--storage-driver", default="", help="overlay, btrfs or vfs.")
@click.option("--data-root", default="", help="Directory of images, containers and volumes.")
@repeated("--insecure-registry", help="Registry without TLS: HOST[:PORT] or a network.")
@repeated("--registry-mirror", help="URL that is asked before Docker Hub.")
@click.option("--registry-certs", default="", help="Directory of HOST:PORT/ca.crt.")
@click.option("--max-unpacked", default="", help="Most bytes of one layer, as in 20g.")
@click.option("--bip", default="", help="The default bridge's address with its prefix length.")
@click.option("--fixed-cidr", default="", help="Network that its containers' addresses are of.")
@_overruling("--ipv6", help="The default bridge has IPv6, too.")
@click.option("--fixed-cidr-v6", default="", help="Its IPv6 network; else one of our own.")
@click.option("--ip", default="", help="Where ports are published that name no address.")
@click.option("--mtu", default="", help="Bytes of a packet of bridges and containers' links.")
@repeated("--dns", help="Resolver of containers that name none.")
@repeated("--dns-search", help="Search domain of containers that name none.")
@repeated("--dns-opt", help="Resolver option of containers that name none.")
@_overruling("--icc", help="Containers of the default bridge may speak to each other.")
@_overruling("--iptables", help="Use iptables where there is one; false: nftables alone.")
@_overruling("--ip-forward", help="Switch the kernel's forwarding on.")
@_overruling("--userland-proxy", help="Serve published ports by processes, too.")
@click.option("--cap-profile", default="", help="Capabilities by default: podman's or docker's.")
@click.option("--socket", "socket_path", default="", help="Path to listen on.")
@click.option(
    "--until-idle",
    type=click.FloatRange(min=0),
    default=None,
    metavar="SECONDS",
    help="End when nobody has held a session for so long; leave nothing but data.",
)
@click.option(
    "--log-level",
    default="info",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Least important messages to log.",
)
def engine(
    name: str,
    backend: str,
    *,
    socket_path: str,
    until_idle: float | None,
    log_level: str,
    **settings: str | tuple[str, ...] | bool | None,
) -> int:
    """Run the engine of an instance in the foreground, until a signal ends it."""
    missing = [package for package in _EXTRA if importlib.util.find_spec(package) is None]
    if missing:
        raise EngineExtraMissingError(f"the engine needs {', '.join(missing)}")
    from toolkit.api.main import run_engine  # noqa: PLC0415  # the boundary: engine packages

    chosen = {variable: _joined(settings[flag]) for flag, variable in _VARIABLES.items()}
    if size := chosen["TOOLKIT_MAX_UNPACKED"]:
        chosen["TOOLKIT_MAX_UNPACKED"] = str(parse_memory(size))
    instance = chosen_instance(name, backend, socket_path, chosen)
    environ = with_flags(os.environ, chosen)
    return run_engine(instance, log_level=log_level, idle_seconds=until_idle, environ=environ)


def _joined(value: object) -> str:
    """Return a flag's value as its variable has it; empty for a flag that was not given."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case tuple():
            return ",".join(value)
    return ""


def with_flags(environ: Mapping[str, str], chosen: Mapping[str, str]) -> dict[str, str]:
    """Return the environment, overruled by the flags that were given."""
    return {**environ, **{key: value for key, value in chosen.items() if value}}


def chosen_instance(
    name: str, backend: str, socket_path: str, chosen: Mapping[str, str] | None = None
) -> Instance:
    """Return the instance that the flags name, then the environment, then the defaults.

    Raises:
        InvalidRequestError: A name cannot be used.
    """
    from toolkit.config import Instance  # noqa: PLC0415  # costs what no other command needs

    environ = with_flags(os.environ, chosen or {})
    if name:
        environ["TOOLKIT_INSTANCE"] = name
    if backend:
        environ["TOOLKIT_BACKEND"] = backend
    instance = Instance.from_environment(environ)
    if not socket_path:
        return instance
    from dataclasses import replace  # noqa: PLC0415  # as above

    return replace(instance, socket_path=Path(socket_path).absolute())
