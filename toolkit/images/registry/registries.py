# SPDX-License-Identifier: Apache-2.0
"""All that the engine does with registries: pull, push, log in, look.

One object for an engine. Every method blocks and belongs in a thread; whatever
the listener raises ends the work, cleanly.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from toolkit.errors import (
    ImageNotFoundError,
    InvalidReferenceError,
    RegistryAuthError,
    RegistryError,
    RegistryUnreachableError,
    RemoteImageNotFoundError,
)
from toolkit.images.image import parse_image
from toolkit.images.progress import ProgressMessage, Teller
from toolkit.images.references import Reference
from toolkit.images.registry.credentials import NOBODY, Credentials
from toolkit.images.registry.downloads import Downloads
from toolkit.images.registry.ledger import Ledger
from toolkit.images.registry.manifest import Platform
from toolkit.images.registry.pull import Pull, Shelves
from toolkit.images.registry.push import Push
from toolkit.images.registry.retry import NoConnectionError
from toolkit.images.registry.session import RegistryAnswerError, Session
from toolkit.images.registry.settings import DEFAULT_DOMAIN, Endpoint, endpoints_of
from toolkit.images.registry.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from toolkit.images.image import Image
    from toolkit.images.registry.manifest import RemoteManifest
    from toolkit.images.registry.settings import RegistrySettings
    from toolkit.images.store import ImageStore
    from toolkit.storage.layers import LayerStore

_Result = TypeVar("_Result")

_INDEX: Final = "index.docker.io"
_DENIED: Final = frozenset({401, 403})
_NOT_FOUND: Final = 404
_REFUSALS: Final = frozenset({"NAME_UNKNOWN", "DENIED", "UNAUTHORIZED"})
_NO_MANIFEST: Final = frozenset({"MANIFEST_UNKNOWN", "NOT_FOUND"})
_HUB_SERVERS: Final = frozenset({"", "docker.io", "index.docker.io", "registry-1.docker.io"})


@dataclass(frozen=True, kw_only=True)
class RemoteImage:
    """What a registry keeps under a name.

    Attributes:
        platforms: What it can run on.
    """

    digest: str
    media_type: str
    size: int
    platforms: tuple[Platform, ...]


@dataclass(frozen=True, kw_only=True)
class FoundRepository:
    """What a search found."""

    name: str
    description: str = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class Registries:
    """Registries as one engine sees them. Safe to use from several threads.

    Args:
        data_dir: The instance's data directory.
        images: Where images are kept.
        layers: Where their layers are.
        settings: What the engine was told about registries.
    """

    def __init__(
        self, data_dir: Path, images: ImageStore, layers: LayerStore, settings: RegistrySettings
    ) -> None:
        self._settings = settings
        self._images = images
        self._transport = Transport(settings)
        self._shelves = Shelves(
            images,
            layers,
            Downloads(data_dir / "downloads"),
            Ledger(data_dir / "images" / "ledger"),
        )
        self._shelves.downloads.sweep()

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def pull(
        self,
        reference: Reference,
        listener: Callable[[ProgressMessage], None],
        *,
        credentials: Credentials = NOBODY,
        platform: str = "",
        every_tag: bool = False,
    ) -> list[Image]:
        """Fetch an image, or all tags of a repository; return what is there now.

        Args:
            reference: Without tag and digest it means ``latest``.
            listener: Is told, in docker's words, from several threads but one at a time.
            credentials: The login to use.
            platform: ``os/architecture[/variant]``; empty for this machine's.
            every_tag: Fetch all tags of the repository.

        Raises:
            RemoteImageNotFoundError: There is none, or it is not shown; nothing was told yet.
            RegistryAuthError: The login is refused; nothing was told yet.
            RegistryError: The registry cannot be reached, or gives something else.
        """
        wanted = Platform.parse(platform)
        teller = Teller(listener)
        if not every_tag:
            named = reference.with_default_tag()
            session, remote = self._manifest(named, credentials)
            return [self._pull_one(session, named, remote, wanted, teller, bool(platform))]
        session = self._any_session(reference, credentials)
        with _worded(reference):
            tags = session.tags()
        pulled = []
        for tag in tags:
            named = reference.with_tag(tag)
            with _worded(named):
                remote = session.manifest(tag)
            pulled.append(self._pull_one(session, named, remote, wanted, teller, bool(platform)))
        return pulled

    def push(
        self,
        reference: Reference,
        listener: Callable[[ProgressMessage], None],
        *,
        credentials: Credentials = NOBODY,
    ) -> list[str]:
        """Send an image under its tag, or all local tags of a name without one.

        Returns:
            The digests of the manifests.

        Raises:
            ImageNotFoundError: There is no such image here; nothing was told yet.
            RegistryAuthError: The login is refused.
            RegistryError: The registry cannot be reached, or does not take it.
        """
        if reference.digest is not None:
            raise InvalidReferenceError("cannot push a digest reference")
        named = self._local_tags(reference)
        teller = Teller(listener)
        teller.status(f"The push refers to repository [{reference.name}]")
        session = self._any_session(reference, credentials, push=True)
        digests = []
        for each in named:
            image = self._images.resolve(each.canonical)
            with _worded(each, is_push=True):
                digests.append(Push(self._shelves, session, teller).run(each, image))
        return digests

    def log_in(self, credentials: Credentials) -> str:
        """Find out whether a login is good; return docker's word for it.

        Raises:
            RegistryAuthError: It is not.
            RegistryError: The registry cannot be reached.
        """
        domain = _domain_of(credentials.server)

        def ask(endpoint: Endpoint) -> None:
            Session(self._transport, endpoint, "", credentials).log_in()

        self._at_first(domain, ask, push=True)
        return "Login Succeeded"

    def look(self, reference: Reference, *, credentials: Credentials = NOBODY) -> RemoteImage:
        """Return what a registry has under a name, and fetch nothing else of it.

        Raises:
            RemoteImageNotFoundError: Nothing.
            RegistryError: The registry cannot be reached.
        """
        session, remote = self._manifest(reference.with_default_tag(), credentials)
        if remote.is_list:
            platforms = tuple(remote.platforms())
        else:
            config = remote.manifest().config
            limit = self._settings.most_manifest_bytes
            with session.blob(config.digest) as answer:
                image = parse_image(answer.body(limit))
            platforms = (Platform(os=image.os, architecture=image.architecture),)
        return RemoteImage(
            digest=remote.digest,
            media_type=remote.media_type,
            size=len(remote.content),
            platforms=platforms,
        )

    def search(
        self, term: str, *, limit: int, credentials: Credentials = NOBODY
    ) -> list[FoundRepository]:
        """Return the repositories that a registry finds for ``[host/]term``.

        A registry without a search of its own is asked for all of its repositories.

        Raises:
            InvalidReferenceError: There is no term, or it names a scheme.
            RegistryError: The registry cannot be reached, or shows nothing.
        """
        if "://" in term or not term.strip():
            raise InvalidReferenceError(f"invalid search term {term!r}: use [HOST/]TERM")
        host, slash, rest = term.partition("/")
        is_named = slash and (host == "localhost" or {".", ":"}.intersection(host))
        domain, words = (host, rest) if is_named else (_INDEX, term)

        def ask(endpoint: Endpoint) -> list[FoundRepository]:
            scope = "registry:catalog:*"
            session = Session(self._transport, endpoint, "", credentials, scope=scope)
            try:
                return [_found(one) for one in session.search(words, limit=limit)][:limit]
            except RegistryAnswerError as error:
                if error.answered != _NOT_FOUND or domain == _INDEX:
                    raise
            session.check()
            names = [name for name in session.repositories() if words in name]
            return [FoundRepository(name=f"{domain}/{name}") for name in names[:limit]]

        return self._at_first(domain, ask, push=True)

    def _pull_one(  # noqa: PLR0917 - the whole of one pull
        self,
        session: Session,
        reference: Reference,
        remote: RemoteManifest,
        platform: Platform,
        teller: Teller,
        must_match: bool,  # noqa: FBT001 - of this module alone
    ) -> Image:
        before = self._present(reference)
        shown = reference.digest or reference.tag or ""
        teller.status(f"Pulling from {reference.path}", shown)
        pull = Pull(self._shelves, session, teller)
        with _worded(reference):
            image = pull.run(reference, remote, platform, must_match=must_match)
        teller.status(f"Digest: {remote.digest}")
        is_new = before != image.id
        news = "Downloaded newer image for" if is_new else "Image is up to date for"
        teller.status(f"Status: {news} {reference.familiar}")
        return image

    def _present(self, reference: Reference) -> str | None:
        try:
            return self._images.resolve(reference.canonical).id
        except ImageNotFoundError:
            return None

    def _manifest(
        self, reference: Reference, credentials: Credentials
    ) -> tuple[Session, RemoteManifest]:
        """Return what the first endpoint that has it keeps under a reference."""

        def ask(endpoint: Endpoint) -> tuple[Session, RemoteManifest]:
            session = self._session(endpoint, reference, credentials)
            with _worded(reference):
                return session, session.manifest(reference.digest or reference.tag or "")

        return self._at_first(reference.domain, ask)

    def _any_session(
        self, reference: Reference, credentials: Credentials, *, push: bool = False
    ) -> Session:
        """Return a session with the first endpoint that answers."""

        def ask(endpoint: Endpoint) -> Session:
            return self._session(endpoint, reference, credentials, push=push)

        return self._at_first(reference.domain, ask, push=push)

    def _at_first(
        self, domain: str, ask: Callable[[Endpoint], _Result], *, push: bool = False
    ) -> _Result:
        """Return what the first endpoint gives; another is asked if nobody is at the one."""
        failures: list[RegistryError] = []
        for endpoint in endpoints_of(domain, self._settings, push=push):
            is_plain = endpoint.url.startswith("http:")
            if is_plain and self._transport.verifies(endpoint.host):
                continue  # somebody vouches for its certificate: plain HTTP would be a way round
            try:
                return ask(endpoint)
            except NoConnectionError as error:
                failures.append(error)
            except RegistryError as error:
                if not endpoint.is_mirror:
                    raise
                failures.append(error)
        raise failures[-1] if failures else RegistryUnreachableError(f"{domain}: no registry")

    def _session(
        self,
        endpoint: Endpoint,
        reference: Reference,
        credentials: Credentials,
        *,
        push: bool = False,
    ) -> Session:
        login = NOBODY if endpoint.is_mirror else credentials
        actions = "pull,push" if push else "pull"
        session = Session(self._transport, endpoint, reference.path, login, actions)
        with _worded(reference, is_push=push):
            session.check()
        return session

    def _local_tags(self, reference: Reference) -> list[Reference]:
        if reference.tag is not None:
            self._images.resolve(reference.canonical)
            return [reference]
        names = (name for image in self._images.list() for name in image.references)
        parsed = [Reference.parse(name) for name in names]
        named = sorted((one for one in parsed if one.name == reference.name), key=str)
        if not named:
            raise ImageNotFoundError(reference.familiar)
        return named


@contextmanager
def _worded(reference: Reference, *, is_push: bool = False) -> Iterator[None]:
    """Say in docker's words what a registry's answers mean for a name."""
    try:
        yield
    except RegistryAnswerError as error:
        if is_push and (error.answered in _DENIED or error.code in _REFUSALS):
            raise RegistryAuthError(
                f"push access denied for {reference.familiar_name}, repository does not exist "
                f"or may require 'docker login': {error.reason}"
            ) from error
        if error.answered in _DENIED or error.code in _REFUSALS:
            raise RemoteImageNotFoundError(
                f"pull access denied for {reference.familiar_name}, repository does not exist "
                f"or may require 'docker login': {error.reason}"
            ) from error
        if error.answered == _NOT_FOUND or error.code in _NO_MANIFEST:
            raise RemoteImageNotFoundError(
                f"manifest for {reference.familiar} not found: {error.reason}"
            ) from error
        raise


def _found(entry: Mapping[str, object]) -> FoundRepository:
    """Return one finding; what is not of its type is left out."""
    stars = entry.get("star_count")
    return FoundRepository(
        name=str(entry.get("name", "")),
        description=str(entry.get("description") or ""),
        star_count=stars if isinstance(stars, int) else 0,
        is_official=entry.get("is_official") is True,
        is_automated=entry.get("is_automated") is True,
    )


def _domain_of(server: str) -> str:
    """Return the registry that a login's server address means."""
    text = server.partition("://")[2] or server
    host = text.partition("/")[0].lower()
    return DEFAULT_DOMAIN if host in _HUB_SERVERS else host
