# SPDX-License-Identifier: Apache-2.0
"""A tree goes in, is changed, committed and comes out: equal to the bit of metadata."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from integration.images_volumes.asking import changes, commit, run
from toolkit.storage.opened import opened_directories
from toolkit.storage.pack import pack_tree
from toolkit.storage.unpack import unpack_tree

if TYPE_CHECKING:
    from integration.conftest import Engine
    from integration.images_volumes.asking import Make

CHANGED = 500
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw+p
OURS = {".dockerenv", "dev", "etc", "proc", "sys"}  # made for mounts, and what is in them


def make_tree(root: Path) -> None:
    """Put everything into a tree that a file system can hold."""
    busybox = Path("/bin/busybox")
    (root / "bin").mkdir()
    (root / "bin/sh").write_bytes(busybox.read_bytes())
    (root / "bin/sh").chmod(0o755)
    for number in range(700):
        path = root / f"many/{number % 7}/{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content {number}\n" * (number % 50))
        os.chown(path, number, number * 3)
        path.chmod(0o400 | number % 0o400)
        os.utime(path, ns=(0, 1_400_000_000_123_456_789 + number))
    odd = root / "odd"
    odd.mkdir()
    (odd / "suid").touch()
    (odd / "suid").chmod(0o6755)
    (odd / "sticky").mkdir()
    (odd / "sticky").chmod(0o1777)
    (odd / "link").symlink_to("/nowhere/at/all")
    os.mkfifo(odd / "fifo")
    os.mknod(odd / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(odd / "loop", stat.S_IFBLK | 0o660, os.makedev(7, 200))
    (odd / ("n" * 250)).write_text("long name")
    (odd / "\udcff\udcfe").write_text("no text")
    (odd / "first").write_text("linked")
    os.link(odd / "first", odd / "second")
    (odd / "capable").write_text("x")
    os.setxattr(odd / "capable", "security.capability", CAPABILITY)
    os.setxattr(odd / "capable", "user.note", b"\0bytes\xff")
    with (odd / "holes").open("wb") as file:
        file.truncate(64 * 1024 * 1024)
        file.seek(32 * 1024 * 1024)
        file.write(b"in the middle")
    deep = odd
    for _ in range(40):
        deep /= "a-rather-long-name-of-a-directory"
        deep.mkdir()
    (deep / "end").write_text("end")


def described(root: Path) -> dict[str, Any]:
    """Return all that is known of a tree but our mount points."""
    found: dict[str, Any] = {}
    links: dict[int, str] = {}
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(directory) / name
            key = str(path.relative_to(root))
            if key.partition("/")[0] in OURS:
                continue
            status = path.lstat()
            content: object = None
            xattrs: dict[str, bytes] = {}
            if path.is_symlink():
                content = path.readlink()
            elif stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
                xattrs = {one: os.getxattr(path, one) for one in sorted(os.listxattr(path))}
            first = links.setdefault(status.st_ino, key) if status.st_nlink > 1 else ""
            found[key] = (
                status.st_mode, status.st_uid, status.st_gid, status.st_rdev,
                status.st_mtime_ns, "" if stat.S_ISDIR(status.st_mode) else first, xattrs, content,
            )  # fmt: skip
    return found


def packed(root: Path) -> io.BytesIO:
    out = io.BytesIO()
    with opened_directories([root]) as (root_fd,):
        pack_tree(root_fd, out)
    out.seek(0)
    return out


def exported_tree(engine: Engine, container: str, target: Path) -> dict[str, Any]:
    target.mkdir()
    answer = engine.client.request("GET", f"/containers/{container}/export")
    content = io.BytesIO(answer.read())
    with opened_directories([target]) as (target_fd,):
        unpack_tree(content, target_fd)
    return described(target)


def test_import_run_change_commit_export(engine: Engine, make: Make, tmp_path: Path) -> None:
    """RT-187: modes, owners, times to the nanosecond, xattrs, links, devices, holes, long names."""
    tree = tmp_path / "tree"
    tree.mkdir()
    make_tree(tree)
    wanted = described(tree)
    name = f"trip-{uuid.uuid4().hex[:8]}"
    image = engine.client.images.import_tar(packed(tree), reference=name)
    try:
        untouched = make(image=name, start=False, Cmd=["/bin/sh"])
        assert exported_tree(engine, untouched, tmp_path / "untouched") == wanted
        script = (
            f"i=0; while [ $i -lt {CHANGED} ]; do f=/many/$((i%7))/$i; "
            "case $((i%4)) in 0) rm $f;; 1) echo new > $f;; 2) chmod 700 $f;; "
            "3) rm $f; mkdir $f; echo deep > $f/below;; esac; i=$((i+1)); done"
        )
        container = make(image=name, start=False, Cmd=["/bin/sh", "-c", script])
        assert run(engine, container) == 0
        told = changes(engine, container)
        assert len([line for line in told if line.startswith("D ")]) == CHANGED // 4
        before = exported_tree(engine, container, tmp_path / "before")
        assert before != wanted
        commits = [commit(engine, container) for _ in range(2)]
        layers = [engine.client.images.inspect(one)["RootFS"]["Layers"] for one in commits]
        assert layers[0] == layers[1]
        assert len(layers[0]) == 2
        again = make(image=commits[0], start=False, Cmd=["/bin/sh"])
        assert exported_tree(engine, again, tmp_path / "after") == before
        assert changes(engine, again) == []
    finally:
        _remove_all(engine, image)


def _remove_all(engine: Engine, image: str) -> None:
    mine = [image]
    for one in engine.client.images.list(every=True):
        if one["ParentId"] in mine or one["Id"] == image or not one["RepoTags"]:
            mine.append(one["Id"])
    for one in engine.client.containers.list(every=True):
        if one["ImageID"] in mine:
            engine.client.containers.remove(one["Id"], force=True)
    for each in reversed(list(dict.fromkeys(mine))):
        engine.client.images.remove(each, force=True)


def test_gnu_tar_reads_what_we_write(tmp_path: Path) -> None:
    """Holes, long names and attributes are in a form that others know."""
    tree, other = tmp_path / "tree", tmp_path / "other"
    tree.mkdir()
    other.mkdir()
    make_tree(tree)
    command = ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner"]
    command += ["--delay-directory-restore", "-xpf", "-", "-C", str(other)]
    subprocess.run(command, input=packed(tree).getvalue(), check=True)
    assert described(other) == described(tree)


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    make_tree(tree)
    first = packed(tree).getvalue()
    assert packed(tree).getvalue() == first
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        assert len(archive.getnames()) > CHANGED
