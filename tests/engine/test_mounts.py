# SPDX-License-Identifier: Apache-2.0
"""Which mounts a container gets."""

from __future__ import annotations

import posixpath
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.engine.model import (
    ContainerId,
    ContainerRecord,
    ContainerSpec,
    HostOptions,
    ImageId,
    Mount,
)
from toolkit.engine.mounts import checked_target, resolve_mounts
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from pathlib import Path


def resolved(spec: ContainerSpec, others: tuple[Mount, ...] = ()) -> tuple[Mount, ...]:
    other = ContainerRecord(
        id=ContainerId("a" * 64),
        name="other",
        created=datetime.now(UTC),
        image_id=ImageId(""),
        path="x",
        args=(),
        spec=spec,
        mounts=others,
    )
    return resolve_mounts(spec, lambda _: other)


def spec_with(*mounts: Mount, volumes: tuple[str, ...] = (), **host: object) -> ContainerSpec:
    options = HostOptions(mounts=mounts, **host)  # type: ignore[arg-type]  # fields by name
    return ContainerSpec(image="x", volumes=volumes, host=options)


def test_mounts_are_sorted_so_that_parents_come_first() -> None:
    """Rule 4.5."""
    spec = spec_with(
        Mount(kind="bind", source="/h", target="/v/a/b"),
        Mount(kind="volume", source="named", target="/v"),
        tmpfs={"/v/a": "size=1m"},
        volumes=("/other",),
    )
    found = resolved(spec)
    assert [mount.target for mount in found] == ["/other", "/v", "/v/a", "/v/a/b"]
    assert [mount.kind for mount in found] == ["volume", "volume", "tmpfs", "bind"]
    assert [mount.anonymous for mount in found] == [True, False, False, False]


def test_a_path_that_is_mounted_gets_no_volume_of_its_own() -> None:
    spec = spec_with(Mount(kind="bind", source="/h", target="/v"), volumes=("/v/", "/v/."))
    assert [mount.kind for mount in resolved(spec)] == ["bind"]


def test_volumes_from_gives_the_others_mounts_but_its_own_win() -> None:
    others = (
        Mount(kind="volume", source="data", target="/data", anonymous=True),
        Mount(kind="bind", source="/h", target="/mine"),
        Mount(kind="tmpfs", source="", target="/t"),
    )
    own = Mount(kind="bind", source="/own", target="/mine")
    spec = spec_with(own, volumes_from=("other:ro",))
    data, mine = resolved(spec, others)
    assert (data.source, data.read_only, data.anonymous) == ("data", True, True)
    assert mine.source == "/own"
    with pytest.raises(InvalidRequestError, match="invalid mode"):
        resolved(spec_with(volumes_from=("other:rx",)), others)


@pytest.mark.parametrize(
    "path",
    ["", ".", "/", "//", "/..", "/a/..", "x", "x:/y", "/a\nb", "/a\0", "/" + "x" * 5000,
     "/proc", "/proc/sys", "/./proc//1", "//proc"],
)  # fmt: skip
def test_a_target_that_cannot_be_mounted_on_is_refused(path: str) -> None:
    """Row S-27, defect D-14; the message names the path."""
    with pytest.raises(InvalidRequestError):
        checked_target(path)


@given(st.text("ab/.", max_size=20))
def test_a_target_has_no_detours(path: str) -> None:
    try:
        target = checked_target(path)
    except InvalidRequestError:
        return
    assert target.startswith("/")
    assert not target.startswith("//")
    assert posixpath.normpath(target) == target
    assert ".." not in target.split("/")


@pytest.mark.parametrize(
    "mount",
    [
        Mount(kind="bind", source="relative", target="/t"),
        Mount(kind="bind", source="/a\nb", target="/t"),
        Mount(kind="bind", source="/h", target="/t", propagation="evil"),
        Mount(kind="volume", source="a/b", target="/t"),
        Mount(kind="volume", source="..", target="/t"),
        Mount(kind="tmpfs", source="", target="/t", options="bind"),
    ],
)
def test_a_mount_that_cannot_be_made_is_refused(mount: Mount) -> None:
    with pytest.raises(InvalidRequestError):
        resolved(spec_with(mount))


def test_two_mounts_on_one_target_are_refused() -> None:
    mounts = [Mount(kind="bind", source=f"/{name}", target="/t/") for name in "ab"]
    with pytest.raises(InvalidRequestError, match="Duplicate mount point: /t"):
        resolved(spec_with(*mounts))


def test_a_missing_source_is_refused_for_mounts_and_left_to_the_start_for_binds(
    tmp_path: Path,
) -> None:
    """API-050 in today's form."""
    missing = str(tmp_path / "nowhere")
    asked = Mount(kind="bind", source=missing, target="/t", from_binds=False)
    with pytest.raises(InvalidRequestError, match="bind source path does not exist"):
        resolved(spec_with(asked))
    resolved(spec_with(Mount(kind="bind", source=missing, target="/t")))
    resolved(spec_with(Mount(kind="bind", source="/", target="/t", from_binds=False)))
