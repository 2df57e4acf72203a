# SPDX-License-Identifier: Apache-2.0
"""Who the program runs as: `user[:group]` against the passwd and group files of the image.

Works on bytes that were read before the root switch; libc's look-ups would load
what the image's nsswitch.conf names (rows S-05, S-06).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MAX_ID: Final = 2**32 - 2  # 2**32 - 1 means "leave as it is" to the kernel
_PASSWD_FIELDS: Final = 6
_GROUP_FIELDS: Final = 4


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The ids of a program, and its home directory as passwd gives it."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


@dataclass(frozen=True)
class _Account:
    name: str
    uid: int
    gid: int
    home: str


def resolve_identity(
    user: str, passwd: bytes | None, group: bytes | None, extra_groups: Sequence[str] = ()
) -> Identity:
    """Return the ids that *user* (``name``, ``uid``, with ``:group`` or ``:gid``) stands for.

    A number needs no entry. A name that is a number is the entry's name first (CVE-2016-3697).

    Raises:
        InvalidRequestError: A name has no entry, or an id is out of range.
    """
    who, _, group_text = user.partition(":")
    account = _find_account(who or "0", passwd or b"")
    gid = account.gid
    groups = tuple(_memberships(account.name, group or b"")) if account.name else ()
    if group_text:
        gid, groups = _find_group(group_text, group or b""), ()
    added = tuple(_find_group(text, group or b"") for text in extra_groups)
    return Identity(
        uid=account.uid, gid=gid, groups=tuple(dict.fromkeys(groups + added)), home=account.home
    )


def _find_account(who: str, passwd: bytes) -> _Account:
    number = _as_id(who)
    by_number = None
    for fields in _entries(passwd, _PASSWD_FIELDS):
        uid, gid = _as_id(fields[2]), _as_id(fields[3])
        if uid is None or gid is None:
            continue
        account = _Account(fields[0], uid, gid, fields[5] or "/")
        if fields[0] == who:
            return account
        if uid == number and by_number is None:
            by_number = account
    if by_number is not None:
        return by_number
    if number is None:
        raise InvalidRequestError(f"unable to find user {who}: no matching entries in passwd file")
    return _Account("", number, 0, "/")


def _find_group(text: str, group: bytes) -> int:
    for fields in _entries(group, _GROUP_FIELDS - 1):
        gid = _as_id(fields[2])
        if fields[0] == text and gid is not None:
            return gid
    number = _as_id(text)
    if number is None:
        raise InvalidRequestError(f"unable to find group {text}: no matching entries in group file")
    return number


def _memberships(name: str, group: bytes) -> Iterator[int]:
    for fields in _entries(group, _GROUP_FIELDS):
        gid = _as_id(fields[2])
        if gid is not None and name in fields[3].split(","):
            yield gid


def _entries(content: bytes, at_least: int) -> Iterator[list[str]]:
    for line in content.split(b"\n"):
        fields = line.decode("utf-8", "surrogateescape").strip().split(":")
        if len(fields) >= at_least and fields[0] and not fields[0].startswith("#"):
            yield fields


def _as_id(text: str) -> int | None:
    if not text.isascii() or not text.isdigit() or len(text) > len(str(_MAX_ID)):
        return None
    number = int(text)
    return number if number <= _MAX_ID else None
