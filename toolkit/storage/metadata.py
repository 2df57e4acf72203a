# SPDX-License-Identifier: Apache-2.0
"""Owner, mode, times and extended attributes of what an archive or a copy makes.

The order matters: a change of owner clears setuid bits and file capabilities,
so owner comes first, then mode, then attributes, then times.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolkit.storage.tarformat import SYMLINK, Member

if TYPE_CHECKING:
    from collections.abc import Mapping

OPAQUE_XATTR: Final = "trusted.overlay.opaque"

_KEPT_XATTRS: Final = frozenset(
    {b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default"}
)
_XATTR_REFUSALS: Final = frozenset({errno.ENOTSUP, errno.EPERM, errno.EINVAL})


def is_kept_xattr(name: bytes) -> bool:
    """Tell whether an extended attribute travels; those of overlayfs never do (row S-33)."""
    if name.startswith(b"user."):
        return not name.startswith(b"user.overlay.")
    return name in _KEPT_XATTRS


def is_whiteout(status: os.stat_result) -> bool:
    """Tell whether something is overlayfs's mark for "deleted here"."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def apply_to_fd(fd: int, member: Member, *, with_owner: bool) -> None:
    """Give an open file or directory all that its member says, times last."""
    if with_owner:
        os.fchown(fd, member.uid, member.gid)
    os.fchmod(fd, member.mode)
    if member.xattrs:
        set_xattrs(fd, member.xattrs)
    os.utime(fd, ns=(member.mtime_ns, member.mtime_ns))


def apply_to_name(parent_fd: int, name: bytes, member: Member, *, with_owner: bool) -> None:
    """Give what cannot be opened (a link, FIFO or device) its owner, mode and times."""
    if with_owner:
        os.chown(name, member.uid, member.gid, dir_fd=parent_fd, follow_symlinks=False)
    if member.kind != SYMLINK:
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
        try:
            # Leads to the thing itself, whatever has taken its name meanwhile.
            Path(f"/proc/self/fd/{handle}").chmod(member.mode)
        finally:
            os.close(handle)
    times = (member.mtime_ns, member.mtime_ns)
    os.utime(name, ns=times, dir_fd=parent_fd, follow_symlinks=False)


def set_xattrs(fd: int, xattrs: Mapping[bytes, bytes]) -> None:
    """Set the attributes that travel; a file system without them is no error."""
    for name, value in xattrs.items():
        if not is_kept_xattr(name):
            continue
        try:
            os.setxattr(fd, name, value)
        except OSError as error:
            if error.errno not in _XATTR_REFUSALS:
                raise


def read_xattrs(fd: int) -> dict[bytes, bytes]:
    """Return the attributes that travel; none where the file system has none."""
    try:
        names = [os.fsencode(name) for name in os.listxattr(fd)]
        return {name: os.getxattr(fd, name) for name in names if is_kept_xattr(name)}
    except OSError as error:
        if error.errno in _XATTR_REFUSALS | {errno.ENODATA}:
            return {}
        raise
