# SPDX-License-Identifier: Apache-2.0
"""Lines of Python run in a user namespace of their own: mounts and namespaces without root."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PRELUDE = """
import os
from toolkit.errors import ToolkitError
from toolkit.kernel import namespaces
ids = os.getuid(), os.getgid()
try:
    namespaces.unshare(namespaces.CLONE_NEWUSER | namespaces.CLONE_NEWNS)
    maps = {"setgroups": "deny", "uid_map": f"0 {ids[0]} 1", "gid_map": f"0 {ids[1]} 1"}
    for file, text in maps.items():
        with open(f"/proc/self/{file}", "w") as map: map.write(text)
except (ToolkitError, OSError) as error:
    print("SKIP", error)
    raise SystemExit
"""


def run_in_user_namespace(script: str, *arguments: str) -> list[str]:
    """Return the lines that *script* prints; skip the test where there are no such namespaces."""
    done = subprocess.run(
        [sys.executable, "-c", _PRELUDE + script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    if done.stdout.startswith("SKIP"):
        pytest.skip(f"no user namespace: {done.stdout[5:].strip()}")
    return done.stdout.splitlines()
