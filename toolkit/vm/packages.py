# SPDX-License-Identifier: Apache-2.0
"""System packages: which ones the doctor's list asks for, and installing them.

How they are installed, the script says that provisions a machine too. What is missing is
`toolkit.vm.doctor`'s to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.errors import MachineError
from toolkit.vm import commands
from toolkit.vm.settings import REPOSITORY

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
    """Install packages with the provisioning script, after saying so; ask nothing.

    Raises:
        MachineError: There is no apt here, or it failed.
    """
    if not packages:
        return
    say(f"installing system packages: {' '.join(packages)}")
    script = REPOSITORY / "vagrant" / "provision" / "packages.sh"
    environ = {"TOOLKIT_PROVISION": "here"}
    try:
        run(["sh", str(script), *packages], timeout_seconds=_APT_SECONDS, environ=environ)
    except MachineError as error:
        raise MachineError(f"{error}\nInstall by hand: {' '.join(packages)}") from error
