# SPDX-License-Identifier: Apache-2.0
"""What `up`, `down` and `status` ask of a running engine, in few words.

Owns the proof that a container runs. Everything
goes through the engine's API, as any other client's would.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from toolkit.client import ApiError, Client
from toolkit.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from toolkit.config import Instance

_NOT_FOUND = 404
_ANSWER_SECONDS = 60.0


@dataclass(frozen=True)
class FirstContainer:
    """An engine, seen by who has just started it."""

    client: Client

    @classmethod
    @contextmanager
    def on(cls, instance: Instance) -> Iterator[Self]:
        """Give the engine that listens on an instance's socket, for as long as the block lasts."""
        url = f"unix://{instance.socket_path}"
        with Client(url, timeout_seconds=_ANSWER_SECONDS) as client:
            yield cls(client)

    def version(self) -> str:
        """Return the engine's version."""
        return str(self.client.system.version()["Version"])

    def has_image(self, reference: str) -> bool:
        """Tell whether the engine has an image."""
        try:
            self.client.images.inspect(reference)
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            return False
        return True

    def run(self, image: str, command: Sequence[str]) -> str:
        """Run a program in a container of its own, remove it, and return what it wrote.

        Raises:
            MachineError: The program failed.
        """
        wish = {"Image": image, "Cmd": list(command), "HostConfig": {"NetworkMode": "none"}}
        container = self.client.containers.create(wish).id
        try:
            self.client.containers.start(container)
            ended = self.client.containers.wait(container).result()
            written = self._written(container)
        finally:
            self.client.containers.remove(container, force=True)
        if ended.exit_code:
            raise MachineError(f"{image}: {command[0]} ended with {ended.exit_code}: {written}")
        return written

    def _written(self, container: str) -> str:
        chunks = self.client.containers.logs(container, framed=True)
        return b"".join(chunk.payload for chunk in chunks).decode(errors="replace").strip()

    def repair(self) -> list[str]:
        """Have the engine put its network right; return what was wrong."""
        return self.client.system.repair()

    def count(self) -> int:
        """Return how many containers there are."""
        return len(self.client.containers.list(every=True))

    def count_running(self) -> int:
        """Return how many of them run."""
        return len(self.client.containers.list())

    def clear(self, *, keep: bool) -> int:
        """Remove every container, or only stop them to *keep* them; return how many."""
        listed = self.client.containers.list(every=not keep)
        for document in listed:
            if keep:
                self.client.containers.stop(document["Id"])
            else:
                self.client.containers.remove(document["Id"], force=True, volumes=True)
        return len(listed)
