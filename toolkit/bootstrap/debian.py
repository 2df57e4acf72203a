# SPDX-License-Identifier: Apache-2.0
"""A minimal Debian, built by mmdebstrap and streamed as it is built."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from toolkit.bootstrap.errors import DebootstrapFailedError, DebootstrapMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DEBIAN_CHANGES: Final = (
    'CMD ["bash"]',
    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
)
_FALLBACK_SUITE: Final = "stable"


def debian_command(
    program: str, *, suite: str, mirror: str, packages: Sequence[str] = ()
) -> list[str]:
    """Return the words that make mmdebstrap write a root file system to standard output."""
    words = [program, "--quiet", "--variant=minbase", "--format=tar"]
    words += [f"--include={','.join(packages)}"] if packages else []
    words += [suite, "-"]
    return [*words, mirror] if mirror else words


def host_suite(os_release: Path = Path("/etc/os-release")) -> str:
    """Return the release of this machine if it is a Debian, else ``stable``."""
    try:
        lines = os_release.read_text().splitlines()
    except OSError:
        return _FALLBACK_SUITE
    values = {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
    if values.get("ID") != "debian":
        return _FALLBACK_SUITE
    return values.get("VERSION_CODENAME") or _FALLBACK_SUITE


@contextmanager
def debian_root(
    *,
    suite: str = "",
    mirror: str = "",
    packages: Sequence[str] = (),
    program: str = "mmdebstrap",
) -> Iterator[BinaryIO]:
    """Give the archive of a Debian root file system while it is built.

    Args:
        suite: Debian's release; this machine's without.
        mirror: Where packages come from; mmdebstrap's own choice without.
        packages: What it has beside the minimal system.
        program: Name of mmdebstrap.

    Raises:
        DebootstrapMissingError: mmdebstrap is not installed.
        DebootstrapFailedError: It failed; raised at the end of the stream, so that the
            engine never takes half an archive for a whole one.
    """
    found = shutil.which(program)
    if not found:
        raise DebootstrapMissingError("mmdebstrap is not installed")
    words = debian_command(found, suite=suite or host_suite(), mirror=mirror, packages=packages)
    with tempfile.TemporaryFile() as errors, _Building(words, errors) as building:
        yield building  # type: ignore[misc]  # all that an upload uses is read()


class _Building:
    """A program's output, whose end is only given if the program succeeded."""

    def __init__(self, words: Sequence[str], errors: BinaryIO) -> None:
        self._errors = errors
        self._process = subprocess.Popen(  # noqa: S603  # mmdebstrap and our own words
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # it hangs up its whole process group when it is ended
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        if self._process.stdout:
            self._process.stdout.close()
        self._process.wait()

    def read(self, size: int = -1) -> bytes:
        data = self._process.stdout.read(size) if self._process.stdout else b""
        if not data and self._process.wait() != 0:
            raise DebootstrapFailedError(f"mmdebstrap failed: {self._last_words()}")
        return data

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode}"
