# SPDX-License-Identifier: Apache-2.0
"""The firewall by nftables alone, for hosts without iptables: the same state, other means.

One table ``toolkit_<instance>`` in each of the families ``ip`` and ``ip6``. A
published port is an element of a map, so publishing costs the same with one port
and with a thousand. What else changes is a transaction that writes the chains
anew. Each rule carries a digest of itself as comment; by those the kernel's
rules are compared with the model.

A packet that another table drops stays dropped: beside an iptables whose FORWARD
policy is DROP, use `firewall_iptables`.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from toolkit.network.firewall import FAMILIES, FirewallState
from toolkit.network.firewall_changes import ChangedByFamily
from toolkit.network.firewall_rules import LOOPBACK
from toolkit.network.firewall_watch import RulesWatch
from toolkit.network.nft import Command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from toolkit.network.firewall import Family, LinkedPort, PublishedPort
    from toolkit.network.nft import NftRunner

_NFT_FAMILY: Final[dict[Family, str]] = {4: "ip", 6: "ip6"}
_ADDRESS_TYPE: Final[dict[Family, str]] = {4: "ipv4_addr", 6: "ipv6_addr"}
# Our chains and what they hang on: type, hook, priority (nft(8), "Standard priority").
# No word of nft's own is a name here: "dnat" could not be read back from a saved file.
_HOOKS: Final = {
    "raw": ("filter", "prerouting", -300),
    "prerouting": ("nat", "prerouting", -100),
    "output": ("nat", "output", -100),
    "masqueraded": ("nat", "postrouting", 100),
    "forward": ("filter", "forward", 0),
}
_CHAINS: Final = (*_HOOKS, "published")
# By what the map is asked, and what it answers. One map of both address and port
# would do, but nft 1.0.6 crashes on it in JSON.
_CERTAIN, _ANY = "certain", "any"
_ADDRESSES, _PORTS = "_to_address", "_to_port"


class _Rule(NamedTuple):
    chain: str
    body: list[Command]


class NftFirewall(ChangedByFamily[list[Command]]):
    """A `Firewall` by one table of its own for each family."""

    def __init__(self, instance: str, runner: NftRunner) -> None:
        super().__init__()
        self._table = f"toolkit_{instance}"
        self._runner = runner

    def flush(self) -> None:
        """Remove everything of this instance, and nothing else."""
        for family in FAMILIES:
            table = {"table": {"family": _NFT_FAMILY[family], "name": self._table}}
            self._runner.run([{"add": table}, {"delete": table}])
        self._used.clear()

    def expect(self) -> None:
        """Do nothing: an element of a map takes no program."""

    def close(self) -> None:
        """Do nothing: nothing waits."""

    def watch(self, also_ours: Callable[[], frozenset[int]] = frozenset) -> RulesWatch:
        """Return what tells that somebody else has changed rules."""
        return RulesWatch(lambda: self._runner.writer_pids | also_ours())

    def _wants(self, family: Family, state: FirewallState) -> bool:
        return bool(state.networks_of(family) or state.ports_of(family))

    def _rebuild(self, family: Family, state: FirewallState) -> None:
        table = {"table": {"family": _NFT_FAMILY[family], "name": self._table}}
        commands: list[Command] = [{"add": table}, {"delete": table}]
        if self._wants(family, state):
            commands += [{"add": table}, *self._maps(family), *self._chains(family)]
            commands += self._rules(family, state)
            commands += self._ports(family, "add", state.ports_of(family))
            self._used.add(family)
        else:
            self._used.discard(family)
        self._runner.run(commands)

    def _carry_out(self, family: Family, changes: list[Command]) -> None:
        del family  # each command names its table's
        self._runner.run(changes)

    def _difference(
        self, family: Family, previous: FirewallState, state: FirewallState
    ) -> list[Command]:
        commands: list[Command] = []
        if _frame(previous) != _frame(state):
            emptied = ({"chain": self._in(family, name=name)} for name in _CHAINS)
            commands += [{"flush": chain} for chain in emptied]
            commands += self._rules(family, state)
        gone, come = (
            [port for port in ports if port.family == family]
            for ports in (previous.ports - state.ports, state.ports - previous.ports)
        )
        commands += self._ports(family, "delete", gone)
        commands += self._ports(family, "add", come)
        return commands

    def _missing(self, family: Family, state: FirewallState) -> list[str]:
        table = {"family": _NFT_FAMILY[family], "name": self._table}
        listed = self._runner.list({"table": table})
        there, ports = _Listed.rules(listed), _Listed.ports(listed)
        should: dict[str, list[str]] = {name: [] for name in _CHAINS}
        for rule in _bodies(family, state):
            should[rule.chain].append(_digest(rule))
        lines = [
            f"{_NFT_FAMILY[family]}: chain {name}"
            for name in _CHAINS
            if there.get(name) != should[name]
        ]
        wanted = {
            json.dumps(element) for port in state.ports_of(family) for element in _elements_of(port)
        }
        lines += [f"{_NFT_FAMILY[family]}: port {text}" for text in sorted(wanted - ports)]
        lines += [f"{_NFT_FAMILY[family]}: too much: {text}" for text in sorted(ports - wanted)]
        return lines

    def _maps(self, family: Family) -> Iterator[Command]:
        address = _ADDRESS_TYPE[family]
        keys = {_ANY: ["inet_proto", "inet_service"]}
        keys[_CERTAIN] = [address, *keys[_ANY]]
        for name, key in keys.items():
            for part, target in ((_ADDRESSES, address), (_PORTS, "inet_service")):
                yield {"add": {"map": self._in(family, name=name + part, type=key, map=target)}}

    def _chains(self, family: Family) -> Iterator[Command]:
        for name, (kind, hook, priority) in _HOOKS.items():
            hooked = {"type": kind, "hook": hook, "prio": priority, "policy": "accept"}
            yield {"add": {"chain": self._in(family, name=name, **hooked)}}
        yield {"add": {"chain": self._in(family, name="published")}}

    def _rules(self, family: Family, state: FirewallState) -> Iterator[Command]:
        for rule in _bodies(family, state):
            fields = {"chain": rule.chain, "expr": rule.body, "comment": _digest(rule)}
            yield {"add": {"rule": self._in(family, **fields)}}

    def _ports(self, family: Family, act: str, ports: Iterable[PublishedPort]) -> Iterator[Command]:
        for port in ports:
            for name, key, target in _elements_of(port):
                commented = {"elem": {"val": key, "comment": port.owner.short_id}}
                elem: list[Any] = [[commented if act == "add" else key, target]]
                yield {act: {"element": self._in(family, name=name, elem=elem)}}

    def _in(self, family: Family, **fields: Any) -> dict[str, Any]:
        return {"family": _NFT_FAMILY[family], "table": self._table, **fields}


class _Listed:
    """What ``list table`` answered."""

    @staticmethod
    def rules(listed: Iterable[Command]) -> dict[str, list[str]]:
        """Return the comments of the rules of each chain that is there."""
        found: dict[str, list[str]] = {
            entry["chain"]["name"]: [] for entry in listed if "chain" in entry
        }
        for entry in listed:
            if "rule" in entry:
                rule = entry["rule"]
                found.setdefault(rule["chain"], []).append(rule.get("comment", ""))
        return found

    @staticmethod
    def ports(listed: Iterable[Command]) -> set[str]:
        """Return map, key and target of each element of the maps, as text."""
        found = set()
        for each in (entry["map"] for entry in listed if "map" in entry):
            for key, target in each.get("elem", ()):
                bare = key["elem"]["val"] if "elem" in key else key
                found.add(json.dumps([each["name"], bare, target]))
        return found


def _frame(state: FirewallState) -> tuple[object, ...]:
    return state.has_proxies, state.networks, state.links


def _digest(rule: _Rule) -> str:
    text = json.dumps([rule.chain, rule.body], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _elements_of(port: PublishedPort) -> list[tuple[str, Command, str | int]]:
    """Return map, key and target of the elements that are a published port."""
    parts: list[str | int] = [port.protocol, port.host_port]
    kind = _ANY
    if not port.host_address.is_unspecified:
        parts.insert(0, str(port.host_address))
        kind = _CERTAIN
    key = {"concat": parts}
    return [
        (kind + _ADDRESSES, key, str(port.container_address)),
        (kind + _PORTS, key, port.container_port),
    ]


def _bodies(family: Family, state: FirewallState) -> Iterator[_Rule]:
    """Yield every rule; the same decisions as in `firewall_rules`, where they are explained."""
    if not (state.networks_of(family) or state.ports_of(family)):
        return
    yield from _raw(family, state)
    yield from _dnat(family, state)
    yield from _snat(family, state)
    yield from _forward(family, state)


def _raw(family: Family, state: FirewallState) -> Iterator[_Rule]:
    networks = state.networks_of(family)
    if networks:
        body = [_match(_to(family), _network(LOOPBACK[family])), _match(_IN, "lo", "!="), _DROP]
        yield _Rule("raw", body)
    for network, interface in networks:
        here = _match(_to(family), str(interface.ip))
        yield _Rule("raw", [here, {"return": None}])
        inside = _match(_to(family), _network(interface.network))
        yield _Rule("raw", [inside, _match(_IN, network.bridge.text, "!="), _DROP])


def _dnat(family: Family, state: FirewallState) -> Iterator[_Rule]:
    local = _match({"fib": {"result": "type", "flags": ["daddr"]}}, "local")
    jump = {"jump": {"target": "published"}}
    yield _Rule("prerouting", [local, jump])
    skipped = _match(_to(family), _network(LOOPBACK[family]), "!=")
    yield _Rule("output", [skipped, local, jump] if state.has_proxies else [local, jump])
    if state.has_proxies:
        for network, _ in state.networks_of(family):
            yield _Rule("published", [_match(_IN, network.bridge.text), {"return": None}])
    of_port = [{"meta": {"key": "l4proto"}}, {"payload": {"protocol": "th", "field": "dport"}}]
    for name, key in ((_CERTAIN, [_to(family), *of_port]), (_ANY, of_port)):
        address, port = (
            {"map": {"key": {"concat": key}, "data": f"@{name}{part}"}}
            for part in (_ADDRESSES, _PORTS)
        )
        yield _Rule("published", [{"dnat": {"addr": address, "port": port}}])


def _snat(family: Family, state: FirewallState) -> Iterator[_Rule]:
    masquerade = {"masquerade": None}
    for network, interface in state.networks_of(family):
        if network.internal:
            continue
        source = _match(_from(family), _network(interface.network))
        onto_bridge = _match(_OUT, network.bridge.text)
        if network.masquerade:
            yield _Rule(
                "masqueraded", [source, _match(_OUT, network.bridge.text, "!="), masquerade]
            )
        if not state.has_proxies:
            yield _Rule("masqueraded", [source, onto_bridge, _TRANSLATED, masquerade])
            if family == FAMILIES[0]:
                loopback = _match(_from(family), _network(LOOPBACK[family]))
                yield _Rule("masqueraded", [loopback, onto_bridge, masquerade])


def _forward(family: Family, state: FirewallState) -> Iterator[_Rule]:
    networks = [network for network, _ in state.networks_of(family)]
    for name in (network.bridge.text for network in networks if network.internal):
        yield _Rule("forward", [_match(_IN, name), _match(_OUT, name, "!="), _DROP])
    for network in networks:
        onto_bridge = _match(_OUT, network.bridge.text)
        yield _Rule("forward", [onto_bridge, _ANSWERS, _ACCEPT])
        if not network.internal:
            yield _Rule("forward", [onto_bridge, _TRANSLATED, _ACCEPT])
    for name in (network.bridge.text for network in networks):
        yield _Rule("forward", [_match(_IN, name, "!="), _match(_OUT, name), _DROP])
    for link in state.links_of(family):
        yield _linked(family, link)
    for network in networks:
        name = network.bridge.text
        verdict = _ACCEPT if network.icc else _DROP
        yield _Rule("forward", [_match(_IN, name), _match(_OUT, name), verdict])


def _linked(family: Family, link: LinkedPort) -> _Rule:
    body = [
        _match(_IN, link.bridge.text),
        _match(_OUT, link.bridge.text),
        _match(_from(family), str(link.source)),
        _match(_to(family), str(link.destination)),
        _match({"payload": {"protocol": link.protocol, "field": "dport"}}, link.port),
        _ACCEPT,
    ]
    return _Rule("forward", body)


def _match(left: Any, right: Any, operator: str = "==") -> Command:
    return {"match": {"op": operator, "left": left, "right": right}}


def _state(*names: str) -> Command:
    return _match({"ct": {"key": "state"}}, list(names), "in")


def _to(family: Family) -> Command:
    return {"payload": {"protocol": _NFT_FAMILY[family], "field": "daddr"}}


def _from(family: Family) -> Command:
    return {"payload": {"protocol": _NFT_FAMILY[family], "field": "saddr"}}


def _network(network: Any) -> Command:
    return {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}


_IN: Final[Command] = {"meta": {"key": "iifname"}}
_OUT: Final[Command] = {"meta": {"key": "oifname"}}
_ACCEPT: Final[Command] = {"accept": None}
_DROP: Final[Command] = {"drop": None}
_ANSWERS: Final = _state("established", "related")
_TRANSLATED: Final = _match({"ct": {"key": "status"}}, "dnat", "in")
