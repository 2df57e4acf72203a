# SPDX-License-Identifier: Apache-2.0
"""When a container is ready: conditions, and the wait for one.

A wait listens on sockets where there is something to listen to (the end of the
program, its output, the kernel's word that somebody listens, the engine's events)
and looks again after a pause only where nobody tells. It ends at once when the
program does.
"""

from __future__ import annotations

import re
import select
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Final, Protocol

from toolkit.errors import InvalidRequestError, NotReadyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.testing.container import Container

FIRST_PAUSE_SECONDS: Final = 0.005
LONGEST_PAUSE_SECONDS: Final = 0.2
TAIL_LINES: Final = 20
_GROWTH: Final = 1.5
_KEPT_CHARACTERS: Final = 256 * 1024
_OK: Final = 200


class Source(Protocol):
    """Something that becomes readable when there is news."""

    def fileno(self) -> int:
        """Return the descriptor."""

    @property
    def has_data(self) -> bool:
        """Whether there is news that the descriptor does not show."""


class Watch:
    """A condition on one container, while it is being awaited.

    Attributes:
        sources: Readable when it is worth looking again.
        pause_seconds: Look again after this; None where a source tells.
        reason: Why it is not fulfilled, as far as is known.
    """

    def __init__(self, container: Container) -> None:
        self.container = container
        self.sources: list[Source] = []
        self.pause_seconds: float | None = None
        self.reason = ""

    def look(self) -> bool:
        """Tell whether it is fulfilled, without waiting."""
        raise NotImplementedError

    def look_at_end(self) -> bool:
        """Tell whether it is fulfilled although the program has ended."""
        return False

    def pause_longer(self) -> None:
        """Look again a little later than last time."""
        pause = self.pause_seconds or FIRST_PAUSE_SECONDS / _GROWTH
        self.pause_seconds = min(pause * _GROWTH, LONGEST_PAUSE_SECONDS)

    def close(self) -> None:
        """Give up what was opened; a second call does nothing."""


class Condition:
    """What a container can be awaited for; shown in messages as it was written.

    Args:
        text: As it was written.
        begin: Begins to watch a container, for at most so many seconds.
    """

    def __init__(self, text: str, begin: Callable[[Container, float], Watch]) -> None:
        self._text = text
        self._begin = begin

    def __repr__(self) -> str:
        return self._text

    def watch(self, container: Container, timeout_seconds: float) -> Watch:
        """Begin to watch a container."""
        return self._begin(container, timeout_seconds)


Ready = Condition | Callable[["Container"], object]


def listening(port: int | str) -> Condition:
    """Be ready when the program listens on a port (``8080``, ``"53/udp"``), as the kernel says.

    Nothing connects to the program. On a network it has to listen where it is
    reached, not on 127.0.0.1 alone.
    """
    from toolkit.testing.ports import watch_listening  # noqa: PLC0415  # with its fallback

    return Condition(
        f"listening({port!r})",
        lambda container, seconds: watch_listening(container, port, seconds),
    )


def log(pattern: str | re.Pattern[str]) -> Condition:
    """Be ready when a regular expression is found in what the program wrote."""
    compiled = re.compile(pattern, re.MULTILINE) if isinstance(pattern, str) else pattern
    return Condition(f"log({compiled.pattern!r})", lambda container, _: _Log(container, compiled))


def http(
    path: str = "/", status: int = _OK, *, port: int | str | None = None, tls: bool = False
) -> Condition:
    """Be ready when a request for a path is answered with a status.

    Args:
        path: What is asked for.
        status: The answer that means ready.
        port: A port of ``ports=``; the first of them without one.
        tls: Ask over HTTPS; the certificate is not checked.
    """
    from toolkit.testing.ports import HttpWatch  # noqa: PLC0415  # what it needs, only then

    more = "" if port is None else f", port={port!r}"
    return Condition(
        f"http({path!r}, {status}{more})",
        lambda container, seconds: HttpWatch(
            container, path=path, status=status, port=port, tls=tls, timeout_seconds=seconds
        ),
    )


def healthy() -> Condition:
    """Be ready when the container's health check says that it is well."""
    return Condition("healthy()", lambda container, _: _Healthy(container))


