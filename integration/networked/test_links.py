# SPDX-License-Identifier: Apache-2.0
"""Links on the default bridge, with a real engine, on both backends."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from integration.network.conftest import comes_true
from integration.networked.commands import CLIENTS, CommandLine
from integration.networked.conftest import ECHO, World, ask_here, do_in, opened_world
from integration.security.lab import weakened_package
from toolkit.client import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER = b"hello\n"
SLEEP = ("sleep", "120")
EXPOSED: dict[str, Any] = {"ExposedPorts": {"80/tcp": {}}, "Env": ["PASSWORD=gordon", "Q=a=b"]}


@pytest.fixture
def closed_world(world: World) -> Iterator[World]:
    """The same host, its engine started with icc=false: containers may not speak to each other."""
    yield from closed(world)


@pytest.fixture
def world_without_iptables(world: World) -> Iterator[World]:
    """The same, by nftables alone."""
    yield from closed(world, TOOLKIT_IPTABLES="false")


def closed(world: World, **environ: str) -> Iterator[World]:
    begin_anew(world, TOOLKIT_ICC="false", **environ)
    yield world
    world.clean()
    begin_anew(world)


def begin_anew(world: World, **environ: str) -> None:
    """Start the engine with other settings, on a host without rules of the one before."""
    world.stop_engine()
    world.host.run(sys.executable, "-m", "toolkit.network.sweep", world.instance.name)
    world.start_engine(**environ)


def variables(world: World, container: str) -> list[str]:
    """Return the environment of a container's program as the kernel has it."""
    raw = Path(f"/proc/{world.pid(container)}/environ").read_bytes()
    return [entry.decode() for entry in raw.split(b"\0") if entry]


def reaches(world: World, container: str, address: str, port: int = 80) -> bool:
    answer: bytes = world.do_inside(container, lambda: ask_here(address, port))
    return answer == ANSWER


def test_the_parent_gets_variables_and_a_line(world: World, backend: str) -> None:
    """RT-109, rules 2.9, 7.8 to 7.10: 0.7.2's variables in its form, and the child by name."""
    db = world.run(*SLEEP, backend=backend, name="db", config=EXPOSED)
    web = world.run(*SLEEP, backend=backend, name="web", Links=["db:my-store"])
    address = world.address(db)
    assert [each for each in variables(world, web) if each.startswith("MY-STORE")] == [
        f"MY-STORE_PORT=tcp://{address}:80",
        f"MY-STORE_PORT_80_TCP=tcp://{address}:80",
        f"MY-STORE_PORT_80_TCP_ADDR={address}",
        "MY-STORE_PORT_80_TCP_PORT=80",
        "MY-STORE_PORT_80_TCP_PROTO=tcp",
        "MY-STORE_NAME=/web/my-store",
        "MY-STORE_ENV_PASSWORD=gordon",
    ]
    hosts = (world.instance.containers_dir / web / "hosts").read_text()
    assert f"{address}\tmy-store {db[:12]} db\n" in hosts


@pytest.mark.parametrize("program", CLIENTS)
def test_through_the_command_lines(world: World, backend: str, program: str) -> None:
    """`--link`, ps, inspect, exec, rename, `rm --link`: RT-110, RT-111, rules 7.7 and 10.29."""
    if shutil.which(program) is None and program == "docker":
        pytest.skip("no docker command here (a client is enough)")
    docker = CommandLine(world, program)
    run = ("--runtime", backend, "--name")
    docker.run(*run, "db", "--expose", "80", "busybox", *ECHO)
    docker.run(*run, "web", "--link", "db:store", "busybox", *SLEEP)
    assert comes_true(
        lambda: (
            docker.ask("exec", "web", "sh", "-c", "echo hello | nc store 80").stdout == "hello\n"
        )
    )
    assert "STORE_NAME=/web/store" in docker("exec", "web", "env")
    assert docker("ps", "--no-trunc", "--format", "{{.Names}}").split() == ["web", "db,web/store"]
    assert docker("inspect", "-f", "{{json .HostConfig.Links}}", "web") == '["/db:/web/store"]\n'
    assert docker("inspect", "-f", "{{.Name}}", "web/store") == "/db\n"
    docker("rename", "web", "front")
    assert docker("inspect", "-f", "{{.Name}}", "/front/store") == "/db\n"
    docker("rm", "--link", "front/store")
    assert docker.ask("inspect", "front/store").returncode != 0
    again = docker.ask("rm", "--link", "front/store")
    # docker's client 20.10 makes words of its own of a 404
    assert re.search("No such (link: /|container: )front/store", again.stderr)
    assert "cannot remove the default name" in docker.ask("rm", "--link", "/db").stderr
    bad = docker.ask("run", "-d", "--link", "nosuch:x", "busybox", "true")
    assert bad.returncode == 125
    assert "could not get container for nosuch" in bad.stderr


