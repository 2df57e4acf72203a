# SPDX-License-Identifier: Apache-2.0
"""Request bodies with docker's wire names: strict types, null everywhere, unknown fields."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.api import decode, schemas
from toolkit.api.schemas import CreateBody, ExecBody, ExecStartBody, Resources, read_body
from toolkit.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b'{"Tty": 1}', r"\$.Tty"),
        (b'{"Image": 1}', r"\$.Image"),
        (b'{"Env": ["a", 1]}', r"\$.Env\[1\]"),
        (b'{"HostConfig": {"Privileged": "yes"}}', r"\$.HostConfig.Privileged"),
        (b'{"HostConfig": {"Memory": 9223372036854775808}}', r"\$.HostConfig.Memory"),
        (b'{"HostConfig": {"Memory": -9223372036854775809}}', r"\$.HostConfig.Memory"),
        (b'{"HostConfig": {"Memory": 1.5}}', r"\$.HostConfig.Memory"),
        (b'{"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": 80}]}}}', "PortBindings"),
        (b'{"Labels": {"a": 1}}', r"\$.Labels"),
        (b'{"Env": ["a\\u0000b"]}', r"NUL character in a text - at `\$.Env\[0\]`"),
    ],
)
def test_a_wrong_type_is_refused_with_the_path_of_the_value(raw: bytes, path: str) -> None:
    """S-95."""
    with pytest.raises(InvalidRequestError, match=path):
        read_body(raw, CreateBody)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"Memory": NaN}',
        b"{} {}",
        b"\xff\xfe",
        b'{"Image": "\xff"}',
        b'{"Image": "\\ud800"}',
        b'{"x":' * 100_000,
        b'{"x":' + b"[" * 100_000,
    ],
)
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    """S-95."""
    with pytest.raises(InvalidRequestError, match="invalid JSON"):
        read_body(raw, CreateBody)


def test_null_means_not_said_and_unknown_fields_are_passed_over() -> None:
    """S-95."""
    names = {field.encode_name for field in _fields(CreateBody)}
    body = read_body(json.dumps(dict.fromkeys(names) | {"New": [1]}).encode(), CreateBody)
    assert body == CreateBody()
    host = {field.encode_name: None for field in _fields(schemas.HostConfig)}
    raw = json.dumps({"Image": "a", "HostConfig": host}).encode()
    spec, warnings = decode.container_spec(read_body(raw, CreateBody))
    assert spec.host.network_mode == "bridge"
    assert warnings == []


def _fields(kind: type[Any]) -> Any:
    import msgspec.structs  # noqa: PLC0415 - only here

    return msgspec.structs.fields(kind)


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert read_body(b'{"Image": "a\\\\u0000"}', CreateBody).image == "a\\u0000"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=5,
)
WIRE_NAMES = [field.encode_name for kind in (CreateBody, Resources) for field in _fields(kind)]
HOST_NAMES = [field.encode_name for field in _fields(schemas.HostConfig)]
LIKELY = (
    st.sampled_from([0, -1, 2**63, "", "a", "/a", "a:b", "/a:/b", "80/tcp", "none", True, [], {}])
    | JSON
)
HOST_BODIES = st.dictionaries(
    st.sampled_from(HOST_NAMES),
    LIKELY
    | st.lists(LIKELY, max_size=3)
    | st.dictionaries(st.text(max_size=8), LIKELY, max_size=3),
)
BODIES = st.dictionaries(
    st.sampled_from(WIRE_NAMES),
    LIKELY
    | st.lists(LIKELY, max_size=3)
    | st.dictionaries(st.text(max_size=8), LIKELY, max_size=3),
).flatmap(lambda body: HOST_BODIES.map(lambda host: {**body, "HostConfig": host}))


@settings(max_examples=300)
@given(JSON | BODIES | HOST_BODIES.map(lambda host: {"Image": "a", "HostConfig": host}))
def test_any_json_is_a_specification_or_a_named_error(value: Any) -> None:
    """S-95: never a 500."""
    raw = json.dumps(value).encode()
    try:
        decode.container_spec(read_body(raw, CreateBody))
    except InvalidRequestError as error:
        assert str(error)  # noqa: PT017 - a property: either way is right


@settings(max_examples=100)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_body_or_a_named_error(raw: bytes) -> None:
    """S-95."""
    for kind in (CreateBody, ExecBody, ExecStartBody, Resources):
        try:
            read_body(raw, kind)
        except InvalidRequestError as error:
            assert str(error)  # noqa: PT017 - a property: either way is right
