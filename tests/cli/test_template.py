# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.cli.template import MissingFieldError, Template, TemplateError

DOCUMENT: dict[str, Any] = {
    "State": {"Status": "running", "Running": True, "Pid": 7},
    "None": None,
    "Labels": {"a.b/c": "x", "k": ["1", "2"]},
    "Ports": {"80/tcp": [{"HostPort": "8080"}]},
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{{.State.Status}}", "running"),
        ("a {{ .State.Pid }} b", "a 7 b"),
        ("{{.State.Running}}/{{.None}}", "true/<no value>"),
        ("{{json .State}}", '{"Status":"running","Running":true,"Pid":7}'),
        ('{{index .Labels "a.b/c"}}', "x"),
        ('{{index .Labels "none"}}', ""),
        ('{{(index (index .Ports "80/tcp") 0).HostPort}}', "8080"),
        ('{{json (index .Labels "k")}}', '["1","2"]'),
        ('{{join .Labels.k ","}}', "1,2"),
        ("{{len .Labels}} {{upper .State.Status}}", "2 RUNNING"),
        ("{{.Labels}}", "map[a.b/c:x k:[1 2]]"),
        ("no action", "no action"),
    ],
)
def test_templates_are_filled(text: str, shown: str) -> None:
    assert Template(text).render(DOCUMENT) == shown


@pytest.mark.parametrize(
    "text",
    ["{{.A", "{{range .A}}", "{{nope .A}}", "{{}}", "{{json .A | x}}", "{{(.A}}", "{{json.A}}"],
)
def test_what_is_not_known_is_refused_by_name(text: str) -> None:
    with pytest.raises(TemplateError, match="template parsing error"):
        Template(text)


@pytest.mark.parametrize(
    "text", ["{{.Nope}}", "{{.State.Status.X}}", "{{index .Labels.k 5}}", "{{len .State.Pid}}"]
)
def test_what_is_not_there_is_said(text: str) -> None:
    with pytest.raises(MissingFieldError):
        Template(text).render(DOCUMENT)


@given(st.text(alphabet='{}.()" json0Ax\\', max_size=25))
def test_no_template_breaks_the_parser(text: str) -> None:
    try:
        Template(text).render(DOCUMENT)
    except (TemplateError, MissingFieldError):
        return
