# SPDX-License-Identifier: Apache-2.0
"""HTTP to registries: TLS, proxies, redirects, time-outs and limits (row S-59).

A redirect to another host takes no credentials along, and none leads from
https to http. Who we are is `toolkit.images.registry.authorization`'s.
"""

from __future__ import annotations

import ssl
import threading
import time
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urljoin, urlsplit

import urllib3

from toolkit.errors import DigestMismatchError, RegistryError, RegistryUnreachableError
from toolkit.images.registry.retry import NoConnectionError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from toolkit.images.registry.settings import RegistrySettings

_USER_AGENT: Final = "container-toolkit/1 (docker/28.0)"
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS: Final = 5
_CHUNK_BYTES: Final = 256 * 1024
_BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})
_MOST_CONNECTIONS: Final = 8


class Answer:
    """One answer, its body not yet read. Close it."""

    def __init__(self, raw: urllib3.BaseHTTPResponse, url: str, settings: RegistrySettings) -> None:
        self._raw = raw
        self._settings = settings
        self.url = url
        self.status = raw.status
        self.headers = raw.headers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up the connection; one whose body was not read is not used again."""
        if not self._raw.closed:
            self._raw.close()
        self._raw.release_conn()

    @property
    def length(self) -> int | None:
        """Bytes of the body, if the registry says so."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isdecimal() and len(text) < 20 else None  # noqa: PLR2004 - 2^64

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes.

        Raises:
            TransientError: It was cut off, or comes too slowly.
        """
        began, seen = time.monotonic(), 0
        while True:
            try:
                chunk = self._raw.read1(_CHUNK_BYTES, decode_content=False)
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                raise TransientError(f"{self.url}: the connection broke ({error})") from error
            if not chunk:
                return
            seen += len(chunk)
            elapsed = time.monotonic() - began
            if elapsed > self._settings.slow_seconds:
                if seen < elapsed * self._settings.slowest_bytes:
                    raise TransientError(f"{self.url}: the answer comes too slowly")
                began, seen = time.monotonic(), 0
            yield chunk

    def body(self, limit_bytes: int) -> bytes:
        """Return the whole body.

        Raises:
            DigestMismatchError: It is longer than allowed.
            TransientError: It was cut off.
        """
        content = bytearray()
        for chunk in self.chunks():
            content += chunk
            if len(content) > limit_bytes:
                raise DigestMismatchError(f"at most {limit_bytes} bytes", "more", self.url)
        if self.length is not None and len(content) < self.length:
            raise TransientError(f"{self.url}: the connection broke")
        return bytes(content)


class _TrustingConnection(urllib3.connection.HTTPSConnection):
    """A connection to a host of which the settings say that any certificate will do."""

    def connect(self) -> None:
        """Connect; urllib3 need not warn of what was decided on purpose."""
        super().connect()
        self.is_verified = True


def _verifying(authorities: Sequence[str]) -> ssl.SSLContext:
    """Return what asks for a certificate by one of the system's authorities, or of these."""
    context = ssl.create_default_context()
    for path in authorities:
        context.load_verify_locations(path)
    return context


