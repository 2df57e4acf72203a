# SPDX-License-Identifier: Apache-2.0
"""Which networks a container is to be on, by its record."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from toolkit.engine.model import EndpointSpec
from toolkit.engine.network_index import BRIDGE, DEFAULT, HOST, NONE
from toolkit.engine.sharing import shared_with
from toolkit.errors import InvalidRequestError, NetworkNotFoundError

if TYPE_CHECKING:
    from toolkit.engine.model import ContainerRecord, ContainerSpec
    from toolkit.engine.network_index import NetworkIndex

_DEFAULT_MODES: Final = frozenset(("", DEFAULT, BRIDGE))


def settled_networks(spec: ContainerSpec, index: NetworkIndex) -> ContainerSpec:
    """Return a request whose networks are names; one that is not there stays as it was typed.

    It is refused at the start, as docker does: it may be made until then.

    Raises:
        InvalidRequestError: A container without a network of its own names others.
    """
    mode = spec.host.network_mode
    if spec.network_disabled:
        mode = NONE
    elif mode in _DEFAULT_MODES:
        mode = BRIDGE
    elif not shared_with(mode):
        mode = _name_of(mode, index)
    endpoints = {_name_of(name, index): wish for name, wish in spec.endpoints.items()}
    if has_no_seats(mode):
        others = sorted(set(endpoints) - {mode, DEFAULT})
        if others:
            raise InvalidRequestError(
                f"conflicting options: cannot be on network {others[0]} "
                f"with network mode {mode[:80]}"
            )
        endpoints = {}
    else:
        if DEFAULT in endpoints:
            endpoints[BRIDGE] = endpoints.pop(DEFAULT)
        endpoints = {mode: endpoints.get(mode, EndpointSpec())} | endpoints
    return replace(spec, endpoints=endpoints, host=replace(spec.host, network_mode=mode))


def has_no_seats(mode: str) -> bool:
    """Say whether a container of a mode has no network of its own to be connected."""
    return mode in {NONE, HOST} or bool(shared_with(mode))


def needs_connecting(record: ContainerRecord) -> bool:
    """Say whether a container's program must wait until its networks are connected."""
    return bool(bridge_networks(record))


def bridge_networks(record: ContainerRecord) -> list[str]:
    """Return the names of the networks that a container is to be on, in the interfaces' order.

    One that was taken off all of them comes back on that of its mode, as docker has it.
    """
    mode = record.spec.host.network_mode
    if record.spec.endpoints or has_no_seats(mode):
        return list(record.spec.endpoints)
    return [mode]


def _name_of(reference: str, index: NetworkIndex) -> str:
    try:
        return index.find(reference).name
    except NetworkNotFoundError:
        return reference
