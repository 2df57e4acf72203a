# SPDX-License-Identifier: Apache-2.0
"""Docker's bar as text."""

from __future__ import annotations

import pytest

from toolkit.api.progress import bar, progress_object
from toolkit.images.progress import ProgressMessage


@pytest.mark.parametrize(
    ("current", "total", "text"),
    [
        (0, 0, ""),
        (1, 0, "      1B"),
        (20, 100, f"[{'=' * 10}>{' ' * 40}]      20B/100B"),
        (50, 50, f"[{'=' * 50}>]      50B/50B"),
        (60, 50, f"[{'=' * 50}>]      60B"),
        (1_500_000, 3_000_000, f"[{'=' * 25}>{' ' * 25}]    1.5MB/3MB"),
    ],
)
def test_the_bar_is_dockers(current: int, total: int, text: str) -> None:
    """API-107; rule api-and-cli 1.4, with today's units."""
    assert bar(current, total) == text


def test_a_message_without_a_count_has_no_bar() -> None:
    found = progress_object(ProgressMessage(status="Waiting", id="abc"))
    assert found == {"status": "Waiting", "progressDetail": {}, "id": "abc"}
    assert progress_object(ProgressMessage(status="Digest: x")) == {"status": "Digest: x"}
    counted = progress_object(ProgressMessage(status="s", id="i", current=5))
    assert counted["progressDetail"] == {"current": 5}
