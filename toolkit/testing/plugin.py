# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin: which engine a run would use.

Every run of pytest imports it where the toolkit is installed, so it imports next to
nothing until it is asked.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options of the plugin."""
    group = parser.getgroup("containers", "containers in tests")
    group.addoption(
        "--container-engine",
        metavar="HOST",
        default=None,
        help="engine that tests use: unix:// and a path (default: as the toolkit command)",
    )


def pytest_report_header(config: pytest.Config) -> str:
    """Say which engine this run would use, and what named it."""
    from toolkit.client.host import resolve_host  # noqa: PLC0415  # not before it is asked for
    from toolkit.errors import InvalidRequestError  # noqa: PLC0415  # same

    try:
        host = resolve_host(config.getoption("--container-engine"), os.environ)
    except InvalidRequestError as error:
        return f"container engine: none ({error})"
    state = "listening" if _is_listening(host.socket_path) else "not listening"
    return f"container engine: {host.url} (from {host.source}, {state})"


def _is_listening(path: str) -> bool:
    import socket  # noqa: PLC0415  # not before it is asked for

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        return connection.connect_ex(path) == 0
