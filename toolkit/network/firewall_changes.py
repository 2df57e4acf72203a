# SPDX-License-Identifier: Apache-2.0
"""When rules are changed, when they are written anew, and when that is needed.

What a change looks like is `firewall_iptables`' and `firewall_nft`'s; this is
the policy that both have: one transaction for each family, all written anew
where one does not fit what is there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

from toolkit.errors import FirewallError
from toolkit.network.firewall import FAMILIES

if TYPE_CHECKING:
    from toolkit.network.firewall import Family, FirewallState

Changes = TypeVar("Changes")


class ChangedByFamily(ABC, Generic[Changes]):
    """The half of a `Firewall` that decides what is done; *Changes* is one transaction."""

    def __init__(self) -> None:
        # Families that something of ours is in: IPv6 costs nothing until a network has it.
        self._used: set[Family] = set()

    def apply(self, previous: FirewallState | None, state: FirewallState) -> None:
        """Change what differs in one transaction for each family."""
        if previous is None:
            self._rebuild_all(state)
            return
        for family in FAMILIES:
            if family not in self._used:
                if self._wants(family, state):
                    self._rebuild(family, state)
                continue
            changes = self._difference(family, previous, state)
            if not changes:
                continue
            try:
                self._carry_out(family, changes)
            except FirewallError:
                # Not what *previous* says is there: then who knows about the other family.
                self._rebuild_all(state)
                return

    def missing(self, state: FirewallState) -> list[str]:
        """Return what is not as it should be, a line each."""
        found = []
        for family in FAMILIES:
            if self._wants(family, state) or family in self._used:
                found += self._missing(family, state)
        return found

    def repair(self, state: FirewallState) -> list[str]:
        """Write everything anew if anything is missing, and return what was."""
        missing = self.missing(state)
        if missing:
            self.apply(None, state)
        return missing

    def _rebuild_all(self, state: FirewallState) -> None:
        for family in FAMILIES:
            self._rebuild(family, state)

    @abstractmethod
    def _wants(self, family: Family, state: FirewallState) -> bool:
        """Tell whether a state has rules in a family."""

    @abstractmethod
    def _rebuild(self, family: Family, state: FirewallState) -> None:
        """Write a family's rules anew, whatever there is of them."""

    @abstractmethod
    def _difference(self, family: Family, previous: FirewallState, state: FirewallState) -> Changes:
        """Return the transaction between two states; empty where nothing differs."""

    @abstractmethod
    def _carry_out(self, family: Family, changes: Changes) -> None:
        """Do it, or leave everything as it was.

        Raises:
            FirewallError: It does not fit what is there.
        """

    @abstractmethod
    def _missing(self, family: Family, state: FirewallState) -> list[str]:
        """Return what is not as it should be in a family."""
