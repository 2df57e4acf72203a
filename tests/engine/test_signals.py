# SPDX-License-Identifier: Apache-2.0
"""Signals by number and by name."""

from __future__ import annotations

import signal

import pytest

from toolkit.engine.signals import parse_signal
from toolkit.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 9),
        ("9", 9),
        ("KILL", 9),
        ("SIGKILL", 9),
        ("sigterm", 15),
        ("Winch", 28),
        ("INT", 2),
        ("64", 64),
        ("RTMIN", 34),
        ("rtmin+3", 37),
        ("SIGRTMAX-2", 62),
    ],
)
def test_numbers_and_names_are_read(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["0", "65", "-1", "NOSUCH", "SIG", "9 ", "1e3", "RTMIN+40", "٩"])
def test_what_is_no_signal_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="Invalid signal"):
        parse_signal(text)


@pytest.mark.parametrize("known", list(signal.Signals))
def test_each_signal_of_this_kernel_has_its_name(known: signal.Signals) -> None:
    assert parse_signal(known.name) == known.value
