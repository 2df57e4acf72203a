# SPDX-License-Identifier: Apache-2.0
"""The process that becomes the container, until it has become it (rows S-01 to S-05)."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import toolkit
from integration.pace import SLOWNESS
from integration.security.lab import (
    Lab,
    Member,
    file,
    kill_and_wait,
    launcher_family,
    link,
)
from toolkit.bootstrap.busybox import find_static_busybox
from toolkit.client import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.security.conftest import Weaken

_ALL_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_LOADER = "lib64/ld-linux-x86-64.so.2"
_PROMPT_SECONDS = 20.0 * SLOWNESS
TTY = pytest.mark.parametrize("has_tty", [False, True], ids=["pipes", "tty"])


def interpreter() -> Path:
    """Return the file of the interpreter that the launcher is a copy of."""
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def digests() -> dict[str, str]:
    """Return a digest of the interpreter, of our package and of what helps them."""
    helpers = [interpreter(), find_static_busybox(), Path("/bin/sh").resolve()]
    package = sorted(Path(toolkit.__file__).parent.rglob("*.py"))
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in [*helpers, *package]
    }


def evil_members(programs: Path) -> list[Member]:
    """Return what makes an image whose entry point is the program that starts it."""
    return [
        link("evil", "/proc/self/exe"),
        file("script", "#!/proc/self/exe\n"),
        file(_LOADER, (programs / "loader").read_bytes()),
        file("overwrite", (programs / "overwrite").read_bytes()),
    ]


def wait_for_line(lab: Lab, container: str, start: str) -> str:
    """Return the first line of a container's output that begins so."""
    deadline = time.monotonic() + _PROMPT_SECONDS
    while time.monotonic() < deadline:
        for line in lab.output(container).splitlines():
            if line.startswith(start):
                return line
        time.sleep(0.02)
    raise AssertionError(f"no line {start!r}: {lab.output(container)!r}")


# -- S-01: the interpreter's file ----------------------------------------------------


@pytest.mark.parametrize("entry", ["/evil", "/script"])
def test_a_program_that_is_its_own_starter_reaches_only_a_sealed_copy(
    lab: Lab, programs: Path, entry: str
) -> None:
    """S-01 (CVE-2019-5736, its Python twin), as first program and as an added one."""
    before = digests()
    with lab.image(*evil_members(programs)) as image:
        if lab.backend == "lxc":
            starter_is_no_program(lab, image, entry)
        else:
            with lab.running(entry, image=image) as container:
                target = wait_for_line(lab, container, "target")
                assert target.startswith("target /memfd:toolkit-")
                seals = int(wait_for_line(lab, container, "seals").split()[1])
                assert seals & _ALL_SEALS == _ALL_SEALS
                assert wait_for_line(lab, container, "open").startswith("open ETXTBSY")
        with lab.running(image=image) as other:
            lab.execute(other, "sh", "-c", "(sleep 0.5; touch /stop) >/dev/null 2>&1 &")
            added = lab.execute(other, entry)
            assert "target /memfd:toolkit-" in added.out
            assert "done" not in added.out
    assert digests() == before


def starter_is_no_program(lab: Lab, image: str, entry: str) -> None:
    """On LXC the first program's starter is our first step, whose file is gone, and noexec."""
    tried = lab.run(entry, image=image)
    assert (tried.status, tried.exit_code) == (400, -1)
    assert "permission denied" in tried.refusal
    with lab.created(entry, image=image) as container:
        with pytest.raises(ApiError):
            lab.engine.client.containers.start(container)
        state = lab.engine.client.containers.inspect(container)["State"]
        assert state["ExitCode"] == 126


