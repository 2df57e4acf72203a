# SPDX-License-Identifier: Apache-2.0
"""What is remembered of a set of machines between two commands.

`up` decides; `halt`, `ssh` and the others follow: they are told neither the provider
nor how many there are.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Final, Self

from toolkit.errors import MachineError

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.vm.settings import MachineSettings

_FILE: Final = "machines.json"


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The choices that a set of machines was made with.

    Attributes:
        box_environ: What the Vagrantfile reads of the box.
    """

    provider: str
    count: int
    memory_mib: int
    cpus: int
    cgroups: str
    box_environ: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: MachineSettings, box_environ: dict[str, str]) -> Self:
        """Return the choices to be remembered."""
        return cls(
            provider=settings.provider,
            count=settings.count,
            memory_mib=settings.memory_mib,
            cpus=settings.cpus,
            cgroups=settings.cgroups,
            box_environ=box_environ,
        )

    @classmethod
    def read(cls, directory: Path) -> Self | None:
        """Return what is remembered; None if there never was a machine.

        Raises:
            MachineError: The file is damaged.
        """
        path = directory / _FILE
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise MachineError(f"{path} cannot be read: {error}; remove it") from error

    def write(self, directory: Path) -> None:
        """Remember, replacing what was remembered."""
        directory.mkdir(parents=True, exist_ok=True)
        new = directory / f"{_FILE}.new"
        new.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        new.replace(directory / _FILE)

    def applied_to(self, settings: MachineSettings) -> MachineSettings:
        """Return settings that say what the machines are; what they cannot become is refused.

        Raises:
            MachineError: Another provider or flavour is asked for than they have.
        """
        for name, has, wants in (
            ("provider", self.provider, settings.provider),
            ("control groups", self.cgroups, settings.cgroups),
        ):
            if wants and has != wants:
                raise MachineError(
                    f"the machines have {name} {has or 'of the box'}, not {wants}: "
                    "invoke destroy, then invoke up again"
                )
        return replace(
            settings,
            provider=self.provider,
            cgroups=self.cgroups,
            count=max(settings.count, self.count),
            memory_mib=self.memory_mib,
            cpus=self.cpus,
        )
