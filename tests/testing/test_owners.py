# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.fakes.stub_engine import StubEngine, says
from toolkit.client import Client
from toolkit.testing.owners import OWNER_LABEL, is_gone, own_name, remove_orphans

if TYPE_CHECKING:
    from pathlib import Path


def gone_name() -> str:
    code = "from toolkit.testing.owners import own_name; print(own_name())"
    return subprocess.check_output([sys.executable, "-c", code], text=True).strip()


@pytest.mark.skipif(sys.platform != "linux", reason="processes are named by /proc")
def test_a_process_is_known_until_it_ends() -> None:
    assert not is_gone(own_name())
    assert is_gone(gone_name())


def test_a_number_that_is_used_again_is_another_process() -> None:
    machine, pid, started = own_name().split("/")
    assert is_gone(f"{machine}/{pid}/{started}1")


@pytest.mark.parametrize("name", ["", "x", "other-machine/1/2", "a/b/c"])
def test_what_is_of_another_machine_is_left_alone(name: str) -> None:
    assert not is_gone(name)


def test_orphans_are_removed_and_nothing_else(tmp_path: Path) -> None:
    stub = StubEngine()
    gone, ours = {OWNER_LABEL: gone_name()}, {OWNER_LABEL: own_name()}
    found = [{"Id": "dead", "Labels": gone}, {"Id": "alive", "Labels": ours}]
    stub.on("GET /containers/json", says(200, found))
    stub.on(
        "GET /networks", says(200, [{"Id": "net", "Labels": gone}, {"Id": "b", "Labels": None}])
    )
    stub.on("GET /volumes", says(200, {"Volumes": [{"Name": "vol", "Labels": gone}]}))
    for line in ("containers/dead", "networks/net", "volumes/vol"):
        stub.on(f"DELETE /{line}", says(204))
    with stub.serving(tmp_path / "s") as url, Client(url) as client:
        assert remove_orphans(client) == ["dead", "net", "vol"]
    asked = stub.request("GET /containers/json")
    assert OWNER_LABEL in json.dumps(asked.target)
