# SPDX-License-Identifier: Apache-2.0
"""Where a registry may be, and over what."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tests.images.registry.conftest import Shelf, layer
from toolkit.errors import RegistryUnreachableError
from toolkit.images.registry.settings import RegistrySettings, endpoints_of
from toolkit.images.registry.transport import Transport

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.registry import FakeRegistry


@pytest.mark.parametrize(
    ("host", "is_insecure"),
    [
        ("localhost", True), ("localhost:5000", True), ("127.0.0.1:5000", True),
        ("127.9.9.9", True), ("[::1]:5000", True), ("registry.example", False),
        ("128.0.0.1", False), ("localhost.example", False), ("127.0.0.1.example:5000", False),
        ("plain.example:5000", True), ("plain.example", False), ("10.1.2.3:80", True),
        ("11.1.2.3", False), ("any.example:1", True),
    ],
)  # fmt: skip
def test_only_this_machine_and_what_was_named_is_insecure(host: str, is_insecure: bool) -> None:  # noqa: FBT001 - a row
    """S-59"""
    settings = RegistrySettings(insecure=("plain.example:5000", "10.0.0.0/8", "any.example"))

    assert settings.is_insecure(host) is is_insecure


def test_others_are_never_spoken_to_without_tls() -> None:
    """S-59: no fallback (CVE-2014-5277)."""
    settings = RegistrySettings()

    assert [one.url for one in endpoints_of("registry.example:5000", settings, push=False)] == [
        "https://registry.example:5000"
    ]
    assert [one.url for one in endpoints_of("docker.io", settings, push=True)] == [
        "https://registry-1.docker.io"
    ]


def test_mirrors_are_asked_first_and_pushed_to_never() -> None:
    settings = RegistrySettings(mirrors=("https://m.example/", "http://plain.example"))

    assert [one.url for one in endpoints_of("docker.io", settings, push=False)] == [
        "https://m.example",
        "https://registry-1.docker.io",
    ]
    assert len(endpoints_of("docker.io", settings, push=True)) == 1


def test_a_mirror_serves_what_docker_hub_has(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_image("library/b", "latest", [layer("a")])
    shelf = Shelf(tmp_path, {"mirrors": (registry.url,)})

    assert shelf.pull("b").references == ("b:latest",)


def test_a_proxy_is_asked_for_what_is_not_here(registry: FakeRegistry) -> None:
    registry.add_image("b", "1", [layer("a")])
    options = {
        "environ": {"HTTP_PROXY": registry.host, "no_proxy": "direct.example"},
        "insecure": ("far.example:80",),
    }
    transport = Transport(RegistrySettings(**options))  # type: ignore[arg-type] # a table

    with transport.request("GET", "http://far.example:80/v2/") as answer:
        assert answer.status == 200
    assert registry.requests[0][1] == "http://far.example:80/v2/"
    assert transport._proxy("http", "direct.example", "direct.example") == ""
    assert transport._proxy("http", registry.host, "127.0.0.1") == ""
    assert transport._proxy("https", "far.example", "far.example") == ""
    transport.close()


def test_an_own_authority_forbids_plain_http(registry: FakeRegistry, tmp_path: Path) -> None:
    """S-59: where a certificate is vouched for, nothing else is good enough."""
    certs = tmp_path / "certs" / registry.host
    certs.mkdir(parents=True)
    (certs / "ca.crt").write_text("")
    shelf = Shelf(tmp_path / "data", {"certs_dir": tmp_path / "certs"})
    registry.add_image("b", "1", [layer("a")])

    with pytest.raises(Exception, match=r"\S"):
        shelf.pull(f"{registry.host}/b:1")
    assert registry.requests == []


def test_a_registry_that_is_no_registry_is_told(registry: FakeRegistry, shelf: Shelf) -> None:
    registry.faults.statuses = {"/v2/": [404]}

    with pytest.raises(Exception, match="is no registry of version 2"):
        shelf.pull(f"{registry.host}/b:1")


def test_a_registry_that_hangs_is_given_up(registry: FakeRegistry, tmp_path: Path) -> None:
    """S-59"""
    shelf = Shelf(tmp_path, {"read_seconds": 0.2, "attempts": 1})
    registry.faults.pause["/v2/"] = held = threading.Event()
    try:
        with pytest.raises(RegistryUnreachableError):
            shelf.pull(f"{registry.host}/b:1")
    finally:
        held.set()
