# SPDX-License-Identifier: Apache-2.0
"""What can be done with networks: the use cases behind `network create` and its like.

Owns the records. What a running container has of a network is
`toolkit.engine.attachment`'s.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from toolkit.engine.model import AttachedContainer, EndpointSpec, Network, NetworkId, NetworkRecord
from toolkit.engine.network_index import BRIDGE, DEFAULT, is_predefined
from toolkit.engine.network_plan import default_bridge_options
from toolkit.engine.network_validation import check_endpoint, check_network
from toolkit.engine.networked import bridge_networks
from toolkit.errors import ConflictError, NetworkInUseError, PredefinedNetworkError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from toolkit.engine.container import Container
    from toolkit.engine.context import EngineContext
    from toolkit.engine.model import NetworkSpec

_ID_BYTES: Final = 32

# Named here: in the class, `list` is the method.
Networks = list[Network]
Names = list[str]


class NetworkUseCases:
    """The networks of an instance."""

    def __init__(self, context: EngineContext) -> None:
        self._context = context
        self._index = context.networks

    async def list(self) -> Networks:
        """Return all networks by name."""
        return [self._shown(record) for record in self._index.all()]

    def ids(self) -> Mapping[str, NetworkId]:
        """Return the ids of all networks by name, without looking at any container."""
        return {record.name: record.id for record in self._index.all()}

    async def inspect(self, reference: str) -> Network:
        """Return the network of a name, an id, or the beginning of one.

        The default bridge is made if it is not there yet: who asks wants its subnet.

        Raises:
            NetworkNotFoundError: There is none.
            ConflictError: Several ids begin so.
        """
        record = self._index.find(reference)
        if record.name == BRIDGE and not record.subnets:
            record = await self._context.attachments.places.make(record)
        return self._shown(record)

    async def create(self, spec: NetworkSpec) -> tuple[Network, Names]:
        """Make a network; return it with the warnings.

        Raises:
            InvalidRequestError: The request says something that cannot be.
            NetworkExistsError: Another network has the name.
            PredefinedNetworkError: It is a name that every instance has.
            SubnetOverlapError: A subnet is in use.
        """
        return await self._context.whole(self._create(spec))

    async def remove(self, reference: str) -> None:
        """Remove a network that no container is on.

        Raises:
            NetworkNotFoundError: There is none.
            PredefinedNetworkError: Every instance has it.
            NetworkInUseError: A running container is on it.
        """
        await self._context.whole(self._remove(reference))

    async def connect(
        self, reference: str, container_reference: str, spec: EndpointSpec | None = None
    ) -> None:
        """Put a container on a network, at once when it runs, and at each start from now on.

        Raises:
            NetworkNotFoundError: There is no such network.
            ContainerNotFoundError: There is no such container.
            EndpointExistsError: It is on it already.
            ConflictError: It has no network of its own.
        """
        container = self._context.index.find(container_reference)
        record = self._index.find(reference)
        await container.connect(record, check_endpoint(spec or EndpointSpec(), record))

    async def disconnect(
        self, reference: str, container_reference: str, *, force: bool = False
    ) -> None:
        """Take a container off a network.

        Raises:
            NetworkNotFoundError: There is no such network.
            ContainerNotFoundError: There is no such container, and *force* was not given.
            ConflictError: It is not on it.
        """
        record = self._index.find(reference)
        container = self._context.index.find(container_reference)
        await container.disconnect(record, force=force)

    async def prune(self, chosen: Callable[[Network], bool]) -> Names:
        """Remove the networks of a choice that no container has; return their names."""
        removed: Names = []
        for network in await self.list():
            if is_predefined(network.name) or not chosen(network) or self._users(network.name):
                continue
            try:
                await self.remove(network.id)
            except ConflictError:
                continue
            removed.append(network.name)
        self._context.events.publish("network", "prune", "", {"reclaimed": "0"})
        return removed

    async def repair(self) -> Names:
        """Put right what others have done to bridges, links and rules; a line for each thing.

        Raises:
            ToolkitError: Something cannot be put right.
        """
        return await self._context.whole(self._repair())

    async def _repair(self) -> Names:
        mended = await self._context.attachments.places.repair()
        for container in self._context.index.newest_first():
            if container.record.endpoints:
                mended += await container.mend_links()
        return mended

    async def _create(self, spec: NetworkSpec) -> tuple[Network, Names]:
        if is_predefined(spec.name) or spec.name == DEFAULT:
            raise PredefinedNetworkError(
                f"operation is not permitted on predefined {spec.name} network"
            )
        pinned = self._context.parts.network_settings.fixed_cidr_v6
        checked = check_network(spec, self._index.all(), kept=(pinned,) if pinned else ())
        self._index.check_free(checked.name)
        record = NetworkRecord(
            id=NetworkId(os.urandom(_ID_BYTES).hex()),
            created=datetime.now(UTC),
            spec=checked,
            subnets=checked.pools,
        )
        self._index.put(record)
        try:
            record = await self._context.attachments.places.make(record)
        except BaseException:
            self._index.drop(record.id)
            raise
        self._tell("create", record)
        return self._shown(record), []

    async def _remove(self, reference: str) -> None:
        record = self._index.find(reference)
        if is_predefined(record.name):
            raise PredefinedNetworkError(
                f"{record.name} is a pre-defined network and cannot be removed"
            )
        users = [each.container_name for each in self._shown(record).endpoints]
        if users:
            raise NetworkInUseError(record.name, record.id, users)
        await self._context.attachments.places.remove(record)
        self._tell("destroy", record)

    def _users(self, name: str) -> Names:
        """Return the containers, running or not, that are to be on a network."""
        return [
            each.record.id
            for each in self._context.index.newest_first()
            if name in bridge_networks(each.record)
        ]

    def _shown(self, record: NetworkRecord) -> Network:
        spec, options = record.spec, record.spec.options
        if spec.name == BRIDGE:
            settings = self._context.parts.network_settings
            options = default_bridge_options(settings, self._context.instance.name)
        return Network(
            id=record.id,
            name=spec.name,
            driver=spec.driver,
            created=record.created,
            internal=spec.internal,
            ipv6=spec.ipv6,
            attachable=spec.attachable,
            subnets=record.subnets,
            options=options,
            labels=spec.labels,
            endpoints=tuple(
                attached
                for container in self._context.index.newest_first()
                if (attached := self._attached(container, record)) is not None
            ),
        )

    @staticmethod
    def _attached(container: Container, record: NetworkRecord) -> AttachedContainer | None:
        endpoint = container.record.endpoints.get(record.name)
        if endpoint is None or endpoint.network_id != record.id:
            return None
        six = f"{endpoint.ipv6}/{endpoint.ipv6_prefix_length}" if endpoint.ipv6 else ""
        return AttachedContainer(
            container_id=container.record.id,
            container_name=container.record.name,
            endpoint_id=endpoint.id,
            mac=endpoint.mac,
            ipv4=f"{endpoint.ipv4}/{endpoint.prefix_length}",
            ipv6=six,
        )

    def _tell(self, action: str, record: NetworkRecord) -> None:
        attributes = {"name": record.name, "type": record.spec.driver}
        self._context.events.publish("network", action, record.id, attributes)
