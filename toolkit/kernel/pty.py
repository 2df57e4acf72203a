# SPDX-License-Identifier: Apache-2.0
"""Pseudo-terminals of a devpts of our own (Documentation/filesystems/devpts.rst)."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from typing import Final

from toolkit.errors import KernelCallError
from toolkit.kernel.paths import open_device_at

_TIOCGPTPEER: Final = 0x5441
_TIOCSPTLCK: Final = 0x40045431
_TIOCGPTN: Final = 0x80045430
_PTMX: Final = os.makedev(5, 2)
_WINDOW: Final = struct.Struct("HHHH")


def open_pty(devpts_fd: int) -> tuple[int, int, int]:
    """Open a pair in the devpts behind *devpts_fd*: ``(master, slave, number)``.

    The slave is opened through the master, never by a path.
    """
    master_fd = -1
    try:
        master_fd = open_device_at(devpts_fd, "ptmx", _PTMX, os.O_RDWR | os.O_NOCTTY)
        fcntl.ioctl(master_fd, _TIOCSPTLCK, struct.pack("i", 0))
        (number,) = struct.unpack("i", fcntl.ioctl(master_fd, _TIOCGPTN, struct.pack("i", 0)))
        slave_fd = fcntl.ioctl(master_fd, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if master_fd >= 0:
            os.close(master_fd)
        raise KernelCallError("open", "ptmx", error.errno or 0) from error
    return master_fd, slave_fd, number


def resize(terminal_fd: int, rows: int, columns: int) -> None:
    """Set the size of a terminal, in characters; the foreground job gets SIGWINCH."""
    try:
        fcntl.ioctl(terminal_fd, termios.TIOCSWINSZ, _WINDOW.pack(rows, columns, 0, 0))
    except OSError as error:
        raise KernelCallError("ioctl TIOCSWINSZ", "", error.errno or 0) from error


def make_controlling(terminal_fd: int) -> None:
    """Make a terminal the controlling one of this session (row S-13: never the operator's)."""
    fcntl.ioctl(terminal_fd, termios.TIOCSCTTY, 0)
