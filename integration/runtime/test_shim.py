# SPDX-License-Identifier: Apache-2.0
"""Real programs under real shims: streams, ends, terminals, and an engine that goes away."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from integration.runtime.lab import PATIENCE_SECONDS, Lab, Person, logged, unframed
from toolkit.errors import (
    BackendError,
    CommandNotExecutableError,
    CommandNotFoundError,
    InvalidRequestError,
    NotRunningError,
)
from toolkit.runtime.document import DEFAULT_CAPABILITIES
from toolkit.runtime.supervisor import Supervisor, read_exit_status

if TYPE_CHECKING:
    from integration.runtime.conftest import Play

pytestmark = pytest.mark.needs_root

ALL_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
PLAIN: dict[str, Any] = {"framed": False}


def _statuses(text: str) -> dict[str, str]:
    return {key: value.strip() for key, _, value in (x.partition(":") for x in text.splitlines())}


def _parent_of(pid: int) -> int:
    return int(_statuses(Path(f"/proc/{pid}/status").read_text())["PPid"])


def _mountinfo() -> str:
    return Path("/proc/self/mountinfo").read_text()


# -- ends ----------------------------------------------------------------------------


@pytest.mark.parametrize("exit_code", [0, 7])
def test_the_exit_code_and_the_output_are_the_programs(play: Play, exit_code: int) -> None:
    async def scenario(lab: Lab) -> None:
        bundle = lab.bundle("sh", "-c", f"echo out; echo err >&2; printf rest; exit {exit_code}")
        running = await lab.supervisor.start(bundle)
        ended = await lab.ended(running, bundle)
        assert (ended.status.exit_code, ended.status.signal) == (exit_code, 0)
        assert (ended.stdout, ended.stderr) == ("out\nrest", "err\n")
        assert read_exit_status(bundle / "exit.json") == ended.status
        assert not ended.status.oom_killed

    play(scenario)


def test_a_program_that_a_signal_ends_has_128_and_its_number(play: Play) -> None:
    async def scenario(lab: Lab) -> None:
        bundle = lab.bundle("sleep", "1000")
        running = await lab.supervisor.start(bundle)
        added = await _exec(lab, bundle, running.pid, "sh", "-c", "kill -SEGV $$")
        assert added["exit_code"] == 128 + signal.SIGSEGV
        await running.signal(signal.SIGKILL)
        status = (await lab.ended(running, bundle)).status
        assert (status.exit_code, status.signal) == (128 + signal.SIGKILL, signal.SIGKILL)

    play(scenario)


@pytest.mark.parametrize(
    ("args", "kind", "text"),
    [
        (["nope"], CommandNotFoundError, r"executable file not found in \$PATH"),
        (["/bin/nope"], CommandNotFoundError, "no such file or directory"),
        (["/etc/passwd"], CommandNotExecutableError, "permission denied"),
        (["/etc"], CommandNotExecutableError, "permission denied"),
    ],
)
def test_a_command_that_cannot_be_started_says_why(
    play: Play, args: list[str], kind: type[Exception], text: str
) -> None:
    async def scenario(lab: Lab) -> None:
        for _ in range(5):  # from a waiting slot, and without one
            with pytest.raises(kind, match=text):
                await lab.supervisor.start(lab.bundle(*args))

    play(scenario)


def test_what_cannot_be_is_a_bad_request(play: Play) -> None:
    def elsewhere(start: dict[str, Any]) -> None:
        start["process"]["cwd"] = "/etc/passwd"

    def from_nowhere(start: dict[str, Any]) -> None:
        start["mounts"].append(
            {"destination": "/x", "type": "bind", "source": "/nonexistent", "options": ["bind"]}
        )

    async def scenario(lab: Lab) -> None:
        with pytest.raises(InvalidRequestError, match="unable to find user bob"):
            await lab.supervisor.start(lab.bundle("true", user="bob"))
        with pytest.raises(InvalidRequestError, match="working directory"):
            await lab.supervisor.start(lab.bundle("true", change=elsewhere))
        with pytest.raises(InvalidRequestError, match="/nonexistent"):
            await lab.supervisor.start(lab.bundle("true", change=from_nowhere))
        assert (await lab.run("true")).status.exit_code == 0

    play(scenario)


def test_a_bundle_is_started_again_and_its_log_goes_on(play: Play) -> None:
    async def scenario(lab: Lab) -> None:
        bundle = lab.bundle("sh", "-c", "echo here >> /file; cat /file; exec sleep 0")
        for _ in range(3):
            running = await lab.supervisor.start(bundle)  # waits for the earlier one by itself
            await running.exited
        ended = await lab.ended(running, bundle)
        assert ended.stdout == "here\n" * 6

    play(scenario)


def test_sixteen_at_once(play: Play) -> None:
    async def scenario(lab: Lab) -> None:
        runs = [lab.run("sh", "-c", f"echo {number}; exit {number}") for number in range(16)]
        ended = await asyncio.gather(*runs)
        assert [it.status.exit_code for it in ended] == list(range(16))
        assert [it.stdout for it in ended] == [f"{number}\n" for number in range(16)]

    play(scenario)


def test_what_a_program_leaves_running_ends_with_it(play: Play) -> None:
    async def scenario(lab: Lab) -> None:
        script = "for i in 1 2 3; do (trap '' TERM; exec sleep 1000) & done; echo started; exit 3"
        ended = await lab.run("sh", "-c", script)
        assert (ended.status.exit_code, ended.stdout) == (3, "started\n")

    play(scenario)


# -- what a program sees -------------------------------------------------------------


def test_a_program_has_three_descriptors(play: Play) -> None:
    """S-02: first program and added one, with pipes and with a terminal."""

    async def scenario(lab: Lab) -> None:
        leaked_fd = os.open("/", os.O_RDONLY)
        os.set_inheritable(leaked_fd, True)  # noqa: FBT003 - the call takes no keyword
        for tty in (False, True):
            ended = await lab.run("sh", "-c", "ls /proc/$$/fd; :", tty=tty)
            assert ended.stdout.split() == ["0", "1", "2"]
        async with lab.running("sleep", "1000") as (running, bundle):
            output = await _exec(lab, bundle, running.pid, "sh", "-c", "ls /proc/$$/fd; :")
            assert output["stdout"].split() == [b"0", b"1", b"2"]
        os.close(leaked_fd)

    play(scenario)


async def _exec(lab: Lab, bundle: Path, init_pid: int, *args: str, user: str = "") -> Any:
    """Run an added program to its end; return its streams and how it ended."""
    person = Person()
    spec = {
        "args": list(args), "env": ["PATH=/bin"], "cwd": "/", "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "capabilities": {name: list(DEFAULT_CAPABILITIES)
                         for name in ("bounding", "effective", "permitted")},
    }  # fmt: skip
    try:
        added = await lab.supervisor.exec(
            bundle, spec, exec_id=os.urandom(32).hex(), init_pid=init_pid,
            clients=[person.client], user=user,
        )  # fmt: skip
        shown = unframed(await person.see_the_end())
    finally:
        await person.leave()
    async with asyncio.timeout(PATIENCE_SECONDS):
        return {**shown, "exit_code": (await added.exited).exit_code}


@pytest.mark.parametrize("user", ["", "nobody", "1000:1000"])
def test_capabilities_are_the_listed_ones_and_none_for_a_user(play: Play, user: str) -> None:
    """S-08, S-09: the sets as the kernel shows them."""
    names = Path("/proc/sys/kernel/cap_last_cap").read_text()
    numbers = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_FSETID": 4,
               "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SETPCAP": 8,
               "CAP_NET_BIND_SERVICE": 10, "CAP_SYS_CHROOT": 18, "CAP_SETFCAP": 31}  # fmt: skip
    wanted = sum(1 << numbers[name] for name in DEFAULT_CAPABILITIES)
    assert int(names) >= max(numbers.values())

    async def scenario(lab: Lab) -> None:
        ended = await lab.run("cat", "/proc/self/status", user=user)
        sets = {key: int(value, 16) for key, value in _statuses(ended.stdout).items()
                if key.startswith("Cap")}  # fmt: skip
        own = 0 if user else wanted
        assert sets == {"CapInh": 0, "CapAmb": 0, "CapBnd": wanted, "CapPrm": own, "CapEff": own}

    play(scenario)


def test_a_user_has_the_images_groups_and_home(play: Play) -> None:
    """S-07: nothing of ours stays."""

    async def scenario(lab: Lab) -> None:
        before = os.getgroups()
        os.setgroups([27, 999])
        try:
            ended = await lab.run("sh", "-c", "id -u; id -G; echo $HOME", user="daemon")
        finally:
            os.setgroups(before)
        assert ended.stdout.split() == ["1", "1", "/usr/sbin"]

    play(scenario)


def test_the_launchers_program_is_sealed_in_memory(play: Play) -> None:
    """S-01: launcher and shims; `integration/security` attacks them."""

    async def scenario(lab: Lab) -> None:
        async with lab.running("sleep", "1000") as (running, _):
            launcher = lab.supervisor._launcher
            assert launcher is not None
            for pid in (launcher.pid, _parent_of(running.pid)):
                exe_fd = os.open(f"/proc/{pid}/exe", os.O_RDONLY)
                name = os.readlink(f"/proc/{pid}/exe")  # noqa: PTH115 - nothing blocks
                seals = fcntl.fcntl(exe_fd, fcntl.F_GET_SEALS)
                os.close(exe_fd)
                assert name.startswith("/memfd:toolkit-interpreter")
                assert seals & ALL_SEALS == ALL_SEALS

    play(scenario)


def test_nothing_of_a_container_is_mounted_on_the_host(play: Play) -> None:
    """S-30."""

    async def scenario(lab: Lab) -> None:
        before = _mountinfo()
        async with lab.running("sh", "-c", "echo up; exec sleep 1000"):
            assert _mountinfo() == before
        assert _mountinfo() == before

    play(scenario)


# -- input and terminals -------------------------------------------------------------


def test_input_goes_through_and_its_end_ends_the_program(play: Play) -> None:
    """RT-039, RT-044: half-close; and row F-23 in small."""

    async def scenario(lab: Lab) -> None:
        person = Person(stdin=True, pending=b"early ", **PLAIN)
        data = os.urandom(1 << 20)
        async with lab.running("cat", stdin=True, people=[person]) as (running, _):
            seen = asyncio.create_task(person.see_the_end())
            await person.type(data)
            await person.end_input()
            assert await seen == b"early " + data
            assert (await running.exited).exit_code == 0
        await person.leave()

    play(scenario)


def test_input_that_its_sender_leaves_behind_is_not_lost(play: Play) -> None:
    """RT-047 in spirit: attached for input only, and gone at once."""

    async def scenario(lab: Lab) -> None:
        person = Person(stdin=True, stdout=False, stderr=False)
        person.socket.send(b"hi there\n")
        person.socket.close()
        async with lab.running("cat", stdin=True, people=[person]) as (running, bundle):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await running.exited
            assert logged(bundle, "stdout") == "hi there\n"

    play(scenario)


def test_a_second_person_sees_what_was_and_what_comes(play: Play) -> None:
    async def scenario(lab: Lab) -> None:
        first = Person(stdin=True, **PLAIN)
        async with lab.running("cat", stdin=True, people=[first]) as (running, _):
            await first.type(b"one\n")
            assert await first.see(b"one\n") == b"one\n"
            second, third = Person(logs=True, **PLAIN), Person(**PLAIN)
            await running.attach(second.client)
            await running.attach(third.client)
            await first.type(b"two\n")
            await first.end_input()
            assert await second.see_the_end() == b"one\ntwo\n"
            assert await third.see_the_end() == b"two\n"
        for person in (first, second, third):
            await person.leave()

    play(scenario)


def test_somebody_who_does_not_read_stops_nobody(play: Play) -> None:
    """Row F-20 in small: the program ends, the log is whole, the sleeper catches up."""
    lines = 200_000
    wanted = "".join(f"{number}\n" for number in range(1, lines + 1)).encode()

    async def scenario(lab: Lab) -> None:
        sleeper, reader = Person(**PLAIN), Person(**PLAIN)
        people = [sleeper, reader]
        async with lab.running("seq", str(lines), people=people) as (running, bundle):
            assert await reader.see_the_end() == wanted
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert (await running.exited).exit_code == 0
            assert logged(bundle, "stdout").encode() == wanted
            assert await sleeper.see_the_end() == wanted
        for person in people:
            await person.leave()

    play(scenario)


def test_a_terminal_has_the_size_it_is_given_and_its_program_is_told(play: Play) -> None:
    async def scenario(lab: Lab) -> None:
        person = Person(stdin=True, **PLAIN)
        script = "trap 'stty size; exit 5' WINCH; tty; echo ready; while :; do sleep 0.1; done"
        async with lab.running("sh", "-c", script, tty=True, stdin=True, people=[person]) as it:
            running, _ = it
            assert b"/dev/pts/0\r\n" in await person.see(b"ready\r\n")
            await running.resize(50, 132)
            assert (await person.see_the_end()).strip() == b"50 132"
            assert (await running.exited).exit_code == 5
        await person.leave()

    play(scenario)


def test_a_program_without_a_terminal_has_no_size(play: Play) -> None:
    async def scenario(lab: Lab) -> None:
        async with lab.running("sleep", "1000") as (running, _):
            with pytest.raises(BackendError, match="no terminal"):
                await running.resize(1, 1)

    play(scenario)


def test_control_c_interrupts_and_the_detach_keys_only_leave(play: Play) -> None:
    """RT-048 in spirit."""

    async def scenario(lab: Lab) -> None:
        first = Person(stdin=True, **PLAIN)
        script = "trap 'echo caught; exit 6' INT; echo ready; while :; do sleep 0.1; done"
        async with lab.running("sh", "-c", script, tty=True, stdin=True, people=[first]) as it:
            running, _ = it
            await first.see(b"ready\r\n")
            await first.type(b"\x10\x11")
            assert await first.see_the_end() == b""
            assert not running.exited.done()
            second = Person(stdin=True, **PLAIN)
            await running.attach(second.client)
            await second.type(b"\x03")
            assert b"caught" in await second.see_the_end()
            assert (await running.exited).exit_code == 6
        for person in (first, second):
            await person.leave()

    play(scenario)


def test_a_signal_reaches_the_program(play: Play) -> None:
    async def scenario(lab: Lab) -> None:
        script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
        person = Person(**PLAIN)
        async with lab.running("sh", "-c", script, people=[person]) as (running, _):
            await person.see(b"ready\n")
            await running.signal(signal.SIGTERM)
            assert await person.see_the_end() == b"got it\n"
            assert (await running.exited).exit_code == 9
        await person.leave()

    play(scenario)


# -- added programs ------------------------------------------------------------------


def test_an_added_program_is_in_the_container(play: Play) -> None:
    async def scenario(lab: Lab) -> None:
        async with lab.running("sh", "-c", "echo x > /mark; exec sleep 1000") as (running, bundle):
            script = "cat /mark; hostname; cat /proc/1/comm; id -u; exit 4"
            added = await _exec(lab, bundle, running.pid, "sh", "-c", script)
            assert added["stdout"].split() == [b"x", b"lab", b"sleep", b"0"]
            assert added["exit_code"] == 4
            added = await _exec(lab, bundle, running.pid, "id", "-u", user="nobody")
            assert added["stdout"] == b"65534\n"
            with pytest.raises(CommandNotFoundError):
                await _exec(lab, bundle, running.pid, "nope")

    play(scenario)


def test_an_added_program_leaves_no_file(play: Play) -> None:
    async def scenario(lab: Lab) -> None:
        async with lab.running("sleep", "1000") as (running, bundle):
            before = {*os.listdir(bundle)}  # noqa: PTH208 - it does not block
            for _ in range(3):
                await _exec(lab, bundle, running.pid, "true")
            await asyncio.to_thread(_await_names, bundle, before)

    play(scenario)


def _await_names(directory: Path, names: set[str]) -> None:
    """Wait until a directory holds these names only: the shims of the added are about to end."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := {path.name for path in directory.iterdir()}) != names:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)


