# SPDX-License-Identifier: Apache-2.0
"""Networks by name, id and part of an id, those that every instance has among them.

One event loop owns it; nothing awaits.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

from toolkit.engine.model import NetworkId, NetworkRecord, NetworkSpec
from toolkit.errors import ConflictError, NetworkExistsError, NetworkNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable

BRIDGE: Final = "bridge"
HOST: Final = "host"
NONE: Final = "none"
DEFAULT: Final = "default"  # docker's other name for the bridge
PREDEFINED: Final = {BRIDGE: "bridge", HOST: "host", NONE: "null"}
_ALWAYS: Final = datetime(1, 1, 1, tzinfo=UTC)


class NetworkIndex:
    """The networks of an engine.

    Args:
        instance_name: Whose.
        bridge_has_ipv6: What is set for the default bridge now, whatever it was before.
    """

    def __init__(self, instance_name: str, *, bridge_has_ipv6: bool = False) -> None:
        self._bridge_has_ipv6 = bridge_has_ipv6
        self._records: dict[NetworkId, NetworkRecord] = {}
        for name, driver in PREDEFINED.items():
            self.put(
                NetworkRecord(
                    id=predefined_id(instance_name, name),
                    created=_ALWAYS,
                    spec=NetworkSpec(name=name, driver=driver),
                )
            )

    def put(self, record: NetworkRecord) -> None:
        """List a network, or what has become of it."""
        if record.name == BRIDGE and record.spec.ipv6 != self._bridge_has_ipv6:
            record = with_ipv6(record) if self._bridge_has_ipv6 else without_ipv6(record)
        self._records[record.id] = record

    def drop(self, network_id: NetworkId) -> None:
        """Take a network off the list."""
        self._records.pop(network_id, None)

    def get(self, network_id: NetworkId) -> NetworkRecord | None:
        """Return the network of an id, if there is one."""
        return self._records.get(network_id)

    def named(self, name: str) -> NetworkRecord | None:
        """Return the network of a name, if there is one."""
        return next((each for each in self._records.values() if each.name == name), None)

    def check_free(self, name: str) -> None:
        """Refuse a name that a network has.

        Raises:
            NetworkExistsError: One has.
        """
        if self.named(name) is not None:
            raise NetworkExistsError(name)

    def find(self, reference: str) -> NetworkRecord:
        """Return the network of a name, an id or the beginning of one; a name wins.

        Raises:
            NetworkNotFoundError: There is none.
            ConflictError: Several ids begin so.
        """
        record = self.named(reference) or self._records.get(NetworkId(reference))
        if record is not None:
            return record
        found = [each for each in self._records.values() if each.id.startswith(reference)]
        if not found or not reference:
            raise NetworkNotFoundError(reference)
        if len(found) > 1:
            raise ConflictError(f"network {reference} is ambiguous ({len(found)} matches found)")
        return found[0]

    def all(self) -> Iterable[NetworkRecord]:
        """Return every network by name."""
        return sorted(self._records.values(), key=lambda record: record.name)


def with_ipv6(record: NetworkRecord) -> NetworkRecord:
    """Return a network as one that is to have IPv6, with subnets of it or not."""
    return replace(record, spec=replace(record.spec, ipv6=True))


def without_ipv6(record: NetworkRecord) -> NetworkRecord:
    """Return a network as one that has IPv4 alone."""
    subnets = (pool for pool in record.subnets if ip_network(pool.subnet).version == 4)  # noqa: PLR2004
    return replace(record, spec=replace(record.spec, ipv6=False), subnets=tuple(subnets))


def predefined_id(instance_name: str, name: str) -> NetworkId:
    """Return the id of a network that every instance has: the same at each start."""
    return NetworkId(hashlib.sha256(f"{instance_name}/network/{name}".encode()).hexdigest())


def is_predefined(name: str) -> bool:
    """Say whether every instance has a network of this name."""
    return name in PREDEFINED
