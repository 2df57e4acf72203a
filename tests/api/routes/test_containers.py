# SPDX-License-Identifier: Apache-2.0
"""Containers over the API: create, list, inspect, verbs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from toolkit.engine.model import (
    ContainerSpec,
    ContainerState,
    EndpointSpec,
    HostOptions,
    Limits,
    Mount,
    PublishedPort,
    RestartPolicy,
    State,
)
from toolkit.engine.network_index import predefined_id
from toolkit.errors import (
    CommandNotFoundError,
    ConflictError,
    NameInUseError,
    NotModifiedError,
    NotRunningError,
    RegistryAuthError,
    ToolkitError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime.now(UTC)


def filters(**terms: list[str]) -> str:
    return "filters=" + quote(json.dumps(terms))


def test_create_answers_with_the_id(api: Any, engine: Any, recorded: Any) -> None:
    """API-013."""
    answer = api(
        "POST",
        "/v1.44/containers/create?name=x",
        recorded("create_full"),
        content_type="application/json",
    )
    assert answer.status == 201
    assert answer.json["Id"] == engine.all[0].record.id
    assert answer.json["Warnings"] == []
    assert engine.made[0][0].health.test[0] == "CMD-SHELL"
    spec, name = engine.made[0]
    assert (name, spec.limits.memory_bytes) == ("x", 64 * 2**20)


def test_create_of_an_unknown_image_is_404(api: Any) -> None:
    answer = api("POST", "/containers/create", {"Image": "nosuch"})
    assert (answer.status, answer.json) == (404, {"message": "No such image: nosuch"})


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/x-www-form-urlencoded"])
def test_create_takes_json_only(api: Any, content_type: str) -> None:
    """S-93: a form of a hostile page is no request."""
    answer = api("POST", "/containers/create", b'{"Image":"busybox"}', content_type=content_type)
    assert answer.status == 400
    assert "must be 'application/json'" in answer.json["message"]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 201),
        ("application/json; charset=utf-8", 201),
        ("dockerapplication/json", 400),
    ],
)
def test_parameters_of_a_content_type_do_not_matter(
    api: Any, content_type: str, status: int
) -> None:
    """API-079."""
    answer = api("POST", "/containers/create", b'{"Image":"busybox"}', content_type=content_type)
    assert answer.status == status


def test_create_refuses_a_wrong_type_with_its_path(api: Any) -> None:
    """S-95."""
    answer = api("POST", "/containers/create", {"Image": "busybox", "Tty": "yes"})
    assert answer.status == 400
    assert "$.Tty" in answer.json["message"]


def test_the_newest_container_is_listed_first(api: Any, add_container: Any) -> None:
    """API-007."""
    add_container()
    newest = add_container(State.CREATED)
    assert len(api("GET", "/containers/json").json) == 1
    entries = api("GET", "/containers/json?all=1").json
    assert entries[0]["Id"] == newest.record.id
    assert len(entries) == 2


def test_a_list_entry_has_dockers_fields(api: Any, add_container: Any) -> None:
    add_container(
        state=ContainerState(status=State.RUNNING, pid=3, started_at=NOW),
        path="sh",
        args=("-c", "echo a b"),
        spec=ContainerSpec(
            image="busybox", labels={"k": "v"}, host=HostOptions(network_mode="none")
        ),
    )
    (entry,) = api("GET", "/containers/json").json
    assert entry["Names"] == ["/name1"]
    assert (entry["Image"], entry["State"]) == ("busybox", "running")
    assert entry["Command"] == "sh -c 'echo a b'"
    assert entry["Created"] == 1767323045
    assert entry["Status"].startswith("Up ")
    assert entry["Ports"] == []
    assert entry["HostConfig"] == {"NetworkMode": "none"}
    assert list(entry["NetworkSettings"]["Networks"]) == ["none"]
    assert "SizeRw" not in entry
    (entry,) = api("GET", "/containers/json?size=1").json
    assert (entry["SizeRw"], entry["SizeRootFs"]) == (24, 1024)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (State.CREATED, "Created"),
        (State.STARTING, "Created"),
        (State.RUNNING, "Up 2 hours"),
        (State.PAUSED, "Up 2 hours (Paused)"),
        (State.RESTARTING, "Restarting (1) 5 hours ago"),
        (State.EXITED, "Exited (1) 5 hours ago"),
        (State.REMOVING, "Removal In Progress"),
        (State.DEAD, "Dead"),
    ],
)
def test_states_are_told_in_dockers_words(
    api: Any, add_container: Any, status: State, words: str
) -> None:
    started, ended = NOW.timestamp() - 7205, NOW.timestamp() - 5 * 3600 - 5
    state = ContainerState(
        status=status,
        exit_code=1,
        started_at=datetime.fromtimestamp(started, UTC),
        finished_at=datetime.fromtimestamp(ended, UTC),
    )
    add_container(state=state)
    (entry,) = api("GET", "/containers/json?all=1").json
    assert entry["Status"] == words
    assert entry["State"] == ("created" if status is State.STARTING else str(status))


def test_an_image_whose_name_moved_on_is_shown_by_its_id(
    api: Any, engine: Any, add_container: Any, image: Any
) -> None:
    add_container()
    engine.images.found = [image(id="sha256:" + "11" * 32)]
    (entry,) = api("GET", "/containers/json").json
    assert entry["Image"] == "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("terms", "found"),
    [
        ({"name": ["name[12]$"]}, {1, 2}),
        ({"name": ["^/name3"]}, {3}),
        ({"id": ["02"]}, {2}),
        ({"status": ["exited"]}, {3}),
        ({"status": ["running", "exited"]}, {1, 2, 3}),
        ({"exited": ["7"]}, {3}),
        ({"exited": ["0"]}, set()),
        ({"label": ["a"]}, {1, 2}),
        ({"label": ["a=1"]}, {1}),
        ({"label": ["a", "b"]}, {2}),
        ({"ancestor": ["busybox"]}, {1, 2, 3}),
        ({"ancestor": ["nosuch"]}, set()),
        ({"network": ["none"]}, {1, 3}),
        ({"network": ["lan", "nosuch"]}, {2}),
        ({"network": [predefined_id("toolkit", "bridge")[:12]]}, {2}),
        ({"volume": ["/v"]}, {2}),
        ({"expose": ["80"]}, {2}),
        ({"expose": ["70-90/tcp"]}, {2}),
        ({"expose": ["80/udp"]}, set()),
        ({"publish": ["8080"]}, {2}),
        ({"publish": ["80"]}, set()),
        ({"publish": ["81"], "expose": ["80"]}, {2}),
        ({"before": ["name3"]}, {1, 2}),
        ({"since": ["name1"]}, {2, 3}),
        ({"health": ["none"]}, {1, 2, 3}),
        ({"is-task": ["true"]}, set()),
    ],
)
def test_filters_choose_containers(
    api: Any, add_container: Any, terms: dict[str, list[str]], found: set[int]
) -> None:
    add_container(spec=ContainerSpec(image="busybox", labels={"a": "1"}))
    add_container(
        state=ContainerState(status=State.RUNNING, pid=9),
        spec=ContainerSpec(
            image="busybox",
            labels={"a": "2", "b": ""},
            exposed_ports=("80/tcp",),
            host=HostOptions(network_mode="bridge"),
            endpoints={"bridge": EndpointSpec(), "lan": EndpointSpec()},
        ),
        ports=(
            PublishedPort(container_port=80, protocol="tcp", host_ip="127.0.0.1", host_port=8080),
        ),
        mounts=(Mount(kind="volume", source="x", target="/v"),),
    )
    add_container(state=ContainerState(status=State.EXITED, exit_code=7))
    entries = api("GET", "/containers/json?all=1&" + filters(**terms)).json
    assert {int(entry["Names"][0][-1]) for entry in entries} == found


@pytest.mark.parametrize(
    "terms", [{"odd": ["x"]}, {"status": ["odd"]}, {"name": ["["]}, {"exited": ["x"]}]
)
def test_a_bad_filter_is_refused(api: Any, terms: dict[str, list[str]]) -> None:
    answer = api("GET", "/containers/json?" + filters(**terms))
    assert answer.status == 400
    assert "invalid filter" in answer.json["message"]


def test_limit_shows_the_newest_whatever_their_state(api: Any, add_container: Any) -> None:
    for status in (State.RUNNING, State.EXITED, State.CREATED):
        add_container(status)
    assert len(api("GET", "/containers/json?limit=2").json) == 2
    assert len(api("GET", "/containers/json?limit=-1").json) == 1


def test_inspect_shows_what_was_asked_for(
    api: Any, engine: Any, recorded: Callable[[str], bytes]
) -> None:
    """API-011."""
    raw = recorded("create_full")
    api("POST", "/containers/create?name=full", raw, content_type="application/json")
    document = api("GET", "/containers/full/json").json
    asked = json.loads(raw)
    host, asked_host = document["HostConfig"], asked["HostConfig"]
    same = (
        "Binds",
        "NetworkMode",
        "PortBindings",
        "RestartPolicy",
        "AutoRemove",
        "CapAdd",
        "CapDrop",
        "Dns",
        "ExtraHosts",
        "GroupAdd",
        "Links",
        "Memory",
        "MemorySwap",
        "NanoCpus",
        "CpuShares",
        "CpusetCpus",
        "PidsLimit",
        "Privileged",
        "ReadonlyRootfs",
        "SecurityOpt",
        "ShmSize",
        "Sysctls",
        "Tmpfs",
        "Ulimits",
        "Devices",
        "VolumesFrom",
        "Init",
        "Mounts",
    )
    assert {key: host[key] for key in same} == {key: asked_host[key] for key in same}
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m"}}
    config = document["Config"]
    same_config = (
        "Hostname",
        "User",
        "Cmd",
        "Entrypoint",
        "Image",
        "WorkingDir",
        "Labels",
        "Volumes",
        "StopSignal",
        "StopTimeout",
        "OpenStdin",
        "StdinOnce",
        "Tty",
        "ExposedPorts",
    )
    assert {key: config[key] for key in same_config} == {key: asked[key] for key in same_config}
    assert config["Env"] == ["A=b"]
    assert document["Id"] == engine.all[0].record.id
    assert document["Name"] == "/full"


def test_inspect_shows_every_field_that_the_cli_sends(
    api: Any, recorded: Callable[[str], bytes]
) -> None:
    raw = recorded("create_plain")
    api("POST", "/containers/create?name=plain", raw, content_type="application/json")
    document = api("GET", "/containers/plain/json").json
    missing = json.loads(raw)["HostConfig"].keys() - document["HostConfig"].keys()
    assert missing == set()


@pytest.mark.parametrize("status", list(State))
def test_states_are_real_booleans(api: Any, add_container: Any, status: State) -> None:
    add_container(status)
    state = api("GET", "/containers/name1/json").json["State"]
    for key in ("Running", "Paused", "Restarting", "OOMKilled", "Dead"):
        assert isinstance(state[key], bool)
    assert state["Running"] is (status in {State.RUNNING, State.PAUSED, State.RESTARTING})
    assert state["FinishedAt"] == "0001-01-01T00:00:00Z"


def test_inspect_shows_mounts(api: Any, add_container: Any, engine: Any) -> None:
    add_container(
        mounts=(
            Mount(kind="volume", source="vol", target="/v"),
            Mount(kind="bind", source="/s", target="/t", read_only=True, options="ro"),
        )
    )
    volume, bind = api("GET", "/containers/name1/json").json["Mounts"]
    assert volume["Name"] == "vol"
    assert volume["Source"] == str(engine.instance.data_dir / "volumes" / "vol" / "_data")
    assert (bind["Type"], bind["Destination"]) == ("bind", "/t")
    assert (bind["RW"], bind["Mode"]) == (False, "ro")


@pytest.mark.parametrize(
    ("method", "target", "call"),
    [
        ("POST", "/containers/name1/start", ("start", ())),
        ("POST", "/containers/name1/start?detachKeys=a", ("start", ())),
        ("POST", "/containers/name1/stop", ("stop", (None, ""))),
        ("POST", "/containers/name1/stop?t=-1&signal=INT", ("stop", (-1, "INT"))),
        ("POST", "/containers/name1/restart?t=0", ("restart", (0, ""))),
        ("POST", "/containers/name1/kill", ("kill", ("",))),
        ("POST", "/containers/name1/kill?signal=WINCH", ("kill", ("WINCH",))),
        ("POST", "/containers/name1/pause", ("pause", ())),
        ("POST", "/containers/name1/unpause", ("unpause", ())),
        ("POST", "/containers/name1/rename?name=x", ("rename", ("x",))),
        ("DELETE", "/containers/name1?force=1&v=1", ("remove", (True, True))),
        ("DELETE", "/containers/name1", ("remove", (False, False))),
    ],
)
def test_verbs_reach_the_engine(
    api: Any, add_container: Any, method: str, target: str, call: Any
) -> None:
    """API-014, API-015, API-016, API-018, API-022."""
    container = add_container(State.EXITED)
    answer = api(method, target)
    assert (answer.status, answer.body) == (204, b"")
    assert container.calls == [call]


def test_resize_needs_two_numbers(api: Any, add_container: Any) -> None:
    container = add_container()
    assert api("POST", "/containers/name1/resize?h=24&w=80").status == 200
    assert container.calls == [("resize", (24, 80))]
    for query in ("", "?h=1", "?h=a&w=1", "?h=-1&w=1", "?h=1&w=65536"):
        assert api("POST", f"/containers/name1/resize{query}").status == 400


def test_start_takes_no_body(api: Any, add_container: Any) -> None:
    """API-016: settings come at create today."""
    add_container(State.CREATED)
    assert api("POST", "/containers/name1/start", {"Binds": ["/:/tmp"]}).status == 400
    assert api("POST", "/containers/name1/start", b"{}").status == 204


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (NotModifiedError("x"), 304, None),
        (NotRunningError("ab"), 409, "container ab is not running"),
        (ConflictError("no"), 409, "no"),
        (NameInUseError("x", "ab"), 409, "Conflict. The container name"),
        (ToolkitError("No such method"), 500, "No such method"),
        (RegistryAuthError("login hasn't been activated"), 401, "activated"),
        (CommandNotFoundError("executable file not found in $PATH"), 400, "not found in $PATH"),
    ],
)
def test_errors_have_dockers_status_and_words(
    api: Any, add_container: Any, error: Exception, status: int, words: str | None
) -> None:
    """API-090: by class, never by words."""
    container = add_container()
    container.fails = error
    answer = api("POST", "/containers/name1/stop")
    assert answer.status == status
    if words is None:
        assert answer.body == b""
    else:
        assert words in answer.json["message"]


def test_a_defect_is_a_500_without_its_details(
    api: Any, add_container: Any, caplog: pytest.LogCaptureFixture
) -> None:
    container = add_container()
    container.fails = ZeroDivisionError("secret detail")
    answer = api("POST", "/containers/name1/stop")
    assert answer.status == 500
    assert "secret detail" not in answer.json["message"]
    assert "Traceback" in caplog.text


def test_an_unknown_container_is_404(api: Any) -> None:
    """API-022."""
    for method, target in [
        ("GET", "/containers/x/json"),
        ("POST", "/containers/x/start"),
        ("DELETE", "/containers/x"),
        ("POST", "/containers/x/wait"),
    ]:
        answer = api(method, target)
        assert (answer.status, answer.json) == (404, {"message": "No such container: x"})


def test_update_passes_limits_and_policy_on(api: Any, add_container: Any) -> None:
    container = add_container()
    body: dict[str, Any] = {"Memory": 5242880, "PidsLimit": None, "RestartPolicy": {"Name": ""}}
    answer = api("POST", "/containers/name1/update", body)
    assert answer.json == {"Warnings": ["a warning"]}
    body = {"Memory": 0, "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}}
    api("POST", "/containers/name1/update", body)
    assert container.calls == [
        ("update", (Limits(memory_bytes=5242880), None)),
        ("update", (Limits(), RestartPolicy(name="always"))),
    ]


def test_a_link_is_removed_by_its_path(api: Any, engine: Any) -> None:
    assert api("DELETE", "/containers/web/db?link=1").status == 204
    assert engine.removed_links == ["web/db"]


@pytest.mark.parametrize("name", ["web/db", "/web/db", "/web"])
def test_a_container_is_found_by_a_path(api: Any, engine: Any, name: str) -> None:
    answer = api("GET", f"/v1.44/containers/{name}/json")
    assert (answer.status, answer.json["message"]) == (
        404,
        f"No such container: {name.removeprefix('/')}",
    )
    assert engine.all == []


def test_names_and_links_are_shown(api: Any, add_container: Any) -> None:
    """Rule 10.29: a name for each path that leads to it."""
    container = add_container()
    container.names = ["/db", "/web/store"]
    container.links = ["/redis:/db/cache"]
    [entry] = api("GET", "/containers/json?all=1").json
    assert entry["Names"] == ["/db", "/web/store"]
    document = api("GET", f"/containers/{container.record.id}/json").json
    assert document["HostConfig"]["Links"] == ["/redis:/db/cache"]


def test_prune_removes_what_does_not_run(api: Any, add_container: Any) -> None:
    add_container()
    old = add_container(State.EXITED)
    answer = api("POST", "/containers/prune")
    assert answer.json == {"ContainersDeleted": [old.record.id], "SpaceReclaimed": 24}
    assert api("POST", "/containers/prune?" + filters(label=["x"])).json["ContainersDeleted"] == []
    assert api("POST", "/containers/prune?" + filters(until=["1"])).json["ContainersDeleted"] == []


def test_options_is_answered_everywhere(api: Any) -> None:
    """API-023."""
    assert api("OPTIONS", "/").status == 200
    assert api("OPTIONS", "/anything").status == 200


@pytest.mark.parametrize(
    ("host", "is_covered"),
    [
        (HostOptions(), True),
        (HostOptions(privileged=True), False),
        (HostOptions(security_options=("systempaths=unconfined",)), False),
    ],
)
def test_inspect_says_which_paths_are_covered(
    api: Any, add_container: Any, host: HostOptions, *, is_covered: bool
) -> None:
    add_container(spec=ContainerSpec(image="busybox", host=host))
    shown = api("GET", "/containers/name1/json").json["HostConfig"]
    assert ("/proc/kcore" in (shown["MaskedPaths"] or ())) is is_covered
    assert ("/proc/sys" in (shown["ReadonlyPaths"] or ())) is is_covered


def test_inspect_says_which_paths_a_person_chose(api: Any, add_container: Any) -> None:
    host = HostOptions(masked_paths=("/x",), readonly_paths=())
    add_container(spec=ContainerSpec(image="busybox", host=host))
    shown = api("GET", "/containers/name1/json").json["HostConfig"]
    assert (shown["MaskedPaths"], shown["ReadonlyPaths"]) == (["/x"], [])
