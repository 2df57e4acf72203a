# SPDX-License-Identifier: Apache-2.0
"""What docker's API has and this version of the engine has not: said plainly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from toolkit.api.facade import EngineFacade
    from toolkit.api.request import Request, Response
    from toolkit.api.router import Handler


class NotAvailableError(ToolkitError):
    """Something that this version of the engine does not do."""

    status = 501


def unavailable(what: str) -> Handler:
    """Return a handler that says what is not there."""

    async def refuse(engine: EngineFacade, request: Request) -> Response:
        del engine, request
        raise NotAvailableError(f"{what} not available yet")

    return refuse
