# SPDX-License-Identifier: Apache-2.0
"""The one writer of LXC configurations: it cannot emit a line that nobody meant.

0.7.2 filled a text template, so a newline in an image's volume path became a
line of its own, for instance a hook that the host's root ran (rows S-40, S-41).
Here a setting is a key from a closed list and a checked value; nothing else in
this package writes a configuration's text.

What LXC reads is in its ``confile.c`` (`parse_line`): lines end at a newline
only, blanks around key and value are dropped, one pair of equal quotes around a
value is dropped. A mount entry is read by getmntent(3), from a buffer of
PATH_MAX bytes; what does not fit is cut off silently.
"""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from enum import Enum
from typing import Final

from toolkit.errors import InvalidRequestError

# The buffer of getmntent_r(3) in LXC, with its newline and the closing zero.
MOUNT_ENTRY_BYTES: Final = 4096 - 2
_CONTROL: Final = frozenset({"Cc", "Zl", "Zp"})
_SUB_KEY: Final = re.compile(r"[a-zA-Z0-9_]+([./-][a-zA-Z0-9_]+)*")
_MOUNT_OPTION: Final = re.compile(r"[a-z0-9_]+(=[^,]+)?")
_FSTAB_ESCAPES: Final = {"\\": "\\134", " ": "\\040", "\t": "\\011", "\n": "\\012"}
# Words with which an entry tells LXC itself to do something; none of them is ours.
_LXC_OPTIONS: Final = frozenset({"create", "optional", "relative", "idmap"})


class Key(Enum):
    """The settings that a configuration of ours may hold."""

    APPARMOR_PROFILE = "lxc.apparmor.profile"
    AUTODEV = "lxc.autodev"
    CAP_DROP = "lxc.cap.drop"
    CAP_KEEP = "lxc.cap.keep"
    CGROUP_DIR_CONTAINER = "lxc.cgroup.dir.container"
    CGROUP_DIR_MONITOR = "lxc.cgroup.dir.monitor"
    CGROUP_DIR_MONITOR_PIVOT = "lxc.cgroup.dir.monitor.pivot"
    CONSOLE_PATH = "lxc.console.path"
    INIT_COMMAND = "lxc.init.cmd"
    NAMESPACE_CLONE = "lxc.namespace.clone"
    NO_NEW_PRIVILEGES = "lxc.no_new_privs"
    PTY_MAX = "lxc.pty.max"
    ROOTFS_PATH = "lxc.rootfs.path"
    SECCOMP_PROFILE = "lxc.seccomp.profile"
    SELINUX_CONTEXT = "lxc.selinux.context"
    TTY_MAX = "lxc.tty.max"
    UTS_NAME = "lxc.uts.name"


class Family(Enum):
    """The settings whose last part names a file, a limit, a namespace, a device."""

    CGROUP = "lxc.cgroup"
    CGROUP2 = "lxc.cgroup2"
    NAMESPACE_SHARE = "lxc.namespace.share"
    NET = "lxc.net"
    PROC = "lxc.proc"
    PRLIMIT = "lxc.prlimit"
    SYSCTL = "lxc.sysctl"


_MOUNT_ENTRY: Final = "lxc.mount.entry"


