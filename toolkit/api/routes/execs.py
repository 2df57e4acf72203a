# SPDX-License-Identifier: Apache-2.0
"""Execs: one more program in a running container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.api import decode, render, schemas
from toolkit.api.detach_keys import read_detach_keys
from toolkit.api.request import Response, json_response
from toolkit.api.routes.containers import size_of
from toolkit.api.routes.streams import give_socket
from toolkit.engine.model import State
from toolkit.errors import ConflictError, NotRunningError
from toolkit.runtime.protocol import AttachClient

if TYPE_CHECKING:
    from toolkit.api.container_facade import Exec
    from toolkit.api.facade import EngineFacade
    from toolkit.api.request import Request


async def create(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /containers/{name}/exec``."""
    body = schemas.read_body(await request.json_body(), schemas.ExecBody)
    spec = decode.exec_spec(body)
    read_detach_keys(spec.detach_keys)
    return json_response({"Id": await engine.create_exec(request.name, spec)}, status=201)


async def start(engine: EngineFacade, request: Request) -> Response | None:
    """Serve ``POST /exec/{name}/start``."""
    raw = await request.json_body() if "content-type" in request.headers else await request.body()
    body = schemas.read_body(raw or b"{}", schemas.ExecStartBody)
    session = await engine.exec(request.name)
    await _check_startable(engine, session, request.name)
    session.set_size(decode.console_size(body.console_size))
    if body.detach:
        await session.start(None)
        return Response()
    spec = session.spec

    async def hand_over(fd: int, pending: bytes) -> None:
        client = AttachClient(
            fd=fd,
            pending=pending,
            stdin=spec.attach_stdin,
            stdout=spec.attach_stdout or spec.has_tty,
            stderr=spec.attach_stderr,
            framed=not spec.has_tty,
            detach_keys=read_detach_keys(spec.detach_keys) if spec.has_tty else b"",
        )
        await session.start(client)

    await give_socket(request, hand_over, has_tty=spec.has_tty, data_follows=True)
    return None


async def _check_startable(engine: EngineFacade, session: Exec, exec_id: str) -> None:
    """Refuse, while it can still be an ordinary answer, what cannot be started."""
    if session.running:
        raise ConflictError(f"Error: Exec command {exec_id} is already running")
    if session.exit_code is not None:
        raise ConflictError(f"Error: Exec command {exec_id} has already run")
    state = (await engine.container(session.container_id)).record.state
    if state.status is State.PAUSED:
        raise ConflictError(
            f"Container {session.container_id} is paused, unpause the container before exec"
        )
    if state.status is not State.RUNNING:
        raise NotRunningError(session.container_id)


async def resize(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /exec/{name}/resize``."""
    rows, columns = size_of(request)
    await (await engine.exec(request.name)).resize(rows, columns)
    return Response()


async def inspect(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /exec/{name}/json``."""
    session = await engine.exec(request.name)
    return json_response(
        render.exec_object(
            exec_id=request.name,
            spec=session.spec,
            container_id=session.container_id,
            running=session.running,
            exit_code=session.exit_code,
            pid=session.pid,
        )
    )
