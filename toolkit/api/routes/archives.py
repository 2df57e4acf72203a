# SPDX-License-Identifier: Apache-2.0
"""A container's files: changes, export, copying in and out, commit."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, cast

from toolkit.api.filemode import path_stat_header
from toolkit.api.request import BodyFile, Response, json_response
from toolkit.build.changes import config_of_changes
from toolkit.engine.commit import CommitOptions, merged_config
from toolkit.engine.tree import CopyOptions
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import BinaryIO

    from toolkit.api.facade import EngineFacade
    from toolkit.api.request import Request, ResponseStream

TAR: Final = "application/x-tar"
_BUFFER_BYTES: Final = 1024 * 1024


async def changes(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /containers/{name}/changes``; no change at all is null, as docker has it."""
    found = await (await engine.container(request.name)).changes()
    entries = [
        {"Path": change.path.decode("utf-8", "replace"), "Kind": int(change.kind)}
        for change in found
    ]
    return json_response(entries or None)


async def export(engine: EngineFacade, request: Request) -> None:
    """Serve ``GET /containers/{name}/export``."""
    container = await engine.container(request.name)
    chunks = await container.export()
    await _send(await request.stream("application/octet-stream"), chunks)


async def stat_path(engine: EngineFacade, request: Request) -> Response:
    """Serve ``HEAD /containers/{name}/archive``."""
    container = await engine.container(request.name)
    found = await container.stat_path(_path(request))
    return Response(headers=(path_stat_header(found),))


async def copy_out(engine: EngineFacade, request: Request) -> None:
    """Serve ``GET /containers/{name}/archive``."""
    container = await engine.container(request.name)
    found, chunks = await container.copy_out(_path(request))
    await _send(await request.stream(TAR, headers=(path_stat_header(found),)), chunks)


async def _send(out: ResponseStream, chunks: AsyncGenerator[bytes, None]) -> None:
    async with aclosing(chunks):
        async for chunk in chunks:
            await out.write(chunk)


async def copy_in(engine: EngineFacade, request: Request) -> Response:
    """Serve ``PUT /containers/{name}/archive``."""
    container = await engine.container(request.name)
    options = CopyOptions(
        keep_kinds=request.query.flag("noOverwriteDirNonDir"),
        as_user=request.query.flag("copyUIDGID"),
    )
    stream = io.BufferedReader(BodyFile(request.wire, asyncio.get_running_loop()), _BUFFER_BYTES)
    await container.copy_in(_path(request), cast("BinaryIO", stream), options)
    return Response()


def _path(request: Request) -> str:
    path = request.query.text("path")
    if not path:
        raise InvalidRequestError("missing path: Path cannot be empty")
    return path


async def commit(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /commit``."""
    query = request.query
    name = query.text("container")
    if not name:
        raise InvalidRequestError("container is missing: which one shall be committed?")
    config = merged_config(await _given_config(request), config_of_changes(query.texts("changes")))
    container = await engine.container(name)
    image = await container.commit(
        CommitOptions(
            reference=_reference(query.text("repo"), query.text("tag")),
            message=query.text("comment"),
            author=query.text("author"),
            config=config,
            pause=query.text("pause") == "" or query.flag("pause"),
        )
    )
    return json_response({"Id": image.id}, status=201)


def _reference(repository: str, tag: str) -> str:
    if not repository:
        return ""
    return f"{repository}:{tag}" if tag else repository


async def _given_config(request: Request) -> dict[str, Any]:
    """Return the configuration in the body; none, ``null`` and ``{}`` say nothing."""
    body = await request.body()
    if not body.strip():
        return {}
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"the configuration is not JSON: {error}") from error
    if not isinstance(document, dict | None):
        raise InvalidRequestError("the configuration is not an object")
    return document or {}
