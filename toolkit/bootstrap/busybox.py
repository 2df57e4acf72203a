# SPDX-License-Identifier: Apache-2.0
"""A root file system of a few megabytes from the machine's static busybox.

The same busybox gives the same bytes: names are sorted, times are zero.
"""

from __future__ import annotations

import io
import os
import struct
import subprocess
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

from toolkit.bootstrap.errors import BusyboxMissingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BUSYBOX_CHANGES: Final = (
    'CMD ["sh"]',
    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
)

_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_MEMORY_BYTES: Final = 8 * 1024 * 1024  # a bigger archive goes to a file
_DIRECTORIES: Final = {
    "bin": 0o755,
    "dev": 0o755,
    "etc": 0o755,
    "home": 0o755,
    "lib": 0o755,
    "mnt": 0o755,
    "opt": 0o755,
    "proc": 0o755,
    "root": 0o700,
    "run": 0o755,
    "sbin": 0o755,
    "srv": 0o755,
    "sys": 0o755,
    "tmp": 0o1777,
    "usr": 0o755,
    "usr/bin": 0o755,
    "usr/local": 0o755,
    "usr/local/bin": 0o755,
    "usr/sbin": 0o755,
    "var": 0o755,
    "var/log": 0o755,
    "var/spool": 0o755,
    "var/spool/cron": 0o755,
    "var/spool/mail": 0o755,
    "var/tmp": 0o1777,  # a directory of the image
    "var/www": 0o755,
}
_FILES: Final = {
    "etc/passwd": (
        0o644,
        (
            "root:x:0:0:root:/root:/bin/sh\n"
            "daemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
            "bin:x:2:2:bin:/bin:/bin/false\n"
            "sys:x:3:3:sys:/dev:/bin/false\n"
            "mail:x:8:8:mail:/var/spool/mail:/bin/false\n"
            "www-data:x:33:33:www-data:/var/www:/bin/false\n"
            "nobody:x:65534:65534:nobody:/home:/bin/false\n"
        ),
    ),
    "etc/group": (
        0o644,
        (
            "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nmail:x:8:\n"
            "wheel:x:10:root\ncdrom:x:24:\nwww-data:x:33:\nusers:x:100:\nnogroup:x:65534:\n"
        ),
    ),
    "etc/shadow": (0o600, "root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n"),
    "etc/hosts": (0o644, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n"),
    "etc/hostname": (0o644, "busybox\n"),
    "etc/nsswitch.conf": (0o644, "hosts: files dns\n"),
    "etc/profile": (
        0o644,
        "export PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}\n",
    ),
    "etc/resolv.conf": (0o644, ""),
    "etc/shells": (0o644, "/bin/sh\n/bin/ash\n"),
    "etc/localtime": (0o644, ""),
}

# ELF, 64 and 32 bits: the program headers' offset, entry size and number stand here.
_ELF_HEADERS: Final = {2: ("Q", 32, 54), 1: ("I", 28, 42)}
_PT_INTERP: Final = 3


def find_static_busybox(search_path: str | None = None) -> Path:
    """Return the machine's static busybox.

    Raises:
        BusyboxMissingError: There is none, or only one that needs libraries.
    """
    directories = (os.environ.get("PATH", "") + ":" + _PATH) if search_path is None else search_path
    needs_libraries = None
    for directory in dict.fromkeys(filter(None, directories.split(":"))):
        program = Path(directory) / "busybox"
        if program.is_file() and os.access(program, os.X_OK):
            if is_static_program(program):
                return program
            needs_libraries = program
    if needs_libraries:
        raise BusyboxMissingError(f"{needs_libraries} is not static: it would not run in an image")
    raise BusyboxMissingError("no busybox on PATH")


def is_static_program(program: Path) -> bool:
    """Return whether a file is an ELF program that asks for no interpreter."""
    with program.open("rb") as file:
        image = file.read(64)
        if image[:4] != b"\x7fELF" or len(image) < 64 or image[4] not in _ELF_HEADERS:  # noqa: PLR2004  # its head
            return False
        order = "<" if image[5] == 1 else ">"
        letter, offset_at, sizes_at = _ELF_HEADERS[image[4]]
        (offset,) = struct.unpack_from(order + letter, image, offset_at)
        size, count = struct.unpack_from(order + "HH", image, sizes_at)
        file.seek(offset)
        headers = file.read(size * count)
    kinds = (struct.unpack_from(order + "I", headers, at)[0] for at in range(0, len(headers), size))
    return _PT_INTERP not in kinds


def list_applets(program: Path) -> list[str]:
    """Return where a busybox would put each applet, relative to the root."""
    listed = subprocess.run(  # noqa: S603  # the busybox that was found, with a constant
        [program, "--list-full"], check=True, capture_output=True, text=True, env={}
    )
    return sorted(set(listed.stdout.split()))


@contextmanager
def packed_busybox_root(program: Path) -> Iterator[BinaryIO]:
    """Give the archive of the whole root file system, ready to be read."""
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES) as archive:
        write_busybox_root(archive, program.read_bytes(), list_applets(program))
        archive.seek(0)
        yield archive  # type: ignore[misc]  # typeshed: it is an IO[bytes], not a BinaryIO


def write_busybox_root(target: object, busybox: bytes, applets: Iterable[str]) -> None:
    """Write the archive: directories, the program, a link for each applet, ``/etc``."""
    members: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    for name, mode in _DIRECTORIES.items():
        members[name] = (_member(name, tarfile.DIRTYPE, mode), b"")
    for name, (mode, text) in _FILES.items():
        members[name] = (_member(name, tarfile.REGTYPE, mode), text.encode())
    for name, link in applet_links(applets).items():
        member = _member(name, tarfile.SYMTYPE, 0o777)
        member.linkname = link
        members.setdefault(name, (member, b""))
    members["bin/busybox"] = (_member("bin/busybox", tarfile.REGTYPE, 0o755), busybox)
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as archive:  # type: ignore[call-overload]  # any writer
        for name in sorted(members):
            member, content = members[name]
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def applet_links(applets: Iterable[str]) -> dict[str, str]:
    """Return every link with its target: each applet in /bin, and where it is looked for."""
    links = {}
    for path in applets:
        place = PurePosixPath(path.lstrip("/"))
        links[f"bin/{place.name}"] = "busybox"
        if place.parent.as_posix() not in {".", "bin"}:
            links[place.as_posix()] = "../" * len(place.parent.parts) + "bin/busybox"
    links.pop("bin/busybox", None)
    return links


def _member(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.mode = mode
    member.mtime = 0
    member.uname = member.gname = ""
    return member
