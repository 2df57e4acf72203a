# SPDX-License-Identifier: Apache-2.0
"""IPv6 subnets for networks that ask for IPv6 and name none (RFC 4193), as docker 27 gives them.

An instance has a /48 of its own, which follows from the machine's id and the instance's name: the
same after a restart, another one on the next machine. A network gets the first /64 of it that
nobody has.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolkit.errors import NoFreeSubnetError
from toolkit.network.subnets import overlap

if TYPE_CHECKING:
    from collections.abc import Collection

MACHINE_ID: Final = Path("/etc/machine-id")
_POOL_PREFIX: Final = 48
_SUBNET_PREFIX: Final = 64
_LOCALLY_ASSIGNED: Final = b"\xfd"  # RFC 4193, 3.1
_GLOBAL_ID_BYTES: Final = 5
_REST: Final = bytes(10)
_MOST_TRIED: Final = 4096  # far more bridges than a kernel has


def pool_of_instance(instance: str, machine_id_path: Path = MACHINE_ID) -> IPv6Network:
    """Return the /48 of an instance on this machine."""
    try:
        machine_id = machine_id_path.read_bytes().strip()
    except OSError:
        machine_id = b""
    digest = hashlib.sha256(machine_id + b"\0" + instance.encode()).digest()
    return IPv6Network((_LOCALLY_ASSIGNED + digest[:_GLOBAL_ID_BYTES] + _REST, _POOL_PREFIX))


def choose_subnet(pool: IPv6Network, used: Collection[IPv6Network]) -> IPv6Network:
    """Return the first /64 of a pool that overlaps nothing that is used.

    Raises:
        NoFreeSubnetError: There is none.
    """
    in_the_way = [network for network in used if overlap(network, pool)]
    size = 1 << (IPv6Network("::/0").max_prefixlen - _SUBNET_PREFIX)
    for number in range(_MOST_TRIED):
        candidate = IPv6Network((int(pool.network_address) + number * size, _SUBNET_PREFIX))
        if not any(overlap(candidate, network) for network in in_the_way):
            return candidate
    raise NoFreeSubnetError(
        f"could not find an available, non-overlapping IPv6 address pool in {pool} "
        "to assign to the network"
    )
