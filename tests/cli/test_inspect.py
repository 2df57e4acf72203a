# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.fakes.stub_engine import StubEngine, says
from toolkit.cli.inspect import as_json

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine


def test_a_container_is_looked_for_before_an_image(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("GET /containers/x/json", says(200, {"Id": "1"}))
    stub.on("GET /images/y/json", says(200, {"Id": "2"}))
    result = toolkit("inspect", "x", "y")
    assert json.loads(result.out) == [{"Id": "1"}, {"Id": "2"}]
    assert result.exit_code == 0


def test_what_is_missing_is_said_and_the_rest_is_shown(
    toolkit: CommandLine, stub: StubEngine
) -> None:
    stub.on("GET /containers/x/json", says(200, {"Id": "1"}))
    result = toolkit("inspect", "nope", "x")
    assert json.loads(result.out) == [{"Id": "1"}]
    assert (result.exit_code, result.err) == (1, "toolkit: No such object: nope\n")


def test_what_is_missing_of_one_kind_is_said_in_the_engines_words(
    toolkit: CommandLine, stub: StubEngine
) -> None:
    stub.on("GET /networks/nope", says(404, {"message": "network nope not found"}))
    result = toolkit("network", "inspect", "nope")
    assert (result.exit_code, result.err) == (1, "toolkit: network nope not found\n")


def test_the_kind_can_be_chosen(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("GET /images/x/json", says(200, {"Id": "2"}))
    assert toolkit("inspect", "--type", "image", "-f", "{{.Id}}", "x").out == "2\n"
    assert toolkit("image", "inspect", "-f", "{{.Id}}", "x").out == "2\n"
    assert all(line.startswith("GET /images") for line in stub.lines)


def test_a_bad_template_is_64_and_a_missing_field_1(toolkit: CommandLine, stub: StubEngine) -> None:
    stub.on("GET /containers/x/json", says(200, {"Id": "1"}))
    assert toolkit("inspect", "-f", "{{range .}}", "x").exit_code == 64
    assert toolkit("inspect", "-f", "{{.Nope}}", "x").exit_code == 1


def test_the_json_steers_no_terminal_and_reads_back_the_same() -> None:
    """S-14."""
    documents = [{"a": "\x1b[2J\x7f\x9b\u202e", "b": "Größe"}]
    text = as_json(documents)
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == documents
    assert "Größe" in text
