# SPDX-License-Identifier: Apache-2.0
"""Resource limits of a process: docker's and OCI's names, a plan, and its application.

`plan_rlimits` runs before the root switch: it reads what the host allows and
says what had to be lowered. `apply_rlimits` runs after it and opens nothing.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from toolkit.errors import InvalidRequestError, KernelCallError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

UNLIMITED: Final = resource.RLIM_INFINITY

RLIMITS: Final[dict[str, int]] = {
    "as": resource.RLIMIT_AS,
    "core": resource.RLIMIT_CORE,
    "cpu": resource.RLIMIT_CPU,
    "data": resource.RLIMIT_DATA,
    "fsize": resource.RLIMIT_FSIZE,
    "locks": 10,  # RLIMIT_LOCKS: the kernel still stores it, Python has no name for it
    "memlock": resource.RLIMIT_MEMLOCK,
    "msgqueue": resource.RLIMIT_MSGQUEUE,
    "nice": resource.RLIMIT_NICE,
    "nofile": resource.RLIMIT_NOFILE,
    "nproc": resource.RLIMIT_NPROC,
    "rss": resource.RLIMIT_RSS,
    "rtprio": resource.RLIMIT_RTPRIO,
    "rttime": resource.RLIMIT_RTTIME,
    "sigpending": resource.RLIMIT_SIGPENDING,
    "stack": resource.RLIMIT_STACK,
}


@dataclass(frozen=True, kw_only=True)
class Rlimit:
    """One limit, by docker's name; `UNLIMITED` for none."""

    name: str
    soft: int
    hard: int

    @property
    def number(self) -> int:
        """The kernel's number of the resource."""
        return RLIMITS[self.name]


@dataclass(frozen=True, kw_only=True)
class RlimitPlan:
    """What can be applied, and a sentence for each limit that had to be lowered."""

    limits: tuple[Rlimit, ...]
    warnings: tuple[str, ...]


def parse_rlimit(name: str, soft: int, hard: int) -> Rlimit:
    """Return the limit that docker's ``nofile`` or OCI's ``RLIMIT_NOFILE`` names.

    A negative number means unlimited, as for docker.

    Raises:
        InvalidRequestError: The name is unknown, or soft is above hard.
    """
    plain = name.lower().removeprefix("rlimit_")
    if plain not in RLIMITS:
        raise InvalidRequestError(f"invalid ulimit type: {name}")
    if _rank(soft) > _rank(hard):
        raise InvalidRequestError(
            f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        )
    return Rlimit(
        name=plain,
        soft=UNLIMITED if soft < 0 else soft,
        hard=UNLIMITED if hard < 0 else hard,
    )


def hard_limits() -> dict[str, int]:
    """Return the hard limits of the calling process, by name."""
    return {name: resource.getrlimit(number)[1] for name, number in RLIMITS.items()}


def most_open_files() -> int:
    """Return the most that anybody may set ``nofile`` to (``fs.nr_open``)."""
    with open("/proc/sys/fs/nr_open", encoding="ascii") as file:
        return int(file.read())


def plan_rlimits(
    requested: Iterable[Rlimit],
    *,
    host_hard: Mapping[str, int],
    may_raise: bool,
    most_files: int,
) -> RlimitPlan:
    """Lower what the host would refuse, and say so.

    Args:
        requested: The limits that are asked for.
        host_hard: Hard limits that the process has now, by name.
        may_raise: It holds CAP_SYS_RESOURCE.
        most_files: ``fs.nr_open``; nobody passes it.
    """
    limits: list[Rlimit] = []
    warnings: list[str] = []
    for limit in requested:
        most = UNLIMITED if may_raise else host_hard[limit.name]
        if limit.name == "nofile" and _rank(most) > most_files:
            most = most_files
        lowered = Rlimit(
            name=limit.name,
            soft=min(limit.soft, most, key=_rank),
            hard=min(limit.hard, most, key=_rank),
        )
        limits.append(lowered)
        if lowered != limit:
            warnings.append(
                f"ulimit {limit.name}={_text(limit)} is more than this host allows: "
                f"{_text(lowered)} is used."
            )
    return RlimitPlan(limits=tuple(limits), warnings=tuple(warnings))


def apply_rlimits(limits: Iterable[Rlimit]) -> None:
    """Apply planned limits to the calling process.

    Raises:
        KernelCallError: The kernel refused one, named in *subject*.
    """
    for limit in limits:
        try:
            resource.setrlimit(limit.number, (limit.soft, limit.hard))
        except (OSError, ValueError) as error:  # CPython turns EPERM and EINVAL to ValueError
            number = getattr(error, "errno", None) or 1
            raise KernelCallError("setrlimit", f"{limit.name}={_text(limit)}", number) from error


def _rank(value: int) -> float:
    return float("inf") if value < 0 or value == UNLIMITED else value


def _text(limit: Rlimit) -> str:
    words = [
        "unlimited" if value == UNLIMITED else str(value) for value in (limit.soft, limit.hard)
    ]
    return ":".join(words)