def exited(code: int | None = 0) -> Condition:
    """Be ready when the program has ended with an exit code; None takes any."""
    return Condition(f"exited({code})", lambda container, _: _Exited(container, code))


def all_of(*conditions: Ready) -> Condition:
    """Be ready when every one of several conditions has been fulfilled, in any order."""
    return _joined("all_of", conditions, all)


def any_of(*conditions: Ready) -> Condition:
    """Be ready when one of several conditions is fulfilled."""
    return _joined("any_of", conditions, any)


def as_condition(ready: Ready) -> Condition:
    """Return a condition; a callable is asked again and again until it says something true.

    An AssertionError or OSError of it means "not yet" (no connection is an OSError,
    a failed ``exec(check=True)`` an AssertionError); any other exception ends the wait.

    Raises:
        InvalidRequestError: It is neither.
    """
    if isinstance(ready, Condition):
        return ready
    if not callable(ready):
        raise InvalidRequestError(f"wait={ready!r}: use a condition such as listening(8080)")
    name = getattr(ready, "__name__", type(ready).__name__)
    if ready in _MAKERS:
        raise InvalidRequestError(f"wait={name}: call it, as in wait=listening(8080)")
    return Condition(name, lambda container, _: _Asked(container, ready))


_MAKERS: Final[tuple[object, ...]] = (listening, log, http, healthy, exited, all_of, any_of)


def wait_ready(container: Container, ready: Ready, timeout_seconds: float) -> float:
    """Wait until a container is ready; return how many seconds that took.

    Raises:
        NotReadyError: Its program ended, or the time is up; says state, exit code and last lines.
    """
    condition = as_condition(ready)
    begin = time.monotonic()
    deadline = begin + timeout_seconds
    with ExitStack() as opened:
        ended = opened.enter_context(closing(container.begin_wait()))
        watch = opened.enter_context(closing(condition.watch(container, timeout_seconds)))
        while not watch.look():
            if is_readable(ended):
                if watch.look_at_end():
                    break
                raise _not_ready(container, condition, watch, time.monotonic() - begin)
            left = deadline - time.monotonic()
            if left <= 0:
                raise _not_ready(container, condition, watch, time.monotonic() - begin)
            pause = left if watch.pause_seconds is None else min(watch.pause_seconds, left)
            _pause([ended, *watch.sources], pause)
    return time.monotonic() - begin


def is_readable(source: Source) -> bool:
    """Tell whether there is news, without waiting."""
    return source.has_data or bool(_poll([source], 0))


def _pause(sources: Sequence[Source], seconds: float) -> None:
    """Wait for news, or until the time is up."""
    if not any(source.has_data for source in sources):
        _poll(sources, seconds)


def _poll(sources: Sequence[Source], seconds: float) -> list[tuple[int, int]]:
    poll = select.poll()
    for source in sources:
        poll.register(source.fileno(), select.POLLIN)
    return poll.poll(max(1, seconds * 1000) if seconds else 0)


def _not_ready(
    container: Container, condition: Condition, watch: Watch, waited_seconds: float
) -> NotReadyError:
    state = container.state()
    has_ended = not state.get("Running")
    exit_code = int(state.get("ExitCode", 0)) if has_ended else None
    is_oom_killed = bool(state.get("OOMKilled"))
    lines = container.logs(tail_lines=TAIL_LINES)
    what = f"{container.title} is not ready after {waited_seconds:.2f} s of {condition!r}"
    facts = [f"state {state.get('Status')}"]
    facts += [f"exit code {exit_code}"] if has_ended else []
    facts += ["killed for its memory (OOM)"] if is_oom_killed else []
    facts += [str(text) for text in (state.get("Error"), watch.reason) if text]
    shown = "".join(f"\n    {line}" for line in lines.splitlines()) or " none"
    return NotReadyError(
        f"{what}: {', '.join(facts)}\n  last lines of its log:{shown}",
        condition=repr(condition),
        waited_seconds=waited_seconds,
        state=str(state.get("Status", "")),
        ended_with=exit_code,
        is_oom_killed=is_oom_killed,
        log_tail=lines,
    )


