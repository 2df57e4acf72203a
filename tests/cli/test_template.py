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
    "Networks": {"wan": {"IPAddress": "10.1.0.2"}, "lan": {"IPAddress": "10.0.0.2"}},
}


PARTS = (
    "{{range .Networks}}", "{{range $k, $v := .Ports}}", "{{if .None}}", "{{with .State}}",
    "{{else}}", "{{else if .Labels}}", "{{end}}", "{{.}}", "{{$.State}}", "{{$v}}",
    "x {{- json . }}",
)  # fmt: skip


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
        ("{{range .Networks}}{{.IPAddress}} {{end}}", "10.0.0.2 10.1.0.2 "),
        (
            "{{range $name, $net := .Networks}}{{$name}}={{$net.IPAddress}};{{end}}",
            "lan=10.0.0.2;wan=10.1.0.2;",
        ),
        (
            "{{range $p, $conf := .Ports}}{{$p}} -> {{(index $conf 0).HostPort}}{{end}}",
            "80/tcp -> 8080",
        ),
        ("{{range $i, $e := .Labels.k}}{{$i}}:{{$e}} {{end}}", "0:1 1:2 "),
        ("{{range $e := .Labels.k}}{{$e}}{{end}}", "12"),
        ("{{range .None}}x{{else}}nobody{{end}}", "nobody"),
        ("{{range .Labels.k}}{{$.State.Pid}}{{end}}", "77"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if .None}}a{{else if .State.Pid}}b{{else}}c{{end}}", "b"),
        ("{{if and .State.Running (eq .State.Pid 7)}}yes{{end}}", "yes"),
        ("{{if or .None (ne .State.Pid 7)}}yes{{else}}no{{end}}", "no"),
        ("{{if not .None}}none{{end}}", "none"),
        ("{{with .State}}{{.Pid}} {{$.Labels.k}}{{end}}", "7 [1 2]"),
        ("{{with $s := .State}}{{$s.Pid}}{{end}}{{with .None}}x{{end}}", "7"),
        ('{{range .Labels.k}}{{if eq . "1"}}one{{else}}{{.}}{{end}}{{println}}{{end}}', "one\n2\n"),
        ("a  {{- .State.Pid -}}  b", "a7b"),
        ("{{.State.Status | upper}} {{.Labels | json}}", 'RUNNING {"a.b/c":"x","k":["1","2"]}'),
        ('{{printf "%s is %d%%" .State.Status .State.Pid}}', "running is 7%"),
        ('{{join (split "a.b" ".") "-"}} {{title "ab"}} {{truncate "abc" 2}}', "a-b Ab ab"),
        ("{{/* nothing */}}x", "x"),
    ],
)
def test_templates_are_filled(text: str, shown: str) -> None:
    assert Template(text).render(DOCUMENT) == shown


@pytest.mark.parametrize(
    "text",
    [
        "{{.A",
        "{{range .A}}",
        "{{nope .A}}",
        "{{}}",
        "{{json .A | x}}",
        "{{(.A}}",
        "{{json.A}}",
        "{{end}}",
        "{{else}}",
        "{{if .A}}x",
        "{{if .A}}{{else}}{{else}}{{end}}",
        "{{range}}{{end}}",
        "{{.A | .B}}",
        "{{range .A}}" * 60,
    ],
)
def test_what_is_not_known_is_refused_by_name(text: str) -> None:
    with pytest.raises(TemplateError, match="template parsing error"):
        Template(text)


@pytest.mark.parametrize(
    "text",
    [
        "{{.Nope}}",
        "{{.State.Status.X}}",
        "{{index .Labels.k 5}}",
        "{{len .State.Pid}}",
        "{{$nope}}",
        "{{range .State.Pid}}{{end}}",
        "{{range .State.Status}}{{end}}",
    ],
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


@given(st.lists(st.sampled_from(PARTS), max_size=12))
def test_no_order_of_blocks_breaks_the_parser(parts: list[str]) -> None:
    try:
        Template("".join(parts)).render(DOCUMENT)
    except (TemplateError, MissingFieldError):
        return
