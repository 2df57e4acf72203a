# SPDX-License-Identifier: Apache-2.0
"""The last steps of a child: who it is, what it may, and the program itself.

`plan_program` runs before the root switch and takes from the container's tree
what is needed, by descriptor. `run_program` runs behind it: it makes system
calls on values that are all here already, and ends in execve(2).
"""

from __future__ import annotations

import errno
import os
import resource
import signal
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import (
    CommandError,
    CommandNotExecutableError,
    CommandNotFoundError,
    InvalidRequestError,
    KernelCallError,
)
from toolkit.kernel import capabilities, process, pty
from toolkit.kernel.capabilities import CapabilitySets
from toolkit.kernel.paths import make_dirs_in_root, read_small_file_in_root
from toolkit.kernel.seccomp import install_filter
from toolkit.runtime.native.users import Identity, resolve_identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.runtime.native.prepare import Document, Stdio

_DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TTY_GROUP: Final = 5
NO_SUCH_FILE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


@dataclass(frozen=True, kw_only=True)
class Program:
    """Everything that the last steps use."""

    argv: list[bytes]
    env: dict[bytes, bytes]
    candidates: list[bytes]
    cwd_fd: int
    identity: Identity
    stdio: Stdio
    has_tty: bool
    capabilities: CapabilitySets
    rlimits: list[tuple[int, int, int]]
    no_new_privileges: bool
    seccomp: bytes


def plan_program(
    spec: Document, annotations: dict[str, str], root_fd: int, *, stdio: Stdio, seccomp: bytes
) -> Program:
    """Read the OCI ``process`` against the container's tree behind *root_fd*.

    Raises:
        InvalidRequestError: No such user, or the working directory cannot be used.
    """
    identity = _identify(annotations.get("toolkit.user", ""), spec, root_fd)
    env = _environment(spec["env"], identity, annotations)
    wanted = CapabilitySets.from_document(spec["capabilities"], _last_capability())
    if identity.uid:  # the kernel takes them with the change of ids (row S-08)
        wanted = CapabilitySets(bounding=wanted.bounding)
    return Program(
        argv=[os.fsencode(word) for word in spec["args"]],
        env=env,
        candidates=_candidates(spec["args"][0], env),
        cwd_fd=_open_cwd(root_fd, spec["cwd"]),
        identity=identity,
        stdio=stdio,
        has_tty=spec["terminal"],
        capabilities=wanted.limited_to(_held_capabilities()),
        rlimits=_rlimits(spec.get("rlimits") or ()),
        no_new_privileges=bool(spec.get("noNewPrivileges")),
        seccomp=seccomp,
    )


@cache
def _last_capability() -> int:
    return capabilities.last_capability()


@cache
def _held_capabilities() -> CapabilitySets:
    return capabilities.held_capabilities()


def learn_capabilities() -> None:
    """Ask ahead for what `plan_program` would ask for: a hundred calls, and always the same."""
    _last_capability()
    _held_capabilities()


def _identify(user: str, spec: Document, root_fd: int) -> Identity:
    extra = tuple(str(gid) for gid in spec["user"].get("additionalGids") or ())
    return resolve_identity(
        user or f"{spec['user']['uid']}",
        read_small_file_in_root(root_fd, "/etc/passwd"),
        read_small_file_in_root(root_fd, "/etc/group"),
        extra,
    )


def _environment(
    texts: Sequence[str], identity: Identity, annotations: dict[str, str]
) -> dict[bytes, bytes]:
    env: dict[bytes, bytes] = {}
    for text in texts:
        key, _, value = os.fsencode(text).partition(b"=")
        env[key] = value
    if annotations.get("toolkit.home.default") and not env.get(b"HOME"):
        env[b"HOME"] = os.fsencode(identity.home)
    return env


def _candidates(name: str, env: dict[bytes, bytes]) -> list[bytes]:
    program = os.fsencode(name)
    if b"/" in program:
        return [program]
    path = env.get(b"PATH", _DEFAULT_PATH.encode())
    return [os.path.join(directory or b".", program) for directory in path.split(b":")]


def _open_cwd(root_fd: int, cwd: str) -> int:
    try:
        return make_dirs_in_root(root_fd, cwd, links=0)  # row S-03: no link to what is not there
    except KernelCallError as error:
        raise InvalidRequestError(
            f"working directory {cwd!r} cannot be used: {os.strerror(error.errno)}"
        ) from error


def _rlimits(entries: Sequence[Any]) -> list[tuple[int, int, int]]:
    return [
        (getattr(resource, entry["type"]), _limit(entry["soft"]), _limit(entry["hard"]))
        for entry in entries
    ]


def _limit(value: int) -> int:
    return resource.RLIM_INFINITY if value < 0 or value >= 2**63 else value


def run_program(program: Program) -> None:
    """Become the program; returns only by raising.

    Raises:
        CommandNotFoundError: There is no such file (exit code 127).
        CommandNotExecutableError: It may not be executed (exit code 126).
        KernelCallError: A step before failed.
    """
    _take_stdio(program)
    for kind, soft, hard in program.rlimits:
        resource.setrlimit(kind, (soft, hard))
    process.join_new_session_keyring()
    os.fchdir(program.cwd_fd)
    if program.seccomp and not program.no_new_privileges:
        install_filter(program.seccomp)  # needs CAP_SYS_ADMIN, which goes next
    _drop_privileges(program)
    if program.no_new_privileges:
        capabilities.set_no_new_privileges()
        if program.seccomp:
            install_filter(program.seccomp)
    process.die_with_parent(signal.SIGKILL)  # the change of ids has forgotten any earlier wish
    process.close_from_on_exec(3)
    _execute(program)


def _take_stdio(program: Program) -> None:
    stdio, uid = program.stdio, program.identity.uid
    os.setsid()
    fds = (stdio.child_stdin, stdio.child_stdout, stdio.child_stderr)
    if program.has_tty:
        pty.make_controlling(stdio.child_stdin)
        os.fchown(stdio.child_stdin, uid, TTY_GROUP)
    elif uid:
        for fd in fds[1:]:
            os.fchown(fd, uid, -1)
    for number, fd in enumerate(fds):
        os.dup2(fd, number)


def _drop_privileges(program: Program) -> None:
    capabilities.clear_ambient()
    identity, sets = program.identity, program.capabilities
    capabilities.limit_bounding_set(sets.bounding)
    process.set_ids(identity.uid, identity.gid, identity.groups)
    capabilities.set_capabilities(sets.effective, sets.permitted, sets.inheritable)


def _execute(program: Program) -> None:
    denied = 0
    for candidate in program.candidates:
        try:
            os.execve(candidate, program.argv, program.env)  # noqa: S606 - its own words, no shell
        except OSError as error:
            number = error.errno or 0
            if number not in NO_SUCH_FILE and (number != errno.EACCES or not denied):
                denied = number
            if number not in (*NO_SUCH_FILE, errno.EACCES):
                break
    raise command_error(os.fsdecode(program.argv[0]), denied)


def command_error(name: str, number: int) -> CommandError:
    """Return the error of a command that could not be executed; 0 for one that is not there."""
    if number:
        return CommandNotExecutableError(f'exec: "{name}": {os.strerror(number).lower()}')
    if "/" in name:
        return CommandNotFoundError(f'exec: "{name}": stat {name}: no such file or directory')
    return CommandNotFoundError(f'exec: "{name}": executable file not found in $PATH')