@contextmanager
def orphaned_overwriter(lab: Lab, programs: Path) -> Iterator[Path]:
    """Have the attack go on in a container whose engine, launcher and shim are dead.

    Nobody runs the copy any more, so that ETXTBSY protects nothing. Gives the
    container's directory of results. On LXC the attacker is an added program: only
    that one's starter is the copy.
    """
    first = ("sleep", "600") if lab.backend == "lxc" else ("/evil",)
    with lab.image(*evil_members(programs)) as image, lab.running(*first, image=image) as it:
        root_fd = os.open(f"/proc/{lab.pid(it)}/root", os.O_PATH | os.O_DIRECTORY)
        root = Path(f"/proc/self/fd/{root_fd}")
        if lab.backend == "lxc":
            execs = lab.engine.client.execs
            execs.start_detached(execs.create(it, {"Cmd": ["/evil"]}))
        wait_for_result(root, "open ETXTBSY")
        kill_and_wait([lab.engine.pid, *launcher_family(lab.engine)])
        try:
            yield root
        finally:
            lab.engine.ensure()
            (root / "stop").touch()
            os.close(root_fd)


def wait_for_result(root: Path, wanted: str) -> None:
    """Wait until the attacker has noted that its attempt ended so."""
    deadline = time.monotonic() + _PROMPT_SECONDS
    while not (root / "result").exists() or wanted not in (root / "result").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


OUTLIVES = ("runtime/native/program.py", [("    process.die_with_parent(signal.SIGKILL)", "    #")])
OUTLIVES_LXC = {
    "runtime/lxc/calls.py": [
        ('    table.add("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)\n', ""),
    ]
}
UNSEALED = (
    "runtime/sealed.py",
    [
        (
            "    copy_fd = sealed_copy(os.path.realpath(interpreter))\n",
            "    copy_fd = sealed_copy(__file__)\n",
        ),
        (
            '            executable=f"/proc/self/fd/{copy_fd}",\n',
            "            executable={path!r},\n",
        ),
    ],
)


def result_of(root: Path) -> str:
    """Return how the last attempt to write ended, once it was not for a running program."""
    deadline = time.monotonic() + _PROMPT_SECONDS
    while time.monotonic() < deadline:
        lines = (root / "result").read_text().splitlines()
        if lines and lines[-1] != "open ETXTBSY":
            return lines[-1]
        time.sleep(0.02)
    return "open ETXTBSY"


def test_the_seal_holds_when_nobody_runs_the_copy_any_more(
    weakened: Weaken, programs: Path
) -> None:
    """S-01: a container that outlives its shim, which one of ours does not."""
    with (
        weakened(dict([OUTLIVES]), lxc=OUTLIVES_LXC) as lab,
        orphaned_overwriter(lab, programs) as root,
    ):
        assert result_of(root) == "write EPERM"


def test_control_an_interpreter_that_is_not_sealed_is_overwritten(
    weakened: Weaken, programs: Path, tmp_path: Path
) -> None:
    """S-01: the same, where launcher and shims run from a file."""
    private = tmp_path / "python-of-the-test"
    shutil.copy2(interpreter(), private)
    name, ((first, blank), (second, path)) = UNSEALED
    unsealed = {name: [(first, blank), (second, path.format(path=str(private)))]}
    with (
        weakened(unsealed | dict([OUTLIVES]), lxc=OUTLIVES_LXC) as lab,
        orphaned_overwriter(lab, programs) as root,
    ):
        assert result_of(root) == "write done"
    assert private.read_bytes().startswith(b"PWNED!")


# -- S-02: descriptors ---------------------------------------------------------------

LEAK_FIFTY = """
import resource, signal
for number in range(50):
    fd = os.open("/" if number == 0 else "/dev/null", os.O_RDONLY)
    os.set_inheritable(fd, True)
"""
LIST_FDS = "ls -1 /proc/$$/fd; true"


def open_fds(lab: Lab, *, has_tty: bool) -> list[list[str]]:
    """Return the descriptors of a first program and of an added one, as they see them."""
    first = lab.run("sh", "-c", LIST_FDS, Tty=has_tty, OpenStdin=has_tty)
    with lab.running() as container:
        added = lab.execute(container, "sh", "-c", LIST_FDS, Tty=has_tty, AttachStdin=has_tty)
    return [first.lines, added.lines]


