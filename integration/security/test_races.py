# SPDX-License-Identifier: Apache-2.0
"""Names that a container swaps while the host side looks at them (rows S-21, S-22, S-26)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from integration.security.conftest import Weaken
    from integration.security.lab import Lab

_SWAP_MS = 60_000


def stolen_lines(lab: Lab, secret: Path, attempts: int) -> list[str]:
    """Return what programs read from standard input while /dev/null is swapped with a link."""
    swap = (
        f"ln -s {secret} /dev/bait; echo ready; exec /probe exchange /dev/null /dev/bait {_SWAP_MS}"
    )
    found: list[str] = []
    with lab.running("sh", "-c", swap) as container:
        while "ready" not in lab.output(container):
            pass
        for _ in range(attempts):
            found += lab.execute(container, "cat").lines
    return [line for line in found if line in secret.read_text().splitlines()]


def test_the_input_of_an_added_program_is_never_a_file_of_the_host(lab: Lab, canary: Path) -> None:
    """S-22: the shim opens the container's null while the container swaps it for a link."""
    assert stolen_lines(lab, canary / "secret", 40) == []


def test_control_a_shim_that_opens_the_name_gives_the_hosts_file_away(
    weakened: Weaken, canary: Path
) -> None:
    """S-22: the same race against a shim that trusts the name."""
    trusting = (
        'open_device_at(null_dir_fd, "null", _NULL, os.O_RDONLY)',
        'os.open("null", os.O_RDONLY | os.O_CLOEXEC, dir_fd=null_dir_fd)',
    )
    with weakened({"runtime/native/prepare.py": [trusting]}) as lab:
        assert "host-secret" in stolen_lines(lab, canary / "secret", 40)
