# SPDX-License-Identifier: Apache-2.0
"""Images on their way: pull, push, load, save; logins, and a look into a registry."""

from __future__ import annotations

import asyncio
import io
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, cast

from toolkit.api.progress import send_progress
from toolkit.api.request import BodyFile, Response, json_response
from toolkit.errors import InvalidRequestError, RegistryAuthError, RegistryError
from toolkit.images.references import Reference
from toolkit.images.registry.credentials import Credentials
from toolkit.images.strictjson import parse_object

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Sequence
    from typing import BinaryIO

    from toolkit.api.facade import EngineFacade
    from toolkit.api.query import FilterTerms
    from toolkit.api.request import Request
    from toolkit.images.progress import ProgressMessage
    from toolkit.images.registry.manifest import Platform
    from toolkit.images.registry.registries import FoundRepository

_BUFFER_BYTES: Final = 1024 * 1024
_LOGIN_BYTES: Final = 64 * 1024
_FOUND: Final = 25  # docker's default
_MOST_FOUND: Final = 100
_SEARCH_FILTERS: Final = frozenset({"is-official", "is-automated", "stars"})
_TRUE: Final = frozenset({"true", "1"})
_TAR: Final = "application/x-tar"


def archive_of(request: Request) -> BinaryIO:
    """Return the body as a file, to be read in a thread."""
    body = BodyFile(request.wire, asyncio.get_running_loop())
    return cast("BinaryIO", io.BufferedReader(body, _BUFFER_BYTES))


def credentials_of(request: Request) -> Credentials:
    """Return the login that came with a request; a bad one is nobody."""
    return Credentials.from_header(request.headers.get("x-registry-auth", ""))


async def pull(engine: EngineFacade, request: Request) -> None:
    """Serve ``POST /images/create?fromImage=``; without a tag all of them."""
    query = request.query
    reference = Reference.parse(query.text("fromImage"))
    if tag := query.text("tag"):
        reference = _tagged(reference, tag)
    coming = engine.transfers.pull(
        reference, credentials=credentials_of(request), platform=query.text("platform")
    )
    await send_progress(request, await _begun(coming))


async def _begun(
    coming: Awaitable[AsyncGenerator[ProgressMessage, None]],
) -> AsyncGenerator[ProgressMessage, None]:
    """Return the progress; a missing login is 500, as docker's daemon has it.

    With 401 docker's command would ask for a name on the terminal, or wait for one.
    """
    try:
        return await coming
    except RegistryAuthError as error:
        raise RegistryError(f"{error}: {error.hint}") from error


def _tagged(reference: Reference, tag: str) -> Reference:
    """Return a repository's reference with a tag, or a digest where a tag is expected."""
    mark = "@" if ":" in tag else ":"
    return Reference.parse(f"{reference.name}{mark}{tag}")


async def push(engine: EngineFacade, request: Request) -> None:
    """Serve ``POST /images/{name}/push``; without a tag all of them."""
    reference = Reference.parse(request.name)
    if tag := request.query.text("tag"):
        reference = _tagged(reference, tag)
    coming = engine.transfers.push(reference, credentials=credentials_of(request))
    await send_progress(request, await _begun(coming))


async def load(engine: EngineFacade, request: Request) -> None:
    """Serve ``POST /images/load``."""
    quiet = request.query.flag("quiet")
    await send_progress(request, await engine.transfers.load(archive_of(request), quiet=quiet))


async def save(engine: EngineFacade, request: Request) -> None:
    """Serve ``GET /images/get?names=``."""
    names = [name for text in request.query.texts("names") for name in text.split(",") if name]
    if not names:
        raise InvalidRequestError("names is missing: which images shall be saved?")
    await _send_archive(request, await engine.transfers.save(names))


async def save_one(engine: EngineFacade, request: Request) -> None:
    """Serve ``GET /images/{name}/get``."""
    await _send_archive(request, await engine.transfers.save([request.name]))


async def _send_archive(request: Request, chunks: AsyncGenerator[bytes, None]) -> None:
    async with aclosing(chunks):
        out = await request.stream(_TAR)
        async for chunk in chunks:
            await out.write(chunk)


async def log_in(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /auth``."""
    document = parse_object(await request.json_body(), "the login", limit_bytes=_LOGIN_BYTES)
    try:
        credentials = Credentials.from_document(document)
    except ValueError as error:
        raise InvalidRequestError("the login's field auth is not base64 of NAME:WORD") from error
    status = await engine.transfers.log_in(credentials)
    return json_response({"Status": status, "IdentityToken": ""})


async def distribution(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /distribution/{name}/json``."""
    reference = Reference.parse(request.name)
    found = await engine.transfers.look(reference, credentials=credentials_of(request))
    descriptor = {"mediaType": found.media_type, "digest": found.digest, "size": found.size}
    return json_response({"Descriptor": descriptor, "Platforms": _platforms(found.platforms)})


def _platforms(platforms: Sequence[Platform]) -> list[dict[str, Any]]:
    return [
        {"architecture": one.architecture, "os": one.os}
        | ({"variant": one.variant} if one.variant else {})
        for one in platforms
    ]


async def search(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /images/search``."""
    query = request.query
    limit = query.number("limit") or _FOUND
    if not 1 <= limit <= _MOST_FOUND:
        raise InvalidRequestError(f"limit {limit} is outside the range of [1, {_MOST_FOUND}]")
    found = await engine.transfers.search(
        query.text("term"), limit=limit, credentials=credentials_of(request)
    )
    terms = query.filters(_SEARCH_FILTERS)
    return json_response(
        [
            {
                "name": one.name,
                "description": one.description,
                "star_count": one.star_count,
                "is_official": one.is_official,
                "is_automated": one.is_automated,
            }
            for one in found
            if _is_wanted(one, terms)
        ]
    )


def _is_wanted(found: FoundRepository, terms: FilterTerms) -> bool:
    """Say whether docker's filters let a finding through."""
    flags = {"is-official": found.is_official, "is-automated": found.is_automated}
    for name, value in flags.items():
        if name in terms and value is not bool(_TRUE.intersection(terms[name])):
            return False
    try:
        return all(found.star_count >= int(stars) for stars in terms.get("stars", ()))
    except ValueError as error:
        raise InvalidRequestError("invalid filter 'stars': it is a number") from error
