# SPDX-License-Identifier: Apache-2.0
"""Names on user networks, with a real engine and name server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.reversename
import dns.rrset
import pytest

from integration.network.conftest import comes_true
from integration.networked.commands import CLIENTS, CommandLine
from integration.networked.conftest import HOST, do_in
from integration.pace import SLOWNESS
from toolkit.client import ApiError
from toolkit.kernel.capabilities import numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from integration.networked.conftest import World

SLEEP = ("sleep", "120")


def ask_of(world: World, container: str, name: str, kind: str = "A", how: str = "udp") -> list[str]:
    """Return what a program in a container is answered by its resolver."""
    answer = answer_of(world, container, name, kind, how)
    return [str(record) for rrset in answer.answer for record in rrset]


def answer_of(
    world: World, container: str, name: str, kind: str = "A", how: str = "udp"
) -> dns.message.Message:
    send = dns.query.tcp if how == "tcp" else dns.query.udp
    query = dns.message.make_query(name, kind)
    answer: dns.message.Message = world.do_inside(
        container, lambda: send(query, "127.0.0.11", timeout=5)
    )
    return answer


def ask_by_pid(pid: int, name: str, seconds: float = 5) -> list[str]:
    """Return the same of a container of which only the process is known: no engine runs."""
    query = dns.message.make_query(name, "A")
    answer = do_in(pid, lambda: dns.query.udp(query, "127.0.0.11", timeout=seconds))
    return [str(record) for rrset in answer.answer for record in rrset]


def name_server(world: World) -> int:
    """Return the process of the instance's name server."""
    own = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"toolkit.network.dns.server" in _read(path)
        and f"TOOLKIT_INSTANCE={world.instance.name}".encode() in _read(path.with_name("environ"))
    ]
    assert len(own) == 1, own
    return own[0]


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _read(path: Any) -> bytes:
    try:
        return bytes(path.read_bytes())
    except OSError:
        return b""


@contextmanager
def resolver_of_the_host(world: World, answer: str = "9.9.9.9") -> Iterator[list[str]]:
    """Serve names at an address of the host; yield the questions that came."""
    asked: list[str] = []
    bound: socket.socket = world.host.do(lambda: _datagrams(HOST, 53))
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            with suppress(TimeoutError):
                raw, sender = bound.recvfrom(4096)
                query = dns.message.from_wire(raw)
                name = query.question[0].name
                asked.append(str(name))
                response = dns.message.make_response(query)
                response.answer.append(dns.rrset.from_text(name, 5, "IN", "A", answer))
                bound.sendto(response.to_wire(), sender)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield asked
    finally:
        over.set()
        thread.join()
        bound.close()


def _datagrams(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, port))
    made.settimeout(0.1)
    return made


def test_containers_find_each_other(
    world: World, backend: str, make_network: Callable[..., str]
) -> None:
    """By name, alias, short id, host name and network; both ways; UDP and TCP."""
    make_network("lan")
    wish = {"lan": {"Aliases": ["store"]}}
    db = world.run(*SLEEP, backend=backend, name="db", NetworkMode="lan", endpoints=wish)
    web = world.run(*SLEEP, backend=backend, name="web", NetworkMode="lan")
    address = world.address(db)
    for name in ("db", "store", db[:12], "DB", "db.lan", "store.lan"):
        for how in ("udp", "tcp"):
            assert ask_of(world, web, name, how=how) == [address]
    assert ask_of(world, db, "web") == [world.address(web)]
    reverse = str(dns.reversename.from_address(address))
    assert ask_of(world, web, reverse, "PTR") == ["db.lan."]
    files = world.instance.containers_dir / web
    assert (files / "resolv.conf").read_text().startswith("nameserver 127.0.0.11\n")
    assert "ndots:0" in (files / "resolv.conf").read_text()
    assert f"{world.address(web)}\t{web[:12]}\n" in (files / "hosts").read_text()


def says_hello(docker: CommandLine, words: tuple[str, ...]) -> bool:
    return docker.ask(*words).stdout == "hello\n"


def is_unknown(world: World, container: str, name: str) -> bool:
    return ask_of(world, container, name) == []


