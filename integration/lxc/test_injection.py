# SPDX-License-Identifier: Apache-2.0
"""Strings that would be lines of LXC's configuration, and paths that change while it works."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integration.lxc.both import Case, shell
from tests.runtime.lxc.test_config_writer import mount_entries, mounts_come_back

if TYPE_CHECKING:
    from integration.conftest import Engine
    from toolkit.runtime.lxc.config_writer import MountEntry

_RENAME_EXCHANGE = 2
_STARTS = 25


def hook(canary: Path) -> str:
    return f"\nlxc.hook.pre-start\t=\t/bin/touch\t{canary}\n#"


@pytest.mark.parametrize("ending", ["hook", "\r\n", "\x0b", "\x00", "\u2028", "\x85"])
@pytest.mark.parametrize("place", ["source", "target", "volume", "hostname", "LxcConf", "sysctl"])
def test_no_string_runs_a_command_on_the_host(
    engine: Engine, tmp_path: Path, place: str, ending: str
) -> None:
    """S-40, S-42."""
    canary = tmp_path / "canary"
    bad = f"/x{hook(canary) if ending == 'hook' else ending}"
    bad_word = bad.removeprefix("/")
    case = shell("true", **_wishes(bad, bad_word, tmp_path)[place])

    ended = case.run_on(engine, "lxc")

    assert not canary.exists()
    assert ended.refusal is not None
    assert ended.refusal[0] == 400


def _wishes(bad: str, bad_word: str, tmp_path: Path) -> dict[str, dict[str, Any]]:
    def mount(source: str, target: str) -> dict[str, Any]:
        return {"host": {"Mounts": [{"Type": "bind", "Source": source, "Target": target}]}}

    return {
        "source": mount(bad, "/y"),
        "target": mount(str(tmp_path), bad),
        "volume": {"config": {"Volumes": {bad: {}}}},
        "hostname": {"config": {"Hostname": bad_word}},
        "LxcConf": {"host": {"LxcConf": [{"Key": "lxc.utsname", "Value": bad_word}]}},
        "sysctl": {"host": {"Sysctls": {"net.ipv4.ip_forward": bad_word}}},
    }


def test_the_control_lxc_runs_the_hook_of_a_file_rendered_as_0_7_2_did(tmp_path: Path) -> None:
    """S-40: the positive control, with LXC itself."""
    canary = tmp_path / "canary"
    config = tmp_path / "config"
    volume = f"/d{hook(canary)}"
    groups = [f"lxc-control/{name}" for name in ("container", "monitor", "monitor.pivot")]
    config.write_text(
        f"lxc.rootfs.path = dir:{tmp_path}\n"
        + "".join(f"lxc.cgroup.dir.{path.partition('/')[2]} = {path}\n" for path in groups)
        + f"lxc.mount.entry = {tmp_path} {tmp_path}/{volume} none bind,rw 0 0\n"
    )
    start = f"lxc-start -F -n control -P {tmp_path} -f {config} true"
    # In a mount namespace of its own, so that LXC's locks go with it.
    script = f"mkdir -p /run/lxc && mount -t tmpfs tmpfs /run/lxc && exec {start}"
    # LXC gives a hook more arguments; touch makes files of them where it stands.
    subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        capture_output=True, timeout=30, check=False, cwd=tmp_path,
    )  # fmt: skip
    for hierarchy in Path("/sys/fs/cgroup").iterdir():
        for path in (f"{groups[-1]}/lxc.pivot", *groups, "lxc-control"):
            with suppress(OSError):
                (hierarchy / path).rmdir()
    assert canary.exists()


@pytest.mark.slow
@pytest.mark.timeout(400)
@given(entries=st.lists(mount_entries, max_size=3))
@settings(max_examples=10_000, deadline=None)
def test_ten_thousand_mounts_are_read_back_as_they_were_meant(entries: list[MountEntry]) -> None:
    """S-41: the number that the row asks for."""
    mounts_come_back(entries)


@pytest.mark.parametrize("name", ["a b", "a#b", "#", "a\\b", "a\\040b", "a'b'", '"a"', "é", " a "])
def test_a_path_with_special_characters_is_mounted_as_it_is(
    engine: Engine, tmp_path: Path, name: str
) -> None:
    """S-41: read back by LXC itself."""
    source = tmp_path / name
    source.mkdir()
    (source / "seen").write_text("yes")
    target = f"/v/{name}"
    mount = {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": True}
    case = Case(
        command=("sh", "-c", 'cat "$0/seen"; touch "$0/x"', target), host={"Mounts": [mount]}
    )
    native, lxc = case.run_on_both(engine)
    assert lxc.stdout == b"yes"
    assert lxc == native
    assert not (source / "x").exists()


class Swapper:
    """Exchanges two names as fast as it can, until it is stopped."""

    def __init__(self, first: Path, second: Path) -> None:
        self._names = (os.fsencode(first), os.fsencode(second))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._swap)

    def _swap(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        while not self._stop.is_set():
            libc.renameat2(-100, self._names[0], -100, self._names[1], _RENAME_EXCHANGE)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_a_source_that_changes_meanwhile_is_refused_or_the_one_that_was_meant(
    engine: Engine, tmp_path: Path
) -> None:
    """S-26, S-44: LXC looks the path up itself; what it mounted is compared."""
    good, evil = tmp_path / "good", tmp_path / "evil"
    good.mkdir()
    evil.symlink_to("/")
    case = shell("ls /v", host={"Binds": [f"{good}:/v"]})
    with Swapper(good, evil):
        outcomes = [case.run_on(engine, "lxc") for _ in range(_STARTS)]
    # A start that opened the link itself was asked to mount the host's root: 0.7.2's right.
    seen = {bytes(ended.stdout) for ended in outcomes if ended.refusal is None}
    assert len(outcomes) == _STARTS
    assert all(not out or b"proc" in out for out in seen)


def test_a_target_that_becomes_a_link_is_not_followed_out_of_the_container(
    engine: Engine, tmp_path: Path
) -> None:
    """S-21, S-44: a volume in a volume, whose place is swapped with a link to the root."""
    outer, inner, canary = tmp_path / "outer", tmp_path / "inner", tmp_path / "canary"
    for directory in (outer, inner, canary):
        directory.mkdir()
    (inner / "own").write_text("own")
    (outer / "place").mkdir()
    (outer / "link").symlink_to("/etc")
    case = shell(
        "cat /v/place/own; ls /etc/own 2>/dev/null",
        host={"Binds": [f"{outer}:/v", f"{inner}:/v/place"]},
    )
    before = Path("/proc/self/mountinfo").read_text()
    with Swapper(outer / "place", outer / "link"):
        outcomes = [case.run_on(engine, "lxc") for _ in range(_STARTS)]
    after = Path("/proc/self/mountinfo").read_text()
    assert before == after
    started = [ended for ended in outcomes if ended.refusal is None]
    assert all(b"/etc/own" not in ended.stdout for ended in started)


def test_links_of_an_image_are_followed_inside_it(engine: Engine, tmp_path: Path) -> None:
    """S-20, S-24, S-44: LXC refuses any link in a target, so none is left in what it is given."""
    (tmp_path / "x").write_text("x")
    case = shell("cat /var/run/x /proc/mounts | head -1", host={"Binds": [f"{tmp_path}:/sbin/v"]})
    native, lxc = case.run_on_both(engine)
    assert lxc.refusal == native.refusal
    assert lxc.exit_code == native.exit_code
