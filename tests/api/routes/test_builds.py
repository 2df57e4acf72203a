# SPDX-License-Identifier: Apache-2.0
"""POST /build: what is asked, and how a build is told."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest

from toolkit.api.query import Query
from toolkit.api.routes.builds import build_options
from toolkit.build.builder import StepFailedError
from toolkit.build.ports import Told
from toolkit.errors import DockerfileError, InvalidRequestError


def objects(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.splitlines() if line]


def test_a_build_is_told_as_docker_tells_it(api: Any) -> None:
    api.engine.builds.tells = [Told(stream="Step 1/1 : FROM a"), Told(image_id="sha256:1")]
    answer = api("POST", "/v1.44/build?t=a:b&t=c", b"the context")
    assert answer.status == 200
    assert objects(answer.body) == [
        {"stream": "Step 1/1 : FROM a"},
        {"aux": {"ID": "sha256:1"}},
    ]
    ((options, context),) = api.engine.builds.asked
    assert options.tags == ("a:b", "c")
    assert context == b"the context"


def test_a_failure_before_the_first_word_is_an_answer_and_later_a_message(api: Any) -> None:
    api.engine.builds.error = DockerfileError("unknown instruction: FOO", 3)
    answer = api("POST", "/build", b"x")
    assert answer.status == 400
    assert json.loads(answer.body)["message"].startswith("dockerfile parse error line 3")
    api.engine.builds.tells = [Told(stream="Step")]
    api.engine.builds.error = StepFailedError("/bin/sh -c exit 23", 23)
    answer = api("POST", "/build", b"x")
    assert answer.status == 200
    message = "The command '/bin/sh -c exit 23' returned a non-zero code: 23"
    assert objects(answer.body)[-1] == {
        "errorDetail": {"message": message, "code": 23},
        "error": message,
    }


def test_a_fault_of_the_host_is_told_in_the_stream(api: Any) -> None:
    api.engine.builds.tells = [Told(stream="Step")]
    api.engine.builds.error = OSError(28, "No space left on device")
    assert "No space left" in objects(api("POST", "/build", b"x").body)[-1]["error"]


def test_logins_go_with_the_build_and_a_broken_header_is_none(api: Any) -> None:
    header = base64.urlsafe_b64encode(b'{"h:1": {"username": "u", "password": "p"}}').decode()
    api("POST", "/build", b"x", x_registry_config=header)
    api("POST", "/build", b"x", x_registry_config="%%%")
    (first, _), (second, _) = api.engine.builds.asked
    assert first.logins["h:1"].username == "u"
    assert "p" not in repr(first.logins)
    assert second.logins == {}


def options_of(**query: str) -> Any:
    return build_options(Query("&".join(f"{key}={quote(value)}" for key, value in query.items())))


def test_options_are_read() -> None:
    options = options_of(
        dockerfile="sub/D", buildargs='{"A": "1", "B": null}', labels='{"k": "v"}', target="t",
        networkmode="none", nocache="1", q="1", pull="1", memory="8388608", cpushares="5",
        shmsize="1024", extrahosts="a:1.2.3.4,b:::1",
        ulimits='[{"Name": "nofile", "Soft": 1, "Hard": 2}]',
    )  # fmt: skip
    assert (options.dockerfile, options.target, options.network_mode) == ("sub/D", "t", "none")
    assert options.build_args == {"A": "1", "B": None}
    assert options.labels == {"k": "v"}
    assert (options.uses_cache, options.quiet, options.pulls) == (False, True, True)
    spec = options.template
    assert (spec.limits.memory_bytes, spec.limits.cpu_shares) == (8388608, 5)
    assert spec.host.shm_size_bytes == 1024
    assert spec.host.extra_hosts == ("a:1.2.3.4", "b:::1")
    assert (spec.host.ulimits[0].name, spec.host.ulimits[0].hard) == ("nofile", 2)


def test_containers_go_unless_asked_otherwise() -> None:
    assert not options_of().keeps_containers
    assert options_of(rm="0").keeps_containers
    assert options_of(rm="False").keeps_containers
    assert not options_of(rm="0", forcerm="1").keeps_containers


@pytest.mark.parametrize(
    "query", [{"buildargs": "x"}, {"labels": "[]"}, {"version": "2"}, {"memory": "x"},
              {"buildargs": "[" * 5000}],
)  # fmt: skip
def test_what_cannot_be_read_is_400(query: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError):
        options_of(**query)


def test_a_context_that_the_engine_would_fetch_is_refused(api: Any) -> None:
    answer = api("POST", "/build?remote=http://a/b.tar", b"")
    assert answer.status == 501
    assert "fetch it" in json.loads(answer.body)["message"]


def test_a_prune_says_what_went(api: Any) -> None:
    answer = api("POST", "/build/prune")
    assert json.loads(answer.body) == {"CachesDeleted": ["sha256:9"], "SpaceReclaimed": 5}
