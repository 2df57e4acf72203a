# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.fakes.container import FakeContainer
from tests.waiting import PATIENCE_SECONDS
from toolkit.errors import InvalidRequestError, NotReadyError
from toolkit.testing import all_of, any_of, exited, healthy, http, listening, log
from toolkit.testing.readiness import Condition, Watch, as_condition, wait_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def container() -> Iterator[FakeContainer]:
    made = FakeContainer()
    yield made
    made.close()


def wait(container: FakeContainer, ready: Any, seconds: float = PATIENCE_SECONDS) -> float:
    return wait_ready(cast("Any", container), ready, seconds)


def soon(act: Callable[[], object], seconds: float = 0.02) -> None:
    """Do something while the test waits."""
    threading.Timer(seconds, act).start()


class Scripted(Watch):
    """A watch that says what it is told, look by look."""

    def __init__(self, answers: str) -> None:
        super().__init__(cast("Any", None))
        self._answers = iter(answers)
        self.pause_seconds = 0.001
        self.looks = self.closed = 0
        self.reason = "not yet"

    def look(self) -> bool:
        self.looks += 1
        return next(self._answers, "") == "+"

    def close(self) -> None:
        self.closed += 1


def scripted(answers: str = "") -> tuple[Condition, Scripted]:
    """Return a condition that is fulfilled at a look with a plus sign."""
    watch = Scripted(answers)
    return Condition("scripted", lambda _container, _seconds: watch), watch


def test_what_is_ready_is_not_waited_for(container: FakeContainer) -> None:
    condition, watch = scripted("+")
    wait(container, condition)
    assert (watch.looks, watch.closed) == (1, 1)


def test_it_looks_again_until_it_is_ready(container: FakeContainer) -> None:
    condition, watch = scripted("--+")
    wait(container, condition)
    assert watch.closed == 1


def test_a_time_out_says_everything_that_is_known(container: FakeContainer) -> None:
    container.written = "".join(f"line {n}\n" for n in range(30))
    with pytest.raises(NotReadyError) as caught:
        wait(container, scripted()[0], 0.01)
    error = caught.value
    assert (error.state, error.ended_with, error.is_oom_killed) == ("running", None, False)
    assert error.log_tail.splitlines() == [f"line {n}" for n in range(10, 30)]
    assert error.condition == "scripted"
    assert error.waited_seconds >= 0.01
    assert re.search(r"container web \(img\) is not ready after \d", str(error))
    assert "state running, not yet" in str(error)


def test_one_that_dies_ends_the_wait_at_once(container: FakeContainer) -> None:
    soon(lambda: container.end(3, OOMKilled=True))
    with pytest.raises(NotReadyError, match=r"exit code 3, killed for its memory") as caught:
        wait(container, log("never"))
    assert caught.value.waited_seconds < PATIENCE_SECONDS / 2
    assert (caught.value.ended_with, caught.value.is_oom_killed) == (3, True)


def test_a_start_error_is_said(container: FakeContainer) -> None:
    container.end(127, Error="no such program")
    with pytest.raises(NotReadyError, match="no such program"):
        wait(container, log("x"))


def test_log_finds_what_was_written_and_what_comes(container: FakeContainer) -> None:
    container.written = "before\n"
    wait(container, log("^before$"))
    later = FakeContainer()
    soon(lambda: later.output.put(b"now re"))
    soon(lambda: later.output.put(b"ady\n"), 0.05)
    wait(later, log("ready$"))
    later.close()


def test_log_looks_at_the_whole_of_it_at_the_end(container: FakeContainer) -> None:
    container.end(0)
    container.output.end()
    container.written = ""
    with pytest.raises(NotReadyError, match="'late' is not in its log"):
        wait(container, log("late"))
    other = FakeContainer()
    other.end(0)
    other.output.end()
    other.follow = lambda: other.output  # type: ignore[method-assign]  # nothing more comes
    other.written = "late\n"
    wait(other, log("late"))
    other.close()


