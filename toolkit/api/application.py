# SPDX-License-Identifier: Apache-2.0
"""From a request to its handler, and from an error to docker's words for it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from toolkit import __version__
from toolkit.api.connection import ClientGoneError
from toolkit.api.request import Request, Response, error_response
from toolkit.api.router import MAXIMUM_VERSION, Route, Router, version_text
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from toolkit.api.answers import Headers
    from toolkit.api.facade import EngineFacade

_log = logging.getLogger(__name__)

_NOT_MODIFIED = 304
_SERVER_ERROR = 500

COMMON_HEADERS: Headers = [
    ("Api-Version", version_text(MAXIMUM_VERSION)),
    ("Ostype", "linux"),
    ("Server", f"Docker/{__version__} (linux)"),
]


class StreamBrokenError(Exception):
    """An answer had begun and cannot be ended as it should; the connection is cut."""


class Application:
    """Serves requests by a table of routes."""

    def __init__(self, engine: EngineFacade, routes: Iterable[Route]) -> None:
        self._engine = engine
        self._router = Router(routes)

    async def __call__(self, request: Request) -> Response | None:
        """Serve a request; None when the handler has streamed its answer or took the socket."""
        try:
            if request.method == "OPTIONS":
                return Response()
            found = self._router.match(request.method, request.path)
            request.name = found.name
            request.version = found.version
            request.cancels = found.route.cancels
            return await found.route.handler(self._engine, request)
        except ClientGoneError:
            raise
        except ToolkitError as error:
            return self._answer(request, error, error.status)
        except Exception as error:  # noqa: BLE001 - a defect is an answer, not a dead client
            _log.exception("%s %s failed", request.method, request.path)
            return self._answer(request, error, _SERVER_ERROR)

    def _answer(self, request: Request, error: Exception, status: int) -> Response | None:
        """Return the answer that reports an error, where one can still be given."""
        if request.has_answered:
            _log.info("%s %s broke off: %s", request.method, request.path, error)
            if request.is_hijacked:
                return None
            raise StreamBrokenError(str(error)) from error
        if status == _NOT_MODIFIED:
            return Response(status=status)
        return error_response(status, _message(error))


def _message(error: Exception) -> str:
    """Return what the client is told; a defect's details stay in the log."""
    if isinstance(error, ToolkitError):
        return (
            f"{error}: {error.hint}" if error.hint and error.status >= _SERVER_ERROR else str(error)
        )
    return f"internal error ({type(error).__name__}): the engine's log tells more"
