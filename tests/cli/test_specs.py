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


def test_links_are_kept_in_order() -> None:
    """RT-076, API-080."""
    assert [specs.parse_link(text) for text in ("a:b", "c:d")] == ["a:b", "c:d"]


@pytest.mark.parametrize("text", ["a", "", ":b", "a:", "a:b:c"])
def test_bad_links_are_refused(text: str) -> None:
    """RT-076, API-080."""
    with pytest.raises(InvalidRequestError, match="name:alias"):
        specs.parse_link(text)


@pytest.mark.parametrize("text", ["1.2.3.4", "127.0.0.1", "::1"])
def test_addresses_are_returned_as_they_stand(text: str) -> None:
    """RT-079, API-085."""
    assert specs.parse_address("dns", text) == text


@pytest.mark.parametrize("text", ["127", "random invalid string", "", "1.2.3.4.5"])
def test_bad_addresses_are_refused(text: str) -> None:
    """RT-079, API-085."""
    with pytest.raises(InvalidRequestError, match="not an IP address"):
        specs.parse_address("dns", text)


@pytest.mark.parametrize(
    ("text", "port", "address", "host_port"),
    [
        ("80", "80/tcp", "", ""),
        ("8080:80", "80/tcp", "", "8080"),
        (":80", "80/tcp", "", ""),
        ("192.168.1.100::80", "80/tcp", "192.168.1.100", ""),
        ("192.168.1.100:8080:80", "80/tcp", "192.168.1.100", "8080"),
        ("192.168.1.100::6000/udp", "6000/udp", "192.168.1.100", ""),
        ("[::1]:53:53/udp", "53/udp", "::1", "53"),
        ("8000-8010:80", "80/tcp", "", "8000-8010"),
    ],
)
def test_ports_are_parsed(text: str, port: str, address: str, host_port: str) -> None:
    """RT-089, RT-090, RT-091, RT-092, API-122."""
    ports, bindings = specs.parse_ports([text], [])
    assert ports == {port: {}}
    assert bindings == {port: [{"HostIp": address, "HostPort": host_port}]}


def test_a_range_of_ports_goes_pairwise() -> None:
    _, bindings = specs.parse_ports(["8000-8001:90-91"], [])
    assert [(port, one[0]["HostPort"]) for port, one in bindings.items()] == [
        ("90/tcp", "8000"),
        ("91/tcp", "8001"),
    ]


def test_a_port_published_twice_keeps_both_bindings() -> None:
    _, bindings = specs.parse_ports(["1:80", "2:80"], ["81"])
    assert [one["HostPort"] for one in bindings["80/tcp"]] == ["1", "2"]


def test_exposed_ports_have_their_protocol_behind() -> None:
    assert specs.parse_ports([], ["80/udp", "90-91"])[0] == {
        "80/udp": {},
        "90/tcp": {},
        "91/tcp": {},
    }


@pytest.mark.parametrize(
    "text", ["", "x", "1:2:3:4", "65536", "80/xyz", "1-2:1-3", "9-8", "host:1:2", "-1"]
)
def test_bad_ports_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="invalid port"):
        specs.parse_ports([text], [])


def test_an_exposed_port_with_a_host_port_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="--expose"):
        specs.parse_ports([], ["80:80"])


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


def test_extra_hosts_take_both_signs() -> None:
    assert specs.parse_extra_host("a:1.2.3.4") == specs.parse_extra_host("a=1.2.3.4") == "a:1.2.3.4"
    assert specs.parse_extra_host("h:host-gateway") == "h:host-gateway"
    with pytest.raises(InvalidRequestError, match="--add-host"):
        specs.parse_extra_host("a:b")


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