def test_nothing_is_added_to_a_container_that_has_ended(play: Play) -> None:
    """S-16: nor to whoever has its pid now."""

    async def scenario(lab: Lab) -> None:
        async with lab.running("sleep", "1000") as (running, bundle):
            await running.signal(signal.SIGKILL)
            await running.exited
        for pid in (running.pid, os.getpid()):
            lab.supervisor._running[bundle] = running  # what an engine remembers of it
            with pytest.raises(NotRunningError):
                await _exec(lab, bundle, pid, "true")
        del lab.supervisor._running[bundle]

    play(scenario)


# -- an engine that goes away --------------------------------------------------------


def test_a_program_outlives_the_engine_and_the_next_one_finds_it(play: Play) -> None:
    """Row F-03: an attached session goes on, the log has no gap, the exit code is known."""

    async def scenario(lab: Lab) -> None:
        first = Person(stdin=True, **PLAIN)
        bundle = lab.bundle("sh", "-c", "while read x; do echo $x; done; exit 8", stdin=True)
        running = await lab.supervisor.start(bundle, [first.client])
        pid = running.pid
        await first.type(b"1\n")
        await first.see(b"1\n")
        await lab.supervisor.close()
        await first.type(b"2\n")
        assert await first.see(b"2\n") == b"2\n"
        lab.supervisor = Supervisor(lab.instance)
        await lab.supervisor.open()
        found = await lab.supervisor.reconnect(bundle)
        assert found is not None
        assert (found.pid, found.start_time_ticks) == (pid, running.start_time_ticks)
        second = Person(logs=True, **PLAIN)
        await found.attach(second.client)
        await first.type(b"3\n")
        await first.end_input()
        assert await first.see_the_end() == b"3\n"
        assert await second.see_the_end() == b"1\n2\n3\n"
        assert (await lab.ended(found, bundle)).status.exit_code == 8
        for person in (first, second):
            await person.leave()

    play(scenario)


