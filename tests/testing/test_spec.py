# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from toolkit.errors import InvalidRequestError
from toolkit.testing.spec import (
    FILES_LABEL,
    HealthCheck,
    RunOptions,
    create_body,
    merged,
    port_key,
    specification_hash,
    words,
)

LABELS = {"toolkit.session": "s"}


def body(command: Any = None, **options: Any) -> dict[str, Any]:
    given: RunOptions = options  # type: ignore[assignment]  # what a test gives
    return create_body("web", command, given, labels=LABELS)


def host(**options: Any) -> dict[str, Any]:
    found: dict[str, Any] = body(**options)["HostConfig"]
    return found


def test_nothing_said_leaves_command_and_network_to_image_and_engine() -> None:
    made = body()
    assert made["Image"] == "web"
    assert not {"Cmd", "Entrypoint", "Healthcheck", "NetworkingConfig"} & made.keys()
    assert made["HostConfig"] == {"PortBindings": {}, "NetworkMode": "default"}
    assert made["Labels"] == LABELS


@pytest.mark.parametrize(
    ("command", "expected"),
    [("sh -c 'echo a b'", ["sh", "-c", "echo a b"]), (["a", 1], ["a", "1"]), ("", [])],
)
def test_a_text_is_split_as_by_a_shell(command: Any, expected: list[str]) -> None:
    assert words(command) == expected


@pytest.mark.parametrize(
    ("port", "key"), [(8080, "8080/tcp"), ("53/udp", "53/udp"), ("080", "80/tcp")]
)
def test_a_port_is_tcp_unless_it_says_otherwise(port: Any, key: str) -> None:
    assert port_key(port) == key


@pytest.mark.parametrize("port", [0, 65536, "http", "-1", "80:80"])
def test_what_is_no_port_is_refused(port: Any) -> None:
    with pytest.raises(InvalidRequestError, match="port"):
        port_key(port)


def test_ports_are_published_on_loopback_at_a_free_port() -> None:
    made = body(ports=[80, "53/udp"])
    assert made["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    free = [{"HostIp": "127.0.0.1", "HostPort": ""}]
    assert made["HostConfig"]["PortBindings"] == {"80/tcp": free, "53/udp": free}


def test_a_path_is_bound_and_a_name_is_a_volume_that_is_ours(tmp_path: Path) -> None:
    made = host(volumes={tmp_path: "/a:ro", "/etc": "/b", "data": "/c", "more": "/d:ro"})
    assert made["Binds"] == [f"{tmp_path}:/a:ro", "/etc:/b"]
    assert [(m["Source"], m["Target"], m["ReadOnly"]) for m in made["Mounts"]] == [
        ("data", "/c", False),
        ("more", "/d", True),
    ]
    assert made["Mounts"][0]["VolumeOptions"] == {"Labels": LABELS}


def test_a_relative_path_is_of_this_directory() -> None:
    assert host(volumes={"./x": "/x"})["Binds"] == [f"{Path.cwd()}/x:/x"]


def test_a_volume_needs_a_path_in_the_container() -> None:
    with pytest.raises(InvalidRequestError, match="no path"):
        host(volumes={"data": "v"})


def test_a_container_as_network_shares_its_own() -> None:
    assert host(network=SimpleNamespace(id="abc"))["NetworkMode"] == "container:abc"
    assert host(network="net1")["NetworkMode"] == "net1"


def test_aliases_need_a_network() -> None:
    joined = body(network="n", aliases=["db"])
    assert joined["NetworkingConfig"] == {"EndpointsConfig": {"n": {"Aliases": ["db"]}}}
    for network in ("none", "host", None):
        with pytest.raises(InvalidRequestError, match="aliases"):
            body(network=network, aliases=["db"])


def test_the_other_words_reach_their_fields() -> None:
    made = body(
        "run",
        env={"A": "b"},
        entrypoint="/x y",
        user="1:2",
        tty=True,
        cpus=0.5,
        memory_bytes=4096,
        restart="on-failure:3",
        cap_add=("NET_ADMIN",),
        tmpfs={"/t": "size=1m"},
        health=HealthCheck("true", interval_seconds=0.5),
        labels={"mine": "1"},
    )
    assert (made["Env"], made["Cmd"], made["Entrypoint"]) == (["A=b"], ["run"], ["/x", "y"])
    assert (made["User"], made["Tty"], made["Labels"]["mine"]) == ("1:2", True, "1")
    assert made["Healthcheck"]["Test"] == ["CMD-SHELL", "true"]
    assert made["Healthcheck"]["Interval"] == 500_000_000
    own = made["HostConfig"]
    assert (own["NanoCpus"], own["Memory"]) == (500_000_000, 4096)
    assert own["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert (own["CapAdd"], own["Tmpfs"]) == (["NET_ADMIN"], {"/t": "size=1m"})


def test_what_has_no_word_is_merged_in_as_it_is() -> None:
    made = body(wire={"StopSignal": "INT", "HostConfig": {"ShmSize": 5}})
    assert (made["StopSignal"], made["HostConfig"]["ShmSize"]) == ("INT", 5)
    assert made["HostConfig"]["NetworkMode"] == "default"
    assert merged({"a": {"b": 1}}, {"a": 2}) == {"a": 2}


def test_a_specification_is_what_it_is_not_whose_it_is() -> None:
    def key(labels: dict[str, str], image: str = "id", **options: Any) -> str:
        given: RunOptions = options  # type: ignore[assignment]  # what a test gives
        made = create_body("web", None, given, labels=labels)
        return specification_hash(image, made, labels)

    first = key({"toolkit.session": "1"}, volumes={"v": "/v"})
    assert first == key({"toolkit.session": "2"}, volumes={"v": "/v"})
    assert first != key({"toolkit.session": "1"}, volumes={"v": "/w"})
    assert first != key({"toolkit.session": "1"}, image="other", volumes={"v": "/v"})
    assert first != key({"toolkit.session": "1"}, volumes={"v": "/v"}, env={"A": "b"})


def test_containers_with_other_files_are_not_alike(tmp_path: Path) -> None:
    (tmp_path / "app").write_text("1")

    def label(content: Any) -> Any:
        return body(files={"/app": content})["Labels"].get(FILES_LABEL)

    assert label("1") == label(b"1") == label(tmp_path / "app")
    assert len({label("1"), label("2"), body()["Labels"].get(FILES_LABEL)}) == 3
