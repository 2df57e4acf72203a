# SPDX-License-Identifier: Apache-2.0
"""One repository at one registry: what 0.7.2 asked of a registry of version 1, of version 2."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from tests.fakes.registry import FakeRegistry, digest_of
from tests.images.registry.conftest import layer
from toolkit.errors import InvalidReferenceError
from toolkit.images.references import Reference
from toolkit.images.registry.credentials import NOBODY
from toolkit.images.registry.session import RegistryAnswerError, Session
from toolkit.images.registry.settings import Endpoint, RegistrySettings, endpoints_of
from toolkit.images.registry.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Iterator

CHILD, PARENT = layer("child"), layer("parent")


@pytest.fixture
def session(registry: FakeRegistry) -> Iterator[Session]:
    registry.add_image("foo42/bar", "latest", [PARENT, CHILD])
    transport = Transport(RegistrySettings(attempts=1))
    yield Session(transport, Endpoint(registry.url), "foo42/bar", NOBODY, "pull,push")
    transport.close()


def other(session: Session, path: str) -> Session:
    return Session(session.transport, session.endpoint, path, NOBODY)


def test_a_registry_answers(session: Session) -> None:
    """API-092: and one that has no version 2 is told apart (API-091)."""
    session.check()


def test_where_no_certificate_is_asked_for_no_authorities_are_read(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take 20 ms; a registry on this machine's loopback needs none."""
    monkeypatch.delattr(ssl, "create_default_context")
    transport = Transport(RegistrySettings(attempts=1))
    transport.request("GET", f"{registry.url}/v2/").close()
    transport.close()


def test_an_images_layers_come_in_their_order(session: Session) -> None:
    """API-093, API-095, API-098: by one manifest."""
    manifest = session.manifest("latest").manifest()
    assert [one.digest for one in manifest.layers] == [digest_of(PARENT), digest_of(CHILD)]
    assert manifest.layers[1].size == len(CHILD)
    with session.blob(manifest.config.digest) as answer:
        assert b"diff_ids" in answer.body(100_000)


def test_a_blob_is_there_or_not(session: Session) -> None:
    """API-094, API-096."""
    assert session.has_blob(digest_of(CHILD)) == len(CHILD)
    assert session.has_blob(digest_of(b"abcdef")) is None
    with session.blob(digest_of(CHILD)) as answer:
        assert answer.body(100_000) == CHILD
    with pytest.raises(RegistryAnswerError):
        session.blob(digest_of(b"abcdef"))
    with pytest.raises(RegistryAnswerError):
        session.manifest("abcdef")


def test_tags_are_those_of_the_repository(session: Session) -> None:
    """API-097."""
    assert session.tags() == ["latest"]
    assert other(session, "foo42/baz").tags() == []


def test_a_blob_is_sent_and_a_manifest_put_under_a_tag(
    session: Session, registry: FakeRegistry
) -> None:
    """API-099, API-100, API-102, API-103."""
    content = b"\x42\xdf\x00"
    where = session.upload_chunk(session.start_upload(), content, len(content))
    session.finish_upload(where, digest_of(content))
    assert registry.blobs[digest_of(content)] == content
    latest = session.manifest("latest")
    session.put_manifest("stable", latest.content, latest.media_type)
    assert session.manifest("stable").digest == latest.digest


def test_names_lead_to_their_registry() -> None:
    """API-101, API-105: no scheme, no upper case; TLS first, plain HTTP only where allowed."""
    for text in ("https://github.com/docker/docker", "docker/Docker"):
        with pytest.raises(InvalidReferenceError):
            Reference.parse(text)
    assert Reference.parse("docker/docker").domain == "docker.io"
    private = Reference.parse("127.0.0.1:5000/private/moonbase")
    assert (private.domain, private.path) == ("127.0.0.1:5000", "private/moonbase")
    urls = [one.url for one in endpoints_of(private.domain, RegistrySettings(), push=False)]
    assert urls == ["https://127.0.0.1:5000", "http://127.0.0.1:5000"]


def test_a_search_without_a_match_is_empty(session: Session, registry: FakeRegistry) -> None:
    """API-104."""
    registry.faults.replaced["/v1/search"] = b'{"num_results":0,"results":[]}'
    assert session.search("fakequery", limit=25) == []