@TTY
def test_a_program_gets_three_descriptors_whatever_the_engine_was_started_with(
    weakened: Weaken,
    *,
    has_tty: bool,
) -> None:
    """S-02 (CVE-2016-9962, CVE-2024-21626): fifty inheritable ones, one of them on ``/``."""
    with weakened({}, LEAK_FIFTY) as lab:
        assert open_fds(lab, has_tty=has_tty) == [["0", "1", "2"]] * 2


def test_control_a_start_that_closes_nothing_leaks(weakened: Weaken) -> None:
    """S-02: the launcher inherits, and nothing is marked before the program."""
    inherit = "".join(f"    os.set_inheritable({fd}, True)\n" for fd in ("engine_fd", "copy_fd"))
    changes = {
        "runtime/native/program.py": [("    process.close_from_on_exec(3)\n", "")],
        "runtime/sealed.py": [
            ("            pass_fds=(engine_fd, copy_fd),\n", "            close_fds=False,\n"),
            (
                "    try:\n        return subprocess",
                inherit + "    try:\n        return subprocess",
            ),
        ],
    }
    lxc = {
        "runtime/lxc/stage.py": [("    process.close_from_on_exec(3)\n", "")],
        "runtime/lxc/first_step.py": [
            ('    table.add("close_range", LINK_FD + 1, 0xFFFFFFFF, 0)\n', ""),
        ],
        "runtime/lxc/calls.py": [
            ('    table.add("close_range", FIRST_PASSED_FD', '    table.add("close_range", 10**6'),
        ],
    }
    with weakened(changes, LEAK_FIFTY, lxc=lxc) as lab:
        first, added = open_fds(lab, has_tty=False)
        assert len(first) > 40
        assert len(added) > 50


# -- S-03: the working directory -----------------------------------------------------


def test_no_working_directory_leads_out_of_the_root(lab: Lab) -> None:
    """S-03 (CVE-2024-21626): by a descriptor of ours, directly and through a link."""
    numbers = [*range(3, 40), 64, 100, 128, 200, 250, 255]
    script = "pwd -P; ls -di . /; readlink /proc/self/cwd"
    tries = [f"/proc/self/fd/{number}" for number in numbers]
    tries += ["/proc/self/fd/7/../..", "/proc/self/cwd", "/proc/self/root", "/proc/1/root"]
    with lab.running() as container:
        for path in tries:
            tried = lab.execute(container, "sh", "-c", script, WorkingDir=path)
            assert tried.exit_code != 0 or tried.status == 400, (path, tried)
            assert "/" not in tried.lines[:1], tried
    for path in ("/proc/self/fd/3", "/proc/self/fd/8", "/proc/1/root"):
        assert lab.run("sh", "-c", script, WorkingDir=path).status == 400, path
    with lab.image(*(link(f"w{n}", f"/proc/self/fd/{n}") for n in range(3, 30))) as image:
        for number in range(3, 30, 3):
            tried = lab.run("sh", "-c", script, image=image, WorkingDir=f"/w{number}")
            assert tried.status == 400, tried


def test_control_a_plain_chdir_in_the_child_leads_out(weakened: Weaken, canary: Path) -> None:
    """S-03: a directory of the host is open before the switch, and the path is followed."""
    opened = "    os.dup2(os.open('/', os.O_RDONLY), 99)\n    prepared = Prepared.from_description"
    changes = {
        "runtime/native/launch.py": [("    prepared = Prepared.from_description", opened)],
        "runtime/native/program.py": [
            ("    os.fchdir(program.cwd_fd)\n", "    os.chdir('/proc/self/fd/99')\n"),
        ],
    }
    handed = "stdio.child_stderr, program.cwd_fd)\n"
    lxc = {
        "runtime/lxc/container.py": [(handed, handed.replace("program.cwd_fd", "os.open('/', 0)"))]
    }
    with weakened(changes, lxc=lxc) as lab:
        escaped = lab.run("cat", f".{canary}/secret")
        assert escaped.out == "host-secret\n"