class _Log(Watch):
    """What the program wrote so far, as it comes."""

    def __init__(self, container: Container, pattern: re.Pattern[str]) -> None:
        super().__init__(container)
        self._pattern = pattern
        self._text = ""
        self._output = container.follow()
        self.sources = [self._output]
        self.reason = f"{pattern.pattern!r} is not in its log"

    def look(self) -> bool:
        while is_readable(self._output):
            data = self._output.read()
            if data is None:
                self.sources = []
                break
            self._text = (self._text + data)[-_KEPT_CHARACTERS:]
        return self._pattern.search(self._text) is not None

    def look_at_end(self) -> bool:
        return self._pattern.search(self.container.logs()) is not None

    def close(self) -> None:
        self._output.close()


class _Healthy(Watch):
    """The verdict of the container's health check."""

    def __init__(self, container: Container) -> None:
        super().__init__(container)
        self._events = container.follow_health()
        self.sources = [self._events]
        self._look_now = True

    def look(self) -> bool:
        news = is_readable(self._events)
        if news and not self._events.read():  # the engine has gone
            self.sources = []
        if not (news or self._look_now):
            return False
        self._look_now = False
        health = self.container.state().get("Health") or {}
        status = health.get("Status", "none")
        if status == "none":
            raise InvalidRequestError(
                f"{self.container.title} has no health check: give health=HealthCheck(...)"
            )
        said = [str(entry.get("Output", "")).strip() for entry in health.get("Log") or ()]
        self.reason = f"health {status}" + (f" ({said[-1]})" if said and said[-1] else "")
        return bool(status == "healthy")

    def close(self) -> None:
        self._events.close()


class _Exited(Watch):
    """The program's end."""

    def __init__(self, container: Container, code: int | None) -> None:
        super().__init__(container)
        self._code = code
        self.reason = "it still runs"

    def look(self) -> bool:
        return False

    def look_at_end(self) -> bool:
        found = self.container.state().get("ExitCode")
        self.reason = f"not {self._code}"
        return self._code is None or found == self._code


class _Asked(Watch):
    """A callable of the test."""

    def __init__(self, container: Container, ask: Callable[[Container], object]) -> None:
        super().__init__(container)
        self._ask = ask

    def look(self) -> bool:
        self.pause_longer()
        try:
            answer = self._ask(self.container)
            self.reason = f"it returned {answer!r}"
            if isinstance(answer, Condition):
                raise InvalidRequestError(f"{self.reason}: wait={answer!r} is what was meant")
            return bool(answer)
        except (AssertionError, OSError) as error:
            self.reason = f"{type(error).__name__}: {error}"
            return False


class _Joined(Watch):
    """Several conditions; what was fulfilled once counts."""

    def __init__(
        self, container: Container, watches: list[Watch], rule: Callable[[Any], bool]
    ) -> None:
        super().__init__(container)
        self._watches = watches
        self._rule = rule
        self._fulfilled: set[int] = set()

    def look(self) -> bool:
        return self._asked(Watch.look)

    def look_at_end(self) -> bool:
        return self._asked(Watch.look_at_end)

    def _asked(self, ask: Callable[[Watch], bool]) -> bool:
        name = ask.__name__
        for number, watch in enumerate(self._watches):
            if number not in self._fulfilled and getattr(watch, name)():
                self._fulfilled.add(number)
        open_watches = [
            watch for number, watch in enumerate(self._watches) if number not in self._fulfilled
        ]
        self.sources = [source for watch in open_watches for source in watch.sources]
        pauses = [one.pause_seconds for one in open_watches if one.pause_seconds is not None]
        self.pause_seconds = min(pauses, default=None)
        self.reason = "; ".join(watch.reason for watch in open_watches if watch.reason)
        return self._rule(number in self._fulfilled for number in range(len(self._watches)))

    def close(self) -> None:
        for watch in self._watches:
            watch.close()


def _joined(name: str, conditions: Sequence[Ready], rule: Callable[[Any], bool]) -> Condition:
    if not conditions:
        raise InvalidRequestError(f"{name}() needs a condition")
    inner = [as_condition(one) for one in conditions]

    def begin(container: Container, timeout_seconds: float) -> Watch:
        with ExitStack() as undo:
            watches = []
            for one in inner:
                watch = one.watch(container, timeout_seconds)
                undo.callback(watch.close)
                watches.append(watch)
            undo.pop_all()
        return _Joined(container, watches, rule)

    return Condition(f"{name}({', '.join(map(repr, inner))})", begin)
