# SPDX-License-Identifier: Apache-2.0
"""A person at a terminal: typing, waiting for what appears, pressing keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.testing import ContainerTerminal, RunContainer

ASKS = """
stty -echo; printf 'Password: '; read -r word; stty echo; echo
[ "$word" = open-sesame ] || { echo denied; exit 1; }
trap 'echo interrupted; exit 130' INT
echo welcome
while :; do sleep 0.1; done
"""


def test_an_editor_writes_what_was_typed(
    run_container: RunContainer, container_terminal: ContainerTerminal
) -> None:
    machine = run_container("busybox", "sleep 600")
    editor = container_terminal(machine, "vi /notes")
    editor.expect("- /notes")
    editor.send("i")
    editor.expect("I /notes")
    editor.send("hello from a person")
    editor.press("escape")
    editor.expect("- /notes")  # typed at once, what follows would be part of an escape sequence
    editor.send_line(":wq")
    assert editor.wait() == 0
    assert machine.read_file("/notes") == b"hello from a person\n"


def test_a_password_is_not_shown_and_ctrl_c_is_heard(
    run_container: RunContainer, container_terminal: ContainerTerminal
) -> None:
    machine = run_container("busybox", "sleep 600")
    person = container_terminal(machine, ["sh", "-c", ASKS])
    person.expect("Password: ")
    person.send_line("open-sesame")
    person.expect("welcome")
    person.press("ctrl-c")
    person.expect("interrupted")
    assert person.wait() == 130
    assert "open-sesame" not in person.output


def test_a_wrong_password_is_denied(
    run_container: RunContainer, container_terminal: ContainerTerminal
) -> None:
    machine = run_container("busybox", "sleep 600")
    person = container_terminal(machine, ["sh", "-c", ASKS])
    person.expect("Password: ")
    person.send_line("guess")
    person.expect("denied")
    assert person.wait() == 1
