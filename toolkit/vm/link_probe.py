# SPDX-License-Identifier: Apache-2.0
"""Whether this kernel makes the links that containers need: a program for a namespace of its own.

``python -m toolkit.vm.link_probe bridge|veth`` makes one and ends with 0. It
changes the network namespace that it runs in: the doctor gives it an empty one.
"""

from __future__ import annotations

import sys

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

_BRIDGE, _OURS, _THEIRS = "probe0", "probe1", "probe2"


def make_bridge(links: IPRoute) -> int:
    """Make a bridge that is up and has an address; return its index."""
    links.link("add", ifname=_BRIDGE, kind="bridge")
    [index] = links.link_lookup(ifname=_BRIDGE)
    links.addr("add", index=index, address="192.0.2.1", prefixlen=24)  # RFC 5737
    links.link("set", index=index, state="up")
    return int(index)


def make_veth(links: IPRoute) -> None:
    """Make a veth, and plug one end into a bridge."""
    bridge = make_bridge(links)
    links.link("add", ifname=_OURS, kind="veth", peer=_THEIRS)
    [index] = links.link_lookup(ifname=_OURS)
    links.link("set", index=index, master=bridge, state="up")


def main(arguments: list[str]) -> int:
    """Make what is named; return the exit code."""
    makers = {"bridge": make_bridge, "veth": make_veth}
    maker = makers.get(arguments[0]) if len(arguments) == 1 else None
    if maker is None:
        sys.stderr.write("usage: python -m toolkit.vm.link_probe bridge|veth\n")
        return 2
    try:
        with IPRoute() as links:
            maker(links)
    except (NetlinkError, OSError, ValueError) as error:
        sys.stderr.write(f"{arguments[0]}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