@pytest.mark.parametrize("program", CLIENTS)
def test_the_command_lines_and_names(
    world: World, backend: str, program: str, make_network: Callable[..., str]
) -> None:
    """Two containers talk by name through the clients that people have."""
    make_network("lan")
    if shutil.which(program) is None and program == "docker":
        pytest.skip("no docker command here (a client is enough)")
    docker = CommandLine(world, program)
    runtime = ("--runtime", backend, "--network", "lan")
    docker.run(*runtime, "--name", "db", "busybox", "nc", "-ll", "-p", "80", "-e", "cat")
    web = docker.run(*runtime, "--name", "web", "--link", "db:store", "busybox", *SLEEP)
    for name in ("db", "store", "db.lan"):
        talk = ("exec", "web", "sh", "-c", f"echo hello | nc {name} 80")
        assert comes_true(partial(says_hello, docker, talk)), name
    assert docker("exec", "web", "cat", "/etc/resolv.conf").startswith("nameserver 127.0.0.11\n")
    docker("network", "disconnect", "lan", "db")
    assert docker.ask("exec", "web", "nslookup", "db").returncode != 0
    docker("network", "connect", "--alias", "again", "lan", "db")
    assert docker.ask("exec", "web", "nslookup", "again").returncode == 0
    docker("rename", "db", "redis")
    assert ask_of(world, web, "db") == []
    assert ask_of(world, web, "redis") != []


def test_a_running_container_comes_onto_a_network_with_names(
    world: World, backend: str, make_network: Callable[..., str]
) -> None:
    """From the default bridge: its own /etc says so at once, and back; files stay the same ones."""
    make_network("lan")
    db = world.run(*SLEEP, backend=backend, name="db", NetworkMode="lan")
    web = world.run(*SLEEP, backend=backend, name="web")
    networks = world.engine.client.networks
    seen = Path(f"/proc/{world.pid(web)}/root/etc")
    before = {name: (seen / name).read_text() for name in ("hosts", "resolv.conf")}
    assert "127.0.0.11" not in before["resolv.conf"]
    networks.connect("lan", web, {"Aliases": ["front"]})
    assert (seen / "resolv.conf").read_text().startswith("nameserver 127.0.0.11\n")
    inside = world.settings(web)["Networks"]["lan"]["IPAddress"]
    assert f"{inside}\t{web[:12]}\n" in (seen / "hosts").read_text()
    assert ask_of(world, web, "db") == [world.address(db)]
    assert ask_of(world, db, "front") == [inside]
    networks.disconnect("lan", web)
    assert {name: (seen / name).read_text() for name in before} == before
    assert ask_of(world, db, "front") == []


def test_who_shares_a_network_shares_its_names(
    world: World, backend: str, make_network: Callable[..., str]
) -> None:
    """`--network container:NAME`: one namespace, one resolver, one set of files."""
    make_network("lan")
    db = world.run(*SLEEP, backend=backend, name="db", NetworkMode="lan")
    web = world.run(*SLEEP, backend=backend, name="web", NetworkMode="lan")
    beside = world.run(*SLEEP, backend=backend, NetworkMode=f"container:{web}")
    assert ask_of(world, beside, "db") == [world.address(db)]
    for name in ("hosts", "resolv.conf", "hostname"):
        seen = [Path(f"/proc/{world.pid(each)}/root/etc/{name}") for each in (web, beside)]
        assert seen[0].stat().st_ino == seen[1].stat().st_ino


def test_the_host_has_a_name(world: World, make_network: Callable[..., str]) -> None:
    """`--add-host NAME:host-gateway`; where no way leads to the host it is refused."""
    make_network("lan")
    make_network("inside", Internal=True)
    extra: dict[str, Any] = {"ExtraHosts": ["host.docker.internal:host-gateway"]}
    web = world.run(*SLEEP, NetworkMode="lan", **extra)
    gateway = world.settings(web)["Networks"]["lan"]["Gateway"]
    hosts = (world.instance.containers_dir / web / "hosts").read_text()
    assert f"{gateway}\thost.docker.internal\n" in hosts
    alone = world.create(*SLEEP, NetworkMode="inside", **extra)
    with pytest.raises(ApiError, match="no gateway"):
        world.engine.client.containers.start(alone)


