# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from toolkit.cli import specs
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("texts", "volumes", "binds"),
    [
        (["/srv"], {"/srv": {}}, []),
        (["/srv", "/var"], {"/srv": {}, "/var": {}}, []),
        (["/hostTmp:/containerTmp"], {}, ["/hostTmp:/containerTmp"]),
        (["/a:/b", "/c:/d"], {}, ["/a:/b", "/c:/d"]),
        (["/a:/b:ro", "/c:/d:rw"], {}, ["/a:/b:ro", "/c:/d:rw"]),
        (["/a:/b", "/c"], {"/c": {}}, ["/a:/b"]),
        ([], {}, []),
        (["/"], {"/": {}}, []),
        (["name:/data"], {}, ["name:/data"]),
    ],
)
def test_volumes_are_parsed(texts: list[str], volumes: dict[str, Any], binds: list[str]) -> None:
    """RT-078, API-082; as docker's clients of today, a bind is no volume."""
    assert specs.parse_volumes(texts) == (volumes, binds)


@pytest.mark.parametrize(
    "text", ["/:/", "/srv:", "/srv:ro", "/srv::", ":", "::", "/srv:/srv:/srv:/srv", "", "relative"]
)
def test_bad_volumes_are_refused(text: str) -> None:
    """RT-078, API-082."""
    with pytest.raises(InvalidRequestError, match="invalid volume"):
        specs.parse_volumes([text])


def test_a_source_that_begins_with_a_dot_is_a_path_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert specs.parse_volumes(["./a:/b"]) == ({}, [f"{tmp_path}/a:/b"])


def test_a_bare_name_takes_the_callers_value_or_is_sent_bare() -> None:
    environ = {"HERE": "1"}
    assert specs.parse_environment(["A=b", "E=", "HERE", "GONE"], [], environ) == [
        "A=b",
        "E=",
        "HERE=1",
        "GONE",
    ]


def test_a_file_of_variables_comes_before_the_flags(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# comment\n\nA=from file\n  B=x\nHERE\nGONE\n")
    got = specs.parse_environment(["A=flag"], [str(file)], {"HERE": "1"})
    assert got == ["A=from file", "B=x", "HERE=1", "A=flag"]


@pytest.mark.parametrize(("texts", "files"), [(["=x"], []), ([], ["/nonexistent/file"])])
def test_a_bad_environment_is_refused(texts: list[str], files: list[str]) -> None:
    with pytest.raises(InvalidRequestError):
        specs.parse_environment(texts, files, {})


def test_a_mount_has_its_options_in_the_right_place() -> None:
    text = "type=bind,src=/a,dst=/b,readonly,bind-propagation=rshared"
    assert specs.parse_mount(text) == {
        "Type": "bind",
        "Source": "/a",
        "Target": "/b",
        "ReadOnly": True,
        "BindOptions": {"Propagation": "rshared"},
    }
    assert specs.parse_mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1777") == {
        "Type": "tmpfs",
        "Target": "/t",
        "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o1777},
    }


@pytest.mark.parametrize(
    "text", ["type=bind", "type=zip,target=/a", "target=/a,bogus=1", "target=/a,ro=perhaps"]
)
def test_bad_mounts_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        specs.parse_mount(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/dev/a", ("/dev/a", "/dev/a", "rwm")),
        ("/dev/a:/dev/b", ("/dev/a", "/dev/b", "rwm")),
        ("/dev/a:r", ("/dev/a", "/dev/a", "r")),
        ("/dev/a:/dev/b:rw", ("/dev/a", "/dev/b", "rw")),
    ],
)
def test_devices_are_parsed(text: str, expected: tuple[str, str, str]) -> None:
    assert tuple(specs.parse_device(text).values()) == expected


@pytest.mark.parametrize("text", ["", "/dev/a:x", "/dev/a:/b:rw:c"])
def test_bad_devices_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="invalid device"):
        specs.parse_device(text)


def test_ulimits_are_parsed() -> None:
    assert specs.parse_ulimit("nofile=10:20") == {"Name": "nofile", "Soft": 10, "Hard": 20}
    assert specs.parse_ulimit("core=0") == {"Name": "core", "Soft": 0, "Hard": 0}
    with pytest.raises(InvalidRequestError, match="invalid ulimit"):
        specs.parse_ulimit("x")


def test_restart_policies_are_parsed() -> None:
    assert specs.parse_restart_policy("") == {"Name": "no", "MaximumRetryCount": 0}
    assert specs.parse_restart_policy("on-failure:3")["MaximumRetryCount"] == 3
    for text in ("always:3", "never", "on-failure:x"):
        with pytest.raises(InvalidRequestError, match="invalid restart policy"):
            specs.parse_restart_policy(text)


def test_pairs_are_trimmed() -> None:
    """RT-073."""
    for text in ("lxc.utsname=docker", "lxc.utsname = docker "):
        assert specs.parse_pairs("lxc-conf", [text]) == {"lxc.utsname": "docker"}
    with pytest.raises(InvalidRequestError, match="key=value"):
        specs.parse_pairs("lxc-conf", ["x"])


def test_every_key_of_a_mount_is_understood() -> None:
    text = (
        "type=volume,src=v,dst=/d,ro,volume-nocopy,volume-label=a=b,volume-driver=local,"
        "volume-opt=o=1,volume-subpath=s"
    )
    assert specs.parse_mount(text) == {
        "Type": "volume",
        "Source": "v",
        "Target": "/d",
        "ReadOnly": True,
        "VolumeOptions": {
            "NoCopy": True,
            "Labels": {"a": "b"},
            "DriverConfig": {"Name": "local", "Options": {"o": "1"}},
            "Subpath": "s",
        },
    }
    bound = specs.parse_mount("type=bind,src=/s,dst=/d,bind-nonrecursive,bind-propagation=rslave")
    assert bound["BindOptions"] == {"NonRecursive": True, "Propagation": "rslave"}
    for recursive, options in (
        ("disabled", {"NonRecursive": True}),
        ("writable", {"ReadOnlyNonRecursive": True}),
        ("enabled", None),
    ):
        made = specs.parse_mount(f"type=bind,src=/s,dst=/d,bind-recursive={recursive}")
        assert made.get("BindOptions") == options
