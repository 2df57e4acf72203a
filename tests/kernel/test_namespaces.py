# SPDX-License-Identifier: Apache-2.0
"""Namespaces: children in new ones, entering others. In a user namespace, so without root."""

from __future__ import annotations

import os

import pytest

from tests.fakes.userns import run_in_user_namespace
from toolkit.errors import NamespaceError
from toolkit.kernel import namespaces

NAME = """
from toolkit.kernel.namespaces import *
def name(kind, pid="self"): return os.readlink(f"/proc/{pid}/ns/{FILES.get(kind, kind)}")
def end(pid): return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def test_a_child_is_cloned_into_new_namespaces_and_has_a_descriptor() -> None:
    script = """
import signal
from toolkit.kernel.process import signal_pidfd
pid, pidfd = clone(CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS)
if pid == 0:
    signal.pause() if (os.getpid(), pidfd) == (1, -1) else os._exit(1)
print(sorted(kind for kind in FLAGS if name(kind, pid) != name(kind)))
print(os.get_inheritable(pidfd), signal_pidfd(pidfd, signal.SIGKILL), end(pid))
"""
    assert run_in_user_namespace(NAME + script) == [
        "['ipc', 'mount', 'network', 'pid', 'uts']",
        "False True -9",
    ]


def test_others_namespaces_are_entered_by_pidfd() -> None:
    script = """
pid, pidfd = clone(CLONE_NEWUTS | CLONE_NEWNET)
if pid == 0:
    import signal; signal.pause()
enter(pidfd, CLONE_NEWUTS | CLONE_NEWNET)
print(name("uts") == name("uts", pid), name("network") == name("network", pid))
os.kill(pid, 9); end(pid)
"""
    assert run_in_user_namespace(NAME + script) == ["True True"]


def test_a_namespace_stays_while_its_file_is_open() -> None:
    script = """
pid, _ = clone(CLONE_NEWUTS)
if pid == 0:
    import signal; signal.pause()
fd, there = open_namespace(pid, "uts"), name("uts", pid)
os.kill(pid, 9); end(pid)
enter(fd, CLONE_NEWUTS)
print(name("uts") == there, os.get_inheritable(fd))
try: open_namespace(pid, "uts")
except ToolkitError as error: print(error)
"""
    first, error = run_in_user_namespace(NAME + script)
    assert first == "True False"
    assert error.endswith("/ns/uts: No such file or directory")


def test_the_loopback_of_a_new_network_is_set_up() -> None:
    script = """
import socket
unshare(CLONE_NEWNET)
for up in (lambda: None, bring_loopback_up, bring_loopback_up):
    up()
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), 5).close()
        print("up")
    except OSError: print("down")
"""
    assert run_in_user_namespace(NAME + script) == ["down", "up", "up"]


def test_names_of_hosts_are_of_the_namespace() -> None:
    script = """
from toolkit.kernel.process import *
unshare(CLONE_NEWUTS)
set_hostname("box"); set_domainname("example.org")
print(os.uname().nodename, open("/proc/sys/kernel/domainname").read().strip())
try: set_hostname("x" * 65)
except ToolkitError as error: print(error.call)
"""
    assert run_in_user_namespace(NAME + script) == ["box example.org", "sethostname"]


def test_every_kind_of_the_standard_has_a_flag_and_a_file() -> None:
    assert len(set(namespaces.FLAGS.values())) == len(namespaces.FLAGS) == 8
    for kind in namespaces.FLAGS:
        os.close(namespaces.open_namespace(os.getpid(), kind))


def test_what_cannot_be_entered_is_an_error() -> None:
    read_fd, write_fd = os.pipe()
    with pytest.raises(NamespaceError, match="setns 0x4000000"):
        namespaces.enter(read_fd, namespaces.CLONE_NEWUTS)
    os.close(read_fd)
    os.close(write_fd)


def test_flags_that_exclude_each_other_are_an_error() -> None:
    with pytest.raises(NamespaceError, match="clone3: Invalid argument"):
        namespaces.clone(namespaces.CLONE_NEWNS | 0x200)  # CLONE_FS
