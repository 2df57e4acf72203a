# SPDX-License-Identifier: Apache-2.0
"""Takes away what an instance has on the host's network when its engine is gone for good.

A program of its own (``python -m toolkit.network.sweep NAME``), so that what
people touch need not import anything below the process boundary. Everything is
found by the instance's name.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from toolkit.config import Instance
from toolkit.errors import ToolkitError
from toolkit.network.firewall_iptables import IptablesFirewall
from toolkit.network.firewall_nft import NftFirewall
from toolkit.network.iptables import Iptables
from toolkit.network.link_names import find_leftovers
from toolkit.network.nft import find_nft
from toolkit.network.rtnetlink import NetworkStack
from toolkit.network.spoof_guard import NftGuard

if TYPE_CHECKING:
    from toolkit.network.firewall import Firewall


def sweep(instance_name: str) -> list[str]:
    """Remove rules, then links, of an instance in this network namespace; name the links.

    Raises:
        ToolkitError: Something cannot be removed.
    """
    firewalls: list[Firewall] = [IptablesFirewall(instance_name, Iptables())]
    nft = find_nft()
    if nft is not None:
        firewalls.append(NftFirewall(instance_name, nft))
        NftGuard(instance_name, nft).flush()
    for firewall in firewalls:
        firewall.flush()
    with NetworkStack() as stack:
        left = find_leftovers(instance_name, stack.links(), networks=set(), containers=set())
        for link in left:
            stack.delete_link(link.name)
    return [link.name for link in left]


def main(arguments: list[str]) -> int:
    """Sweep the instance that is named; return the exit code."""
    try:
        name = Instance(name=arguments[0]).name if len(arguments) == 1 else ""
        if not name:
            sys.stderr.write("usage: python -m toolkit.network.sweep INSTANCE\n")
            return 2
        for link in sweep(name):
            sys.stdout.write(f"{link}\n")
    except ToolkitError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
