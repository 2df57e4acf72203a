# SPDX-License-Identifier: Apache-2.0
"""docker-compose, unchanged, on the engine: a project from its build to its end."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from integration.networked.commands import SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from integration.networked.conftest import World

DOCKERFILE = """\
FROM busybox
RUN mkdir /www && echo built > /www/index.html
HEALTHCHECK --interval=1s CMD wget -qO- http://127.0.0.1/
CMD ["httpd", "-f", "-h", "/www"]
"""
PROJECT = """\
version: "2.4"
services:
  web:
    build: ./web
    ports: ["127.0.0.1:8097:80"]
    networks: [front, back]
    restart: unless-stopped
  client:
    image: busybox
    command: sh -c 'wget -qO /data/page http://www/; cat /data/page; exec sleep 100'
    depends_on: {web: {condition: service_healthy}}
    links: ["web:www"]
    volumes: ["data:/data", "./web:/src:ro"]
    networks: [back]
    mem_limit: 64m
    stop_grace_period: 1s
networks: {front: {}, back: {internal: true}}
volumes: {data: {}}
"""


@pytest.fixture
def compose(world: World, tmp_path: Path) -> Callable[..., str]:
    """Run docker-compose in the project's directory; return what it printed."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("no docker-compose command here (Debian's package docker-compose)")
    project = tmp_path / "shop"
    (project / "web").mkdir(parents=True)
    (project / "web/Dockerfile").write_text(DOCKERFILE)
    (project / "docker-compose.yml").write_text(PROJECT)

    def run(*words: str) -> str:
        done = subprocess.run(
            (program, *words),
            cwd=project,
            env=world.engine.environ | {"DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_a_project_is_built_started_scaled_and_taken_down(
    world: World, compose: Callable[..., str]
) -> None:
    engine = world.engine.client
    before = engine.volumes.list()
    compose("up", "-d")
    try:
        assert compose("port", "web", "80") == "127.0.0.1:8097\n"
        page = world.host.ask("127.0.0.1", 8097, b"GET / HTTP/1.0\r\n\r\n")
        assert page.endswith(b"built\n")
        assert compose("exec", "-T", "client", "cat", "/data/page") == "built\n"
        assert compose("exec", "-T", "client", "ls", "/src") == "Dockerfile\n"
        assert "built" in compose("logs", "--no-color", "client")
        compose("up", "-d", "--scale", "client=2")
        compose("restart", "-t", "1", "web")
        assert len(compose("ps", "-q").split()) == 3
        assert compose("run", "--rm", "--no-deps", "client", "echo", "once").endswith("once\n")
    finally:
        compose("down", "-v", "-t", "1", "--rmi", "local")
    assert engine.containers.list(every=True) == []
    assert {network["Name"] for network in engine.networks.list()} == {"bridge", "host", "none"}
    assert engine.volumes.list() == before
