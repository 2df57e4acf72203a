# SPDX-License-Identifier: Apache-2.0
"""Hostile root file systems: links where mounts go, devices, attributes (rows S-20 to S-34)."""

from __future__ import annotations

import os
import shutil
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.security.lab import Member, directory, file, launcher_family, link, packed
from toolkit.client import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.security.conftest import Weaken
    from integration.security.lab import Lab

_MOUNT_POINTS = (
    "proc", "sys", "dev", "etc", "dev/shm", "dev/pts", "run", "etc/hosts", "dev/console",
)  # fmt: skip
_TARGETS = {
    "absolute": "{canary}/d",
    "upwards": "../../../../../../..{canary}/d",
    "magic": "/proc/self/root{canary}/d",
    "dangling": "{canary}/new/place",
    "loop": "{own}",
}


def host_mounts(canary: Path) -> list[str]:
    """Return those mounts of this namespace, the engine's, that the tests here could make."""
    instance_name = canary.name.removesuffix("-canary")
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if instance_name in line]


@pytest.mark.parametrize("kind", _TARGETS)
def test_links_in_the_place_of_mount_points_lead_nowhere(lab: Lab, canary: Path, kind: str) -> None:
    """S-20 (CVE-2019-19921, CVE-2023-27561): started inside, or refused; nothing outside."""
    before = host_mounts(canary)
    for name in _MOUNT_POINTS:
        target = _TARGETS[kind].format(canary=canary, own=f"/{name}")
        with lab.image(link(name, target)) as image:
            for has_tty in (False, True):
                # a name below what is a link now is not in the archive's way
                tried = lab.run("/bin/cat", f"{canary}/secret", image=image, Tty=has_tty)
                assert "host-secret" not in tried.out
                assert tried.status in {0, 400, 500}, tried
    assert host_mounts(canary) == before


def test_control_a_path_that_is_followed_as_text_leaves_the_root(
    weakened: Weaken, tmp_path: Path
) -> None:
    """S-20, S-24: the same WORKDIR where directories are made by joined paths, as 0.7.2 did."""
    outside = tmp_path / "outside"
    outside.mkdir()
    plain = "    missing: list[bytes] = []\n"
    by_text = (
        "    root = os.readlink(f'/proc/self/fd/{root_fd}')\n"
        "    os.makedirs(root + os.fsdecode(path), exist_ok=True)\n"
    )
    changes = {"kernel/paths.py": [(plain, by_text + plain)]}
    plan = "            program, refusal = self._plan(root_fd, prepared)\n"
    in_root = 'os.makedirs(f"/proc/{init.pid}/root" + spec["cwd"], exist_ok=True)\n'
    lxc = {
        "kernel/paths.py": [],
        "runtime/lxc/container.py": [(plan, f"            {in_root}{plan}")],
    }
    with (
        weakened(changes, lxc=lxc) as lab,
        lab.image(link("w", str(outside)), changes=["WORKDIR /w/x/y"]) as image,
    ):
        lab.run("true", image=image)
    assert (outside / "x" / "y").is_dir()


def test_directories_that_are_made_on_the_way_stay_inside(lab: Lab, canary: Path) -> None:
    """S-24 (CVE-2024-45310): WORKDIR, VOLUME, binds and hosts behind a link to the host."""
    links = [link("w", str(canary)), link("up", f"../../../..{canary}")]
    changes = ("WORKDIR /w/x/y", 'VOLUME ["/w/v", "/up/u"]')
    with lab.image(*links, link("etc/hosts", f"{canary}/h"), changes=changes) as image:
        first = lab.run("pwd", image=image)
        assert (first.exit_code, first.status) in {(0, 0), (-1, 400), (-1, 500)}
        bound = {"Binds": [f"{canary}:/up/deep/er:ro"], "Tmpfs": {"/w/t/mp": ""}}
        lab.run("true", image=image, host=bound)
    with lab.image(*links) as image, lab.running(image=image) as container:
        lab.execute(container, "true", WorkingDir="/w/added/later")
        lab.execute(container, "true", WorkingDir="/up/added/later")


_ETC_FILES = ("etc/hosts", "etc/hostname", "etc/resolv.conf")
_PUT_LINKS = """for name in {names}; do
umount /$name; rm -f /$name; ln -s {target} /$name; done; :"""


def start_with_linked_image(lab: Lab, target: str) -> None:
    """Start a container whose image has links in the place of the three files."""
    with lab.image(*(link(name, target) for name in _ETC_FILES)) as image:
        tried = lab.run("/bin/cat", *(f"/{name}" for name in _ETC_FILES), image=image)
    assert tried.status in {0, 400, 500}, tried
    assert "host-secret" not in tried.out


