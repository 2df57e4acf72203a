# SPDX-License-Identifier: Apache-2.0
"""Images of a run: fetched, loaded or made once, whoever of its processes comes first."""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from toolkit.client import ApiError
from toolkit.errors import ToolkitError
from toolkit.testing.leases import Lease

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from typing import Unpack

    from toolkit.testing.container import Container
    from toolkit.testing.engine import ContainerEngine
    from toolkit.testing.spec import Command, RunOptions

_NOT_FOUND: Final = 404
_LATEST: Final = ":latest"
_BOOTSTRAPPED: Final = frozenset({"busybox", "busybox:latest"})
_DIGITS: Final = 16


class ImageMissingError(ToolkitError):
    """An image is neither in the engine nor to be had."""

    hint = (
        "Give it to the engine with container_image.load(path), .build(directory) or "
        ".bootstrap('debian'), or let the engine reach its registry."
    )


class ContainerImage:
    """Makes sure of images; every method returns the name to run.

    What is fetched, loaded or bootstrapped stays in the engine for the next run;
    a snapshot goes with the run.
    """

    def __init__(self, engine: ContainerEngine) -> None:
        self._engine = engine
        self._snapshots: dict[str, Lease] = {}
        engine.on_close(self.release)

    def __call__(self, reference: str) -> str:
        """Have an image in the engine; pull it if it is not there, once for the whole run.

        ``busybox`` is made of this machine's own, where there is a static one.

        Raises:
            ImageMissingError: It is not to be had.
        """
        if not self._has(reference):
            self._once(f"image {reference}", reference, lambda: self._fetch(reference))
        return reference

    def pull(self, reference: str) -> str:
        """Pull an image even if there is one of that name, once for the whole run."""
        self._once(f"pull {reference}", "", lambda: self._pull(reference))
        return reference

    def bootstrap(
        self,
        kind: str,
        *,
        reference: str = "",
        packages: Sequence[str] = (),
        suite: str = "",
        mirror: str = "",
        changes: Sequence[str] = (),
    ) -> str:
        """Have an image that is made on this machine, without any registry.

        Args:
            kind: ``busybox`` (of the static one here) or ``debian`` (by mmdebstrap).
            reference: Its name; without one, one that says what is in it.
            packages: Debian packages that it has beside the minimal system.
            suite: Debian's release; this machine's without one.
            mirror: Where packages come from.
            changes: Dockerfile lines for its configuration, as ``CMD ["redis-server"]``.

        Raises:
            ToolkitError: It cannot be made here; says which program is missing.
        """
        wanted = [kind, *packages, suite, *changes]
        name = reference or (kind if kind in _BOOTSTRAPPED else f"{kind}:{_digest(wanted)}")

        def make() -> None:
            from toolkit.bootstrap import bootstrap_image  # noqa: PLC0415  # brings tarfile along

            bootstrap_image(
                self._engine.client,
                kind,
                reference=name,
                suite=suite,
                mirror=mirror,
                packages=packages,
                changes=changes,
            )

        if not self._has(name):
            self._once(f"image {name}", name, make)
        return name

    def load(self, path: str | os.PathLike[str]) -> str:
        """Load an archive of ``docker save``, once for the whole run; return its first image.

        Raises:
            ToolkitError: It is none.
        """
        file = Path(path).resolve()
        status = file.stat()
        name = f"load {file} {status.st_size} {status.st_mtime_ns}"
        return str(self._once(name, "", lambda: self._load(file)))

    def build(
        self,
        directory: str | os.PathLike[str],
        *,
        tag: str = "",
        dockerfile: str = "Dockerfile",
        build_args: dict[str, str] | None = None,
    ) -> str:
        """Build a directory with a Dockerfile, once for the whole run; return the image's name.

        Raises:
            StreamError: A step failed; with what it said.
        """
        from toolkit.testing.building import build_image  # noqa: PLC0415  # brings tarfile along

        place = Path(directory).resolve()
        name = tag or f"test-build:{_digest([str(place), dockerfile, str(build_args)])}"
        self._once(
            f"build {place} {name}",
            "",
            lambda: build_image(
                self._engine.client,
                place,
                tag=name,
                dockerfile=dockerfile,
                build_args=build_args or {},
            ),
        )
        return name

    def snapshot_after(
        self,
        setup: Callable[[Container], object],
        image: str,
        command: Command | None = None,
        **options: Unpack[RunOptions],
    ) -> str:
        """Have an image of what a container has become after a set-up, made once for the run.

        The container is started and awaited as `run_container` does, *setup* is
        called with it, it is stopped, and what it has written (but not what is in
        volumes) becomes the image. Tests then start from there.

        Args:
            setup: Fills the database, installs what is missing, ...
            image: What it starts from.
            command: Its program; the snapshot keeps it.
            options: As `run_container` takes them.
        """
        engine = self._engine
        body = engine.body(image, command, options, {})
        key = _digest([engine.image_id(image), str(body), setup.__qualname__, _source(setup)])
        name = f"test-snapshot:{key}"
        if key in self._snapshots or (not engine.is_toolkit and self._has(name)):
            return name
        lease = self._snapshots[key] = Lease.join(engine, f"snapshot {key}")

        def make() -> str:
            labels = lease.labels
            container = engine.start(image, command, options, labels=labels)
            try:
                engine.wait_for(container, options)
                setup(container)
                container.stop()
                _commit(container, name, labels)
            finally:
                container.remove()
            return name

        try:
            return str(lease.value(make))
        except BaseException:
            del self._snapshots[key]  # or the next one who asks takes it for made
            lease.close()
            raise

    def release(self) -> None:
        """Let go of the snapshots; they go with the last process that does."""
        while self._snapshots:
            self._snapshots.popitem()[1].close()

    def _has(self, reference: str) -> bool:
        try:
            self._engine.client.images.inspect(reference)
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            return False
        return True

    def _once(self, name: str, reference: str, make: Callable[[], Any]) -> Any:
        """Have something made by one process of the run; the others wait for it."""
        lease = Lease.join(self._engine, name)
        try:
            return lease.value(lambda: None if reference and self._has(reference) else make())
        finally:
            lease.close()

    def _fetch(self, reference: str) -> None:
        if reference in _BOOTSTRAPPED:
            from toolkit.bootstrap import bootstrap_image  # noqa: PLC0415  # as above
            from toolkit.bootstrap.errors import BusyboxMissingError  # noqa: PLC0415

            try:
                bootstrap_image(self._engine.client, "busybox", reference=reference)
            except BusyboxMissingError:
                self._pull(reference)
        else:
            self._pull(reference)

    def _pull(self, reference: str) -> None:
        repository, colon, tag = reference.rpartition(":")
        if not colon or "/" in tag or "@" in reference:
            repository, tag = reference, "" if "@" in reference else "latest"
        try:
            for _ in self._engine.client.images.pull(repository, tag):
                pass
        except ToolkitError as error:
            raise ImageMissingError(f"image {reference} cannot be pulled: {error}") from error

    def _load(self, path: Path) -> str:
        with path.open("rb") as archive:
            progress = self._engine.client.images.load(archive)
            said = "".join(str(one.get("stream", "")) for one in progress)
        for line in said.splitlines():
            _, found, reference = line.partition(": ")
            if found and line.startswith("Loaded image"):
                return reference.strip()
        raise ImageMissingError(f"{path} holds no image: {said.strip()}")


def _commit(container: Container, name: str, labels: dict[str, str]) -> None:
    repository, _, tag = name.partition(":")
    container.engine.client.containers.commit(
        container.id,
        repository=repository,
        tag=tag,
        message="snapshot of a test's set-up",
        changes=[f'LABEL "{key}"="{value}"' for key, value in labels.items()],
    )


def _digest(words: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:_DIGITS]


def _source(setup: Callable[..., object]) -> str:
    """Return a function's text: another text is another set-up."""
    try:
        return inspect.getsource(setup)
    except (OSError, TypeError):
        return repr(setup)
