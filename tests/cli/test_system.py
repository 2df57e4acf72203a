# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.fakes.stub_engine import StubEngine, says, streams
from toolkit import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine


def test_version_shows_both_sides(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("GET /version", says(200, {"Version": "9.9", "ApiVersion": "1.44"}))
    result = toolkit("version")
    assert result.exit_code == 0
    assert __version__ in result.out.partition("Server:")[0]
    assert "9.9" in result.out.partition("Server:")[2]
    assert toolkit("version", "-f", "{{.Server.Version}}").out == "9.9\n"


def test_version_without_an_engine_shows_ours_and_fails(
    toolkit: CommandLine, tmp_path: Path
) -> None:
    result = toolkit.at(f"unix://{tmp_path}/none", "version")
    assert result.exit_code == 1
    assert __version__ in result.out
    assert "Cannot connect" in result.err


def test_info_shows_what_the_engine_told(toolkit: CommandLine, stub: StubEngine) -> None:
    document = {
        "Containers": 3,
        "Driver": "overlay",
        "DriverStatus": [["Backing", "ext4"]],
        "MemTotal": 1 << 30,
        "Debug": False,
        "Warnings": ["no swap"],
        "Plugins": {"Volume": ["local"], "Network": ["bridge", "host", "null"], "Swarm": None},
        "Runtimes": {"native": {}, "lxc": {}},
        "SecurityOptions": ["name=seccomp,profile=builtin"],
        "RegistryConfig": {
            "InsecureRegistryCIDRs": ["127.0.0.0/8"],
            "IndexConfigs": {"docker.io": {"Secure": True}, "lab:5000": {"Secure": False}},
            "Mirrors": ["http://m/"],
        },
    }
    stub.on("GET /info", says(200, document))
    result = toolkit("info")
    assert result.out.splitlines() == [
        "Containers: 3",
        "Storage Driver: overlay",
        " Backing: ext4",
        "Total Memory: 1GiB",
        "Debug Mode: false",
        "Plugins:",
        " Volume: local",
        " Network: bridge host null",
        "Runtimes:",
        " lxc",
        " native",
        "Security Options:",
        " name=seccomp,profile=builtin",
        "Insecure Registries:",
        " lab:5000",
        " 127.0.0.0/8",
        "Registry Mirrors:",
        " http://m/",
    ]
    assert result.err == "no swap\n"


def test_events_are_printed_as_they_come(toolkit: CommandLine, stub: StubEngine) -> None:
    """S-14: a label of a container cannot steer the terminal."""
    event = {
        "Type": "container",
        "Action": "die",
        "Actor": {"ID": "abc", "Attributes": {"name": "x\x1b", "exitCode": "0"}},
        "timeNano": 1_500_000_000,
    }
    stub.on("GET /events", streams([json.dumps(event).encode() + b"\n"]))
    result = toolkit("events", "--since", "1", "--until", "2", "-f", "type=container")
    assert result.out.endswith("container die abc (exitCode=0, name=x\\x1b)\n")
    assert ":01.500000000" in result.out
    assert stub.lines[0].startswith("GET /events?since=1&until=2&filters=")