def start_with_own_links(lab: Lab, target: str) -> None:
    """Start a container again that has put the links there itself."""
    script = _PUT_LINKS.format(names=" ".join(_ETC_FILES), target=target)
    with lab.created("sh", "-c", script, host={"Privileged": True}) as container:
        containers = lab.engine.client.containers
        containers.start(container)
        assert containers.wait(container).result().exit_code == 0
        with suppress(ApiError):  # to be refused is as good
            containers.start(container)
            containers.wait(container).result()
        assert "host-secret" not in lab.output(container)


@pytest.mark.parametrize("start", [start_with_linked_image, start_with_own_links])
def test_files_in_etc_that_are_links_to_the_host_are_not_written_there(
    lab: Lab, canary: Path, start: Callable[[Lab, str], None]
) -> None:
    """S-71: to a file that is there, and to one that would be made; the canary is compared."""
    for name in ("secret", "planted"):
        start(lab, f"{canary}/{name}")


@pytest.mark.parametrize("start", [start_with_linked_image, start_with_own_links])
def test_control_a_file_in_etc_that_is_made_by_its_joined_path_is_planted(
    weakened: Weaken, tmp_path: Path, start: Callable[[Lab, str], None]
) -> None:
    """S-71: the same, where no layer hides what the image has, and text says what is made."""
    outside = tmp_path / "outside"
    outside.mkdir()
    defence = "    try:\n        return open_in_root(root_fd, path, os.O_PATH)\n"
    by_text = (
        "    root = os.readlink(f'/proc/self/fd/{root_fd}')\n"
        "    os.close(os.open(root + os.fsdecode(path), os.O_CREAT | os.O_WRONLY, mode))\n"
    )
    hidden = "".join(f'    b"{name}",\n' for name in ("etc/hostname", "etc/hosts"))
    changes = {
        "kernel/paths.py": [(defence, by_text + defence)],
        "storage/mountpoints.py": [(hidden + '    b"etc/resolv.conf",\n', "")],
    }
    with weakened(changes) as lab:
        start(lab, f"{outside}/planted")
    assert (outside / "planted").is_file()


REFUSED_TARGETS = (
    "/", "/.", "/..", "//", "/proc", "/proc/sys", "/proc/../proc", "", ".", "rel/ative",
    "/a\nb", "/a\0b", "/" + "a" * 5000, "/../../proc/self",
)  # fmt: skip
_ODD_TARGETS = ("/../../../x", "/a,b", "/a:b", "/x y", "/x\\040y", "/\u202e")


@pytest.mark.parametrize("target", REFUSED_TARGETS)
def test_nothing_is_mounted_where_nothing_may_be(lab: Lab, target: str) -> None:
    """S-27 (CVE-2015-3631): by API and by the image's VOLUME, 400 with the path."""
    assert lab.run("true", Volumes={target: {}}).status == 400
    mount = {"Type": "tmpfs", "Target": target}
    assert lab.run("true", host={"Mounts": [mount]}).status == 400


@pytest.mark.parametrize("target", _ODD_TARGETS)
def test_odd_targets_land_inside(lab: Lab, target: str, canary: Path) -> None:
    """S-27."""
    del canary
    script = 'grep -c . /proc/self/mountinfo && ls -d "$0"'
    mount = {"Type": "tmpfs", "Target": target}
    done = lab.run("sh", "-c", script, target, host={"Mounts": [mount]})
    assert done.exit_code == 0 or done.status == 400, done
    assert not Path("/x").exists()


def test_images_that_mount_over_proc_by_a_link_do_not_open_it(lab: Lab) -> None:
    """S-22, S-23: a volume behind a link to /proc covers it; it uncovers nothing."""
    links = [link("vp", "/proc"), link("vs", "/proc/sys/kernel"), link("vd", "/dev")]
    for name in ("vp", "vs", "vd"):
        with lab.image(*links, changes=[f'VOLUME ["/{name}"]']) as image:
            places = ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger")
            tried = lab.run("sh", "-c", "echo x >>$0; echo x >>$1; true", *places, image=image)
            assert tried.exit_code in {0, -1}
    assert not Path("/proc/sys/kernel/core_pattern").read_text().startswith("x")