def test_no_socket_of_ours_is_reached_from_the_host_s_network(
    world: World, make_network: Callable[..., str]
) -> None:
    """S-87: the name server's socket has a path in a directory for us alone; the control is ours.

    Sockets without a path would be seen by containers with the host's network.
    """
    make_network("lan")
    world.run(*SLEEP, NetworkMode="lan")
    on_host = world.run(*SLEEP, NetworkMode="host")
    seen = Path(f"/proc/{world.pid(on_host)}/net/unix").read_text().splitlines()[1:]
    paths = [line.split()[7] for line in seen if len(line.split()) > 7]
    assert any(path.endswith("names.sock") for path in paths)
    assert [path for path in paths if path.startswith("@") and world.instance.name in path] == []
    names = world.instance.run_dir / "names"
    assert stat.S_IMODE(names.stat().st_mode) == 0o700
    as_nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    connect = "import socket,sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    target = str(names / "names.sock")
    for words, code in (((), 0), (as_nobody, 1)):
        done = subprocess.run(
            [*words, "python3", "-c", connect, target], capture_output=True, check=False
        )
        assert done.returncode == code, done.stderr


def test_an_alias_is_answered_in_turn(world: World, make_network: Callable[..., str]) -> None:
    make_network("lan")
    wish = {"lan": {"Aliases": ["pool"]}}
    both = [world.run(*SLEEP, NetworkMode="lan", endpoints=wish) for _ in range(2)]
    first, second = ask_of(world, both[0], "pool"), ask_of(world, both[0], "pool")
    assert sorted(first) == sorted(world.address(each) for each in both)
    assert first == second[::-1]


def test_ipv6_addresses_are_answered(world: World, make_network: Callable[..., str]) -> None:
    pools = [{"Subnet": "fd00:77::/64"}]
    make_network("six", EnableIPv6=True, IPAM={"Config": pools})
    db = world.run(*SLEEP, name="db", NetworkMode="six")
    seat = world.settings(db)["Networks"]["six"]
    assert ask_of(world, db, "db", "AAAA") == [seat["GlobalIPv6Address"]]
    assert ask_of(world, db, "db", "A") == [seat["IPAddress"]]
    reverse = str(dns.reversename.from_address(seat["GlobalIPv6Address"]))
    assert ask_of(world, db, reverse, "PTR") == ["db.six."]
    hosts = (world.instance.containers_dir / db / "hosts").read_text()
    assert f"{seat['GlobalIPv6Address']}\t{db[:12]}\n" in hosts


def test_other_names_are_asked_of_the_host_s_resolvers(
    world: World, backend: str, make_network: Callable[..., str]
) -> None:
    """``--dns``, ``--dns-search`` and ``--dns-option``; S-88: an internal network asks nobody."""
    make_network("lan")
    make_network("inside", Internal=True)
    host: dict[str, Any] = {
        "Dns": [HOST],
        "DnsSearch": ["example.org"],
        "DnsOptions": ["timeout:3"],
    }
    with resolver_of_the_host(world) as asked:
        web = world.run(*SLEEP, backend=backend, NetworkMode="lan", **host)
        assert ask_of(world, web, "www.example.net") == ["9.9.9.9"]
        assert asked == ["www.example.net."]
        alone = world.run(*SLEEP, backend=backend, NetworkMode="inside", **host)
        assert answer_of(world, alone, "www.example.net").rcode() == dns.rcode.SERVFAIL
        assert ask_of(world, alone, alone[:12]) == [world.address(alone)]
        assert asked == ["www.example.net."], "nothing has left the internal network"
    text = (world.instance.containers_dir / web / "resolv.conf").read_text()
    assert text == ("nameserver 127.0.0.11\nsearch example.org\noptions timeout:3 ndots:0\n")


def test_nobody_outside_is_answered(world: World, make_network: Callable[..., str]) -> None:
    """S-88: neither from a neighbour, nor from the host, nor on the gateway; the control is."""
    make_network("lan")
    web = world.run(*SLEEP, name="web", NetworkMode="lan")
    [gateway] = [
        each["Gateway"] for each in world.settings(web)["Networks"].values() if each["Gateway"]
    ]
    query = dns.message.make_query("web", "A")
    for place, addresses in (
        (world.neighbour, (HOST, gateway, world.address(web), "127.0.0.11")),
        (world.host, (HOST, gateway, world.address(web), "127.0.0.11")),
    ):
        for address in addresses:
            with pytest.raises((OSError, dns.exception.Timeout)):
                place.do(partial(dns.query.udp, query, address, timeout=0.3))
    assert ask_of(world, web, "web") == [world.address(web)]


def test_a_container_may_serve_port_53_itself(
    world: World, make_network: Callable[..., str]
) -> None:
    make_network("lan")
    web = world.run(*SLEEP, name="web", NetworkMode="lan")
    with closing(world.do_inside(web, lambda: _datagrams("", 53))):
        assert ask_of(world, web, "web") == [world.address(web)]