def test_a_program_that_ended_while_no_engine_was_there_has_its_exit_code(play: Play) -> None:
    """Row F-03."""

    async def scenario(lab: Lab) -> None:
        person = Person(stdin=True, **PLAIN)
        bundle = lab.bundle("sh", "-c", "read x; echo bye; exit 9", stdin=True)
        await lab.supervisor.start(bundle, [person.client])
        await lab.supervisor.close()
        await person.type(b"go\n")
        assert await person.see_the_end() == b"bye\n"
        await person.leave()
        lab.supervisor = Supervisor(lab.instance)
        await lab.supervisor.open()
        found = await lab.supervisor.reconnect(bundle)
        if found is not None:  # its shim is still about to end
            async with asyncio.timeout(PATIENCE_SECONDS):
                await found.released
        status = read_exit_status(bundle / "exit.json")
        assert status is not None
        assert status.exit_code == 9

    play(scenario)


def test_a_shim_that_is_killed_takes_its_program_along(play: Play) -> None:
    """Row F-04."""

    async def scenario(lab: Lab) -> None:
        bundle = lab.bundle("sleep", "1000")
        running = await lab.supervisor.start(bundle)
        shim = _parent_of(running.pid)
        pidfd = os.pidfd_open(running.pid)
        ended = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(pidfd, ended.set_result, None)
        os.kill(shim, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(BackendError, match="lost"):
                await running.exited
            await ended
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        assert await lab.supervisor.reconnect(bundle) is None
        restarted = await lab.supervisor.start(bundle)  # and takes over what the dead one left
        await restarted.signal(signal.SIGKILL)
        await lab.ended(restarted, bundle)

    play(scenario)


def test_a_launcher_that_is_killed_is_replaced(play: Play) -> None:
    """Row F-04: what runs goes on, what is asked for next is done."""

    async def scenario(lab: Lab) -> None:
        async with lab.running("sleep", "1000") as (running, _):
            launcher = lab.supervisor._launcher
            assert launcher is not None
            launcher.kill()
            runs = [lab.run("echo", "hi") for _ in range(3)]
            assert [ended.stdout for ended in await asyncio.gather(*runs)] == ["hi\n"] * 3
            assert not running.exited.done()

    play(scenario)