@dataclass(frozen=True, kw_only=True)
class MountEntry:
    """One line of an fstab.

    Attributes:
        source: What is mounted: a path, or the filesystem's name.
        target: Where, relative to the root.
        create: What LXC makes if there is no mount point: ``dir`` or ``file``.
        field: What a person calls it, for an error.
    """

    source: str
    target: str
    kind: str
    options: tuple[str, ...]
    create: str = ""
    field: str

    def text(self) -> str:
        """Return the line as fstab(5) wants it.

        Raises:
            InvalidRequestError: LXC could not read it back as it is meant.
        """
        for value in (self.source, self.target, self.kind):
            _check_text(value, self.field)
        if not self.source or not self.target or self.source.startswith("#"):  # a comment
            raise InvalidRequestError(f"{self.field}: a mount entry needs a source and a target")
        for option in self.options:
            self._check_option(option)
        if self.create not in {"", "dir", "file"}:
            raise ValueError(self.create)
        options = [*self.options, f"create={self.create}"] if self.create else self.options
        fields = (self.source, self.target, self.kind, ",".join(options) or "defaults")
        text = " ".join((*map(escape_fstab, fields), "0", "0"))
        if len(os.fsencode(text)) > MOUNT_ENTRY_BYTES:
            raise InvalidRequestError(
                f"{self.field}: a mount entry of LXC takes {MOUNT_ENTRY_BYTES} bytes, "
                f"this one has {len(os.fsencode(text))}"
            )
        return text

    def _check_option(self, option: str) -> None:
        _check_text(option, self.field)
        word = option.partition("=")[0]
        if not _MOUNT_OPTION.fullmatch(option) or word in _LXC_OPTIONS:
            raise InvalidRequestError(f"{self.field}: mount option {option!r} is not allowed")


def escape_fstab(text: str) -> str:
    """Escape a field of an fstab, so that getmntent(3) gives it back (RT-072)."""
    return "".join(_FSTAB_ESCAPES.get(character, character) for character in text)


class ConfigWriter:
    """Collects settings and renders them; every refusal names the field."""

    def __init__(self) -> None:
        self._lines: list[tuple[str, str]] = []

    def set(self, key: Key, value: str | int, *, field: str = "") -> None:
        """Add a setting with a key of its own.

        Raises:
            InvalidRequestError: The value could become more than this one value.
        """
        self._add(key.value, value, field or key.value)

    def set_in(self, family: Family, name: str, value: str | int, *, field: str = "") -> None:
        """Add a setting of a family, for instance ``lxc.cgroup.`` ``memory.limit_in_bytes``.

        Raises:
            InvalidRequestError: Name or value could become more than they are.
        """
        key = f"{family.value}.{name}"
        if not _SUB_KEY.fullmatch(name):
            raise InvalidRequestError(f"{field or key!r}: {name!r} is not a name of {family.value}")
        self._add(key, value, field or key)

    def mount(self, entry: MountEntry) -> None:
        """Add a mount.

        Raises:
            InvalidRequestError: A part of it cannot stand in an fstab.
        """
        self._lines.append((_MOUNT_ENTRY, entry.text()))

    def set_unchecked_key(self, key: str, value: str, *, field: str) -> None:
        """Add a setting whose key `passthrough` let through; still one line, whatever it says.

        Raises:
            InvalidRequestError: Key or value could become more than one line.
        """
        if not key.startswith("lxc.") or not _SUB_KEY.fullmatch(key):
            raise InvalidRequestError(f"{field}: {key!r} is not the name of an LXC setting")
        self._add(key, value, field)

    def settings(self) -> list[tuple[str, str]]:
        """Return what was written, in order."""
        return list(self._lines)

    def render(self) -> bytes:
        """Return the file's content."""
        lines = ["# Written by toolkit.runtime.lxc at each start; changes are lost."]
        lines += [f"{key} = {_quoted(value)}" for key, value in self._lines]
        return os.fsencode("\n".join(lines) + "\n")

    def _add(self, key: str, value: str | int, field: str) -> None:
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise TypeError(f"{field}: {value!r} is neither a text nor a number")
        text = str(value)
        _check_text(text, field)
        self._lines.append((key, text))


def _check_text(text: str, field: str) -> None:
    """Refuse what ends a line somewhere, or what a terminal would not show."""
    for character in text:
        if unicodedata.category(character) in _CONTROL:
            raise InvalidRequestError(
                f"{field}: the character U+{ord(character):04X} in {text!r} "
                "cannot stand in an LXC configuration"
            )


def _quoted(value: str) -> str:
    """Quote what LXC would strip: blanks at an end, or a pair of quotes that is meant."""
    looks_quoted = len(value) > 1 and value[0] in "'\"" and value[-1] == value[0]
    return f'"{value}"' if looks_quoted or value != value.strip(" ") else value