def test_a_link_opens_the_exposed_port_and_no_other(closed_world: World, backend: str) -> None:
    """Rules 7.11 to 7.14 with icc=false; the controls: without a link, and the way back."""
    world = closed_world
    db = world.run(*ECHO, backend=backend, name="db", config=EXPOSED)
    web = world.run(*ECHO, backend=backend, name="web", Links=["db:store"], config=EXPOSED)
    other = world.run(*SLEEP, backend=backend, name="other")
    address = world.address(db)
    assert comes_true(lambda: reaches(world, web, address))
    assert not reaches(world, other, address)
    assert not reaches(world, db, world.address(web))
    world.engine.client.containers.remove("web/store", link=True)
    assert not reaches(world, web, address)


def test_a_link_opens_its_port_without_iptables(world_without_iptables: World) -> None:
    """As above, by nftables' own rules."""
    world = world_without_iptables
    db = world.run(*ECHO, name="db", config=EXPOSED)
    web = world.run(*ECHO, name="web", Links=["db:store"], config=EXPOSED)
    address = world.address(db)
    assert comes_true(lambda: reaches(world, web, address))
    assert not reaches(world, db, world.address(web))
    world.engine.client.containers.remove("web/store", link=True)
    assert not reaches(world, web, address)


def test_a_link_follows_the_child_and_ends_with_it(closed_world: World, backend: str) -> None:
    """Row S-83: no rule is left for whoever gets the address next, SIGKILL of the engine or not."""
    world = closed_world
    containers = world.engine.client.containers
    db = world.run(*ECHO, backend=backend, name="db", config=EXPOSED)
    web = world.run(*SLEEP, backend=backend, name="web", Links=["db:store"])
    old = world.address(db)
    assert comes_true(lambda: reaches(world, web, old))
    containers.restart(db, timeout_seconds=0)
    new = world.address(db)
    assert new != old
    assert comes_true(lambda: reaches(world, web, new))
    assert f"{new}\tstore" in (world.instance.containers_dir / web / "hosts").read_text()
    web_pid = world.pid(web)
    world.kill_engine()
    assert comes_true(lambda: do_in(web_pid, lambda: ask_here(new, 80)) == ANSWER)
    world.start_engine(TOOLKIT_ICC="false")
    assert reaches(world, web, new)
    pid = world.pid(db)
    world.kill_engine()
    os.kill(pid, signal.SIGKILL)
    world.start_engine(TOOLKIT_ICC="false")
    assert new not in "".join(
        line for line in world.host.rules().splitlines() if "-j ACCEPT" in line
    )


def test_a_link_to_one_that_does_not_run(world: World, backend: str) -> None:
    """Rules 2.10 and 7.3: the start fails, and gives everything back (the world checks)."""
    db = world.create(*SLEEP, backend=backend, name="db")
    web = world.create(*SLEEP, backend=backend, name="web", Links=["db:store"])
    with pytest.raises(ApiError, match="Cannot link to a non running container: /db AS /web/store"):
        world.engine.client.containers.start(web)
    world.engine.client.containers.start(db)
    world.engine.client.containers.start(web)


@pytest.mark.parametrize(
    "link",
    ["db:-A", "db:x y", "db:x;reboot", "db:$(id)", "db:x\nCOMMIT\n*filter", "db:é", "-db:x", "db:"],
)
def test_metacharacters_are_refused_and_reach_nothing(world: World, link: str) -> None:
    """S-74, S-70: what would go into rules, files and variables; the control is a plain one."""
    world.run(*SLEEP, name="db", config=EXPOSED)
    before = world.host.rules()
    with pytest.raises(ApiError) as caught:
        world.run(*SLEEP, name="web", Links=[link])
    assert caught.value.status == 400
    assert world.host.rules() == before
    web = world.run(*SLEEP, name="web", Links=["db:x_y.z-1"])
    assert "X_Y.Z-1_NAME=/web/x_y.z-1" in variables(world, web)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Dns", "1.1.1.1\nnameserver 6.6.6.6"),
        ("DnsSearch", "a.test\nnameserver 6.6.6.6"),
        ("DnsOptions", "ndots:1\nnameserver 6.6.6.6"),
        ("ExtraHosts", "x:1.2.3.4\n6.6.6.6 bank.test"),
        ("ExtraHosts", "x y:1.2.3.4"),
        ("Hostname", "h\n6.6.6.6 bank.test"),
        ("Domainname", "d\n6.6.6.6 bank.test"),
    ],
)
def test_no_value_begins_a_line_of_its_own(world: World, field: str, value: str) -> None:
    """S-70; the control: the first line of the value alone is taken, and stands in the file."""
    is_list = field not in {"Hostname", "Domainname"}

    def run(text: str) -> str:
        wish: dict[str, Any] = {field: [text] if is_list else text}
        return world.run(*SLEEP, **wish) if is_list else world.run(*SLEEP, config=wish)

    with pytest.raises(ApiError) as caught:
        run(value)
    assert caught.value.status == 400
    container = run(value.partition("\n")[0].replace("x y", "xy"))
    directory = world.instance.containers_dir / container
    text = "".join((directory / name).read_text() for name in ("hosts", "resolv.conf"))
    assert "6.6.6.6" not in text
    assert value.partition("\n")[0].replace("x y", "xy").partition(":")[0] in text


