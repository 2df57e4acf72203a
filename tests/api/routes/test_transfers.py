# SPDX-License-Identifier: Apache-2.0
"""Images on their way, over the API."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.fakes.transfers import DIGEST
from toolkit.errors import DigestMismatchError, ImageNotFoundError, RegistryAuthError
from toolkit.images.progress import ProgressMessage
from toolkit.images.registry.credentials import NOBODY, Credentials

LOGIN = base64.urlsafe_b64encode(b'{"username":"u","password":"p\xc3\xbf"}').decode()


@pytest.mark.parametrize(
    ("query", "reference"),
    [
        ("fromImage=docker.io/library/busybox&tag=latest", "busybox:latest"),
        ("fromImage=busybox:1", "busybox:1"),
        ("fromImage=h:5000/a/b", "h:5000/a/b"),
        (f"fromImage=a/b&tag={DIGEST}", f"a/b@{DIGEST}"),
        (f"fromImage=a/b@{DIGEST}", f"a/b@{DIGEST}"),
    ],
)
def test_a_pull_names_its_image_in_each_way(
    api: Any, engine: Any, query: str, reference: str
) -> None:
    answer = api("POST", f"/images/create?{query}&platform=linux/arm")
    assert engine.transfers.asked == [("pull", reference, NOBODY, "linux/arm")]
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.objects == [{"status": "Pulling from a", "progressDetail": {}, "id": "latest"}]


@pytest.mark.parametrize("request_", ["/images/create?fromImage=a", "/images/a/push"])
def test_a_login_comes_in_the_header_and_a_bad_one_is_nobody(
    api: Any, engine: Any, request_: str
) -> None:
    api("POST", request_, x_registry_auth=LOGIN)
    api("POST", request_, x_registry_auth="%%%")
    assert engine.transfers.asked[0][2] == Credentials(username="u", password="pÿ")  # noqa: S106
    assert engine.transfers.asked[1][2] == NOBODY


def test_a_refusal_before_anything_was_told_is_a_status(api: Any, engine: Any) -> None:
    engine.transfers.refuses = RegistryAuthError("denied")
    for target in ("/images/create?fromImage=a", "/images/a/push"):
        refused = api("POST", target)  # 401 would make docker's command ask for a name
        assert (refused.status, "Log in" in refused.json["message"]) == (500, True)
    assert api("GET", "/distribution/a/json").status == 401
    engine.transfers.refuses = ImageNotFoundError("a")
    assert api("POST", "/images/a/push?tag=1").status == 404
    assert api("GET", "/images/get?names=a").status == 404
    assert api("POST", "/images/create?fromImage=A").status == 400


@pytest.mark.parametrize("error", [DigestMismatchError("a", "b"), LookupError("secret")])
def test_a_failure_later_is_told_in_the_stream_in_both_ways(
    api: Any, engine: Any, error: Exception
) -> None:
    engine.transfers.fails = error
    answer = api("POST", "/images/create?fromImage=a")
    assert answer.status == 200
    last = answer.objects[-1]
    assert last["error"] == last["errorDetail"]["message"]
    assert ("expected a" in last["error"]) is isinstance(error, DigestMismatchError)
    assert "secret" not in last["error"]


def test_a_push_ends_with_what_programs_read(api: Any, engine: Any) -> None:
    engine.transfers.messages = [
        ProgressMessage(status="Pushing", id="abc", current=512, total=1024),
        ProgressMessage(aux={"Tag": "1", "Digest": DIGEST, "Size": 9}),
    ]
    first, last = api("POST", "/images/h:5000/a/push?tag=1").objects
    assert engine.transfers.asked[0][1] == "h:5000/a:1"
    assert first["progressDetail"] == {"current": 512, "total": 1024}
    assert first["progress"].startswith("[=========================>  ")
    assert last == {"progressDetail": {}, "aux": {"Tag": "1", "Digest": DIGEST, "Size": 9}}


def test_load_reads_the_body_and_tells_names(api: Any, engine: Any) -> None:
    engine.transfers.messages = [ProgressMessage(stream="Loaded image: a:1\n")]
    answer = api("POST", "/images/load?quiet=1", b"x" * 5000)
    assert engine.transfers.asked == [("load", b"x" * 5000, True)]
    assert answer.objects == [{"stream": "Loaded image: a:1\n"}]


def test_save_takes_one_name_or_many(api: Any, engine: Any) -> None:
    answer = api("GET", "/images/get?names=a&names=b:1,c")
    assert (answer.body, answer.headers["content-type"]) == (b"tarball", "application/x-tar")
    api("GET", "/images/h:5000/a:1/get")
    assert engine.transfers.asked == [("save", ["a", "b:1", "c"]), ("save", ["h:5000/a:1"])]
    assert api("GET", "/images/get").status == 400


def test_a_login_is_tried(api: Any, engine: Any) -> None:
    """API-131."""
    body = {"username": "u", "password": "p", "serveraddress": "h:1"}
    answer = api("POST", "/auth", body)
    assert answer.json == {"Status": "Login Succeeded", "IdentityToken": ""}
    assert engine.transfers.asked[0][1] == Credentials(username="u", password="p", server="h:1")  # noqa: S106
    assert api("POST", "/auth", {"auth": "/w=="}).status == 400
    engine.transfers.refuses = RegistryAuthError("bad")
    assert api("POST", "/auth", body).status == 401


def test_distribution_tells_digest_and_platforms(api: Any) -> None:
    assert api("GET", "/distribution/h:5000/a:1/json").json == {
        "Descriptor": {"mediaType": "m/t", "digest": DIGEST, "size": 3},
        "Platforms": [
            {"architecture": "amd64", "os": "linux"},
            {"architecture": "arm", "os": "linux", "variant": "v7"},
        ],
    }


def test_search_filters_what_is_found(api: Any, engine: Any) -> None:
    official = {
        "name": "busybox",
        "description": "",
        "star_count": 9,
        "is_official": True,
        "is_automated": False,
    }
    assert len(api("GET", "/images/search?term=busybox").json) == 2
    for terms in ({"is-official": ["true"]}, {"stars": ["5"]}):
        filters = json.dumps(terms)
        assert api("GET", f"/images/search?term=b&limit=7&filters={filters}").json == [official]
    assert engine.transfers.asked[-1][:3] == ("search", "b", 7)
    assert api("GET", "/images/search?term=b&limit=101").status == 400
    assert api("GET", '/images/search?term=b&filters={"stars":["x"]}').status == 400
