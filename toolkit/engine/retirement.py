# SPDX-License-Identifier: Apache-2.0
"""What an engine takes away that nobody will follow: one that ran for a while only.

An engine that is stopped leaves control group, bridge and rules for the next one.
"""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from toolkit.engine.network_places import TRACES_NAME
from toolkit.errors import ToolkitError
from toolkit.network.sweep import sweep

if TYPE_CHECKING:
    from toolkit.config import Instance
    from toolkit.engine.ports import Parts

_STAYS: Final = frozenset({"engine.log", "autostart.lock"})  # of who started it

_log = logging.getLogger(__name__)


def clear_host(instance: Instance, parts: Parts) -> None:
    """Remove links, rules, control group and run files of an instance whose engine has closed."""
    if (instance.run_dir / TRACES_NAME).exists():
        try:
            sweep(instance.name)
        except ToolkitError as error:
            _log.warning("links and rules stay: %s", error)
    try:
        parts.cgroups.cgroup(instance.cgroup_parent).remove()
    except ToolkitError as error:
        _log.warning("the control group stays: %s", error)
    for path in instance.run_dir.iterdir():
        if path.name in _STAYS:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