# -- S-04: our process, seen from inside ---------------------------------------------


def spied(lab: Lab, **host: object) -> list[str]:
    """Return what a container's program could have of fifty programs added beside it."""
    with lab.running("/probe", "spy", "60000", host=host) as container:
        for _ in range(50):
            lab.execute(container, "true")
        lab.execute(container, "true")
        return [line for line in lab.output(container).splitlines() if "pipe:" not in line]


def test_nothing_of_our_process_can_be_had_before_it_is_the_program(lab: Lab) -> None:
    """S-04: PR_SET_DUMPABLE is off until execve."""
    assert spied(lab) == []


def test_control_a_privileged_program_sees_our_process(lab: Lab) -> None:
    """S-04: the same spy with CAP_SYS_PTRACE; it is quick enough to see something."""
    assert spied(lab, Privileged=True)


def test_control_a_start_that_may_be_dumped_is_seen(weakened: Weaken) -> None:
    """S-04: the moment between dropping capabilities and execve, made longer."""
    last = "    process.close_from_on_exec(3)\n"
    changes = {
        "kernel/process.py": [
            ('    _control(_PR_SET_DUMPABLE, int(dumpable), "PR_SET_DUMPABLE")\n', "    pass\n")
        ],
        "runtime/native/program.py": [(last, last + "    __import__('time').sleep(0.02)\n")],
    }
    with weakened(changes) as lab:
        assert any(line.startswith("exe of") for line in spied(lab))


# -- S-05: code that comes late ------------------------------------------------------

_LATE = (
    "encodings/idna.py",
    "encodings/__init__.py",
    "encodings/latin_1.py",
    "json/tool.py",
    "traceback.py",
    "linecache.py",
    "sitecustomize.py",
    "usercustomize.py",
)
_MARK = "open('/marker', 'w').write(__name__)\n"


