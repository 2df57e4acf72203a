# SPDX-License-Identifier: Apache-2.0
"""`system df` and `system prune`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.stub_engine import StubEngine, says

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine

ID = "ab" * 32


def container(state: str, size: int) -> dict[str, Any]:
    return {
        "Id": ID,
        "Names": ["/web"],
        "Image": "busybox",
        "Command": "sh",
        "Created": int(time.time()) - 7200,
        "Status": "Up 2 hours",
        "State": state,
        "SizeRw": size,
        "Mounts": [{"Type": "volume", "Name": "v"}, {"Type": "bind"}],
    }


def image(name: str, size: int, shared: int, users: int) -> dict[str, Any]:
    created = int(time.time()) - 7200
    return {
        "Id": "sha256:" + ID,
        "RepoTags": [name],
        "Created": created,
        "Size": size,
        "SharedSize": shared,
        "Containers": users,
    }


@pytest.fixture(autouse=True)
def _usage(stub: StubEngine) -> None:
    usage = {
        "LayersSize": 3000,
        "Images": [image("a:1", 2000, 1000, 1), image("b:1", 2000, 1000, 0)],
        "Containers": [container("running", 100), container("exited", 300)],
        "Volumes": [
            {"Name": "used", "UsageData": {"Size": 500, "RefCount": 1}},
            {"Name": "idle", "UsageData": {"Size": 1500, "RefCount": 0}},
            {"Name": "unknown", "UsageData": {"Size": -1, "RefCount": 0}},
        ],
        "BuildCache": None,
    }
    stub.on("GET /system/df", says(200, usage))


def test_the_summary_is_dockers_table(toolkit: CommandLine) -> None:
    assert toolkit("system", "df").out.splitlines() == [
        "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE",
        "Images          2         1         3kB       2kB (66%)",
        "Containers      2         1         400B      300B (75%)",
        "Local Volumes   3         1         2kB       1.5kB (75%)",
        "Build Cache     0         0         0B        0B",
    ]
    words = toolkit("system", "df", "--format", "{{.Type}}={{.TotalCount}}").out
    assert words == "Images=2\nContainers=2\nLocal Volumes=3\nBuild Cache=0\n"


def test_each_of_them_is_shown(toolkit: CommandLine) -> None:
    lines = toolkit("system", "df", "-v").out.splitlines()
    assert lines[0] == "Images space usage:"
    assert lines[3].split() == ["a", "1", "abababababab", "2", "hours", "ago", "2kB", "1kB",
                                "1kB", "1"]  # fmt: skip
    assert lines[6] == "Containers space usage:"
    assert lines[9].split()[3:5] == ["1", "100B"]
    assert lines[12] == "Local Volumes space usage:"
    assert [line.split() for line in lines[15:18]] == [
        ["used", "1", "500B"],
        ["idle", "0", "1.5kB"],
        ["unknown", "0", "0B"],
    ]
    assert lines[19] == "Build cache usage: 0B"


def pruning(stub: StubEngine) -> None:
    stub.on("POST /containers/prune", says(200, {"ContainersDeleted": [ID], "SpaceReclaimed": 300}))
    stub.on("POST /networks/prune", says(200, {"NetworksDeleted": ["lan"]}))
    stub.on("POST /volumes/prune", says(200, {"VolumesDeleted": ["v"], "SpaceReclaimed": 700}))
    deleted = [{"Untagged": "a:1"}, {"Deleted": "sha256:" + ID}]
    stub.on("POST /images/prune", says(200, {"ImagesDeleted": deleted, "SpaceReclaimed": 1000}))
    stub.on("POST /build/prune", says(200, {"CachesDeleted": None, "SpaceReclaimed": 0}))


def test_everything_unused_goes(toolkit: CommandLine, stub: StubEngine) -> None:
    pruning(stub)
    result = toolkit("system", "prune", "-f", "--volumes", "-a", "--filter", "until=1h")
    assert result.out == (
        f"Deleted Containers:\n{ID}\n\nDeleted Networks:\nlan\n\nDeleted Volumes:\nv\n\n"
        f"Deleted Images:\nuntagged: a:1\ndeleted: sha256:{ID}\n\nTotal reclaimed space: 2kB\n"
    )
    [volumes] = [line for line in stub.lines if "/volumes/prune" in line]
    assert "until" not in volumes  # the engine has no such filter for volumes
    assert "dangling" in next(line for line in stub.lines if "/images/prune" in line)


def test_volumes_stay_unless_asked_for(toolkit: CommandLine, stub: StubEngine) -> None:
    pruning(stub)
    assert "Total reclaimed space: 1.3kB" in toolkit("system", "prune", "--force").out
    assert "POST /volumes/prune" not in [line.partition("?")[0] for line in stub.lines]
