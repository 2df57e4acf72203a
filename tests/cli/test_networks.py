# SPDX-License-Identifier: Apache-2.0
"""`network` and its verbs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.stub_engine import StubEngine, says

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine

ID = "ab" * 32


def network(name: str, **changes: Any) -> dict[str, Any]:
    return {"Id": ID, "Name": name, "Driver": "bridge", "Scope": "local", **changes}


def created(toolkit: CommandLine, stub: StubEngine, *words: str) -> Any:
    stub.on("POST /networks/create", says(201, {"Id": ID, "Warning": ""}))
    assert toolkit("network", "create", *words) == (0, ID + "\n", "")
    return stub.request("POST /networks/create").document


def test_a_plain_network_asks_for_nothing(toolkit: CommandLine, stub: StubEngine) -> None:
    assert created(toolkit, stub, "lan") == {
        "Name": "lan",
        "CheckDuplicate": True,
        "Driver": "bridge",
        "Internal": False,
        "Attachable": False,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Config": []},
        "Options": {},
        "Labels": {},
    }


def test_addresses_go_to_the_subnet_that_holds_them(toolkit: CommandLine, stub: StubEngine) -> None:
    words = ("--subnet", "10.1.0.0/16,fd00:1::/64", "--gateway", "fd00:1::9", "--ipv6")
    more = ("--gateway=10.1.0.9", "--ip-range", "10.1.2.0/24", "--aux-address", "router=10.1.0.1")
    body = created(toolkit, stub, *words, *more, "lan")
    assert body["EnableIPv6"] is True
    assert body["IPAM"]["Config"] == [
        {
            "Subnet": "10.1.0.0/16",
            "IPRange": "10.1.2.0/24",
            "Gateway": "10.1.0.9",
            "AuxiliaryAddresses": {"router": "10.1.0.1"},
        },
        {"Subnet": "fd00:1::/64", "Gateway": "fd00:1::9"},
    ]


def test_flags_of_a_network_are_sent(toolkit: CommandLine, stub: StubEngine) -> None:
    words = ("--internal", "--attachable", "-o", "a=b", "--label", "k=v", "--label", "bare")
    body = created(toolkit, stub, *words, "lan")
    assert (body["Internal"], body["Attachable"]) == (True, True)
    assert (body["Options"], body["Labels"]) == ({"a": "b"}, {"k": "v", "bare": ""})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--gateway", "10.1.0.1"], "every ip-range or gateway must have a corresponding subnet"),
        (["--subnet", "10.1.0.0/16", "--gateway", "10.2.0.1"], "no matching subnet for gateway"),
        (["--subnet", "10.1.0.0/16", "--ip-range", "10.2.0.0/24"], "no matching subnet for range"),
        (
            ["--subnet", "10.1.0.0/16", "--aux-address", "a=10.2.0.1"],
            "no matching subnet for aux-address 10.2.0.1",
        ),
        (["--subnet", "10.1.0.0/16", "--subnet", "10.1.2.0/24"], "multiple overlapping subnet"),
        (
            ["--subnet=10.1.0.0/16,10.2.0.0/16", "--gateway=10.1.0.1,10.1.0.2"],
            "cannot configure multiple gateways (10.1.0.2, 10.1.0.1) for the same subnet",
        ),
        (
            ["--subnet=10.1.0.0/16,10.2.0.0/16", "--ip-range=10.1.1.0/24,10.1.2.0/24"],
            "cannot configure multiple ranges (10.1.2.0/24, 10.1.1.0/24) on the same subnet",
        ),
        (["--subnet", "10.1.0.0/33"], "invalid subnet '10.1.0.0/33'"),
        (["--subnet", "10.1.0.0/16", "--gateway", "$(reboot)"], "invalid address '$(reboot)'"),
        (["--opt", "bare"], "use key=value"),
    ],
)
def test_bad_flags_are_refused_in_one_line(
    toolkit: CommandLine, stub: StubEngine, words: list[str], message: str
) -> None:
    result = toolkit("network", "create", *words, "lan")
    assert (result.exit_code, result.out) == (1, "")
    assert message in result.err
    assert result.err.count("\n") == 1
    assert stub.lines == []


def test_a_warning_is_told(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("POST /networks/create", says(201, {"Id": ID, "Warning": "no IPv6 here"}))
    assert toolkit("network", "create", "lan") == (0, ID + "\n", "WARNING: no IPv6 here\n")


def test_networks_are_a_table(toolkit: CommandLine, stub: StubEngine) -> None:
    found = [network("net10"), network("net9", Labels={"a": "b"}), network("host", Driver="host")]
    stub.on("GET /networks", says(200, found))
    assert toolkit("network", "ls").out.splitlines() == [
        "NETWORK ID     NAME      DRIVER    SCOPE",
        "abababababab   host      host      local",
        "abababababab   net9      bridge    local",
        "abababababab   net10     bridge    local",
    ]
    assert toolkit("network", "ls", "-q").out == "abababababab\n" * 3
    assert toolkit("network", "list", "--no-trunc", "-q").out == f"{ID}\n" * 3
    out = toolkit("network", "ls", "--format", "{{.Name}}:{{.Labels}}:{{.Internal}}").out
    assert out == "host::false\nnet9:a=b:false\nnet10::false\n"
    toolkit("network", "ls", "-f", "name=lan", "--filter", "driver=bridge")
    assert "filters=%7B%22name%22" in stub.lines[-1]


def test_a_network_is_inspected(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("GET /networks/lan", says(200, network("lan")))
    assert json.loads(toolkit("network", "inspect", "lan").out) == [network("lan")]
    assert toolkit("network", "inspect", "-f", "{{.Driver}}", "lan").out == "bridge\n"
    assert toolkit("inspect", "-f", "{{.Name}}", "lan").out == "lan\n"
    assert toolkit("inspect", "--type", "network", "-f", "{{.Id}}", "lan").out == ID + "\n"
    assert toolkit("network", "inspect", "nosuch").exit_code == 1


def test_networks_are_removed_one_by_one(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("DELETE /networks/lan", says(204))
    stub.on("DELETE /networks/gone", says(404, {"message": "network gone not found"}))
    assert toolkit("network", "rm", "gone", "lan") == (1, "lan\n", _said("network gone not found"))
    assert toolkit("network", "rm", "-f", "gone").exit_code == 0
    stub.on("DELETE /networks/busy", says(403, {"message": "network busy has active endpoints"}))
    assert toolkit("network", "remove", "-f", "busy").exit_code == 1


def _said(message: str) -> str:
    return f"toolkit: {message}\n"


def test_a_container_is_connected_with_what_is_asked(
    toolkit: CommandLine, stub: StubEngine
) -> None:
    stub.on("POST /networks/lan/connect", says(200))
    words = ("--alias", "a", "--alias", "b", "--ip", "10.1.0.5", "--link", "db:store")
    assert toolkit("network", "connect", *words, "lan", "web") == (0, "", "")
    assert stub.request("POST /networks/lan/connect").document == {
        "Container": "web",
        "EndpointConfig": {
            "Aliases": ["a", "b"],
            "IPAMConfig": {"IPv4Address": "10.1.0.5"},
            "Links": ["db:store"],
        },
    }


def test_a_container_is_disconnected(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("POST /networks/lan/disconnect", says(200))
    assert toolkit("network", "disconnect", "-f", "lan", "web") == (0, "", "")
    assert stub.request("POST /networks/lan/disconnect").document == {
        "Container": "web",
        "Force": True,
    }


def test_prune_tells_what_is_gone(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("POST /networks/prune", says(200, {"NetworksDeleted": ["a", "b"]}))
    assert toolkit("network", "prune", "-f").out == "Deleted Networks:\na\nb\n\n"
    stub.on("POST /networks/prune", says(200, {"NetworksDeleted": None}))
    assert toolkit("network", "prune", "-f", "--filter", "label=x").out == ""


def test_an_error_of_the_engine_is_one_line(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("POST /networks/create", says(403, {"message": "Pool overlaps"}))
    assert toolkit("network", "create", "lan") == (1, "", "toolkit: Pool overlaps\n")
