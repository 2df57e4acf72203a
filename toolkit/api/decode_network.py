# SPDX-License-Identifier: Apache-2.0
"""From docker's bodies about networks to the engine's values: forms only.

Addresses and names go on as they came: the rules are the engine's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from toolkit.engine.model import EndpointSpec, NetworkSpec, PoolSpec
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from toolkit.api import schemas

_DEFAULT_NETWORKS: Final = frozenset({"", "default"})
_SHOWN: Final = 80
_DEFAULT_DRIVERS: Final = frozenset({"", "default"})
_LOCAL_SCOPES: Final = frozenset({"", "local"})


def network_name(mode: str | None) -> str:
    """Return the network that is meant; docker's ``default`` is the bridge."""
    name = mode or ""
    return "bridge" if name in _DEFAULT_NETWORKS else name


def read_endpoints(
    networking: schemas.NetworkingConfig | None, mode: str | None
) -> dict[str, EndpointSpec]:
    """Return what create asks for of each network, by its name.

    Clients name the network of the mode, or ``default``, also where they ask for nothing of it.
    """
    wishes = {}
    for name, settings in ((networking.endpoints_config if networking else None) or {}).items():
        wish = endpoint_spec(settings)
        is_implied = name in _DEFAULT_NETWORKS or network_name(name) == network_name(mode)
        if wish != EndpointSpec() or not is_implied:
            wishes[network_name(name)] = wish
    return wishes


def endpoint_spec(wire: schemas.EndpointSettings | None) -> EndpointSpec:
    """Return what is asked for of one network.

    Raises:
        InvalidRequestError: It asks for what the kernel alone decides.
    """
    if wire is None:
        return EndpointSpec()
    addresses = wire.ipam_config
    if addresses is not None and addresses.link_local_ips:
        raise InvalidRequestError("link-local addresses cannot be chosen: the kernel makes them")
    return EndpointSpec(
        aliases=tuple(wire.aliases or ()),
        ipv4=(addresses.ipv4_address if addresses else "") or "",
        ipv6=(addresses.ipv6_address if addresses else "") or "",
        mac=wire.mac_address or "",
        links=tuple(wire.links or ()),
        driver_options=wire.driver_opts or {},
    )


def network_spec(body: schemas.NetworkBody) -> NetworkSpec:
    """Return what a network's create asks for.

    Raises:
        InvalidRequestError: It asks for what only a cluster has, or has no name.
    """
    _refuse_cluster_words(body)
    plan = body.ipam
    if plan is not None and (plan.driver or "") not in _DEFAULT_DRIVERS:
        raise InvalidRequestError(
            f"invalid IPAM driver {(plan.driver or '')[:_SHOWN]!r}: there is only default"
        )
    return NetworkSpec(
        name=body.name or "",
        driver=body.driver or "bridge",
        internal=bool(body.internal),
        ipv6=bool(body.enable_ipv6),
        attachable=bool(body.attachable),
        options=body.options or {},
        labels=body.labels or {},
        pools=_pools(plan),
    )


def _refuse_cluster_words(body: schemas.NetworkBody) -> None:
    """Refuse what one host cannot do."""
    if body.config_only or (body.config_from and body.config_from.network):
        raise InvalidRequestError("configuration-only networks are not supported by this engine")
    if body.ingress:
        raise InvalidRequestError("ingress networks need a swarm, which this engine has not")
    if (body.scope or "") not in _LOCAL_SCOPES:
        raise InvalidRequestError(
            f"invalid scope {(body.scope or '')[:_SHOWN]!r}: networks are local here"
        )
    if body.enable_ipv4 is False:
        raise InvalidRequestError("networks without IPv4 are not supported by this engine")


def _pools(plan: schemas.AddressPlan | None) -> tuple[PoolSpec, ...]:
    """Return the pools of a plan; those that say nothing are left out."""
    pools = (
        PoolSpec(
            subnet=wire.subnet or "",
            ip_range=wire.ip_range or "",
            gateway=wire.gateway or "",
            auxiliary=wire.auxiliary_addresses or {},
        )
        for wire in (plan.config if plan else None) or ()
        if wire is not None
    )
    return tuple(pool for pool in pools if pool != PoolSpec(subnet=""))
