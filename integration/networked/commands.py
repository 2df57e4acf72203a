# SPDX-License-Identifier: Apache-2.0
"""docker's own command and ours, on a world's engine."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from integration.pace import SLOWNESS

if TYPE_CHECKING:
    from integration.networked.conftest import World

SECONDS: Final = 60 * SLOWNESS
CLIENTS: Final = ("docker", "toolkit")


class CommandLine:
    """One of the two commands, on the world's engine."""

    def __init__(self, world: World, program: str) -> None:
        self.world = world
        self.program = program
        own = [sys.executable, "-m", "toolkit.cli.main"]
        self._words = own if program == "toolkit" else [str(shutil.which("docker"))]

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._words, *words],
            env=self.world.engine.environ | {"DOCKER_CLI_HINTS": "false"},
            capture_output=True,
            timeout=SECONDS,
            check=False,
            text=True,
        )

    def __call__(self, *words: str) -> str:
        done = self.ask(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, *words: str) -> str:
        """Run a container in the background; the test ends with its removal."""
        container = self("run", "-d", *words).strip()
        self.world.made.append(container)
        return container
