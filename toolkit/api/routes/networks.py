# SPDX-License-Identifier: Apache-2.0
"""Networks: list, create, inspect, remove, prune, and the containers on them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from toolkit.api import schemas
from toolkit.api.decode_network import endpoint_spec, network_spec
from toolkit.api.filters import (
    PRUNE_FILTERS,
    has_labels,
    lets_labels_through,
    matches_pattern,
    until_ns,
)
from toolkit.api.render_network import PREDEFINED, network_object
from toolkit.api.request import NO_CONTENT, Response, json_response
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from toolkit.api.facade import EngineFacade
    from toolkit.api.query import FilterTerms
    from toolkit.api.request import Request
    from toolkit.engine.model import Network

    Test = Callable[[Network], bool]

_FILTERS: Final = frozenset({"name", "id", "driver", "type", "scope", "label", "dangling"})
_TRUE: Final = frozenset({"true", "1"})
_FALSE: Final = frozenset({"false", "0"})
_TYPES: Final = frozenset({"builtin", "custom"})
_OK: Final = Response()


async def list_(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /networks``."""
    test = network_test(request.query.filters(_FILTERS))
    return json_response(
        [
            network_object(network, with_containers=False)
            for network in await engine.networks.list()
            if test(network)
        ]
    )


def network_test(terms: FilterTerms) -> Test:
    """Return a test for networks.

    Raises:
        InvalidRequestError: A value of a filter is none that it takes.
    """
    tests = [_TERMS[key](values) for key, values in terms.items()]
    return lambda network: all(test(network) for test in tests)


def _type_term(values: Sequence[str]) -> Test:
    """Predefined networks are builtin, others custom."""
    for value in values:
        if value not in _TYPES:
            raise InvalidRequestError(f"invalid filter 'type={value}'")
    return lambda network: ("builtin" if network.name in PREDEFINED else "custom") in values


def _dangling_term(values: Sequence[str]) -> Test:
    """Dangling networks are people's own with no running container on them."""
    if len(values) != 1 or values[0] not in _TRUE | _FALSE:
        raise InvalidRequestError(f"invalid filter 'dangling={','.join(values)}'")
    wanted = values[0] in _TRUE
    return lambda network: (network.name not in PREDEFINED and not network.endpoints) is wanted


_TERMS: Final[dict[str, Callable[[Sequence[str]], Test]]] = {
    "name": lambda values: matches_pattern(values, "name", lambda network: network.name),
    "id": lambda values: lambda network: any(network.id.startswith(each) for each in values),
    "driver": lambda values: lambda network: network.driver in values,
    "type": _type_term,
    "scope": lambda values: lambda _: "local" in values,
    "label": lambda values: lambda network: has_labels(network.labels, values),
    "dangling": _dangling_term,
}


async def create(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /networks/create``."""
    body = schemas.read_body(await request.json_body(), schemas.NetworkBody)
    network, warnings = await engine.networks.create(network_spec(body))
    return json_response({"Id": network.id, "Warning": "; ".join(warnings)}, status=201)


async def inspect(engine: EngineFacade, request: Request) -> Response:
    """Serve ``GET /networks/{name}``: by name, id, or the beginning of one."""
    network = await engine.networks.inspect(request.name)
    return json_response(network_object(network, with_containers=True))


async def remove(engine: EngineFacade, request: Request) -> Response:
    """Serve ``DELETE /networks/{name}``."""
    await engine.networks.remove(request.name)
    return NO_CONTENT


async def connect(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /networks/{name}/connect``."""
    body = schemas.read_body(await request.json_body(), schemas.ConnectBody)
    wish = endpoint_spec(body.endpoint_config)
    await engine.networks.connect(request.name, _container_of(body), wish)
    return _OK


async def disconnect(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /networks/{name}/disconnect``."""
    body = schemas.read_body(await request.json_body(), schemas.ConnectBody)
    await engine.networks.disconnect(request.name, _container_of(body), force=bool(body.force))
    return _OK


def _container_of(body: schemas.ConnectBody) -> str:
    """Return the container that a body names."""
    if not body.container:
        raise InvalidRequestError("no container is named")
    return body.container


async def prune(engine: EngineFacade, request: Request) -> Response:
    """Serve ``POST /networks/prune``."""
    terms = request.query.filters(PRUNE_FILTERS)
    before = until_ns(terms.get("until", ()), time.time_ns())

    def is_chosen(network: Network) -> bool:
        is_old = before is None or network.created.timestamp() * 1e9 < before
        return is_old and lets_labels_through(network.labels, terms)

    removed = await engine.networks.prune(is_chosen)
    return json_response({"NetworksDeleted": list(removed)})
