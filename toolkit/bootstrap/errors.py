# SPDX-License-Identifier: Apache-2.0
"""What can keep a first image from being built."""

from __future__ import annotations

from toolkit.errors import HostError


class BusyboxMissingError(HostError):
    """The machine has no static busybox."""

    hint = "Install it: apt-get install busybox-static"


class DebootstrapMissingError(HostError):
    """The machine has no mmdebstrap."""

    hint = "Install it: apt-get install mmdebstrap"


class DebootstrapFailedError(HostError):
    """mmdebstrap could not build the root file system."""

    hint = "Run 'apt-get update', then check the mirror and the suite: see --mirror and --suite."
