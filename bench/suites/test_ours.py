# SPDX-License-Identifier: Apache-2.0
"""One test's work with the fixtures: start, wait until the port listens, one request, remove."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.suites.work import IMAGE, PORT, SERVE, TESTS, note, request
from toolkit.testing import listening

if TYPE_CHECKING:
    from toolkit.testing import RunContainer

import pytest


@pytest.mark.parametrize("number", range(TESTS))
def test_request(run_container: RunContainer, number: int) -> None:
    """Do it once, and note how long that took."""
    began = time.perf_counter()
    web = run_container(IMAGE, SERVE, ports=[PORT], wait=listening(PORT))
    request(*web.address(PORT))
    web.remove()
    note("ours", number, time.perf_counter() - began)
