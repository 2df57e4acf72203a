# SPDX-License-Identifier: Apache-2.0
"""Installing a filter, without root: with no_new_privs, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from toolkit.kernel import seccomp

pytestmark = pytest.mark.skipif(not seccomp.is_available(), reason="no seccomp in this kernel")

INSTALL = """
import os, struct, sys
from toolkit.kernel.capabilities import set_no_new_privileges
from toolkit.kernel.seccomp import install_filter
from toolkit.errors import KernelCallError
{body}
"""

# if (nr == getppid) return ERRNO(77); return ALLOW
REFUSE_GETPPID = """
import errno
number = {"x86_64": 110, "aarch64": 173}[os.uname().machine]
program = b"".join(struct.pack("<HBBI", *code) for code in [
    (0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | 77), (0x06, 0, 0, 0x7FFF0000)])
set_no_new_privileges()
install_filter(program)
print(os.getppid(), os.getpid() == int(os.readlink("/proc/self")))
"""


def run(body: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", INSTALL.format(body=body)],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout


def test_an_installed_filter_decides() -> None:
    """Without a way to return an error, getppid(2) gives its negative number back."""
    assert run(REFUSE_GETPPID) == "-77 True\n"


def test_a_program_that_the_kernel_refuses_is_an_error_with_its_length() -> None:
    body = """
set_no_new_privileges()
try:
    install_filter(struct.pack("<HBBI", 0xFFFF, 0, 0, 0))
except KernelCallError as error:
    print(error)
"""
    assert run(body) == "seccomp 1 instructions: Invalid argument\n"
