# SPDX-License-Identifier: Apache-2.0
"""Networks: the predefined ones that need nothing on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.api.filters import has_labels
from toolkit.api.render_network import PREDEFINED, network_id, network_object
from toolkit.api.request import json_response
from toolkit.errors import NotFoundError

if TYPE_CHECKING:
    from typing import Any

    from toolkit.api.facade import EngineFacade
    from toolkit.api.request import Request, Response

_FILTERS = frozenset({"name", "id", "driver", "type", "scope", "label", "dangling"})


async def list_(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /networks``."""
    terms = request.query.filters(_FILTERS)
    networks = (network_object(engine.instance, name) for name in PREDEFINED)
    return json_response(
        [
            network
            for network in networks
            if all(_matches(network, key, values) for key, values in terms.items())
        ]
    )


def _matches(network: dict[str, Any], key: str, values: Any) -> bool:
    """Say whether a network is what one filter asks for."""
    match key:
        case "name":
            return any(value in network["Name"] for value in values)
        case "id":
            return any(network["Id"].startswith(value) for value in values)
        case "type":
            return "builtin" in values
        case "label":
            return has_labels(network["Labels"], values)
        case "dangling":
            return "true" not in values and "1" not in values
        case _:
            return network[key.capitalize()] in values


async def inspect(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /networks/{name}``: by name, id, or the beginning of one."""
    instance = engine.instance
    for name in PREDEFINED:
        wanted = request.name
        if wanted == name or (wanted and network_id(instance, name).startswith(wanted)):
            return json_response(network_object(instance, name))
    raise NotFoundError(f"network {request.name} not found")
