# SPDX-License-Identifier: Apache-2.0
"""`network`: create, ls, inspect, connect, disconnect, rm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.command import command, repeated, switch
from toolkit.cli.containers import SHORT_ID, parse_filters, print_lines, print_rows
from toolkit.cli.inspect import show_each
from toolkit.cli.lifecycle import apply_to_each
from toolkit.cli.naturally import natural_key
from toolkit.cli.network_pools import parse_pools
from toolkit.cli.network_specs import endpoint_of, parse_link
from toolkit.cli.output import escape, say, warn
from toolkit.cli.specs import parse_labels, parse_pairs
from toolkit.client import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from toolkit.client.jsonstream import Document

_COLUMNS: Final = {"NETWORK ID": "ID", "NAME": "Name", "DRIVER": "Driver", "SCOPE": "Scope"}
_HTTP_NOT_FOUND: Final = 404


def _flags_of_create(function: Callable[..., Any]) -> Callable[..., Any]:
    """Declare what a network may be."""
    for option in (
        click.option("-d", "--driver", default="bridge", help="There is only bridge."),
        repeated("--subnet", help="Subnet, as 10.1.0.0/16."),
        repeated("--ip-range", help="Part of the subnet that addresses are taken from."),
        repeated("--gateway", help="Address of the host on the subnet."),
        repeated("--aux-address", help="Address that is another machine's, name=address."),
        click.option("--ipam-driver", default="default", help="There is only default."),
        repeated("-o", "--opt", help="Option of the driver, key=value."),
        repeated("--label", help="Label, key=value."),
        switch("--internal", help="Nothing gets out, and nothing in."),
        switch("--ipv6", help="IPv6 addresses, too."),
        switch("--attachable", help="Taken, and shown again."),
    ):
        function = option(function)
    return function


@command("create")
@_flags_of_create
@click.argument("name", metavar="NETWORK")
@pass_access
def create(access: EngineAccess, name: str, **options: Any) -> None:
    """Make a network."""
    made = access.client.networks.create(create_body(name, options))
    if made.get("Warning"):
        warn(f"WARNING: {made['Warning']}")
    say(escape(str(made["Id"])))


def create_body(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a network's create.

    Raises:
        InvalidRequestError: A flag's value cannot be used.
    """
    return {
        "Name": name,
        "CheckDuplicate": True,
        "Driver": options["driver"],
        "Internal": options["internal"],
        "Attachable": options["attachable"],
        "EnableIPv6": options["ipv6"],
        "IPAM": {
            "Driver": options["ipam_driver"],
            "Config": parse_pools(
                options["subnet"],
                options["ip_range"],
                options["gateway"],
                parse_pairs("aux-address", options["aux_address"]),
            ),
        },
        "Options": parse_pairs("opt", options["opt"]),
        "Labels": parse_labels(options["label"]),
    }


@command("ls")
@repeated("-f", "--filter", help="Condition, key=value.")
@click.option("--format", "template", default="", help="table, json, or a template.")
@switch("--no-trunc", help="Do not cut anything short.")
@switch("-q", "--quiet", help="Print ids only.")
@pass_access
def ls(access: EngineAccess, **options: Any) -> None:
    """List networks."""
    found = access.client.networks.list(filters=parse_filters(options["filter"]))
    found.sort(key=lambda one: natural_key(str(one["Name"])))
    rows = [network_row(one, is_cut=not options["no_trunc"]) for one in found]
    if options["quiet"]:
        print_lines(row["ID"] for row in rows)
    else:
        print_rows(rows, _COLUMNS, options["template"])


def network_row(document: Document, *, is_cut: bool) -> dict[str, str]:
    """Return a network by docker's names of columns."""
    network_id = str(document["Id"])
    labels = document.get("Labels") or {}
    return {
        "ID": network_id[:SHORT_ID] if is_cut else network_id,
        "Name": str(document["Name"]),
        "Driver": str(document["Driver"]),
        "Scope": str(document["Scope"]),
        "IPv4": _word(document.get("EnableIPv4", True)),
        "IPv6": _word(document.get("EnableIPv6", False)),
        "Internal": _word(document.get("Internal", False)),
        "Labels": ",".join(f"{key}={value}" for key, value in labels.items()),
        "CreatedAt": str(document.get("Created", "")),
    }


def _word(value: object) -> str:
    return "true" if value else "false"


@command("inspect")
@click.option("-f", "--format", "template", default="", help="Template, or json.")
@switch("-v", "--verbose", help="Taken: there is nothing more to show.")
@click.argument("names", nargs=-1, required=True, metavar="NETWORK...")
@pass_access
def inspect(access: EngineAccess, names: tuple[str, ...], *, template: str, verbose: bool) -> int:
    """Show everything about networks."""
    del verbose
    return show_each(names, [access.client.networks.inspect], template)


@command("rm")
@switch("-f", "--force", help="Pass over one that is not there.")
@click.argument("names", nargs=-1, required=True, metavar="NETWORK...")
@pass_access
def rm(access: EngineAccess, names: tuple[str, ...], *, force: bool) -> int:
    """Remove networks that no container is on."""

    def remove(name: str) -> None:
        try:
            access.client.networks.remove(name)
        except ApiError as error:
            if not (force and error.status == _HTTP_NOT_FOUND):
                raise

    return apply_to_each(names, remove)


@command("connect")
@repeated("--alias", "network_alias", help="Further name of the container on the network.")
@repeated("--driver-opt", help="Option of the driver, key=value.")
@click.option("--ip", default="", help="IPv4 address on the network.")
@click.option("--ip6", default="", help="IPv6 address on the network.")
@repeated("--link", help="Link to a container, name:alias.")
@repeated("--link-local-ip", help="Link-local address on the network.")
@click.option("--mac-address", default="", help="MAC address.")
@click.argument("network")
@click.argument("container")
@pass_access
def connect(access: EngineAccess, network: str, container: str, **options: Any) -> None:
    """Connect a container to a network."""
    endpoint = endpoint_of(options)
    if options["link"]:
        endpoint["Links"] = [parse_link(text) for text in options["link"]]
    if options["driver_opt"]:
        endpoint["DriverOpts"] = parse_pairs("driver-opt", options["driver_opt"])
    access.client.networks.connect(network, container, endpoint)


@command("disconnect")
@switch("-f", "--force", help="Also where the container is gone.")
@click.argument("network")
@click.argument("container")
@pass_access
def disconnect(access: EngineAccess, network: str, container: str, *, force: bool) -> None:
    """Disconnect a container from a network."""
    access.client.networks.disconnect(network, container, force=force)
