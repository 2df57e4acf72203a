# SPDX-License-Identifier: Apache-2.0
"""The attacker's bench: hostile images, containers that try something, engines made weak.

Owns how an attack is set up and its result read. What is attacked, and what must
hold, is each test's.
"""

from __future__ import annotations

import io
import os
import select
import shutil
import sys
import tarfile
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import toolkit
from toolkit.bootstrap.busybox import applet_links, find_static_busybox, list_applets
from toolkit.client import ApiError
from toolkit.vm.process import parent_and_state, processes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from integration.conftest import Engine

_SOURCE = Path(toolkit.__file__).parent
_DIRECTORIES = ("bin", "dev", "etc", "proc", "root", "sbin", "sys", "tmp", "usr", "usr/bin")
_PASSWD = b"root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000:bob:/home/bob:/bin/sh\n"
_GROUP = b"root:x:0:\nbob:x:1000:\n"


@dataclass(frozen=True)
class Member:
    """One entry of an archive.

    Attributes:
        attributes: Extended attributes, as ``SCHILY.xattr`` headers.
    """

    name: str
    kind: bytes = tarfile.REGTYPE
    content: bytes = b""
    target: str = ""
    mode: int = 0o755
    uid: int = 0
    device: tuple[int, int] = (0, 0)
    attributes: Mapping[str, str] = field(default_factory=dict)

    def add_to(self, archive: tarfile.TarFile) -> None:
        """Write it."""
        info = tarfile.TarInfo(self.name)
        info.type, info.linkname, info.mode = self.kind, self.target, self.mode
        info.uid = info.gid = self.uid
        info.devmajor, info.devminor = self.device
        info.size = len(self.content)
        info.pax_headers = {f"SCHILY.xattr.{key}": text for key, text in self.attributes.items()}
        archive.addfile(info, io.BytesIO(self.content))


def file(name: str, content: bytes | str = b"", mode: int = 0o755, **more: Any) -> Member:
    """Return a regular file."""
    data = content.encode() if isinstance(content, str) else content
    return Member(name, content=data, mode=mode, **more)


def link(name: str, target: str) -> Member:
    """Return a symbolic link."""
    return Member(name, tarfile.SYMTYPE, target=target)


def directory(name: str, mode: int = 0o755, **more: Any) -> Member:
    """Return a directory."""
    return Member(name, tarfile.DIRTYPE, mode=mode, **more)


