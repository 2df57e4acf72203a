# SPDX-License-Identifier: Apache-2.0
"""Building: ``POST /build`` as docker's classic builder answers it, and ``POST /build/prune``."""

from __future__ import annotations

import base64
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from toolkit.api.decode import read_ulimit
from toolkit.api.progress import error_object, progress_object
from toolkit.api.request import Response, json_response
from toolkit.api.routes.transfers import archive_of
from toolkit.api.routes.unavailable import NotAvailableError
from toolkit.api.schemas import Ulimit
from toolkit.build.builder import StepFailedError
from toolkit.build.ports import BuildOptions, Told
from toolkit.engine.model import ContainerSpec, HostOptions, Limits
from toolkit.errors import InvalidRequestError, ToolkitError
from toolkit.images.registry.credentials import Credentials
from toolkit.images.strictjson import parse_object

if TYPE_CHECKING:
    from toolkit.api.facade import EngineFacade
    from toolkit.api.query import Query
    from toolkit.api.request import Request, ResponseStream

_log = logging.getLogger(__name__)

_LOGIN_BYTES: Final = 64 * 1024
_CLASSIC: Final = frozenset({"", "1"})


async def build(engine: EngineFacade, request: Request) -> None:
    """Serve ``POST /build``; a client that goes away ends its build."""
    options = replace(build_options(request.query), logins=_logins(request))
    out: ResponseStream | None = None

    async def tell(told: Told) -> None:
        nonlocal out
        if out is None:
            out = await request.stream()
        await out.write_json(message_of(told))

    try:
        await engine.builds.build(options, archive_of(request), tell)
    except ToolkitError as error:
        if out is None:
            raise
        await out.write_json(failure(error))
    except OSError as error:
        _log.exception("a build failed")
        if out is None:
            raise
        await out.write_json(error_object(f"internal error: {error.strerror}"))


def failure(error: ToolkitError) -> dict[str, Any]:
    """Return a build's failure, with the code of the program that failed."""
    found = error_object(str(error))
    if isinstance(error, StepFailedError):
        found["errorDetail"]["code"] = error.code
    return found


def _logins(request: Request) -> dict[str, Credentials]:
    """Return the logins of ``X-Registry-Config``; one that cannot be read is none."""
    text = request.headers.get("x-registry-config", "")
    try:
        content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        document = parse_object(content or b"{}", "the logins", limit_bytes=_LOGIN_BYTES)
        return {
            address: Credentials.from_document(login)
            for address, login in document.items()
            if isinstance(login, dict)
        }
    except (ValueError, InvalidRequestError):
        return {}


def message_of(told: Told) -> dict[str, Any]:
    """Return a message as it stands in the stream."""
    if told.image_id:
        return {"aux": {"ID": told.image_id}}
    if told.progress is not None:
        return progress_object(told.progress)
    return {"stream": told.stream}


def build_options(query: Query) -> BuildOptions:
    """Return what a build is asked for.

    Raises:
        InvalidRequestError: A value cannot be read.
        NotAvailableError: It asks for what the classic builder has not.
    """
    if query.text("version") not in _CLASSIC:
        raise InvalidRequestError(
            "BuildKit is not available: build with the classic builder (DOCKER_BUILDKIT=0)"
        )
    if query.text("remote"):
        raise NotAvailableError(
            "a context that the engine fetches is not available: fetch it and send it"
        )
    keeps = not query.flag("rm", default=True) and not query.flag("forcerm")
    return BuildOptions(
        dockerfile=query.text("dockerfile") or "Dockerfile",
        tags=tuple(tag for tag in query.texts("t") if tag),
        build_args=_json(query, "buildargs", dict[str, str | None]) or {},
        labels=_json(query, "labels", dict[str, str]) or {},
        target=query.text("target"),
        platform=query.text("platform"),
        network_mode=query.text("networkmode"),
        uses_cache=not query.flag("nocache"),
        pulls=query.flag("pull"),
        keeps_containers=keeps,
        quiet=query.flag("q"),
        template=ContainerSpec(image="", limits=_limits(query), host=_host_options(query)),
    )


def _limits(query: Query) -> Limits:
    return Limits(
        memory_bytes=query.number("memory") or 0,
        memory_swap_bytes=query.number("memswap") or 0,
        cpu_shares=query.number("cpushares") or 0,
        cpu_period_us=query.number("cpuperiod") or 0,
        cpu_quota_us=query.number("cpuquota") or 0,
        cpuset_cpus=query.text("cpusetcpus"),
        cpuset_mems=query.text("cpusetmems"),
    )


def _host_options(query: Query) -> HostOptions:
    ulimits = _json(query, "ulimits", list[Ulimit]) or []
    given = HostOptions(
        extra_hosts=tuple(host for text in query.texts("extrahosts") for host in _hosts(text)),
        security_options=query.texts("securityopt"),
        ulimits=tuple(read_ulimit(one) for one in ulimits),
    )
    shm_bytes = query.number("shmsize") or 0
    return replace(given, shm_size_bytes=shm_bytes) if shm_bytes else given


def _hosts(text: str) -> list[str]:
    """Return hosts given as a JSON list (the SDK), or as one each (the CLI)."""
    return [entry for entry in text.split(",") if entry]


def _json(query: Query, name: str, kind: Any) -> Any:
    """Return a JSON value of the query; None for none."""
    text = query.text(name)
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=kind | None)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequestError(f"{name}: {error}") from None


async def prune(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /build/prune``."""
    del request
    pruned = await engine.builds.prune()
    return json_response({"CachesDeleted": pruned.image_ids, "SpaceReclaimed": pruned.freed_bytes})