def test_the_hosts_settings_cannot_be_written(lab: Lab, programs: Path) -> None:
    """S-22: masks and read-only paths, by opening them; also without the filter."""
    places = (
        "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity",
        "/sys/kernel/uevent_helper", "/proc/sys/vm/overcommit_memory",
    )  # fmt: skip
    probe = file("probe", (programs / "probe").read_bytes())
    hidden = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts")
    with lab.image(probe, link("dev/null", "/proc/sys/kernel/core_pattern")) as image:
        for host in ({}, {"SecurityOpt": ["seccomp=unconfined"]}):
            lines = lab.run("/probe", "writable", *places, image=image, host=host).lines
            assert [line for line in lines if line.endswith(" ok")] == []
            shown = lab.run("/probe", "show", *hidden, image=image, host=host).lines
            assert all(
                line.rsplit(" ", 1)[0].split()[1:] in ([], ["ok"], ["ENOENT"]) for line in shown
            )
            stats = lab.run("stat", "-c", "%F %t %T", "/proc/keys", image=image, host=host)
            assert stats.out.strip() == "character special file 1 3"


def test_control_a_privileged_program_could_write_them(lab: Lab) -> None:
    """S-22: opened for writing; nothing is written."""
    opened = lab.run(
        "/probe", "writable", "/proc/sys/kernel/core_pattern", host={"Privileged": True}
    )
    assert opened.out.endswith(" ok\n")


def test_settings_of_the_host_are_no_sysctl_of_a_container(lab: Lab) -> None:
    """S-23: neither by name nor by a detour; ours go through the host's own procfs."""
    detours = (
        "kernel.core_pattern", "net/../kernel/core_pattern", "net.././kernel.core_pattern",
        "vm.overcommit_memory", "net.ipv4.ip_forward\n", "kernel.shm_rmid_forced/../core_pattern",
    )  # fmt: skip
    for name in detours:
        assert lab.run("true", host={"Sysctls": {name: "|/bin/x"}}).status == 400, name
    fake = [directory("proc/sys/net/ipv4"), file("proc/sys/net/ipv4/ip_forward", "fake", 0o666)]
    with lab.image(*fake) as image:
        wish = {"Sysctls": {"net.ipv4.ip_forward": "1"}}
        shown = lab.run("cat", "/proc/sys/net/ipv4/ip_forward", image=image, host=wish)
        assert shown.out == "1\n"


def test_mounts_inside_a_container_stay_inside(lab: Lab, canary: Path, tmp_path: Path) -> None:
    """S-30: made by a privileged program, in its root and in a directory of the host."""
    before = host_mounts(canary)
    (tmp_path / "shared").mkdir()
    host = {"Privileged": True, "Binds": [f"{tmp_path}/shared:/shared"]}
    for place in ("/inside", "/shared/below"):
        with lab.running("/probe", "mount", place, "stay", host=host) as container:
            while "mount" not in lab.output(container):
                pass
            assert lab.output(container) == "mount ok\n"
            for pid in ("self", lab.engine.pid, *launcher_family(lab.engine)):
                name = Path(f"/proc/{pid}/comm")
                if pid == "self" or "slot" not in name.read_text():
                    assert "toolkit-attack" not in Path(f"/proc/{pid}/mountinfo").read_text()
    assert host_mounts(canary) == before


def test_control_a_shared_directory_carries_a_mount_to_the_host(lab: Lab, tmp_path: Path) -> None:
    """S-30: asked for with rshared, in a namespace where the directory is a shared mount."""
    host = {
        "Privileged": True,
        "Mounts": [
            {
                "Type": "bind", "Source": str(tmp_path), "Target": "/shared",
                "BindOptions": {"Propagation": "rshared"},
            }
        ],
    }  # fmt: skip
    with lab.running("/probe", "mount", "/shared/below", "stay", host=host) as container:
        while "mount" not in lab.output(container):
            pass
        seen = lab.execute(container, "grep", "toolkit-attack", "/proc/self/mountinfo")
        assert "shared:" in seen.out


def test_control_groups_are_ones_own_and_read_only(lab: Lab) -> None:
    """S-31 (CVE-2022-0492)."""
    script = (
        "find /sys/fs/cgroup -name release_agent -o -name devices.allow | while read f; do"
        " (echo x >>$f) 2>/dev/null && echo WROTE $f; done;"
        "cut -d: -f3 /proc/self/cgroup | sort -u; "
        "for d in /sys/fs/cgroup/*; do mkdir $d/x 2>/dev/null && echo MADE; done"
        "; unshare -UrmC true 2>/dev/null && echo UNSHARED;"
        "mount -t cgroup -o memory c /mnt 2>/dev/null && echo MOUNTED; true"
    )
    for user in ("", "1000"):
        lines = lab.run("sh", "-c", script, User=user).lines
        assert lines == ["/"], lines


