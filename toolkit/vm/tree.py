# SPDX-License-Identifier: Apache-2.0
"""The checkout, brought to a machine: only what changed, and told.

Owns what goes and what stays behind (what git would not keep), and the digest by
which provisioning is known to be done.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from toolkit.vm import commands
from toolkit.vm.remote import TREE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from toolkit.vm.login import Login

_SYNC_SECONDS: Final = 300.0
# rsync's itemized lines: what was done, a blank, the path
_CHANGE: Final = re.compile(r"^(?:[<>ch*.][fdLDS]?\S*|\*deleting)\s+(.*)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The checkout."""

    repository: Path
    run: Callable[..., str] = commands.run

    def bring_to(self, login: Login) -> list[str]:
        """Make a machine's tree equal to this one; return the files that changed there.

        Raises:
            MachineError: rsync is missing, or failed.
        """
        shell = f"ssh -F {login.config_path}"
        command = ["rsync", "-rlpt", "--delete", "--itemize-changes", "--rsync-path=sudo rsync"]
        command += ["--filter=:- .gitignore", "--exclude=.git", "-e", shell]
        written = self.run(
            [*command, f"{self.repository}/", f"{login.machine}:{TREE}/"],
            timeout_seconds=_SYNC_SECONDS,
        )
        return [path for path in _CHANGE.findall(written) if not path.endswith("/")]

    def provision_key(self, *, cgroups: str) -> str:
        """Return a digest of all that decides what provisioning does."""
        digest = hashlib.sha256(cgroups.encode())
        scripts = self.repository / "vagrant" / "provision"
        for path in (self.repository / "pyproject.toml", *sorted(scripts.iterdir())):
            digest.update(f"\n{path.name}\n".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()


def touches_engine(changed: list[str]) -> bool:
    """Tell whether an engine that runs would run other code if it were started again."""
    return any(path.startswith("toolkit/") and path.endswith(".py") for path in changed)
