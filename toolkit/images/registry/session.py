# SPDX-License-Identifier: Apache-2.0
"""One repository at one registry: its manifests, blobs, tags and uploads.

One method a request of the distribution API (v2). What they are put together
to is `pull`'s and `push`'s.
"""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from toolkit.errors import (
    DigestMismatchError,
    InvalidReferenceError,
    RegistryAuthError,
    RegistryError,
)
from toolkit.images.image import InvalidImageError
from toolkit.images.references import Reference
from toolkit.images.registry.authorization import Authorizer
from toolkit.images.registry.challenge import parse_challenges
from toolkit.images.registry.manifest import ACCEPTED, RemoteManifest
from toolkit.images.registry.retry import retried
from toolkit.images.registry.transport import joined_url
from toolkit.images.strictjson import parse_object

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from toolkit.images.registry.credentials import Credentials
    from toolkit.images.registry.settings import Endpoint
    from toolkit.images.registry.transport import Answer, Transport

_OK: Final = 200
_CREATED: Final = 201
_ACCEPTED: Final = 202
_PARTIAL: Final = 206
_UNAUTHORIZED: Final = 401
_NOT_FOUND: Final = 404
_MOST_PAGES: Final = 100
_MOST_NAMES: Final = 10_000
_SHOWN: Final = 300
_NEXT_PAGE: Final = re.compile(r'\s*<([^<>]*)>\s*;\s*rel="?next"?')

_Result = TypeVar("_Result")


class RegistryAnswerError(RegistryError):
    """A registry answered with an error.

    Attributes:
        answered: Its HTTP status.
        code: The registry's word for it, ``MANIFEST_UNKNOWN``; empty if it gave none.
        reason: Code and message as docker shows them.
    """

    def __init__(self, url: str, answered: int, code: str, message: str) -> None:
        words = code.lower().replace("_", " ")
        self.reason = f"{words}: {message}" if words else message or f"status {answered}"
        super().__init__(f"{url}: {self.reason}")
        self.answered = answered
        self.code = code


