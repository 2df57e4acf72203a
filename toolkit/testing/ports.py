# SPDX-License-Identifier: Apache-2.0
"""Watches of a container's ports: asked of the engine, of ``/proc/net``, or by HTTP.

The toolkit's engine asks the kernel inside the container's namespace and answers
one request when somebody listens. Any other engine is asked for the container's
own ``/proc/net/tcp`` again and again.
"""

from __future__ import annotations

import http.client
import ssl
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolkit.client import ApiError
from toolkit.errors import InvalidRequestError
from toolkit.testing.readiness import Watch, is_readable
from toolkit.testing.spec import port_key

if TYPE_CHECKING:
    from toolkit.client.extensions import PendingListener
    from toolkit.testing.container import Container

_REQUEST_SECONDS: Final = 2.0
_EARLIER_SECONDS: Final = 0.05  # the engine gives up first: it knows who listens elsewhere
_CONFLICT: Final = 409
_LISTEN_STATE: Final = {"tcp": "0A", "udp": "07"}


def watch_listening(container: Container, port: int | str, timeout_seconds: float) -> Watch:
    """Begin to watch a port, in the best way that the engine has."""
    number, _, protocol = port_key(port).partition("/")
    if protocol not in _LISTEN_STATE:
        raise InvalidRequestError(f"listening({port!r}): the kernel tells it of tcp and udp")
    if "listening" in container.engine.features:
        return _KernelWatch(container, int(number), protocol, timeout_seconds)
    return _ProcWatch(container, int(number), protocol)


class _KernelWatch(Watch):
    """The engine's word, which comes when somebody listens."""

    def __init__(
        self, container: Container, port: int, protocol: str, timeout_seconds: float
    ) -> None:
        super().__init__(container)
        self._pending: PendingListener | None = None
        self._is_heard = False
        engine_seconds = timeout_seconds - min(_EARLIER_SECONDS, timeout_seconds / 10)
        try:
            self._pending = container.engine.client.extensions.begin_listening(
                container.id, port, protocol=protocol, timeout_seconds=engine_seconds
            )
        except ApiError as error:
            if error.status != _CONFLICT:  # it has ended already: the wait for that tells
                raise
        else:
            self.sources = [self._pending]
        self.reason = f"nobody listens on {port}/{protocol}"

    def look(self) -> bool:
        if self._pending is not None and is_readable(self._pending):
            heard = self._pending.result()
            self._is_heard, self.reason = heard.is_listening, heard.reason
            self.close()
        return self._is_heard

    def close(self) -> None:
        self.sources = []
        if self._pending is not None:
            self._pending.close()
            self._pending = None


class _ProcWatch(Watch):
    """What ``/proc/net`` of the container says; read directly where this process may."""

    def __init__(self, container: Container, port: int, protocol: str) -> None:
        super().__init__(container)
        self._end = f":{port:04X}"
        self._files = [f"net/{protocol}", f"net/{protocol}6"]
        self._state = _LISTEN_STATE[protocol]
        self._pid = int(container.state().get("Pid") or 0)
        self.reason = f"nobody listens on {port}/{protocol}"

    def look(self) -> bool:
        self.pause_longer()
        lines = (line.split() for line in self._table().splitlines())
        return any(
            len(fields) > 3 and fields[1].endswith(self._end) and fields[3] == self._state  # noqa: PLR2004  # proc(5)
            for fields in lines
        )

    def _table(self) -> str:
        if self.container.engine.is_local:
            with suppress(OSError):  # not root: the container is asked
                return "".join(
                    (Path("/proc") / str(self._pid) / name).read_text() for name in self._files
                )
        with suppress(ApiError):  # it has ended
            files = [f"/proc/{name}" for name in self._files]
            return self.container.exec(["cat", *files]).stdout
        return ""


class HttpWatch(Watch):
    """An answer to a request; asked only once somebody listens."""

    def __init__(  # what the condition was given
        self,
        container: Container,
        *,
        path: str,
        status: int,
        port: int | str | None,
        tls: bool,
        timeout_seconds: float,
    ) -> None:
        super().__init__(container)
        self._path = path if path.startswith("/") else f"/{path}"
        self._status = status
        self._port = container.first_port() if port is None else port
        self._tls = tls
        self._listening = watch_listening(container, self._port, timeout_seconds)
        self._take_over()

    def look(self) -> bool:
        """Ask, if somebody listens."""
        if not self._listening.look():
            self._take_over()
            return False
        self.sources = []
        self.pause_longer()
        try:
            found = self._ask()
        except (OSError, http.client.HTTPException) as error:
            self.reason = f"{type(error).__name__}: {error}"
            return False
        self.reason = f"{self._path} answers {found}, not {self._status}"
        return found == self._status

    def close(self) -> None:
        """Stop watching."""
        self._listening.close()

    def _take_over(self) -> None:
        self.sources = self._listening.sources
        self.pause_seconds = self._listening.pause_seconds
        self.reason = self._listening.reason

    def _ask(self) -> int:
        host, port = self.container.address(self._port)
        seconds = _REQUEST_SECONDS * self.container.engine.timeout_factor
        if self._tls:
            context = ssl._create_unverified_context()  # noqa: S323, SLF001  # a test's own certificate
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=seconds, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=seconds)
        try:
            connection.request("GET", self._path)
            return connection.getresponse().status
        finally:
            connection.close()