def test_control_privileged_the_groups_can_be_written(lab: Lab) -> None:
    """S-31: the same attempt at a group of its own, which goes with the container."""
    made = lab.run(
        "sh", "-c", "cd /sys/fs/cgroup/pids; mkdir x && echo MADE", host={"Privileged": True}
    )
    assert "MADE" in made.out


def disk() -> tuple[int, int]:
    """Return the number of a block device of this machine."""
    for entry in sorted(Path("/sys/block").iterdir()):
        if not entry.name.startswith(("ram", "zram")):
            major, minor = (entry / "dev").read_text().split(":")
            return int(major), int(minor)
    pytest.skip("this machine has no block device")


def test_device_nodes_of_an_image_open_nothing(lab: Lab, programs: Path) -> None:
    """S-32: the control group decides, not whether a node is there."""
    nodes = [
        Member("dsk", tarfile.BLKTYPE, device=disk(), mode=0o666),
        Member("mem", tarfile.CHRTYPE, device=(1, 1), mode=0o666),
        Member("kmsg", tarfile.CHRTYPE, device=(1, 11), mode=0o666),
        file("probe", (programs / "probe").read_bytes()),
    ]
    with lab.image(*nodes) as image:
        for host in ({}, {"CapAdd": ["ALL"]}, {"SecurityOpt": ["seccomp=unconfined"]}):
            lines = lab.run("/probe", "show", "/dsk", "/mem", "/kmsg", image=image, host=host).lines
            assert [line.split()[1] for line in lines] == ["EPERM"] * 3, lines
        made = lab.run("/probe", "nodes", host={"CapAdd": ["MKNOD"]}).out
        assert made.endswith("opened 0\n")
        assert not made.startswith("made 0 "), "they are only nodes"
        assert lab.run("/probe", "nodes").out == "made 0 opened 0\n"


def test_control_a_privileged_program_opens_the_node(lab: Lab) -> None:
    """S-32: /dev/kmsg's number, which every kernel has; opened for reading."""
    script = "mknod /k c 1 11; /probe show /k"
    assert lab.run("sh", "-c", script, host={"Privileged": True}).out.startswith("/k ok")


def test_overlay_attributes_of_a_layer_are_not_taken_over(lab: Lab) -> None:
    """S-33: redirects, opaque marks and whiteouts that an archive brings along."""
    attributes = {
        f"{space}.overlay.{name}": value
        for space in ("trusted", "user")
        for name, value in {
            "redirect": "/../../../../etc", "opaque": "y", "metacopy": "y", "origin": "x",
        }.items()
    }  # fmt: skip
    members = [
        directory("d", attributes=attributes),
        file("d/own", "own\n", 0o644, attributes=attributes),
        Member("gone", tarfile.CHRTYPE, device=(0, 0)),
    ]
    refused = lab.load(packed(members), "hostile-attributes")
    if refused.exit_code == 0:
        try:
            for tree in lab.engine.data_dir.glob("layers/*/l/*/t/d"):
                names = [name for path in (tree, tree / "own") for name in os.listxattr(path)]
                assert [name for name in names if "overlay" in name] == []
        finally:
            lab.engine.client.images.remove("hostile-attributes", force=True)
    with lab.image(*members[:2]) as image:
        assert lab.run("ls", "/d", image=image).out == "own\n"
        assert lab.run("cat", "/d/own", image=image).out == "own\n"
        options = lab.run("grep", " / / ", "/proc/self/mountinfo", image=image).out
        assert "redirect_dir=nofollow" in options
        assert "metacopy=on" not in options


def test_two_containers_swapping_a_volume_do_not_reach_the_host(lab: Lab, canary: Path) -> None:
    """S-21 (CVE-2021-30465): B mounts at /v/a/b while A exchanges /v/a with a link."""
    volume = "swapped"
    bind = [f"{volume}:/v"]
    setup = (
        f"mkdir -p /v/a/b; ln -sfn {canary} /v/bait; echo ready;"
        "exec /probe exchange /v/a /v/bait 60000"
    )
    with lab.running("sh", "-c", setup, host={"Binds": bind}) as swapper:
        while "ready" not in lab.output(swapper):
            pass
        before = host_mounts(canary)
        for _ in range(30):
            both = {"Binds": bind, "Tmpfs": {"/v/a/b": "size=64k"}}
            tried = lab.run("sh", "-c", f"cat {canary}/secret; ls {canary}", host=both)
            assert "host-secret" not in tried.out
        assert host_mounts(canary) == before
    assert (lab.engine.data_dir / "volumes" / volume).is_dir()
    shutil.rmtree(lab.engine.data_dir / "volumes" / volume)