def test_exited_is_ready_with_its_code_only(container: FakeContainer) -> None:
    soon(lambda: container.end(2))
    wait(container, exited(2))
    other = FakeContainer()
    other.end(1)
    with pytest.raises(NotReadyError, match=r"of exited\(0\): state exited, exit code 1, not 0"):
        wait(other, exited())
    wait(other, exited(None))
    other.close()


def test_healthy_asks_only_when_there_is_news(container: FakeContainer) -> None:
    container.status["Health"] = {"Status": "starting", "Log": []}

    def heal() -> None:
        container.status["Health"] = {"Status": "healthy"}
        container.health_news.put()

    soon(heal, 0.05)
    wait(container, healthy())
    assert container.asked == 2


def test_healthy_says_what_the_check_said(container: FakeContainer) -> None:
    container.status["Health"] = {"Status": "unhealthy", "Log": [{"Output": "no db\n"}]}
    with pytest.raises(NotReadyError, match=r"health unhealthy \(no db\)"):
        wait(container, healthy(), 0.01)


def test_healthy_needs_a_check(container: FakeContainer) -> None:
    with pytest.raises(InvalidRequestError, match="has no health check"):
        wait(container, healthy())


def test_a_callable_is_asked_until_it_is_true(container: FakeContainer) -> None:
    answers = [AssertionError("a"), ConnectionRefusedError("b"), False, "yes"]

    def ask(given: object) -> object:
        assert given is container
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    wait(container, ask)
    assert answers == []


def test_why_a_callable_is_not_yet_true_is_said(container: FakeContainer) -> None:
    def asks_in_vain(_: object) -> bool:
        raise ConnectionRefusedError("nobody")

    with pytest.raises(NotReadyError, match=r"of asks_in_vain: .*ConnectionRefusedError: nobody"):
        wait(container, asks_in_vain, 0.01)


def test_another_exception_of_a_callable_ends_the_wait(container: FakeContainer) -> None:
    def is_broken(_: object) -> bool:
        raise KeyError("typo")

    with pytest.raises(KeyError):
        wait(container, is_broken)


def test_all_of_remembers_what_was_fulfilled_once(container: FakeContainer) -> None:
    first, watch = scripted("+")
    second, other = scripted("--+")
    wait(container, all_of(first, second))
    assert (watch.closed, other.closed) == (1, 1)


def test_any_of_takes_the_first(container: FakeContainer) -> None:
    never, watch = scripted()
    wait(container, any_of(never, scripted("-+")[0]))
    assert watch.closed == 1


def test_any_of_may_be_fulfilled_by_the_end(container: FakeContainer) -> None:
    container.end(0)
    wait(container, any_of(log("never"), exited(0)))
    with pytest.raises(NotReadyError, match="'never' is not in its log"):
        wait(container_that_ended(), all_of(log("never"), exited(0)))


def container_that_ended() -> FakeContainer:
    made = FakeContainer()
    made.end(0)
    return made


def test_conditions_show_as_they_were_written() -> None:
    joined = all_of(listening(80), any_of(log("x"), http("/y", 204, port=8)), exited(None))
    assert repr(joined) == (
        "all_of(listening(80), any_of(log('x'), http('/y', 204, port=8)), exited(None))"
    )
    assert repr(as_condition(joined)) == repr(joined)
    assert repr(healthy()) == "healthy()"


@pytest.mark.parametrize("wrong", [8080, "listening", None])
def test_what_is_no_condition_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"wait="):
        as_condition(wrong)


def test_a_condition_that_is_not_called_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"wait=listening: call it"):
        as_condition(listening)  # type: ignore[arg-type]  # as a person forgets it


def test_a_callable_that_answers_with_a_condition_is_told(container: FakeContainer) -> None:
    with pytest.raises(InvalidRequestError, match=r"wait=listening\(80\) is what was meant"):
        wait(container, lambda _: listening(80))


def test_nothing_cannot_be_joined() -> None:
    with pytest.raises(InvalidRequestError, match=r"all_of\(\) needs a condition"):
        all_of()


def test_a_join_that_cannot_begin_closes_what_has_begun(container: FakeContainer) -> None:
    first, watch = scripted("-")

    def fails(_container: object, _seconds: float) -> Watch:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        wait(container, all_of(first, Condition("fails", fails)))
    assert watch.closed == 1
