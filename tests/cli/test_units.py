# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from toolkit.cli.units import human_memory, human_size, parse_cpus, parse_memory
from toolkit.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *[(text, 32) for text in ("32", "32b", "32B")],
        *[(text, 32 << 10) for text in ("32k", "32K", "32kb", "32Kb")],
        ("32Mb", 32 << 20),
        ("32Gb", 32 << 30),
        ("1.5g", 3 << 29),
        ("0.1k", 102),
        ("64MiB", 64 << 20),
    ],
)
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    """API-114, RT-069."""
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "hello", "-32", " 32 ", "32 mb", "32m b", "32bm", "1.", "٣"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """API-114, RT-069."""
    with pytest.raises(InvalidRequestError, match="invalid size"):
        parse_memory(text)


@pytest.mark.parametrize(
    ("text", "billionths"),
    [("1", 10**9), ("0.5", 5 * 10**8), (".25", 25 * 10**7), ("2.", 2 * 10**9)],
)
def test_cpus_are_exact(text: str, billionths: int) -> None:
    assert parse_cpus(text) == billionths


@pytest.mark.parametrize("text", ["", "x", "-1", "1e9", "0.1234567891", "."])
def test_what_is_no_number_of_cpus_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_cpus(text)


def test_sizes_are_shown_in_powers_of_1000() -> None:
    """API-113, RT-237, without the blank that today's docker leaves out."""
    assert [human_size(size) for size in (0, 1000, 1024, 1_980_000)] == [
        "0B",
        "1kB",
        "1.024kB",
        "1.98MB",
    ]
    assert human_memory(64 << 20) == "64MiB"
