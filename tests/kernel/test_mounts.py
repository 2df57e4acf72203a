# SPDX-License-Identifier: Apache-2.0
"""Mounts by descriptor, in a user namespace of the test's own: without root, and gone with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.userns import run_in_user_namespace
from toolkit.errors import MountError
from toolkit.kernel import mounts

if TYPE_CHECKING:
    from pathlib import Path

HERE = """
import sys
from toolkit.kernel.mounts import *
base = os.fsencode(sys.argv[1])
os.chdir(base)
set_propagation(b"/", MS_REC | MS_PRIVATE)
def opened(path): return os.open(path, os.O_PATH)
def options(path):
    for line in open("/proc/self/mountinfo"):
        fields = line.split()
        if fields[4].encode() == base + b"/" + path: return fields[5].split(",")
def refused(act, *arguments):
    try: act(*arguments)
    except ToolkitError as error: return type(error).__name__, error.call, error.errno
"""


@pytest.fixture
def base(tmp_path: Path) -> str:
    for name in ("target", "lower", "upper", "work", "sub"):
        (tmp_path / name).mkdir()
    (tmp_path / "lower/file").write_text("below")
    (tmp_path / "plain").touch()
    return str(tmp_path)


def test_a_filesystem_is_made_detached_and_attached_where_a_descriptor_says(base: str) -> None:
    script = """
fd = new_filesystem("tmpfs", {"size": "64k", "mode": "700"}, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
print(options(b"target"), os.get_inheritable(fd))
attach_mount(fd, opened("target"), "target")
print({"nosuid", "nodev"} <= {*options(b"target")}, "noexec" in options(b"target"))
print(oct(os.stat("target").st_mode), os.statvfs("target").f_blocks * os.statvfs("target").f_frsize)
os.close(fd); unmount(b"target"); print(options(b"target"))
"""
    assert run_in_user_namespace(HERE + script, base) == [
        "None False", "True False", "0o40700 65536", "None",
    ]  # fmt: skip


def test_what_the_kernel_refuses_is_named(base: str) -> None:
    script = """
print(refused(new_filesystem, "nosuchfs", {}))
print(refused(new_filesystem, "tmpfs", {"nosuchoption": None}))
print(refused(clone_tree, opened("."), "missing"))
print(refused(unmount, b"target"))
print(refused(attach_mount, opened("target"), opened("target")))
"""
    assert run_in_user_namespace(HERE + script, base) == [
        "('MountError', 'fsopen', 19)",
        "('MountError', 'fsconfig', 22)",
        "('MountError', 'open_tree', 2)",
        "('MountError', 'umount', 22)",
        "('MountError', 'move_mount', 22)",
    ]


def test_a_refused_filesystem_leaves_no_descriptor(base: str) -> None:
    script = """
before = os.listdir("/proc/self/fd")
for _ in range(5): refused(new_filesystem, "tmpfs", {"size": "many"})
print(os.listdir("/proc/self/fd") == before)
"""
    assert run_in_user_namespace(HERE + script, base) == ["True"]


def test_a_bind_is_of_what_the_descriptor_stands_for(base: str) -> None:
    """Row S-26: the name may be swapped meanwhile."""
    script = """
source = opened("lower")
os.rename("lower", "elsewhere"); os.mkdir("lower")
fd = clone_tree(source)
set_mount_attributes(fd, set_=MOUNT_ATTR_RDONLY, propagation=MS_PRIVATE)
attach_mount(fd, opened("target"))
print(os.listdir("target"), "ro" in options(b"target"))
try: open("target/new", "w")
except OSError as error: print(error.errno)
open("elsewhere/new", "w").close()
set_mount_attributes(fd, clear=MOUNT_ATTR_RDONLY); open("target/newer", "w").close()
"""
    assert run_in_user_namespace(HERE + script, base) == ["['file'] True", "30"]


def test_a_file_is_bound_on_a_file(base: str) -> None:
    script = """
attach_mount(clone_tree(opened("lower/file")), opened("plain"))
print(open("plain").read())
"""
    assert run_in_user_namespace(HERE + script, base) == ["below"]


def test_a_recursive_bind_takes_what_is_mounted_below_and_a_plain_one_does_not(base: str) -> None:
    script = """
attach_mount(new_filesystem("tmpfs", {}), opened("sub"))
open("sub/inner", "w").close()
os.mkdir("sub/deep"); attach_mount(new_filesystem("tmpfs", {}), opened("sub/deep"))
open("sub/deep/innermost", "w").close()
for recursive in (False, True):
    fd = clone_tree(opened("sub"), recursive=recursive)
    set_mount_attributes(fd, set_=MOUNT_ATTR_RDONLY, recursive=True)
    attach_mount(fd, opened("target"))
    print(os.listdir("target/deep"), "ro" in (options(b"target/deep") or ["ro"]))
    unmount(b"target", MNT_DETACH)
"""
    assert run_in_user_namespace(HERE + script, base) == ["[] True", "['innermost'] True"]


def test_an_overlay_shows_below_and_writes_above(base: str) -> None:
    script = """
mount_overlay(base + b"/target", "lowerdir=lower,upperdir=upper,workdir=work,userxattr")
print(open("target/file").read())
open("target/new", "w").close()
print(os.listdir("upper"), os.listdir("lower"))
"""
    assert run_in_user_namespace(HERE + script, base) == ["below", "['new'] ['file']"]


def test_more_layers_than_a_page_of_options_holds_are_refused() -> None:
    """Row S-34: by us, with a reason; the kernel would cut the text."""
    with pytest.raises(MountError, match="too many layers"):
        mounts.mount_overlay(b"/nonexistent", "lowerdir=" + ":".join(["layer"] * 1000))


def test_the_root_is_switched_and_nothing_of_the_old_one_is_left(base: str) -> None:
    script = """
root = new_filesystem("tmpfs", {})
attach_mount(root, opened("target"))
os.mkdir("target/bin")
pivot_root_to(root)
print(os.getcwd(), os.listdir("/"), os.listdir("/.."))
"""
    assert run_in_user_namespace(HERE + script, base) == ["/ ['bin'] ['bin']"]
