# SPDX-License-Identifier: Apache-2.0
"""What a request cannot have together with a network or UTS mode; in docker's words.

Judged by the request alone: what its image exposes is no conflict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.engine.network_index import HOST, NONE
from toolkit.engine.sharing import is_shared, shared_with
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from toolkit.engine.model import ContainerSpec


def check_modes(spec: ContainerSpec) -> None:
    """Refuse a request whose options contradict its modes.

    Raises:
        InvalidRequestError: With the two that do.
    """
    mode = spec.host.network_mode
    if is_shared(mode):
        if not shared_with(mode):
            raise InvalidRequestError(
                "invalid network mode: invalid container format container:<name|id>"
            )
        _refuse_first(_wishes_of_a_sharer(spec))
    if spec.host.uts_mode == "host" and spec.hostname:
        raise InvalidRequestError("conflicting options: hostname and the UTS mode")
    if is_shared(mode) or mode in {HOST, NONE}:
        _check_addresses(spec)


def _wishes_of_a_sharer(spec: ContainerSpec) -> dict[str, object]:
    """Return what a container on another's network cannot have, by docker's text for it."""
    host = spec.host
    return {
        "hostname and the network mode": spec.hostname,
        "container type network can't be used with links. "
        "This would result in undefined behavior": host.links,
        "dns and the network mode": host.dns,
        "custom host-to-IP mapping and the network mode": host.extra_hosts,
        "port publishing and the container type network mode": (
            host.published_ports or host.publish_all_ports
        ),
        "port exposing and the container type network mode": spec.exposed_ports,
    }


def _check_addresses(spec: ContainerSpec) -> None:
    """Refuse addresses where no seat can have them; a MAC without a network means nothing."""
    mode = spec.host.network_mode
    wish = spec.endpoints.get(mode)
    if mode != NONE and (spec.mac_address or (wish is not None and wish.mac)):
        raise InvalidRequestError("conflicting options: mac-address and the network mode")
    if wish is not None and (wish.ipv4 or wish.ipv6):
        raise InvalidRequestError(
            "user specified IP address is supported on user defined networks only"
        )


def _refuse_first(wishes: dict[str, object]) -> None:
    for text, wish in wishes.items():
        if wish:
            raise InvalidRequestError(f"conflicting options: {text}")