def _trusting() -> ssl.SSLContext:
    """Return what takes any certificate, and reads no authorities (20 ms) for that."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class _TrustingPool(urllib3.HTTPSConnectionPool):
    """Connections to such a host."""

    ConnectionCls = _TrustingConnection


class Transport:
    """Connections to registries. Safe to use from several threads."""

    def __init__(self, settings: RegistrySettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, str, bool], urllib3.PoolManager] = {}

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()
            self._pools.clear()

    def verifies(self, host: str) -> bool:
        """Tell whether a host's certificate must be good: an own authority is a wish for it."""
        return bool(self._authorities(host)) or not self.settings.is_insecure(host)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterator[bytes] | None = None,
    ) -> Answer:
        """Return the answer to one request; GET and HEAD follow redirects.

        Raises:
            TransientError: Nobody answered properly; it may be asked again.
            RegistryUnreachableError: Nobody will: the certificate is not good.
            RegistryError: A redirect leads where none may.
        """
        sent = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **(headers or {})}
        for _ in range(_MOST_REDIRECTS):
            answer = self._send(method, url, sent, body)
            location = answer.headers.get("Location", "")
            if answer.status not in _REDIRECTS or method not in {"GET", "HEAD"} or not location:
                return self._usable(answer)
            answer.close()
            target = joined_url(url, location)
            if self._is_elsewhere(url, target):
                sent.pop("Authorization", None)
            url = target
        raise RegistryError(f"{url}: too many redirects")

    def _is_elsewhere(self, url: str, target: str) -> bool:
        """Tell whether a redirect leads to another host; refuse the bad ones."""
        old, new = _split(url), _split(target)
        if new.scheme not in {"http", "https"} or not new.hostname or new.username:
            raise RegistryError(f"{url}: refused a redirect to {target[:200]!r}")
        downgrade = (old.scheme, new.scheme) == ("https", "http")
        if downgrade:
            raise RegistryError(f"{url}: refused a redirect from https to http")
        return (old.scheme, old.netloc) != (new.scheme, new.netloc)

    def _usable(self, answer: Answer) -> Answer:
        if answer.status not in _BUSY:
            return answer
        wait = answer.headers.get("Retry-After", "")
        pause = float(wait) if wait.isdecimal() and len(wait) < 5 else 0.0  # noqa: PLR2004 - hours
        with answer:
            text = answer.body(self.settings.most_answer_bytes)[:200].decode(errors="replace")
        limit = "toomanyrequests: " if answer.status == 429 else ""  # noqa: PLR2004 - its name
        reason = f"{limit}received unexpected HTTP status: {answer.status} {answer._raw.reason}"  # noqa: SLF001 - of this module
        raise TransientError(f"{answer.url}: {reason} {text}".rstrip(), pause)

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterator[bytes] | None,
    ) -> Answer:
        try:
            raw = self._pool_for(url).request(
                method,
                url,
                headers=headers,
                body=body,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                chunked=False,
            )
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise _failure(method, url, error) from error
        return Answer(raw, url, self.settings)

    def _pool_for(self, url: str) -> urllib3.PoolManager:
        parts = _split(url)
        host = parts.netloc
        verifies = self.verifies(host)
        own = host if self._authorities(host) else ""
        proxy = self._proxy(parts.scheme, host, parts.hostname or "")
        with self._lock:
            pool = self._pools.get((proxy, own, verifies))
            if pool is None:
                pool = self._new_pool(proxy, own, verifies=verifies)
                self._pools[proxy, own, verifies] = pool
            return pool

    def _new_pool(self, proxy: str, own: str, *, verifies: bool) -> urllib3.PoolManager:
        context = _verifying(self._authorities(own)) if verifies else _trusting()
        timeout = urllib3.Timeout(
            connect=self.settings.connect_seconds, read=self.settings.read_seconds
        )
        options: dict[str, Any] = {
            "ssl_context": context,
            "timeout": timeout,
            "maxsize": _MOST_CONNECTIONS,
        }
        pool = urllib3.PoolManager(**options)
        if proxy:
            pool = urllib3.ProxyManager(proxy, **options)
        if not verifies:
            trusting = {"http": urllib3.HTTPConnectionPool, "https": _TrustingPool}
            pool.pool_classes_by_scheme = trusting
        return pool

    def _authorities(self, host: str) -> list[str]:
        directory = self.settings.certs_dir
        if directory is None or not host or "/" in host or host in {".", ".."}:
            return []
        return sorted(str(path) for path in (directory / host).glob("*.crt"))

    def _proxy(self, scheme: str, authority: str, host: str) -> str:
        environ = self.settings.environ
        if host == "localhost" or host.startswith("127.") or host == "::1":
            return ""  # as Go does: a proxy cannot reach this machine's own
        skipped = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
        if skipped and urllib.request.proxy_bypass_environment(authority, {"no": skipped}):  # type: ignore[attr-defined] # typeshed leaves it out
            return ""
        name = f"{scheme}_proxy"
        proxy = environ.get(name) or environ.get(name.upper()) or ""
        return proxy if "://" in proxy or not proxy else f"http://{proxy}"


def joined_url(url: str, location: str) -> str:
    """Return where an answer from *url* points to.

    Raises:
        RegistryError: To nothing that is an address.
    """
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise RegistryError(f"{url}: points to {location[:200]!r}") from error


def _split(url: str) -> urllib.parse.SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - a bad port is told here
    except ValueError as error:
        raise RegistryError(f"not a usable address: {url[:200]!r}") from error
    return parts


def _failure(method: str, url: str, error: Exception) -> RegistryUnreachableError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return RegistryUnreachableError(f'{method} "{url}": {cause.verify_message}')
        cause = cause.__cause__ or cause.__context__
    return NoConnectionError(f'{method} "{url}": {error}')