def poisoned_members() -> list[Member]:
    """Return a root where Python and libc would find code that leaves a mark."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    prefixes = {Path(sys.base_prefix) / "lib" / version, Path("/usr/lib") / version}
    package = Path(toolkit.__file__).parent
    sources = {str(prefix / name) for prefix in prefixes for name in _LATE}
    sources |= {str(path) for path in package.rglob("*.py")}
    libraries = ("libnss_files.so.2", "libnss_evil.so.2", "libgcc_s.so.1")
    return [
        *(file(path.lstrip("/"), _MARK, 0o644) for path in sorted(sources)),
        *(file(f"usr/lib/x86_64-linux-gnu/{name}", b"\x7fELF evil") for name in libraries),
        file("etc/nsswitch.conf", "passwd: evil files\ngroup: evil files\n", 0o644),
    ]


FAILURES: dict[str, dict[str, Any]] = {
    "missing program": {"command": ["/no/such"]},
    "not executable": {"command": ["/etc/passwd"]},
    "bad user": {"command": ["true"], "User": "no-such-user"},
    "bad directory": {"command": ["true"], "WorkingDir": "/etc/passwd/x"},
    "not ascii": {"command": ["/ünïcödé-\u2028-\U0001f600"]},
    "a user's name": {"command": ["true"], "User": "bob"},
}


def provoke(lab: Lab, image: str) -> None:
    """Start what cannot be started, as first program and as an added one."""
    with lab.running(image=image) as container:
        for failure in FAILURES.values():
            wish = {key: value for key, value in failure.items() if key != "command"}
            lab.run(*failure["command"], image=image, **wish)
            lab.execute(container, *failure["command"], **wish)
        assert lab.execute(container, "ls", "/marker").exit_code != 0


_OPENING = "trace=open,openat,openat2,execve,pivot_root,setns,chroot,clone3,clone,fork,vfork"


@contextmanager
def traced(pids: list[int], target: Path, calls: str) -> Iterator[None]:
    """Trace processes and all that they fork, while the block runs."""
    words = [f"-p{pid}" for pid in pids]
    with subprocess.Popen(
        ["strace", "-f", "-qq", "-o", str(target), "-e", calls, *words], stderr=subprocess.PIPE
    ) as tracer:
        deadline = time.monotonic() + _PROMPT_SECONDS
        while any(_tracer_of(pid) != tracer.pid for pid in pids):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        try:
            yield
        finally:
            tracer.terminate()


def _tracer_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("TracerPid:")[2].split()[0])


_LINE = re.compile(r"(\d+) +(?:<\.\.\. )?(\w+)(.*)")


# On LXC the hand finishes the mounts inside: it opens places, not contents, by descriptor, and its
# own files in the host's procfs. LXC opens the null device and writes the settings of the network.
_IN_ROOT = r"resolve=RESOLVE_NO_MAGICLINKS\|RESOLVE_IN_ROOT\}"
_PLACE = r"O_RDONLY\|(O_NOFOLLOW\|)?O_CLOEXEC\|O_PATH(\|O_DIRECTORY)?"
_ALLOWED = {
    "native": re.compile(r"(?!)"),
    "lxc": re.compile(
        rf"""\d+\ (
            openat2\(\d+,\ "[^"]*",\ \{{flags={_PLACE},\ {_IN_ROOT}
            | openat\(\d+,\ "self/(mountinfo|fdinfo/\d+)",\ O_RDONLY\|O_CLOEXEC
            | openat\(\d+,\ "[a-z_,]+",\ {_PLACE}
            | openat\(AT_FDCWD,\ "/",\ {_PLACE}
            | openat\(AT_FDCWD,\ "/dev/null",\ O_RDWR
            | openat\(AT_FDCWD,\ "/proc/sys/net/ipv4/[a-z_]+",\ O_WRONLY
            | openat2?\ resumed>  # its beginning is a line of its own
        )""",
        re.VERBOSE,
    ),
}


def opens_behind_the_switch(trace: str) -> tuple[list[str], int]:
    """Return what was opened between a root switch and execve, and how many switched.

    For an added program the switch is setns into the container's namespaces, as for
    the hand on LXC; that one enters its stage before, which is a place of the host's.
    """
    switched: set[str] = set()
    found, count = [], 0
    for pid, call, rest in _LINE.findall(trace):
        if call in {"pivot_root", "chroot"} or (call == "setns" and "CLONE_NEWNS|" in rest):
            switched.add(pid)
            count += 1
        elif call == "execve" and re.search(r"= 0$", rest):
            switched.discard(pid)
        elif call.startswith("open") and pid in switched:
            found.append(f"{pid} {call}{rest}")
    return found, count


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_nothing_is_opened_between_the_root_switch_and_the_program(
    lab: Lab, tmp_path: Path
) -> None:
    """S-05 (CVE-2019-14271's twin): the list of what may be opened there is empty, or short."""
    trace = tmp_path / "trace"
    with lab.image(*poisoned_members()) as image:
        with traced(launcher_family(lab.engine), trace, _OPENING):
            provoke(lab, image)
        found, count = opens_behind_the_switch(trace.read_text())
        assert count >= len(FAILURES)
        allowed = _ALLOWED[lab.backend]
        assert [line for line in found if not allowed.match(line)] == []


def test_control_an_import_behind_the_switch_runs_the_images_code(weakened: Weaken) -> None:
    """S-05: one look-up by libc and one late codec are enough."""
    late = (
        "    mounts.pivot_root_to(root_fd)\n"
        "    try:\n        'x'.encode('idna')\n    except LookupError:\n        pass\n"
    )
    changes = {"runtime/native/launch.py": [("    mounts.pivot_root_to(root_fd)\n", late)]}
    entered = '    root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)\n'
    lxc = {"runtime/lxc/dress.py": [(entered, late.partition("\n")[2] + entered)]}
    with weakened(changes, lxc=lxc) as lab, lab.image(*poisoned_members()) as image:
        assert lab.run("cat", "/marker", image=image).out == "encodings.idna"
