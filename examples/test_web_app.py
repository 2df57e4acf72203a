# SPDX-License-Identifier: Apache-2.0
"""A web application with a database: both real, each test at its own path."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from toolkit.testing import all_of, http, listening, log

if TYPE_CHECKING:
    from toolkit.testing import Container, RunContainer

APP = Path(__file__).with_name("web_app.py")


@pytest.fixture(scope="session")
def database(shared_container: RunContainer, debian: str) -> Container:
    """One Redis for all tests and all workers of the run."""
    command = "redis-server --bind 0.0.0.0 --protected-mode no --save ''"
    return shared_container(debian, command, wait=listening(6379))


@pytest.fixture
def web(run_container: RunContainer, debian: str, database: Container) -> Container:
    """The application, ready to be asked."""
    return run_container(
        debian,
        ["python3", "/app.py"],
        ports=[8080],
        env={"DATABASE": f"{database.ip_address()}:6379"},
        files={"/app.py": APP},
        wait=all_of(log("^serving$"), http("/health")),
    )


def get(web: Container, path: str) -> str:
    """Ask the application, as a browser does."""
    with urllib.request.urlopen(f"http://{web.address(8080)}{path}", timeout=5) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("path", ["/a", "/b", "/c", "/d"])
def test_visits_are_counted(web: Container, path: str) -> None:
    first = int(get(web, path).split()[1])
    assert get(web, path) == f"visit {first + 1}\n"


def test_the_count_outlives_the_application(web: Container) -> None:
    before = int(get(web, "/kept").split()[1])
    web.restart(timeout_seconds=0)
    web.wait_until(http("/health"))
    assert get(web, "/kept") == f"visit {before + 1}\n"


def test_without_a_database_the_application_says_so(
    run_container: RunContainer, debian: str
) -> None:
    lonely = run_container(
        debian,
        ["python3", "/app.py"],
        ports=[8080],
        env={"DATABASE": "127.0.0.1:1"},
        files={"/app.py": APP},
        wait=http("/health", status=503),
    )
    with pytest.raises(urllib.error.HTTPError, match="503"):
        get(lonely, "/")
