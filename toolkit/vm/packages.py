# SPDX-License-Identifier: Apache-2.0
"""System packages: which ones the doctor's list asks for, and installing them with apt.

Owns apt's command lines. What is missing is `toolkit.vm.doctor`'s to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.errors import MachineError
from toolkit.vm import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from toolkit.vm.doctor import Feature

_APT_SECONDS = 900


def missing_packages(features: Sequence[Feature]) -> list[str]:
    """Return the packages that bring what is missing, each once, in the list's order."""
    wanted = (feature.package for feature in features if feature.package and not feature.is_present)
    return list(dict.fromkeys(wanted))


def install(
    packages: Sequence[str],
    *,
    say: Callable[[str], None],
    run: Callable[..., str] = commands.run,
) -> None:
    """Install packages with apt, after saying so; ask nothing.

    Raises:
        MachineError: There is no apt here, or it failed.
    """
    if not packages:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    say(f"installing system packages: {' '.join(packages)}")
    environ = {"DEBIAN_FRONTEND": "noninteractive"}  # so that it asks no question
    try:
        run(["apt-get", "update"], timeout_seconds=_APT_SECONDS, environ=environ)
        run(command, timeout_seconds=_APT_SECONDS, environ=environ)
    except MachineError as error:
        raise MachineError(f"{error}\nInstall by hand: {' '.join(packages)}") from error
