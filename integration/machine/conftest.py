# SPDX-License-Identifier: Apache-2.0
"""The machine seen by testinfra: a Vagrant machine by `--hosts=ssh://`, else this one.

These tests start no engine of their own and change nothing, so the leak check of the
other suites is not wanted here: it would need an engine on this side.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    """Stand in the place of the check that needs a private engine."""
    return iter((None,))


@dataclass(frozen=True)
class Machine:
    """The machine, and what is known of it.

    Attributes:
        host: testinfra's.
        is_own: It was made by `invoke up`: it has the service, the users and the settings.
        cgroups: ``v1`` or ``v2``.
    """

    host: Any
    is_own: bool
    cgroups: str

    @property
    def socket_path(self) -> str:
        """Where its engine listens."""
        instance = "toolkit" if self.is_own else os.environ.get("TOOLKIT_INSTANCE", "toolkit")
        return f"/run/{instance}/engine.sock"

    def ask(self, path: str) -> str:
        """Return what the engine answers to a GET, as the machine's own Python hears it."""
        code = (
            "import http.client, socket, sys\n"
            "connection = http.client.HTTPConnection('localhost')\n"
            "connection.sock = socket.socket(socket.AF_UNIX)\n"
            f"connection.sock.connect({self.socket_path!r})\n"
            f"connection.request('GET', {path!r})\n"
            "sys.stdout.write(connection.getresponse().read().decode())\n"
        )
        return str(self.host.check_output("python3 -c %s", code))


@pytest.fixture(scope="module")
def machine(host: Any) -> Machine:
    if host.backend.get_connection_type() == "local" and (
        sys.platform != "linux" or os.geteuid() != 0
    ):
        pytest.skip("the local machine is looked at as root on Linux")
    is_v2 = host.file("/sys/fs/cgroup/cgroup.controllers").exists
    return Machine(
        host=host,
        is_own=host.file("/var/lib/toolkit-provisioned").exists,
        cgroups="v2" if is_v2 else "v1",
    )


@pytest.fixture
def own(machine: Machine) -> Machine:
    """A machine that `invoke up` made."""
    if not machine.is_own:
        pytest.skip("this machine was not made by invoke up: nothing of it is ours to ask for")
    return machine
