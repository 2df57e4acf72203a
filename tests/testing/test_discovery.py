# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.stub_engine import StubEngine, says
from toolkit.client import EngineForbiddenError
from toolkit.errors import EngineUnreachableError, InvalidRequestError
from toolkit.testing import discovery
from toolkit.testing import engine as engine_module
from toolkit.testing.discovery import NoEngineError, find_engine, named_host, private_instance

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def listening_url(tmp_path: Path) -> Any:
    stub = StubEngine()
    stub.on("GET /toolkit", says(404, {"message": "page not found"}))
    for path, found in {"containers/json": [], "networks": [], "volumes": {"Volumes": []}}.items():
        stub.on(f"GET /{path}", says(200, found))
    with stub.serving(tmp_path / "s") as url:
        yield url


def test_the_option_goes_before_the_variables(listening_url: str) -> None:
    environ = {"TOOLKIT_HOST": "unix:///a", "DOCKER_HOST": "unix:///b"}
    found = find_engine(listening_url, environ)
    assert (found.url, found.source) == (listening_url, "--container-engine")
    named = named_host(None, environ)
    assert named is not None
    assert (named.url, named.source) == ("unix:///a", "TOOLKIT_HOST")


def test_private_is_nobodys_name() -> None:
    assert named_host("private", {"DOCKER_HOST": "unix:///b"}) is None
    assert named_host(None, {}) is None


def test_an_engine_elsewhere_says_where_ports_are(listening_url: str) -> None:
    environ = {"DOCKER_HOST": listening_url, "TOOLKIT_PUBLISHED_HOST": "192.0.2.7"}
    assert find_engine(None, environ).published_host == "192.0.2.7"


def test_one_that_was_named_and_does_not_listen_is_not_replaced() -> None:
    with pytest.raises(NoEngineError, match=r"no engine listens on unix:///x .from DOCKER_HOST"):
        find_engine(None, {"DOCKER_HOST": "unix:///x"})


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="--container-engine"):
        find_engine("tcp://x", {})


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has an effective user that counts")
def test_without_root_the_default_instance_or_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    environ = {"TOOLKIT_INSTANCE": "nobody"}
    with pytest.raises(NoEngineError, match="none can be started here: not root"):
        find_engine(None, environ)
    monkeypatch.setattr(discovery, "is_listening", lambda path: path.name == "engine.sock")
    assert find_engine(None, environ).url == "unix:///run/nobody/engine.sock"
    with pytest.raises(NoEngineError):
        find_engine("private", environ)
    del tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="private engines are of Linux")
def test_a_private_engine_is_started_to_end_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        discovery, "start_engine", lambda name, command: started.append((name, command))
    )
    found = find_engine(None, {"TOOLKIT_INSTANCE": "mine"})
    assert (found.url, found.source) == ("unix:///run/mine-pt/engine.sock", "private engine")
    [(name, command)] = started
    assert name == "mine-pt"
    assert command[-2:] == ["--until-idle", "3"]


@pytest.mark.parametrize("name", ["toolkit", "a", "abcdefgh", "abcdefghi", "abcdefghijk"])
def test_the_private_instance_has_a_name_that_fits(name: str) -> None:
    from toolkit.config import Instance  # noqa: PLC0415 - the engine's own rule

    private = private_instance({"TOOLKIT_INSTANCE": name})
    assert Instance(name=private).name.endswith("-pt")


def test_long_names_do_not_meet() -> None:
    names = {private_instance({"TOOLKIT_INSTANCE": f"instance-{n}"}) for n in range(9)}
    assert len(names) == 9


def test_dockers_engine_has_no_features_and_loses_its_orphans(listening_url: str) -> None:
    engine = engine_module.open_engine(listening_url, {}, "run")
    assert engine.features == frozenset()
    assert not engine.is_toolkit
    assert engine.is_local
    engine.close()


def test_one_that_ends_between_looking_and_asking_is_started_again(
    monkeypatch: pytest.MonkeyPatch, listening_url: str
) -> None:
    answers = ["unix:///nonexistent/s", listening_url]
    monkeypatch.setattr(
        engine_module,
        "find_engine",
        lambda *_: discovery.FoundEngine(answers.pop(0), "private engine"),
    )
    engine_module.open_engine(None, {}, "run").close()
    assert answers == []


def test_it_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    found = discovery.FoundEngine("unix:///nonexistent/s", "private engine")
    monkeypatch.setattr(engine_module, "find_engine", lambda *_: found)
    with pytest.raises(EngineUnreachableError) as caught:
        engine_module.open_engine(None, {}, "run")
    assert not isinstance(caught.value, EngineForbiddenError)
