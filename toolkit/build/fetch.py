# SPDX-License-Identifier: Apache-2.0
"""Files that a Dockerfile, or an import, names by URL, fetched to a directory.

The engine fetches on behalf of whoever wrote the Dockerfile. A server out there
must not turn it against services that only this machine reaches: a redirect from
a public address to a local one is refused (row S-64), and each connection goes to
the address that was checked.
"""

from __future__ import annotations

import email.utils
import ipaddress
import os
import posixpath
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urljoin, urlsplit

import urllib3

from toolkit.errors import InvalidRequestError, ToolkitError

if TYPE_CHECKING:
    from pathlib import Path
    from urllib.parse import SplitResult

_MOST_REDIRECTS: Final = 10
_LARGEST_BYTES: Final = 10 * 1024**3
_CONNECT_SECONDS: Final = 15.0
_READ_SECONDS: Final = 60.0
_CHUNK_BYTES: Final = 256 * 1024
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_FIRST_ERROR: Final = 400
_PORTS: Final = {"http": 80, "https": 443}


class FetchError(ToolkitError):
    """A file could not be fetched."""


@dataclass(frozen=True)
class Fetched:
    """A file that was fetched.

    Attributes:
        name: Of the file in the directory that was given.
        named: The URL says what it is called.
    """

    name: str
    named: bool


def is_url(text: str) -> bool:
    """Tell whether a source of ADD is fetched."""
    return text.lower().startswith(("http://", "https://"))


def fetch_file(url: str, directory: Path) -> Fetched:
    """Fetch a file into a directory; it is readable by its owner alone.

    Raises:
        FetchError: It cannot be had.
        InvalidRequestError: The URL is none.
    """
    stem = posixpath.basename(unquote(_checked(url).path))
    name = stem if stem not in {"", ".", ".."} and "\0" not in stem else "file"
    response = _follow(url)
    try:
        path = directory / name
        with open(
            path, "wb", opener=lambda at, flags: os.open(at, flags | os.O_EXCL, 0o600)
        ) as file:
            _copy(response, file.fileno(), url)
        modified = email.utils.parsedate_tz(response.headers.get("Last-Modified", ""))
        seconds = email.utils.mktime_tz(modified) if modified else 0
        os.utime(path, (seconds, seconds))
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise FetchError(f"{url}: {error}") from error
    finally:
        response.close()
    return Fetched(name, named=name == stem)


def _copy(response: urllib3.BaseHTTPResponse, file_fd: int, url: str) -> None:
    size = 0
    for chunk in response.stream(_CHUNK_BYTES, decode_content=False):
        size += len(chunk)
        if size > _LARGEST_BYTES:
            raise FetchError(f"{url}: more than {_LARGEST_BYTES} bytes")
        os.write(file_fd, chunk)


def _follow(url: str) -> urllib3.BaseHTTPResponse:
    """Return the answer at the end of all redirects."""
    began_local: bool | None = None
    for _ in range(_MOST_REDIRECTS):
        parts = _checked(url)
        address, is_local = _address(parts)
        if began_local is None:
            began_local = is_local
        elif is_local and not began_local:
            raise FetchError(f"{url}: a redirect to a local address is not followed")
        response = _request(parts, address, url)
        if response.status not in _REDIRECTS:
            if response.status >= _FIRST_ERROR:
                response.close()
                raise FetchError(f"{url}: got HTTP status {response.status}")
            return response
        response.close()
        url = urljoin(url, response.headers.get("Location", ""))
    raise FetchError(f"{url}: more than {_MOST_REDIRECTS} redirects")


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise InvalidRequestError(f"not a URL: {url[:200]!r}: {error}") from None
    if parts.scheme not in _PORTS or not has_host:
        raise InvalidRequestError(f"only http and https are fetched: {url[:200]!r}")
    return parts


def _address(parts: SplitResult) -> tuple[str, bool]:
    """Return an address of the host, and whether it is one that only this machine reaches."""
    port = parts.port or _PORTS[parts.scheme]
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise FetchError(f"{parts.hostname}: {error.strerror}") from error
    address = str(found[0][4][0])
    return address, not ipaddress.ip_address(address.partition("%")[0]).is_global


def _request(parts: SplitResult, address: str, url: str) -> urllib3.BaseHTTPResponse:
    """Ask the address that was checked, whatever the name leads to by now."""
    target = parts.path or "/"
    if parts.query:
        target += f"?{parts.query}"
    host = parts.netloc.rpartition("@")[2]
    headers = {"Host": host, "User-Agent": "toolkit", "Accept-Encoding": "identity"}
    timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS)
    pool: urllib3.HTTPConnectionPool
    if parts.scheme == "https":
        pool = urllib3.HTTPSConnectionPool(
            address,
            parts.port or _PORTS["https"],
            timeout=timeout,
            server_hostname=parts.hostname,
            assert_hostname=parts.hostname,
        )
    else:
        pool = urllib3.HTTPConnectionPool(address, parts.port or _PORTS["http"], timeout=timeout)
    try:
        return pool.urlopen(
            "GET", target, headers=headers, redirect=False, retries=False, preload_content=False
        )
    except urllib3.exceptions.HTTPError as error:
        raise FetchError(f"{url}: {error}") from error
