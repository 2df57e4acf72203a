# SPDX-License-Identifier: Apache-2.0
"""Giving capabilities up for real, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.needs_root

BEGIN = """
import os
from toolkit.errors import KernelCallError
from toolkit.kernel import capabilities as caps
held = caps.held_capabilities()
"""


def run(body: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + body],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_bounding_set_is_what_was_kept() -> None:
    """Row S-09: exactly, and what the host lacks is no error."""
    body = """
caps.limit_bounding_set(frozenset({0, 1, 7}))
caps.limit_bounding_set(frozenset({0, 1}), caps.last_capability())
print(sorted(caps.held_capabilities().bounding))
"""
    assert run(body) == "[0, 1]"


def test_the_other_sets_are_what_was_set() -> None:
    """Row S-08."""
    body = """
wanted = frozenset({0, 38})
caps.clear_ambient()
caps.set_capabilities(wanted, wanted, frozenset())
now = caps.held_capabilities()
print(sorted(now.effective), sorted(now.permitted), sorted(now.inheritable), sorted(now.ambient))
"""
    assert run(body) == "[0, 38] [0, 38] [] []"


def test_the_program_after_exec_has_what_is_bounded() -> None:
    """Rows S-08, S-09."""
    body = """
caps.clear_ambient()
caps.limit_bounding_set(frozenset({5}))
caps.set_capabilities(frozenset({5}), frozenset({5}), frozenset())
os.execv("/bin/grep", ["grep", "Cap", "/proc/self/status"])
"""
    values = [int(line.split()[1], 16) for line in run(body).splitlines()]
    assert values == [0, 1 << 5, 1 << 5, 1 << 5, 0]  # Inh Prm Eff Bnd Amb


def test_more_than_is_held_is_refused_by_name() -> None:
    body = """
caps.set_capabilities(frozenset(), frozenset(), frozenset())
try:
    caps.set_capabilities(frozenset({0}), frozenset({0}), frozenset())
except KernelCallError as error:
    print(error)
"""
    assert run(body) == "capset: Operation not permitted"


def test_the_permitted_set_outlives_the_change_of_user_when_kept() -> None:
    body = """
caps.keep_capabilities_over_setuid(enabled=True)
os.setresuid(1000, 1000, 1000)
caps.set_capabilities(frozenset({7}), frozenset({7}), frozenset({7}))
caps.raise_ambient(frozenset({7}))
now = caps.held_capabilities()
print(sorted(now.permitted), sorted(now.ambient))
"""
    assert run(body) == "[7] [7]"


def test_nothing_outlives_it_otherwise() -> None:
    """Row S-08: uid 1000 has Prm = Eff = 0."""
    body = """
os.setresuid(1000, 1000, 1000)
now = caps.held_capabilities()
print(sorted(now.permitted), sorted(now.effective))
"""
    assert run(body) == "[] []"


def test_no_new_privileges_is_seen_by_the_kernel() -> None:
    body = """
caps.set_no_new_privileges()
os.execv("/bin/grep", ["grep", "NoNewPrivs", "/proc/self/status"])
"""
    assert run(body).split() == ["NoNewPrivs:", "1"]
