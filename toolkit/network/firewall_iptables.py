# SPDX-License-Identifier: Apache-2.0
"""The firewall by iptables: chains of the instance's own, one transaction per change.

A published port is one line that is appended, and one that is deleted. Whatever
else changes, its chain is emptied and written again in the same transaction, so
that there is no moment without rules. A transaction that does not fit what is
there (a chain or a rule has gone) fails as a whole, and everything is written
anew. That the kernel's chains still lead to ours is told by `watch`; on legacy
iptables, which tells nothing, each transaction checks it (with nftables below
that check would read every rule: 13 ms instead of 3 with 300 ports).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Literal

from toolkit.network.firewall import FAMILIES, FirewallState
from toolkit.network.firewall_changes import ChangedByFamily
from toolkit.network.firewall_rules import Chains, every_jump, jumps, port_rules, rules
from toolkit.network.firewall_text import (
    TABLES,
    Rule,
    Table,
    chain_line,
    remove_chain_lines,
    rule_line,
    transaction,
)
from toolkit.network.firewall_watch import RulesWatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolkit.network.firewall import Family, PublishedPort
    from toolkit.network.firewall_text import ChainName
    from toolkit.network.iptables import IptablesRunner

Lines = dict[Table, list[str]]


class IptablesFirewall(ChangedByFamily[str]):
    """A `Firewall` by iptables-restore."""

    def __init__(self, instance: str, runner: IptablesRunner) -> None:
        super().__init__()
        self._chains = Chains.of(instance)
        self._runner = runner

    def flush(self) -> None:
        """Remove everything of this instance, and nothing else."""
        for family in FAMILIES:
            if not self._runner.offers(family):
                continue
            saved = _Saved(self._runner.save(family))
            lines: Lines = defaultdict(list)
            for jump in every_jump(self._chains, family):
                lines[jump.table] += [rule_line(jump, "-D")] * saved.count(jump)
            for table, chain in self._chains.by_table():
                if saved.has(table, chain):
                    lines[table] += remove_chain_lines(chain)
            text = _text(lines)
            if text:
                self._runner.restore(family, text)
        self._used.clear()

    def expect(self) -> None:
        """Start the programs of the next change ahead."""
        for family in tuple(self._used):
            self._runner.expect(family)

    def close(self) -> None:
        """End programs that wait; rules stay."""
        self._runner.close()

    def watch(self, also_ours: Callable[[], frozenset[int]] = frozenset) -> RulesWatch:
        """Return what tells that somebody else has changed rules."""
        return RulesWatch(lambda: self._runner.writer_pids | also_ours())

    def _wants(self, family: Family, state: FirewallState) -> bool:
        return bool(rules(self._chains, state, family))

    def _rebuild(self, family: Family, state: FirewallState) -> None:
        """Write every chain anew; jumps that are there stay where they are."""
        if not self._wants(family, state) and not self._is_left(family):
            return
        saved = _Saved(self._runner.save(family))
        wanted = jumps(self._chains, state, family)
        lines: Lines = defaultdict(list)
        for table, chain in self._chains.by_table():
            lines[table].append(chain_line(chain))
        for rule in rules(self._chains, state, family):
            lines[rule.table].append(rule_line(rule))
        for jump in every_jump(self._chains, family):
            there, keep = saved.count(jump), int(jump in wanted)
            lines[jump.table] += [rule_line(jump, "-D")] * (there - keep)
            if keep and not there:
                lines[jump.table].append(rule_line(jump, "-I"))
        self._runner.restore(family, _text(lines))
        self._used.add(family)

    def _is_left(self, family: Family) -> bool:
        """Tell whether rules of ours may be there although none are wanted."""
        if family in self._used:
            return True
        if not self._runner.offers(family):
            return False
        saved = _Saved(self._runner.save(family))
        return any(saved.has(table, chain) for table, chain in self._chains.by_table())

    def _carry_out(self, family: Family, changes: str) -> None:
        self._runner.restore(family, changes)

    def _difference(self, family: Family, previous: FirewallState, state: FirewallState) -> str:
        """Return the transaction between two states; little work where only ports differ."""
        lines: Lines = defaultdict(list)
        if _frame(previous) == _frame(state):
            gone, come = previous.ports - state.ports, state.ports - previous.ports
            acts: tuple[tuple[frozenset[PublishedPort], Literal["-A", "-D"]], ...]
            acts = ((gone, "-D"), (come, "-A"))
            for ports, act in acts:
                changed = port_rules(self._chains, FirewallState(ports=ports), family)
                lines["nat"] += [rule_line(rule, act) for rule in changed]
        else:
            for table, chain in self._chains.by_table():
                lines[table] += self._chain_difference(chain, family, previous, state)
        old_jumps, new_jumps = (jumps(self._chains, one, family) for one in (previous, state))
        for jump in old_jumps:
            if jump not in new_jumps:
                lines[jump.table].append(rule_line(jump, "-D"))
        for jump in new_jumps:
            if jump not in old_jumps:
                lines[jump.table].append(rule_line(jump, "-I"))
            elif lines[jump.table] and not self._runner.tells_changes:
                lines[jump.table].insert(0, rule_line(jump, "-C"))
        return _text(lines)

    def _chain_difference(
        self, chain: ChainName, family: Family, previous: FirewallState, state: FirewallState
    ) -> list[str]:
        old, new = (
            [rule for rule in rules(self._chains, one, family) if rule.chain == chain]
            for one in (previous, state)
        )
        return [] if old == new else [chain_line(chain), *(rule_line(rule) for rule in new)]

    def _missing(self, family: Family, state: FirewallState) -> list[str]:
        saved = _Saved(self._runner.save(family))
        found = [
            f"{jump.table}: {rule_line(jump)}"
            for jump in jumps(self._chains, state, family)
            if not saved.count(jump)
        ]
        wanted = rules(self._chains, state, family)
        for table, chain in self._chains.by_table():
            should = [rule_line(rule) for rule in wanted if rule.chain == chain]
            there = saved.lines(table, chain)
            if not saved.has(table, chain):
                found.append(f"{table}: chain {chain.text}")
            found += [f"{table}: {line}" for line in should if line not in there]
            found += [f"{table}: too much: {line}" for line in there if line not in should]
            # The order of published ports says nothing, that of all else does.
            if chain != self._chains.dnat and sorted(should) == sorted(there) != should != there:
                found.append(f"{table}: order of {chain.text}")
        return found


def _frame(state: FirewallState) -> tuple[object, ...]:
    """Return all of a state that is not a published port."""
    return state.has_proxies, state.networks, state.links


def _text(lines: Lines) -> str:
    return transaction((table, lines.get(table, [])) for table in TABLES)


class _Saved:
    """What iptables-save printed."""

    def __init__(self, text: str) -> None:
        self._chains: dict[tuple[str, str], list[str]] = {}
        table = ""
        for line in text.splitlines():
            if line.startswith("*"):
                table = line[1:]
            elif line.startswith(":"):
                self._chains.setdefault((table, line[1:].split()[0]), [])
            elif line.startswith("-A "):
                self._chains.setdefault((table, line.split()[1]), []).append(line)

    def has(self, table: Table, chain: ChainName) -> bool:
        return (table, chain.text) in self._chains

    def lines(self, table: Table, chain: ChainName) -> list[str]:
        return self._chains.get((table, chain.text), [])

    def count(self, rule: Rule) -> int:
        return self.lines(rule.table, rule.chain).count(rule_line(rule))
