# SPDX-License-Identifier: Apache-2.0
"""Networks and volumes of a test: each is its own name, and is taken wherever a name is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from toolkit.client import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import ExitStack

    from toolkit.testing.container import Container
    from toolkit.testing.engine import ContainerEngine

_GONE = 404


class Volume(str):
    """A volume: a text that is its name.

    Attributes:
        engine: Whose it is.
    """

    __slots__ = ("_undo", "engine")

    engine: ContainerEngine
    _undo: ExitStack

    @classmethod
    def create(cls, engine: ContainerEngine, undo: ExitStack, name: str = "") -> Self:
        """Make a volume that goes when *undo* is closed."""
        found = engine.client.volumes.create(name, labels=engine.labels)
        volume = cls(found["Name"])
        volume.engine = engine
        volume._undo = undo
        undo.callback(volume.remove)
        return volume

    def another(self, name: str = "") -> Self:
        """Make one more, which goes when this one does."""
        return self.create(self.engine, self._undo, name)

    def remove(self) -> None:
        """Remove it; one that is gone already is no error."""
        self.engine.ending.remove(lambda client: client.volumes.remove(self, force=True))


class Network(str):
    """A network: a text that is its name.

    Attributes:
        engine: Whose it is.
        id: 64 hex digits.
    """

    __slots__ = ("_undo", "engine", "id")

    engine: ContainerEngine
    id: str
    _undo: ExitStack

    @classmethod
    def create(  # docker's own parameters
        cls,
        engine: ContainerEngine,
        undo: ExitStack,
        name: str = "",
        *,
        internal: bool = False,
        ipv6: bool = False,
        subnet: str = "",
        wire: Mapping[str, Any] | None = None,
    ) -> Self:
        """Make a network that goes when *undo* is closed.

        Args:
            engine: Where.
            undo: Removes it.
            name: Its name; one is made up without.
            internal: Whether it leads nowhere outside.
            ipv6: Whether it has IPv6 addresses, too.
            subnet: Its addresses, as ``10.1.0.0/24``.
            wire: Further fields of docker's body.
        """
        network = cls(name or engine.made_up_name())
        network.engine = engine
        network._undo = undo
        body: dict[str, Any] = {
            "Name": str(network),
            "CheckDuplicate": True,
            "Internal": internal,
            "EnableIPv6": ipv6,
            "Labels": engine.labels,
        }
        if subnet:
            body["IPAM"] = {"Config": [{"Subnet": subnet}]}
        answer = engine.client.request(
            "POST", "/networks/create", document={**body, **(wire or {})}
        ).json()
        network.id = answer["Id"]
        undo.callback(network.remove)
        return network

    def another(
        self, name: str = "", *, internal: bool = False, ipv6: bool = False, subnet: str = ""
    ) -> Self:
        """Make one more, which goes when this one does."""
        return self.create(
            self.engine, self._undo, name, internal=internal, ipv6=ipv6, subnet=subnet
        )

    def connect(self, container: Container, *, aliases: Sequence[str] = ()) -> None:
        """Connect a container; it is reached by its name and its aliases."""
        config = {"Aliases": list(aliases)} if aliases else {}
        self._post("connect", {"Container": container.id, "EndpointConfig": config})

    def disconnect(self, container: Container) -> None:
        """Take a container off: what a broken cable does."""
        self._post("disconnect", {"Container": container.id, "Force": True})

    def inspect(self) -> dict[str, Any]:
        """Return everything about it, as ``docker network inspect``."""
        found: dict[str, Any] = self.engine.client.request("GET", f"/networks/{self.id}").json()
        return found

    def remove(self) -> None:
        """Remove it; one that is gone already is no error."""
        try:
            self.engine.ending.remove(lambda client: client.networks.remove(self.id))
        except ApiError as error:
            if error.status != _GONE:
                raise

    def _post(self, verb: str, body: Mapping[str, Any]) -> None:
        self.engine.client.request("POST", f"/networks/{self.id}/{verb}", document=body).read()
