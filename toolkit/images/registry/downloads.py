# SPDX-License-Identifier: Apache-2.0
"""Blobs on their way from a registry: resumed, verified, and fetched once for all who want them.

On disk: ``<hex>.<size>`` in one directory is the beginning of a blob, or all of
it. Nothing of it is believed: a file from before is hashed again, so that a
process may be killed at any point. Files stay until an image stands on them.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from toolkit.errors import DigestMismatchError, RegistryError, StorageError
from toolkit.images.registry.retry import TransientError, pause_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from toolkit.images.registry.manifest import Descriptor
    from toolkit.images.registry.settings import RegistrySettings
    from toolkit.images.registry.transport import Answer

_PARTIAL: Final = 206
_CHUNK_BYTES: Final = 1024 * 1024
_WORTH_A_FRESH_START: Final = 1024 * 1024  # bytes gained that make earlier failures forgotten
_TOLD_SECONDS: Final = 0.1
_KEPT_SECONDS: Final = 7 * 24 * 3600.0


class DownloadFailedError(RegistryError):
    """A blob that was being read did not come to its end."""


class Download:
    """One blob; one thread fetches it, any number read it meanwhile."""

    def __init__(self, path: Path, descriptor: Descriptor) -> None:
        self.digest = descriptor.digest
        self.size = descriptor.size
        self.received = 0
        self.had_leftover = False
        self.users = 1
        self._path = path
        self._condition = threading.Condition()
        self._is_whole = False
        self._error: BaseException | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all is there and has its digest."""
        return self._is_whole

    @property
    def error(self) -> BaseException | None:
        """Why it failed, if it did."""
        return self._error

    def run(
        self,
        fetch: Callable[[int], Answer],
        tell: Callable[[int], None],
        *,
        settings: RegistrySettings,
        stop: threading.Event,
    ) -> None:
        """Fetch the blob, going on where an earlier attempt ended.

        Args:
            fetch: Asks the registry for the blob from a byte on.
            tell: Is given the number of bytes that are there.
            settings: How often and how long.
            stop: Ends it.

        Raises:
            DigestMismatchError: It is not what it should be; nothing of it is kept.
            RegistryError: The registry does not give it.
        """
        try:
            self._fetch_all(fetch, tell, settings, stop)
        except BaseException as error:
            with self._condition:
                self._error = error
                self._condition.notify_all()
            raise
        with self._condition:
            self._is_whole = True
            self._condition.notify_all()

    def wait(self, tell: Callable[[int], None]) -> None:
        """Wait for the thread that fetches it.

        Raises:
            DownloadFailedError: It failed there.
        """
        told = -1
        while True:
            with self._condition:
                if self.received == told and not self._is_whole and self._error is None:
                    self._condition.wait(_TOLD_SECONDS)
                told = self.received
                if self._error is not None:
                    raise DownloadFailedError(str(self._error)) from self._error
                is_whole = self._is_whole
            tell(told)
            if is_whole:
                return

    def is_sound(self) -> bool:
        """Wait for the end, and tell whether all is there and has its digest."""
        with self._condition:
            while not self._is_whole and self._error is None:
                self._condition.wait()
            return self._is_whole

    @contextmanager
    def opened(self) -> Iterator[GrowingFile]:
        """Give the blob to be read from its beginning while it is still coming."""
        file_fd = os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield GrowingFile(self, file_fd)
        finally:
            os.close(file_fd)

    def wait_beyond(self, position: int) -> int:
        """Return how much is there when it is more than *position*, or all.

        Raises:
            DownloadFailedError: It failed.
        """
        with self._condition:
            while not self._is_whole and self._error is None and self.received <= position:
                self._condition.wait()
            if self._error is not None:
                raise DownloadFailedError(str(self._error)) from self._error
            return self.received

    def discard(self) -> None:
        """Remove what is there."""
        self._path.unlink(missing_ok=True)

    def _fetch_all(
        self,
        fetch: Callable[[int], Answer],
        tell: Callable[[int], None],
        settings: RegistrySettings,
        stop: threading.Event,
    ) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        file_fd = os.open(self._path, flags, 0o600)
        try:
            writer = _BlobWriter(self, file_fd)
            writer.take_over()
            tell(self.received)
            self._fetch_rest(writer, fetch, tell, settings, stop)
            writer.verify()
        except OSError as error:
            raise StorageError(f"cannot keep a download: {error.strerror}") from error
        finally:
            os.close(file_fd)

    def _fetch_rest(
        self,
        writer: _BlobWriter,
        fetch: Callable[[int], Answer],
        tell: Callable[[int], None],
        settings: RegistrySettings,
        stop: threading.Event,
    ) -> None:
        failures, gained_from = 0, self.received
        while self.received < self.size:
            try:
                self._fetch_once(writer, fetch, tell, stop)
            except TransientError as error:
                if self.received - gained_from >= _WORTH_A_FRESH_START:
                    failures, gained_from = 0, self.received
                failures += 1
                if failures >= settings.attempts:
                    raise
                if stop.wait(pause_seconds(settings, failures, error.pause_seconds)):
                    raise

    def _fetch_once(
        self,
        writer: _BlobWriter,
        fetch: Callable[[int], Answer],
        tell: Callable[[int], None],
        stop: threading.Event,
    ) -> None:
        start = self.received
        told_at = time.monotonic()
        with fetch(start) as answer:
            skip = 0 if not start or _continues(answer, start) else start
            for chunk in answer.chunks():
                if stop.is_set():
                    raise DownloadFailedError("the pull was given up")
                rest = chunk[skip:]
                skip -= min(skip, len(chunk))
                writer.add(rest)
                if time.monotonic() - told_at >= _TOLD_SECONDS:
                    told_at = time.monotonic()
                    tell(self.received)
        tell(self.received)
        if self.received < self.size:
            raise TransientError(f"{answer.url}: the connection broke")

    def grew(self, size: int) -> None:
        """Tell readers that more is there."""
        with self._condition:
            self.received += size
            self._condition.notify_all()


