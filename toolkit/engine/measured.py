# SPDX-License-Identifier: Apache-2.0
"""What a container uses: on the disk, of memory and processors, on the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.engine.network_index import HOST
from toolkit.engine.tree import ContainerTree
from toolkit.errors import ConflictError, NotRunningError, ToolkitError
from toolkit.network.traffic import read_traffic

if TYPE_CHECKING:
    from toolkit.engine.ports import RunningProgram
    from toolkit.kernel.cgroup_stats import CgroupStats
    from toolkit.network.traffic import Traffic


class MeasuredContainer(ContainerTree):
    """A container as something that is looked at from outside."""

    async def rw_size_bytes(self) -> int:
        """Return what its own layer takes on the disk."""
        return await self._context.on_host(self._context.parts.layers.rw_size_bytes, self.record.id)

    async def pids(self) -> list[int]:
        """Return its processes on the host.

        Raises:
            NotRunningError: It does not run.
        """
        self._running_program()
        return await self._context.on_host(self._context.cgroup(self.record.id).pids)

    async def stats(self) -> CgroupStats:
        """Return what its control group uses and has used.

        Raises:
            NotRunningError: It does not run.
        """
        program = self._running_program()
        try:
            return await self._context.on_host(self._context.cgroup(self.record.id).stats)
        except ToolkitError as error:
            if await self._has_ended(program):
                raise NotRunningError(self.record.id) from error
            raise

    async def traffic(self) -> dict[str, Traffic]:
        """Return what its interfaces have received and sent; nothing where they are the host's."""
        state, mode = self.record.state, self.record.spec.host.network_mode
        if not state.pid or mode == HOST:
            return {}
        return await self._context.on_host(read_traffic, state.pid, state.start_time_ticks)

    def _running_program(self, prefix: str = "") -> RunningProgram:
        if self.program is None:
            if not prefix:
                raise NotRunningError(self.record.id)
            raise ConflictError(
                f"{prefix}{self.record.id}: container {self.record.id} is not running"
            )
        return self.program