def test_names_go_on_without_the_engine_and_with_the_next(
    world: World, backend: str, make_network: Callable[..., str]
) -> None:
    """SIGKILL of the engine: the same server answers on; one that ended meanwhile is forgotten."""
    make_network("lan")
    db = world.run(*SLEEP, backend=backend, name="db", NetworkMode="lan")
    web = world.run(*SLEEP, backend=backend, name="web", NetworkMode="lan")
    gone = world.run(*SLEEP, backend=backend, name="gone", NetworkMode="lan")
    address, server = world.address(db), name_server(world)
    pids = {each: world.pid(each) for each in (web, gone)}
    assert ask_of(world, web, "gone") == [world.address(gone)]
    world.kill_engine()
    assert ask_by_pid(pids[web], "db") == [address]
    os.kill(pids[gone], signal.SIGKILL)
    assert comes_true(lambda: ask_by_pid(pids[web], "gone") == [])
    world.start_engine()
    assert name_server(world) == server
    assert ask_of(world, web, "db") == [address]
    world.engine.client.containers.rename(db, "redis")
    assert ask_of(world, web, "redis") == [address]


def test_a_killed_name_server_is_replaced(
    world: World, backend: str, make_network: Callable[..., str]
) -> None:
    make_network("lan")
    db = world.run(*SLEEP, backend=backend, name="db", NetworkMode="lan")
    web = world.run(*SLEEP, backend=backend, name="web", NetworkMode="lan")
    server, pid, address = name_server(world), world.pid(web), world.address(db)
    os.kill(server, signal.SIGKILL)

    def is_back() -> bool:
        with suppress(OSError, dns.exception.Timeout):
            return ask_by_pid(pid, "db", seconds=0.2) == [address]
        return False

    assert comes_true(is_back)
    assert name_server(world) != server


def test_both_killed_at_once(world: World, make_network: Callable[..., str]) -> None:
    """Engine and name server: the next engine starts another one and tells it everything."""
    make_network("lan")
    db = world.run(*SLEEP, name="db", NetworkMode="lan")
    web = world.run(*SLEEP, name="web", NetworkMode="lan")
    server = name_server(world)
    world.kill_engine()
    os.kill(server, signal.SIGKILL)
    world.start_engine()
    assert ask_of(world, web, "db") == [world.address(db)]


def test_it_holds_few_privileges(world: World, make_network: Callable[..., str]) -> None:
    """What reads the questions of containers can do little; the control is the engine."""
    make_network("lan")
    world.run(*SLEEP, NetworkMode="lan")
    own = (numbers(["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE"]), 1)
    assert privileges(name_server(world)) == own
    assert privileges(world.engine.pid)[0] > own[0]


def privileges(pid: int) -> tuple[frozenset[int], int]:
    """Return the bounding set of a process, and whether it can gain nothing by exec."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":\t") for line in lines if ":\t" in line)
    mask = int(found["CapBnd"], 16)
    return frozenset(n for n in range(64) if mask >> n & 1), int(found["NoNewPrivs"])


def test_names_are_gone_with_the_last_container(
    world: World, make_network: Callable[..., str]
) -> None:
    """Nothing holds the namespace of a container that has ended."""
    make_network("lan")
    web = world.run(*SLEEP, NetworkMode="lan")
    server = name_server(world)
    before = open_files(server)
    world.engine.client.containers.remove(web, force=True)
    world.made.remove(web)
    assert comes_true(lambda: open_files(server) < before)


def test_a_storm_of_questions_and_of_containers(
    world: World, make_network: Callable[..., str]
) -> None:
    """S-88: names stay right while containers come and go and one asks without end."""
    make_network("lan")
    db = world.run(*SLEEP, name="db", NetworkMode="lan")
    web = world.run(*SLEEP, NetworkMode="lan")
    address = world.address(db)
    over, wrong = threading.Event(), []

    def storm() -> None:
        while not over.is_set():
            found = ask_of(world, web, "db")
            if found != [address]:
                wrong.append(found)

    thread = threading.Thread(target=storm)
    thread.start()
    began = time.monotonic()
    for number in range(8):
        other = world.run(*SLEEP, name=f"other{number}", NetworkMode="lan")
        assert ask_of(world, web, f"other{number}") == [world.address(other)]
        world.engine.client.containers.remove(other, force=True)
        world.made.remove(other)
        assert comes_true(partial(is_unknown, world, web, f"other{number}"))
    over.set()
    thread.join()
    assert wrong == []
    assert time.monotonic() - began < 60 * SLOWNESS
