# SPDX-License-Identifier: Apache-2.0
"""The same work with testcontainers: start, wait until the port listens, one request, remove."""

from __future__ import annotations

import time

import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import PortWaitStrategy

from bench.suites.work import IMAGE, PORT, SERVE, TESTS, note, request

POLL_SECONDS = 0.005  # its default is a second


@pytest.mark.parametrize("number", range(TESTS))
def test_request(number: int) -> None:
    """Do it once, and note how long that took."""
    began = time.perf_counter()
    waiting = PortWaitStrategy(PORT).with_poll_interval(POLL_SECONDS)
    made = DockerContainer(IMAGE).with_command(SERVE).with_exposed_ports(PORT).waiting_for(waiting)
    with made as web:
        request(web.get_container_host_ip(), int(web.get_exposed_port(PORT)))
    note("testcontainers", number, time.perf_counter() - began)
