# SPDX-License-Identifier: Apache-2.0
"""One command on both backends: what it wrote, how it ended, or why it was refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toolkit.client import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integration.conftest import Engine

BACKENDS = ("native", "lxc")
HOSTNAME = "differential"


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        refusal: Status and words of the engine, when nothing was started.
    """

    exit_code: int = -1
    stdout: bytes = b""
    stderr: bytes = b""
    refusal: tuple[int, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command and what it is run with, in docker's words."""

    command: tuple[str, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)

    def run_on(self, engine: Engine, backend: str) -> Ended:
        """Run it to its end and remove it."""
        host = {"NetworkMode": "none", **self.host, "Runtime": backend}
        wish = {
            "Image": "busybox", "Hostname": HOSTNAME, **self.config, "Cmd": list(self.command),
            "HostConfig": host,
        }  # fmt: skip
        containers = engine.client.containers
        try:
            container = containers.create(wish).id
        except ApiError as error:
            return Ended(refusal=(error.status, error.message))
        try:
            containers.start(container)
            code = containers.wait(container).result().exit_code
            return Ended(code, *self._output(engine, container))
        except ApiError as error:
            return Ended(refusal=(error.status, error.message))
        finally:
            containers.remove(container, force=True, volumes=True)

    def _output(self, engine: Engine, container: str) -> tuple[bytes, bytes]:
        found = {1: b"", 2: b""}
        has_tty = bool(self.config.get("Tty"))
        for chunk in engine.client.containers.logs(container, framed=not has_tty):
            found[chunk.kind] += chunk.payload
        return found[1], found[2]

    def run_on_both(self, engine: Engine) -> tuple[Ended, Ended]:
        """Return how it ended on the native backend, and on LXC."""
        native, lxc = (self.run_on(engine, backend) for backend in BACKENDS)
        return native, lxc


def shell(script: str, **more: Any) -> Case:
    """Return a case that is a line of shell."""
    return Case(command=("sh", "-c", script), **more)
