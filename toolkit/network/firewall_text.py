# SPDX-License-Identifier: Apache-2.0
"""The text of a transaction for iptables-restore: the one writer of it.

An argument of a rule is an `Option` out of a fixed list, an address, a port, a
`LinkName`, a `ChainName` or a `RuleOwner`. There is no argument of type text:
what a person names cannot reach the transaction, a line end least of all. Rules
are written exactly as iptables-save prints them, so that the two are compared as
they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from toolkit.errors import InvalidRequestError
from toolkit.network.firewall import LinkName, RuleOwner

if TYPE_CHECKING:
    from collections.abc import Iterable

Table = Literal["raw", "nat", "filter"]
TABLES: Final[tuple[Table, ...]] = ("raw", "nat", "filter")

_CHAIN_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,27}")


class Option(StrEnum):
    """Every fixed word that a rule may hold."""

    SOURCE = "-s"
    DESTINATION = "-d"
    INCOMING = "-i"
    OUTGOING = "-o"
    PROTOCOL = "-p"
    MATCH = "-m"
    NOT = "!"
    JUMP = "-j"
    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"
    DESTINATION_PORT = "--dport"
    CONNTRACK = "conntrack"
    CONNECTION_STATE = "--ctstate"
    ANSWERS = "RELATED,ESTABLISHED"
    TRANSLATED = "DNAT"
    ADDRESS_TYPE = "addrtype"
    DESTINATION_TYPE = "--dst-type"
    LOCAL = "LOCAL"
    COMMENT_MATCH = "comment"
    COMMENT = "--comment"
    ACCEPT = "ACCEPT"
    DROP = "DROP"
    RETURN = "RETURN"
    MASQUERADE = "MASQUERADE"
    TO_DESTINATION = "--to-destination"


@dataclass(frozen=True)
class ChainName:
    """The name of a chain; iptables takes 28 characters."""

    text: str

    def __post_init__(self) -> None:
        if not _CHAIN_NAME.fullmatch(self.text):
            raise InvalidRequestError(f"no name of a chain: {self.text!r}")


@dataclass(frozen=True)
class Backend:
    """Where a published port leads."""

    address: IPv4Address | IPv6Address
    port: int


Network = IPv4Network | IPv6Network
Argument = Option | Network | int | LinkName | ChainName | RuleOwner | Backend


class Rule(NamedTuple):
    """A rule of a chain."""

    table: Table
    chain: ChainName
    arguments: tuple[Argument, ...]


def rule_line(rule: Rule, act: Literal["-A", "-D", "-C", "-I"] = "-A") -> str:
    """Return the line that appends, deletes, checks, or inserts a rule at the top."""
    return " ".join((act, rule.chain.text, *(_word(argument) for argument in rule.arguments)))


def chain_line(chain: ChainName) -> str:
    """Return the line that makes a chain, or empties the one that is there."""
    return f":{chain.text} - [0:0]"


def remove_chain_lines(chain: ChainName) -> list[str]:
    """Return the lines that empty and delete a chain."""
    return [f"-F {chain.text}", f"-X {chain.text}"]


def transaction(tables: Iterable[tuple[Table, list[str]]]) -> str:
    """Return the text of one transaction; tables without lines are left out."""
    parts = []
    for table, lines in tables:
        if lines:
            parts += [f"*{table}", *lines, "COMMIT"]
    return "".join(line + "\n" for line in parts)


def _word(argument: Argument) -> str:
    # Option first: it is a text, and the only one.
    if isinstance(argument, Option):
        return argument.value
    if isinstance(argument, IPv4Network | IPv6Network):
        return str(argument)
    if isinstance(argument, LinkName | ChainName):
        return argument.text
    if isinstance(argument, RuleOwner):
        return argument.short_id
    if isinstance(argument, Backend):
        return _backend(argument)
    if isinstance(argument, int):
        return f"{argument:d}"
    raise TypeError(f"not for a rule: {type(argument).__name__}")


def _backend(backend: Backend) -> str:
    if isinstance(backend.address, IPv6Address):
        return f"[{backend.address}]:{backend.port:d}"
    return f"{backend.address}:{backend.port:d}"
