# SPDX-License-Identifier: Apache-2.0
"""The engine of a run of tests: whose containers they are, and how they go.

One of these is held by each process of a run (each worker of xdist). It is a
session of the engine: when the process ends, for whatever reason, the engine
removes what carries the session's label. A docker engine has no sessions; there
the fixtures remove what they made, and the next run what a killed one left.
"""

from __future__ import annotations

import os
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from toolkit.client import ApiError, Client
from toolkit.errors import EngineUnreachableError
from toolkit.testing import owners
from toolkit.testing.checks import check_call
from toolkit.testing.container import Container
from toolkit.testing.discovery import find_engine
from toolkit.testing.ending import Ending
from toolkit.testing.readiness import as_condition, wait_ready
from toolkit.testing.spec import (
    DEFAULT_WAIT_SECONDS,
    Command,
    RunOptions,
    content_of,
    create_body,
    specification_hash,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Unpack

    from toolkit.client.extensions import Lines
    from toolkit.testing.discovery import FoundEngine

SESSION_LABEL: Final = "toolkit.session"
LEASE_LABEL: Final = "toolkit.lease"
REUSE_LABEL: Final = "toolkit.reuse"
LOOPBACK: Final = "127.0.0.1"
_EVERYWHERE: Final = ""
_NOT_FOUND: Final = 404
_TRIES: Final = 3


class RunContainer(Protocol):
    """Starts containers: what the fixtures `run_container` and `shared_container` give."""

    def __call__(
        self, image: str, command: Command | None = None, **options: Unpack[RunOptions]
    ) -> Container:
        """Start a container, wait until it is ready, and return it.

        Raises:
            NotReadyError: It ended, or was not ready in time.
            ApiError: The engine refused.
        """


class ContainerEngine:
    """One process's share in an engine.

    Attributes:
        client: Talks to it.
        features: What it can beyond docker's API; empty for docker's own.
        run_id: The same in all processes of a run.
        source: What named it.
        published_host: Address at which published ports are reached from here.
        ending: Removes things, with a limit to each wait.
        timeout_factor: Every time that a test waits at most is that much longer.
    """

    def __init__(
        self,
        client: Client,
        *,
        features: frozenset[str],
        run_id: str,
        source: str = "",
        published_host: str = LOOPBACK,
        timeout_factor: float = 1.0,
    ) -> None:
        self.client = client
        self.features = features
        self.run_id = run_id
        self.source = source
        self.published_host = published_host
        self.timeout_factor = timeout_factor
        self.session_name = f"{run_id[:12]}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self.ending = Ending(client, timeout_factor=timeout_factor)
        self._session: Lines | None = None
        self._undo = ExitStack()

    @classmethod
    def open(cls, found: FoundEngine, run_id: str, *, timeout_factor: float = 1.0) -> Self:
        """Open a session on an engine that answers.

        Raises:
            EngineUnreachableError: It does not.
        """
        client = Client(found.url)
        try:
            engine = cls(
                client,
                features=client.extensions.features(),
                run_id=run_id,
                source=found.source,
                published_host=found.published_host,
                timeout_factor=timeout_factor,
            )
            engine.begin()
        except BaseException:
            client.close()
            raise
        return engine

    @property
    def url(self) -> str:
        """What ``DOCKER_HOST`` would say."""
        return self.client.host

    @property
    def is_toolkit(self) -> bool:
        """Whether it has sessions: then nothing stays when this process is killed."""
        return "sessions" in self.features

    @property
    def is_local(self) -> bool:
        """Whether its containers run on this machine, so that ``/proc`` shows them."""
        return self.published_host == LOOPBACK

    @property
    def labels(self) -> dict[str, str]:
        """What everything of this process carries."""
        return {SESSION_LABEL: self.session_name, owners.OWNER_LABEL: owners.own_name()}

    def begin(self) -> None:
        """Open the session; on docker's engine, remove what killed runs left instead."""
        if self.is_toolkit:
            self._session = self.client.extensions.open_session(self.session_name)
        else:
            owners.remove_orphans(self.client)

    def close(self) -> None:
        """End the session: when this returns, nothing of it is left. A second call does nothing.

        An engine that does not answer in time is left to it, with a warning.
        """
        session, self._session = self._session, None
        if session is not None:
            self.ending.let_go(session)
        self._undo.close()  # after the containers: they may stand on what is let go here
        self.ending.close()
        self.client.close()

    def on_close(self, act: Callable[[], object]) -> None:
        """Have something done when the session ends, newest first."""
        self._undo.callback(act)

    def run(
        self, image: str, command: Command | None = None, **options: Unpack[RunOptions]
    ) -> Container:
        """Start a container that lives as long as the session, and wait until it is ready.

        Raises:
            NotReadyError: It ended, or was not ready in time; it is removed.
        """
        container = self.start(image, command, options)
        try:
            self.wait_for(container, options)
        except BaseException:
            container.remove()
            raise
        return container

    def start(
        self,
        image: str,
        command: Command | None,
        options: RunOptions,
        *,
        labels: Mapping[str, str] | None = None,
    ) -> Container:
        """Start a container, or take the running one where ``reuse=`` finds it; wait for nothing.

        Args:
            image: Name of the image; it is fetched if the engine has not got it.
            command: Program with arguments.
            options: As `run_container` takes them.
            labels: Whose it is; this session's without.
        """
        own = dict(labels or self.labels)
        body = self.body(image, command, options, own)
        if options.get("reuse"):
            return self._reused(image, body, own, options)
        return self._started(image, body, options)

    def wait_for(self, container: Container, options: RunOptions) -> None:
        """Wait until a container is what ``wait=`` says.

        Raises:
            NotReadyError: It ended, or was not ready in time.
        """
        if (ready := options.get("wait")) is not None:
            seconds = options.get("timeout_seconds", DEFAULT_WAIT_SECONDS)
            wait_ready(container, ready, seconds * self.timeout_factor)

    def body(
        self,
        image: str,
        command: Command | None,
        options: RunOptions,
        labels: Mapping[str, str],
    ) -> dict[str, Any]:
        """Return docker's create body of what is asked for.

        Raises:
            UnknownOptionError: There is no such option.
            InvalidRequestError: A value cannot be used.
        """
        check_call(image, command, options)
        if (ready := options.get("wait")) is not None:
            as_condition(ready)
        publish_on = LOOPBACK if self.is_local else _EVERYWHERE
        return create_body(image, command, options, labels=labels, publish_on=publish_on)

    def keep(self, container: Container) -> None:
        """Have a container outlive the session, for a person to look into."""
        if self._session is not None:
            self._session.keep(container.id)

    def made_up_name(self) -> str:
        """Return a name that nothing has."""
        return f"test-{uuid.uuid4().hex[:12]}"

    def image_id(self, image: str) -> str:
        """Return what an image's name means now, fetching the image if it is not there."""
        return str(self._with_image(image, lambda: self.client.images.inspect(image))["Id"])

    def _started(self, image: str, body: Mapping[str, Any], options: RunOptions) -> Container:
        create = self.client.containers.create
        name = options.get("name") or self.made_up_name()
        created = self._with_image(image, lambda: create(body, name=name))
        container = Container(self, created.id, name=name, image=image)
        try:
            for path, content in options.get("files", {}).items():
                container.write_file(path, content_of(content))
            self.client.containers.start(created.id)
        except BaseException:
            container.remove()
            raise
        return container

    def _with_image(self, image: str, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except ApiError as error:
            if error.status != _NOT_FOUND or "image" not in error.message.lower():
                raise
        from toolkit.testing.images import ContainerImage  # noqa: PLC0415  # seldom needed

        ContainerImage(self)(image)
        return act()

    def _reused(
        self,
        image: str,
        body: dict[str, Any],
        own: Mapping[str, str],
        options: RunOptions,
    ) -> Container:
        """Return the running container of the same specification, or start it for good."""
        key = specification_hash(self.image_id(image), body, own)
        running = self.client.containers.list(filters={"label": [f"{REUSE_LABEL}={key}"]})
        if running:
            found = running[0]
            return Container(self, found["Id"], name=found["Names"][0].lstrip("/"), image=image)
        kept = {name: value for name, value in body["Labels"].items() if name not in own}
        return self._started(image, {**body, "Labels": {**kept, REUSE_LABEL: key}}, options)


def open_engine(
    explicit: str | None,
    environ: Mapping[str, str],
    run_id: str,
    *,
    timeout_factor: float = 1.0,
) -> ContainerEngine:
    """Find an engine, start a private one if need be, and open a session on it.

    Raises:
        NoEngineError: There is none, with what to do about it.
    """
    for _ in range(_TRIES):
        found = find_engine(explicit, environ)
        try:
            return ContainerEngine.open(found, run_id, timeout_factor=timeout_factor)
        except EngineUnreachableError as error:  # a private one that just ended, being idle
            failure = error
    raise failure