LINKED = "umount /etc/hosts; rm -f /etc/hosts; ln -s {outside} /etc/hosts"
HUGE = "yes 10.9.9.9 somebody | dd bs=64k count=64 iflag=fullblock >>/etc/hosts"
EMPTY = ": > /etc/hosts"
MOST_BYTES = 256 * 1024


def spoil_and_rewrite(world: World, spoil: str) -> tuple[Path, str]:
    """Have a container spoil its hosts file, which has a link's line, and that line change.

    Returns our own file of it, and the linked container's new address.
    """
    db = world.run(*SLEEP, name="db")
    words = ("sh", "-c", f"{spoil}; touch /spoiled; exec sleep 120")
    web = world.run(*words, name="web", Links=["db:store"], Privileged=True)
    assert comes_true(lambda: Path(f"/proc/{world.pid(web)}/root/spoiled").exists())
    before = world.address(db)
    world.engine.client.containers.restart(db, timeout_seconds=0)
    assert world.address(db) != before  # so there is something to write
    assert world.pid(web)
    return world.instance.containers_dir / web / "hosts", world.address(db)


def says(path: Path, address: str) -> bool:
    """Return whether a hosts file gives the link's name that address."""
    return any(
        line.startswith(f"{address}\t") and "store" in line.split()
        for line in path.read_text().splitlines()
    )


def give_outside(directory: Path) -> Path:
    """Make a file of the host that looks like a hosts file with the link's line."""
    outside = directory / "outside"
    outside.write_text("172.17.0.99\tstore db\n")
    return outside


@pytest.mark.parametrize("spoil", [LINKED, HUGE, EMPTY], ids=["link", "huge", "empty"])
def test_a_hosts_file_that_its_container_spoils_harms_only_itself(
    world: World, spoil: str, tmp_path: Path
) -> None:
    """S-71, S-72: a link on its side of the bind, 4 MB, none; files of the host stay."""
    outside = give_outside(tmp_path)
    before = outside.read_bytes()
    own, address = spoil_and_rewrite(world, spoil.format(outside=outside))
    assert spoil == EMPTY or comes_true(lambda: says(own, address))
    assert own.stat().st_size <= MOST_BYTES
    assert own.is_file()
    assert not own.is_symlink()
    assert outside.read_bytes() == before


@pytest.mark.parametrize("spoil", [LINKED, HUGE], ids=["link", "huge"])
def test_control_a_hosts_file_that_is_written_where_the_container_has_it_harms_others(
    worker_id: str, spoil: str, tmp_path: Path
) -> None:
    """S-71, S-72: the same, by its path in the container, links followed, without a bound."""
    outside = give_outside(tmp_path)
    ours = "EtcFile(self._context.files(record.id).hosts)"
    theirs = "EtcFile(__import__('pathlib').Path(f'/proc/{record.state.pid}/root/etc/hosts'))"
    changes = {
        "engine/links.py": [(ours, theirs)],
        "network/hosts_file.py": [
            ("os.O_NOFOLLOW", "0"),
            ("largest_bytes: int = LARGEST_BYTES", "largest_bytes: int = 1 << 30"),
        ],
    }
    weak = {"PYTHONPATH": str(weakened_package(tmp_path, changes)), "PYTHONSAFEPATH": "1"}
    with opened_world(f"w{worker_id[-3:]}", **weak) as world:
        own, address = spoil_and_rewrite(world, spoil.format(outside=outside))
        written = outside if spoil == LINKED else own
        assert comes_true(lambda: says(written, address))
        assert spoil == LINKED or own.stat().st_size > MOST_BYTES
        world.clean()