def packed(members: Iterable[Member], compression: str = "") -> io.BytesIO:
    """Return an archive of just these members, in this order."""
    archive = io.BytesIO()
    mode: Any = f"w:{compression}"
    with tarfile.open(fileobj=archive, mode=mode, format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            member.add_to(tar)
    archive.seek(0)
    return archive


def small_root(members: Sequence[Member]) -> list[Member]:
    """Return a root with a shell, the usual tools and two users; *members* win by name."""
    busybox = find_static_busybox()
    usual = [
        *(directory(name) for name in _DIRECTORIES),
        file("bin/busybox", busybox.read_bytes()),
        *(link(name, target) for name, target in applet_links(list_applets(busybox)).items()),
        file("etc/passwd", _PASSWD, 0o644),
        file("etc/group", _GROUP, 0o644),
    ]
    taken = {member.name for member in members}
    return [*(member for member in usual if member.name not in taken), *members]


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        exit_code: -1 where nothing was started.
        out: Both streams together.
        status: The refusal's HTTP status; 0 where there was none.
        refusal: What the engine said.
    """

    exit_code: int = -1
    out: str = ""
    status: int = 0
    refusal: str = ""

    @property
    def lines(self) -> list[str]:
        """The output by lines, without the terminal's carriage returns."""
        return self.out.replace("\r\n", "\n").splitlines()

    @classmethod
    def refused(cls, error: ApiError) -> Outcome:
        """Return what a refusal says."""
        return cls(status=error.status, refusal=str(error))


class Lab:
    """Containers and images for attacks, on one engine and one backend."""

    def __init__(self, engine: Engine, backend: str, image: str) -> None:
        self.engine = engine
        self.backend = backend
        self.image_name = image

    @property
    def _containers(self) -> Any:
        return self.engine.client.containers

    def wish(
        self, *command: str, image: str = "", host: Mapping[str, Any] | None = None, **config: Any
    ) -> dict[str, Any]:
        """Return a create body."""
        options = {"NetworkMode": "none", "Runtime": self.backend, **(host or {})}
        found = {"Image": image or self.image_name, "HostConfig": options, **config}
        return found | ({"Cmd": list(command)} if command else {})

    def run(self, *command: str, **wish: Any) -> Outcome:
        """Run a container to its end and remove it."""
        try:
            container = self._containers.create(self.wish(*command, **wish)).id
        except ApiError as error:
            return Outcome.refused(error)
        try:
            self._containers.start(container)
            ended = self._containers.wait(container).result()
            return Outcome(ended.exit_code, self.output(container, has_tty=bool(wish.get("Tty"))))
        except ApiError as error:
            return Outcome.refused(error)
        finally:
            self._containers.remove(container, force=True, volumes=True)

    def output(self, container: str, *, has_tty: bool = False) -> str:
        """Return what a container has written."""
        chunks = self._containers.logs(container, framed=not has_tty)
        return b"".join(chunk.payload for chunk in chunks).decode(errors="surrogateescape")

    @contextmanager
    def created(self, *command: str, **wish: Any) -> Iterator[str]:
        """Have a container for the block."""
        container: str = self._containers.create(self.wish(*command, **wish)).id
        try:
            yield container
        finally:
            self._containers.remove(container, force=True, volumes=True)

    @contextmanager
    def running(self, *command: str, **wish: Any) -> Iterator[str]:
        """Have a running container for the block."""
        with self.created(*(command or ("sleep", "600")), **wish) as container:
            self._containers.start(container)
            yield container

    def pid(self, container: str) -> int:
        """Return the first program's process on the host."""
        return int(self._containers.inspect(container)["State"]["Pid"])

    def execute(self, container: str, *command: str, **spec: Any) -> Outcome:
        """Run another program in a running container."""
        has_tty = bool(spec.get("Tty"))
        execs = self.engine.client.execs
        body = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True, **spec}
        try:
            session = execs.create(container, body)
            with execs.start(session, has_tty=has_tty) as stream:
                out = b"".join(chunk.payload for chunk in stream.chunks(framed=not has_tty))
        except ApiError as error:
            return Outcome.refused(error)
        exit_code = execs.inspect(session)["ExitCode"]
        return Outcome(exit_code, out.decode(errors="surrogateescape"))

    def load(self, archive: io.BytesIO, name: str = "", changes: Sequence[str] = ()) -> Outcome:
        """Import an archive; say how that went."""
        images = self.engine.client.images
        try:
            return Outcome(0, images.import_tar(archive, reference=name, changes=changes))
        except ApiError as error:
            return Outcome.refused(error)

    @contextmanager
    def image(
        self, *members: Member, changes: Sequence[str] = (), is_bare: bool = False
    ) -> Iterator[str]:
        """Have an image of these members, on top of the usual root unless it is bare."""
        name = f"hostile-{uuid.uuid4().hex[:12]}"
        images = self.engine.client.images
        images.import_tar(
            packed(members if is_bare else small_root(members)), reference=name, changes=changes
        )
        try:
            yield name
        finally:
            images.remove(name, force=True)


def launcher_family(engine: Engine) -> list[int]:
    """Return the launcher of an engine, its slots and its shims."""
    return [pid for pid in processes_of(engine.instance.name) if pid != engine.pid]


def launcher_of(engine: Engine) -> int:
    """Return the launcher: the engine's child."""
    return next(
        pid
        for pid in launcher_family(engine)
        if (parent_and_state(pid) or (0, ""))[0] == engine.pid
    )


def weakened_package(target_dir: Path, changes: Mapping[str, Sequence[tuple[str, str]]]) -> Path:
    """Copy the package and take defences out; return what to put on ``PYTHONPATH``.

    Args:
        target_dir: Where the copy goes.
        changes: By file, pairs of a text that is there exactly once and its replacement.
    """
    copy_dir = target_dir / "weak"
    shutil.copytree(_SOURCE, copy_dir / "toolkit")
    for name, replacements in changes.items():
        path = copy_dir / "toolkit" / name
        text = path.read_text()
        for old, new in replacements:
            if text.count(old) != 1:
                raise AssertionError(f"{name}: {old!r} stands there {text.count(old)} times")
            text = text.replace(old, new)
        path.write_text(text)
    return copy_dir


def engine_command(instance_name: str, package_dir: Path, prelude: str = "") -> list[str]:
    """Return a command that runs an engine from a package directory.

    Args:
        instance_name: Whose engine.
        package_dir: Goes on ``PYTHONPATH``.
        prelude: Python that runs before, in the same process.
    """
    words = [sys.executable, "-P", "-m", "toolkit.cli.main", "engine", "--instance", instance_name]
    script = (
        f"import os, sys\nos.environ['PYTHONPATH'] = {str(package_dir)!r}\n{prelude}\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    return [sys.executable, "-c", script, *words]


def kill_and_wait(pids: Iterable[int]) -> None:
    """SIGKILL processes that this test started, and wait until the kernel has ended them."""
    for pid in pids:
        with suppress(ProcessLookupError):
            pidfd = os.pidfd_open(pid)
            try:
                os.kill(pid, 9)
                _wait_ended(pidfd)
            finally:
                os.close(pidfd)


def _wait_ended(pidfd: int) -> None:

    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll(5000)