@dataclass
class Session:
    """A repository at one endpoint, with one login. Safe to use from several threads."""

    transport: Transport
    endpoint: Endpoint
    path: str
    credentials: Credentials
    actions: str = "pull"
    scope: str = ""  # instead of the repository's

    def __post_init__(self) -> None:
        self.authorizer = Authorizer(self.transport, self.endpoint.url, self.credentials)
        self.stop = threading.Event()
        own = f"repository:{self.path}:{self.actions}" if self.path else ""
        self._scopes = [scope] if (scope := self.scope or own) else []

    def check(self) -> None:
        """Find out whether a registry of version 2 is there, and what it wants to know of us.

        Raises:
            RegistryUnreachableError: Nobody is there.
            RegistryAuthError: It does not take the login.
        """
        url = f"{self.endpoint.url}/v2/"
        with self._send("GET", url) as answer:
            answer.body(self.transport.settings.most_answer_bytes)
        if answer.status not in {_OK, _UNAUTHORIZED}:
            raise RegistryError(f"{url}: is no registry of version 2 (status {answer.status})")
        if answer.status == _UNAUTHORIZED:
            self._authorize(answer, "", self._scopes)

    def log_in(self) -> None:
        """Find out whether the login is good.

        Raises:
            RegistryAuthError: It is not.
        """
        self.check()
        url = f"{self.endpoint.url}/v2/"
        with self._send("GET", url, headers=self._authorization()) as answer:
            answer.body(self.transport.settings.most_answer_bytes)
        if answer.status != _OK:
            raise RegistryAuthError(f"{url}: unauthorized: incorrect username or password")

    def manifest(self, reference: str) -> RemoteManifest:
        """Return a manifest or a list of them, by tag or digest, verified.

        Raises:
            DigestMismatchError: It does not have the digest that was asked for.
            RegistryAnswerError: There is none.
        """
        limit = self.transport.settings.most_manifest_bytes
        headers = {"Accept": ", ".join(ACCEPTED)}

        def attempt() -> RemoteManifest:
            with self._ask("GET", f"manifests/{reference}", headers=headers) as answer:
                content = answer.body(limit)
            found = f"sha256:{hashlib.sha256(content).hexdigest()}"
            told = answer.headers.get("Docker-Content-Digest", "")
            wanted = reference if ":" in reference else told
            if wanted.startswith("sha256:") and wanted != found:
                raise DigestMismatchError(wanted, found, "manifest verification failed for digest")
            media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
            return RemoteManifest(content=content, digest=found, media_type=media_type)

        return self.retried(attempt)

    def blob(self, digest: str, *, start: int = 0) -> Answer:
        """Return a blob from byte *start* on, or whole if the registry cannot (status 200)."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        return self._ask("GET", f"blobs/{digest}", headers=headers, expected={_OK, _PARTIAL})

    def has_blob(self, digest: str) -> int | None:
        """Return the size of a blob that the repository has; None if it has not."""

        def attempt() -> int | None:
            expected = {_OK, _NOT_FOUND}
            with self._ask("HEAD", f"blobs/{digest}", expected=expected) as answer:
                return (answer.length or 0) if answer.status == _OK else None

        return self.retried(attempt)

    def tags(self) -> list[str]:
        """Return all tags, page by page; what no tag can be is left out."""
        tags = self._pages(f"{self.endpoint.url}/v2/{self.path}/tags/list", "tags")
        return [tag for tag in tags if _is_tag(tag)]

    def repositories(self) -> list[str]:
        """Return the paths of all repositories that the registry shows."""
        return self._pages(f"{self.endpoint.url}/v2/_catalog", "repositories")

    def search(self, term: str, *, limit: int) -> list[Mapping[str, object]]:
        """Return what the registry's own search finds, as a registry of version 1 has it."""
        query = urlencode({"q": term, "n": limit})
        size = self.transport.settings.most_answer_bytes
        basic = self.credentials.basic
        headers = {"Authorization": basic} if basic else {}

        with self._send("GET", f"{self.endpoint.url}/v1/search?{query}", headers=headers) as answer:
            if answer.status != _OK:
                raise self._refusal(answer)
            document = parse_object(answer.body(size), "the answer", limit_bytes=size)
        found = document.get("results")
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def start_upload(self, *, mount: str = "", origin: str = "") -> str:
        """Begin an upload and return where to; empty if *mount* could be taken from *origin*."""
        query = {"mount": mount, "from": origin} if mount else {}
        tail = f"?{urlencode(query)}" if query else ""

        def attempt() -> str:
            expected = {_CREATED, _ACCEPTED}
            with self._ask("POST", f"blobs/uploads/{tail}", body=b"", expected=expected) as answer:
                if answer.status == _CREATED:
                    return ""
                return self._location(answer)

        return self.retried(attempt)

    def upload_chunk(self, url: str, content: bytes | Iterator[bytes], length: int) -> str:
        """Send bytes to an upload and return where it goes on."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        with self._ask("PATCH", url, headers=headers, body=content, expected={_ACCEPTED}) as answer:
            return self._location(answer)

    def finish_upload(self, url: str, digest: str) -> None:
        """End an upload: the registry compares the digest."""
        parts = urlsplit(url)
        query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), ("digest", digest)])
        target = urlunsplit(parts._replace(query=query))
        headers = {"Content-Length": "0", "Content-Type": "application/octet-stream"}
        self._ask("PUT", target, headers=headers, body=b"", expected={_CREATED}).close()

    def cancel_upload(self, url: str) -> None:
        """End an upload that will not be finished; the registry may keep what it has."""
        try:
            self._send("DELETE", url, headers=self._authorization()).close()
        except RegistryError:
            return  # it forgets by itself

    def put_manifest(self, reference: str, content: bytes, media_type: str) -> None:
        """Give the repository a manifest under a tag or its digest."""
        headers = {"Content-Type": media_type}

        def attempt() -> None:
            self._ask(
                "PUT", f"manifests/{reference}", headers=headers, body=content, expected={_CREATED}
            ).close()

        self.retried(attempt)

    def retried(self, attempt: Callable[[], _Result]) -> _Result:
        """Return what *attempt* returns, made again while it fails for the moment."""
        return retried(self.transport.settings, self.stop, attempt)

    def _pages(self, url: str, key: str) -> list[str]:
        """Return the texts of a list that comes in pages."""
        found: list[str] = []
        for _ in range(_MOST_PAGES):
            page, url = self._page(url, key)
            found += page
            if not url or len(found) > _MOST_NAMES:
                break
        return found[:_MOST_NAMES]

    def _page(self, url: str, key: str) -> tuple[list[str], str]:
        """Return the texts of one page, and where the next one is."""
        limit = self.transport.settings.most_manifest_bytes

        def attempt() -> tuple[bytes, str]:
            with self._ask("GET", url) as answer:
                return answer.body(limit), answer.headers.get("Link", "")

        content, link = self.retried(attempt)
        names = parse_object(content, f"the list of {key}", limit_bytes=limit).get(key) or []
        if not isinstance(names, list):
            raise InvalidImageError(f"the list of {key} is no list")
        match = _NEXT_PAGE.match(link[: _SHOWN * 10])
        following = joined_url(url, match[1]) if match else ""
        if following and not self._is_own(following):
            raise RegistryError(f"{url}: the next page is at another host")
        return [name for name in names if isinstance(name, str)], following

    def _ask(
        self,
        method: str,
        where: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterator[bytes] | None = None,
        expected: Collection[int] = (_OK,),
    ) -> Answer:
        """Return the answer to a request with whatever login it takes; the caller closes it."""
        url = where if "://" in where else f"{self.endpoint.url}/v2/{self.path}/{where}"
        sent = self._authorization() if self._is_own(url) else {}
        answer = self._send(method, url, headers={**(headers or {}), **sent}, body=body)
        if answer.status == _UNAUTHORIZED and self._is_own(url):
            self._drop(answer)
            if self._authorize(answer, sent.get("Authorization", ""), self._scopes) and (
                body is None or isinstance(body, bytes)
            ):
                again = {**(headers or {}), **self._authorization()}
                answer = self._send(method, url, headers=again, body=body)
        if answer.status not in expected:
            with answer:
                raise self._refusal(answer)
        return answer

    def _send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterator[bytes] | None = None,
    ) -> Answer:
        return self.transport.request(method, url, headers=headers, body=body)

    def _drop(self, answer: Answer) -> None:
        with answer:
            answer.body(self.transport.settings.most_answer_bytes)

    def _authorize(self, answer: Answer, sent: str, scopes: Sequence[str]) -> bool:
        if not self._is_own(answer.url):  # where a redirect led: not ours to prove ourselves to
            return False
        challenges = parse_challenges(answer.headers.getlist("WWW-Authenticate"))
        return self.authorizer.answer(challenges, scopes, sent)

    def _authorization(self) -> dict[str, str]:
        header = self.authorizer.header
        return {"Authorization": header} if header else {}

    def _is_own(self, url: str) -> bool:
        return url.startswith(f"{self.endpoint.url}/")

    def _location(self, answer: Answer) -> str:
        """Return where an upload goes on."""
        location = answer.headers.get("Location", "")
        target = joined_url(answer.url, location)
        parts = urlsplit(target)
        downgrade = answer.url.startswith("https:") and parts.scheme != "https"
        if not location or downgrade or parts.scheme not in {"http", "https"} or parts.username:
            raise RegistryError(f"{answer.url}: refused an upload to {location[:_SHOWN]!r}")
        return target

    def _refusal(self, answer: Answer) -> RegistryAnswerError:
        code = message = ""
        try:
            limit = self.transport.settings.most_answer_bytes
            document = parse_object(answer.body(limit), "the answer", limit_bytes=limit)
            errors = document.get("errors")
            first = errors[0] if isinstance(errors, list) and errors else {}
            code, message = str(first.get("code", "")), str(first.get("message", ""))
        except (InvalidImageError, RegistryError, AttributeError):
            message = f"status {answer.status}"
        url = answer.url.partition("?")[0]
        return RegistryAnswerError(url, answer.status, code[:_SHOWN], message[:_SHOWN])


def _is_tag(text: str) -> bool:
    try:
        Reference.parse("name").with_tag(text)
    except InvalidReferenceError:
        return False
    return True
