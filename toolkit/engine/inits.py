# SPDX-License-Identifier: Apache-2.0
"""The small program that `--init` puts before a container's own: this machine's, copied.

No binary is part of this repository. A static one of this machine (tini,
catatonit, dumb-init) is copied to the run directory, so that no container ever
holds the machine's own file (row S-01), and mounted read-only where docker does.
"""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolkit.errors import KernelFeatureMissingError

if TYPE_CHECKING:
    from collections.abc import Iterable

TARGET: Final = "/sbin/docker-init"
NAMES: Final = ("tini-static", "docker-init", "catatonit", "dumb-init", "tini")
_SYSTEM_PATH: Final = (
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/libexec/podman"
)
_PT_INTERP: Final = 3
_LARGEST_BYTES: Final = 16 * 1024 * 1024


class InitMissingError(KernelFeatureMissingError):
    """There is no static init program on the machine."""

    hint = "Install one: on Debian the package is called tini."

    def __init__(self) -> None:
        super(KernelFeatureMissingError, self).__init__(
            f"--init needs a static init program on this machine: none of {', '.join(NAMES)}"
        )


def provided_init(run_dir: Path, search_path: str = _SYSTEM_PATH) -> Path:
    """Return our copy of a static init program, made when it is first asked for.

    Raises:
        InitMissingError: There is none to copy.
    """
    copy = run_dir / "cache" / "init"
    if copy.exists():
        return copy
    source = find_static_init(search_path)
    copy.parent.mkdir(mode=0o700, exist_ok=True)
    temporary = copy.with_name(f".init.{os.getpid()}.tmp")
    shutil.copyfile(source, temporary)
    temporary.chmod(0o555)
    temporary.rename(copy)
    return copy


def find_static_init(search_path: str = _SYSTEM_PATH) -> Path:
    """Return a static init program of this machine.

    Raises:
        InitMissingError: There is none.
    """
    for name in NAMES:
        found = shutil.which(name, path=search_path)
        if found is not None and is_static(Path(found)):
            return Path(found)
    raise InitMissingError


def init_arguments(words: Iterable[str]) -> list[str]:
    """Return the command line of a program behind the init."""
    return [TARGET, "--", *words]


def is_static(program: Path) -> bool:
    """Say whether a file is a 64-bit ELF program that needs no loader (elf(5))."""
    try:
        with program.open("rb") as file:
            content = file.read(_LARGEST_BYTES)
        if content[:5] != b"\x7fELF\x02":
            return False
        offset, size, count = (
            struct.unpack_from("<Q", content, 32)[0],
            *struct.unpack_from("<HH", content, 54),
        )
        kinds = [
            struct.unpack_from("<I", content, offset + size * number)[0] for number in range(count)
        ]
    except (OSError, struct.error):
        return False
    return _PT_INTERP not in kinds
