# SPDX-License-Identifier: Apache-2.0
"""What the machine refuses or lacks."""

from __future__ import annotations

import os

from toolkit.errors.branches import (
    HostError,
    ToolkitError,
)


class KernelCallError(HostError):
    """A system call failed.

    Attributes:
        call: Name of the call.
        subject: What it was applied to: a path, a name, a number.
        errno: The kernel's number.
    """

    def __init__(self, call: str, subject: str, errno: int) -> None:
        on = f" {subject}" if subject else ""
        super().__init__(f"{call}{on}: {os.strerror(errno)}")
        self.call = call
        self.subject = subject
        self.errno = errno


class MountError(KernelCallError):
    """A mount could not be made or taken away."""


class NamespaceError(KernelCallError):
    """A namespace could not be made or entered."""


class LinkError(KernelCallError):
    """A link, an address, a route or a neighbour could not be made, changed or removed."""


class CgroupError(KernelCallError):
    """A control group could not be made, changed or removed."""


class KernelFeatureMissingError(HostError):
    """The kernel lacks something that was asked for."""

    hint = "Run 'invoke doctor': it lists what is missing and how to get it."


class StorageError(HostError):
    """A layer or a container's file system could not be made or read."""


class MachineError(ToolkitError):
    """The machine that the engine should run on cannot be prepared."""