def _continues(answer: Answer, start: int) -> bool:
    """Tell whether an answer begins where it should; otherwise it is the whole blob."""
    if answer.status != _PARTIAL:
        return False
    if not answer.headers.get("Content-Range", f"bytes {start}-").startswith(f"bytes {start}-"):
        raise DigestMismatchError(
            f"bytes from {start} on", answer.headers.get("Content-Range", "")[:80], answer.url
        )
    return True


class _BlobWriter:
    """The writing side of a download, with the digest so far."""

    def __init__(self, download: Download, file_fd: int) -> None:
        self._download = download
        self._file_fd = file_fd
        self._hash = hashlib.sha256()

    def take_over(self) -> None:
        """Hash what an earlier process left; too much of it is nothing."""
        left = os.fstat(self._file_fd).st_size
        if left > self._download.size:
            os.ftruncate(self._file_fd, 0)
        self._download.had_leftover = left > 0
        while chunk := os.read(self._file_fd, _CHUNK_BYTES):
            self._hash.update(chunk)
            self._download.grew(len(chunk))

    def add(self, chunk: bytes) -> None:
        """Take more of the blob, up to its size."""
        if self._download.received + len(chunk) > self._download.size:
            os.ftruncate(self._file_fd, 0)
            raise DigestMismatchError(
                f"{self._download.size} bytes", "more", f"blob {self._download.digest}"
            )
        self._hash.update(chunk)
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._file_fd, view) :]
        self._download.grew(len(chunk))

    def verify(self) -> None:
        """Compare the digest; what does not have it is thrown away."""
        found = f"sha256:{self._hash.hexdigest()}"
        if found != self._download.digest:
            os.ftruncate(self._file_fd, 0)
            raise DigestMismatchError(
                self._download.digest, found, "filesystem layer verification failed for digest"
            )


class GrowingFile:
    """The bytes of a blob that is still coming, as a source for unpacking."""

    def __init__(self, download: Download, file_fd: int) -> None:
        self._download = download
        self._file_fd = file_fd
        self.position = 0

    def read(self, size: int, /) -> bytes:
        """Return up to *size* bytes; none at the end, and the end only of a verified blob."""
        there = self._download.wait_beyond(self.position)
        chunk = os.pread(self._file_fd, min(size, there - self.position), self.position)
        if not chunk and there > self.position and not self._download.is_sound():
            # Thrown away while it was read: what it is said to be, it is not.
            raise DownloadFailedError(f"{self._download.error}") from self._download.error
        self.position += len(chunk)
        return chunk


def _file_name(digest: str, size: int) -> str:
    return f"{digest.removeprefix('sha256:')}.{size}"


class Downloads:
    """All blobs on their way to one instance. Safe to use from several threads."""

    def __init__(self, directory: Path) -> None:
        self._dir = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._active: dict[tuple[str, int], Download] = {}

    @property
    def directory(self) -> Path:
        """Where there is room for what travels."""
        return self._dir

    def join(self, descriptor: Descriptor) -> tuple[Download, bool]:
        """Return a blob's download, and whether the caller is the one to run it."""
        key = (descriptor.digest, descriptor.size)
        with self._lock:
            active = self._active.get(key)
            if active is not None and active.error is None:
                active.users += 1
                return active, False
            download = Download(self._dir / _file_name(*key), descriptor)
            self._active[key] = download
            return download, True

    def release(self, download: Download, *, keep: bool) -> None:
        """Let go of a download; the last one removes its file, unless it shall stay for later."""
        key = (download.digest, download.size)
        with self._lock:
            download.users -= 1
            if download.users or self._active.get(key) is not download:
                return
            del self._active[key]
            if not keep:
                download.discard()

    def drop(self, descriptor: Descriptor) -> None:
        """Remove what an earlier process left of a blob, unless somebody downloads it now."""
        key = (descriptor.digest, descriptor.size)
        with self._lock:
            if key not in self._active:
                (self._dir / _file_name(*key)).unlink(missing_ok=True)

    def sweep(self, kept_seconds: float = _KEPT_SECONDS) -> list[str]:
        """Remove what no pull came back for in time; return the names."""
        oldest = time.time() - kept_seconds
        removed = []
        with self._lock:
            busy = {_file_name(digest, size) for digest, size in self._active}
            for path in sorted(self._dir.iterdir()):
                if path.name not in busy and path.stat().st_mtime < oldest:
                    path.unlink(missing_ok=True)
                    removed.append(path.name)
        return removed

    def spare_bytes(self) -> int:
        """Return how much more the file system can hold."""
        space = os.statvfs(self._dir)
        return space.f_bavail * space.f_frsize
