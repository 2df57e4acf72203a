# SPDX-License-Identifier: Apache-2.0
"""Networks and ports as docker's own command, our command and docker's SDK see them."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from integration.network.conftest import comes_true
from integration.networked.commands import CLIENTS, SECONDS, CommandLine
from integration.networked.conftest import ECHO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import docker

    from integration.networked.conftest import World

ANSWER = b"hello\n"
PS = ("ps", "-a", "--no-trunc", "--format", "{{.Names}}: {{.Ports}} {{.Networks}}")


@pytest.fixture(params=CLIENTS)
def cli(world: World, request: pytest.FixtureRequest) -> CommandLine:
    if request.param == "docker" and shutil.which("docker") is None:
        pytest.skip("no docker command here (a client is enough)")
    return CommandLine(world, request.param)


@pytest.fixture
def sdk(world: World) -> Iterator[docker.DockerClient]:
    import docker  # noqa: PLC0415 - 400 ms, only where it is used

    client = docker.DockerClient(base_url=world.engine.url, timeout=SECONDS)
    try:
        yield client
    finally:
        client.close()


def test_a_network_is_made_shown_used_and_removed(cli: CommandLine) -> None:
    words = ("--subnet", "10.71.0.0/24", "--gateway", "10.71.0.9", "--label", "k=v", "lan")
    network_id = cli("network", "create", *words).strip()
    assert len(network_id) == 64
    assert cli("network", "ls", "-q", "--no-trunc", "-f", "name=^lan$") == network_id + "\n"
    listed = cli("network", "ls").splitlines()
    assert listed[0].split() == ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]
    assert [line.split()[1:] for line in listed[1:]] == [
        ["bridge", "bridge", "local"],
        ["host", "host", "local"],
        ["lan", "bridge", "local"],
        ["none", "null", "local"],
    ]
    web = cli.run("--network", "lan", "--name", "web", "--network-alias", "www", "busybox", *ECHO)
    [shown] = json.loads(cli("network", "inspect", "lan"))
    assert shown["IPAM"]["Config"] == [{"Subnet": "10.71.0.0/24", "Gateway": "10.71.0.9"}]
    assert shown["Containers"][web]["Name"] == "web"
    address = shown["Containers"][web]["IPv4Address"]
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}/{{.IPPrefixLen}}{{end}}"
    assert cli("inspect", "-f", template, "web") == address + "\n"
    assert address.endswith("/24")
    other = ("--network", "lan", "--rm", "busybox", "nc", address.partition("/")[0], "80")
    assert cli.ask("run", "-i", *other).returncode == 0
    busy = cli.ask("network", "rm", "lan")
    assert busy.returncode == 1
    assert "has active endpoints" in busy.stderr
    cli("rm", "-f", "web")
    cli.world.made.clear()
    assert cli("network", "rm", "lan") == "lan\n"
    assert cli.ask("network", "inspect", "lan").returncode == 1


def test_a_running_container_is_connected_and_disconnected(
    cli: CommandLine, make_network: Callable[..., str]
) -> None:
    make_network("lan", "10.71.0.0/24")
    make_network("wan", "10.72.0.0/24")
    cli.run("--network", "lan", "--name", "web", "busybox", "sleep", "60")
    assert cli("network", "connect", "--ip", "10.72.0.77", "--alias", "www", "wan", "web") == ""
    assert "inet 10.72.0.77/24" in cli("exec", "web", "ip", "-4", "addr", "show", "eth1")
    own = json.loads(cli("inspect", "web"))[0]["NetworkSettings"]["Networks"]
    assert own["wan"]["IPAMConfig"] == {"IPv4Address": "10.72.0.77"}
    assert own["wan"]["IPAddress"] == "10.72.0.77"
    assert "www" in own["wan"]["Aliases"]
    shown = cli("ps", "--format", "{{.Networks}}").strip().split(",")
    assert sorted(shown) == ["lan", "wan"]  # docker's command has them in the order of a Go map
    for wanted in ("lan", "wan", "bridge"):
        found = cli("ps", "-q", "-f", f"network={wanted}")
        assert bool(found) == (wanted != "bridge")
    twice = cli.ask("network", "connect", "wan", "web")
    assert twice.returncode == 1
    assert cli("network", "disconnect", "wan", "web") == ""
    assert "eth1" not in cli("exec", "web", "ip", "link")
    assert cli.ask("network", "disconnect", "wan", "web").returncode == 1


def test_several_networks_at_once(cli: CommandLine, make_network: Callable[..., str]) -> None:
    make_network("lan", "10.71.0.0/24")
    make_network("wan", "10.72.0.0/24")
    words = ("--network", "lan", "--network", "name=wan,ip=10.72.0.44", "--name", "web")
    cli.run(*words, "busybox", "sleep", "60")
    addresses = cli("exec", "web", "ip", "-4", "addr")
    assert "inet 10.71.0." in addresses
    assert "inet 10.72.0.44/24" in addresses


def test_published_ports_are_shown_and_reached(cli: CommandLine) -> None:
    words = ("-p", "18080:80", "-p", "127.0.0.1:18081:81", "--expose", "443", "--name", "web")
    cli.run(*words, "busybox", *ECHO)
    host = cli.world.host
    assert comes_true(lambda: host.ask("127.0.0.1", 18080) == ANSWER)
    lines = cli("port", "web").splitlines()
    assert lines[-1] == "81/tcp -> 127.0.0.1:18081"
    assert lines[0] == "80/tcp -> 0.0.0.0:18080"
    assert cli("port", "web", "81") == "127.0.0.1:18081\n"
    missing = cli.ask("port", "web", "443/tcp")
    assert missing.returncode == 1
    assert "No public port '443/tcp' published for web" in missing.stderr
    for term, is_found in (
        ("publish=18080", True), ("publish=80", False), ("expose=443/tcp", True),
        ("expose=400-500", True), ("expose=81/udp", False),
    ):  # fmt: skip
        assert bool(cli("ps", "-q", "-f", term)) == is_found, term
    assert json.loads(cli("inspect", "web"))[0]["NetworkSettings"]["Ports"]["443/tcp"] is None


def test_both_commands_fold_ports_alike(world: World) -> None:
    docker, own = (CommandLine(world, program) for program in CLIENTS)
    docker.run("--name", "many", "-p", "8000-8003:8000-8003", "-p", "8000:8000/udp",
               "-p", "127.0.0.1:8005:8005", "-p", "9001:81", "--expose", "20-22",
               "busybox", "sleep", "60")  # fmt: skip
    own.run("--name", "chosen", "-P", "--expose", "80", "--expose", "53/udp", "busybox",
            "sleep", "60")  # fmt: skip
    own.run("--name", "plain", "busybox", "sleep", "60")
    shown = docker(*PS)
    assert shown == own(*PS)
    assert "0.0.0.0:8000-8003->8000-8003/tcp" in shown
    assert docker("port", "many") == own("port", "many")
    headers = [cli("ps", "--no-trunc").splitlines()[0].split() for cli in (docker, own)]
    assert headers[0] == headers[1]


def test_both_commands_count_bytes_alike(world: World) -> None:
    docker, own = (CommandLine(world, program) for program in CLIENTS)
    writing = "echo 12345 >/v/x; cp /bin/busybox /y; echo written; sleep 60"
    own.run("--name", "busy", "-v", "/v", "busybox", "sh", "-c", writing)
    assert comes_true(lambda: own("logs", "busy") == "written\n")
    shown = docker("system", "df")
    assert shown == own("system", "df")
    assert [line.split()[0] for line in shown.splitlines()] == [
        "TYPE", "Images", "Containers", "Local", "Build",
    ]  # fmt: skip
    pruned = own("system", "prune", "-f")
    assert pruned == "Total reclaimed space: 0B\n"


def test_a_fixed_mac_and_address(cli: CommandLine, make_network: Callable[..., str]) -> None:
    make_network("lan", "10.71.0.0/24")
    words = ("--network", "lan", "--ip", "10.71.0.99", "--mac-address", "02:42:0a:47:00:63")
    cli.run(*words, "--name", "web", "busybox", "sleep", "60")
    link = cli("exec", "web", "ip", "addr", "show", "eth0")
    assert "link/ether 02:42:0a:47:00:63" in link
    assert "inet 10.71.0.99/24" in link
    [shown] = json.loads(cli("inspect", "web"))
    assert shown["NetworkSettings"]["Networks"]["lan"]["MacAddress"] == "02:42:0a:47:00:63"


def test_resolver_flags_are_in_the_containers_file(cli: CommandLine) -> None:
    words = ("--dns", "9.9.9.9", "--dns-search", "lan.test", "--dns-option", "ndots:2")
    shown = cli("run", "--rm", *words, "--add-host", "db:10.1.2.3", "busybox", "cat",
                "/etc/resolv.conf", "/etc/hosts")  # fmt: skip
    assert "nameserver 9.9.9.9" in shown
    assert "search lan.test" in shown
    assert "options ndots:2" in shown
    assert "10.1.2.3\tdb" in shown


def test_prune_takes_idle_networks(cli: CommandLine, make_network: Callable[..., str]) -> None:
    make_network("busy")
    make_network("idle")
    make_network("kept", Labels={"keep": "yes"})
    cli.run("--network", "busy", "busybox", "sleep", "60")
    pruned = cli("network", "prune", "-f", "--filter", "label!=keep")
    assert pruned == "Deleted Networks:\nidle\n\n"
    assert cli("network", "prune", "-f") == "Deleted Networks:\nkept\n\n"


BRIDGE_NAME = "com.docker.network.bridge.name"
EXPOSING = "conflicting options: port exposing and the container type network mode"
BAD: list[tuple[list[str], int, str]] = [
    (["network", "create", "--subnet", "10.71.0.0/33", "bad"], 1, "10.71.0.0/33"),
    (["network", "create", "--subnet", "10.71.0.128/25", "bad"], 1, "overlaps"),
    (["network", "create", "lan"], 1, "already exists"),
    (["network", "create", "a b"], 1, "a b"),
    (["network", "create", "n" * 300], 1, "n" * 80),
    (["network", "create", "bridge"], 1, "bridge"),
    (["network", "create", "default"], 1, "default"),
    (["network", "create", "-d", "overlay", "bad"], 1, "overlay"),
    (["network", "create", "-d", "host", "bad"], 1, "only one instance"),
    (["network", "connect", "host", "web"], 1, "host"),
    (["network", "connect", "--alias", "x", "bridge", "web"], 1, "user defined networks"),
    (["run", "-d", "--network", "container:nosuch", "busybox", "true"], 125, "nosuch"),
    (["run", "-d", "--network", "container:", "busybox", "true"], 125, "container"),
    (["network", "rm", "bridge"], 1, "pre-defined"),
    (["network", "rm", "nosuch"], 1, "network nosuch not found"),
    (["network", "connect", "nosuch", "web"], 1, "nosuch"),
    (["network", "connect", "lan", "nosuch"], 1, "No such container: nosuch"),
    (["network", "connect", "--ip", "10.9.9.9", "lan", "web"], 1, "10.9.9.9"),
    (["network", "connect", "--ip", "$(reboot)", "lan", "web"], 1, "$(reboot)"),
    (["network", "connect", "--alias", "x;reboot", "lan", "web"], 1, "x;reboot"),
    (["network", "ls", "-f", "odd=x"], 1, "invalid filter"),
    (["run", "-d", "--network", "nosuch", "busybox", "true"], 125, "network nosuch not found"),
    (["run", "-d", "-p", "18090:80", "busybox", "true"], 125, "port is already allocated"),
    (["run", "-d", "-p", "99999:80", "busybox", "true"], 125, "99999"),
    (["run", "-d", "-p", "1.2.3:80:80", "busybox", "true"], 125, "1.2.3"),
    (["run", "-d", "-p", "192.0.2.77:80:80", "busybox", "true"], 125, "192.0.2.77"),
    (["run", "-d", "--network", "lan", "--ip", "10.9.9.9", "busybox", "true"], 125, "10.9.9.9"),
    (
        ["run", "-d", "--network", "lan", "--network-alias", "-A INPUT -j DROP", "busybox", "true"],
        125,
        "-A INPUT -j DROP",
    ),
    (["run", "-d", "--mac-address", "zz", "busybox", "true"], 125, "zz"),
    (["network", "inspect", "nosuch"], 1, "network nosuch not found"),
    (["network", "create", "--subnet", "nonsense", "bad"], 1, "nonsense"),
    (["network", "create", "--subnet", "10.72.0.0/31", "bad"], 1, "at most 30 bits"),
    (
        ["network", "create", "-o", f"{BRIDGE_NAME}=lan0", "bad"],
        1,
        "existing interface lan0 is not",
    ),
    (["network", "create", "-o", f"{BRIDGE_NAME}=a/b", "bad"], 1, "no name of a link: 'a/b'"),
    (["network", "connect", "--alias", "y" * 70, "lan", "web"], 1, "at most 64 characters"),
    (["run", "-d", "--link", "web:a;b", "busybox", "true"], 125, "invalid link alias 'a;b'"),
    (["run", "-d", "--link", "web:" + "y" * 130, "busybox", "true"], 125, "at most 128"),
    (["run", "-d", "--hostname", "y" * 70, "busybox", "true"], 125, "at most 64 characters"),
    (["run", "-d", "--name", "n" * 130, "busybox", "true"], 125, "two to 128 characters"),
    (["run", "-d", "--network", "container:web", "--expose", "80", "busybox"], 125, EXPOSING),
    (["run", "-d", "--network", "container:web", "-h", "x", "busybox"], 125, "hostname and the"),
    (
        ["run", "-d", "--network", "host", "--ip", "10.9.9.9", "busybox"],
        125,
        "user defined networks",
    ),
]


@pytest.mark.parametrize(
    ("words", "code", "text"), BAD, ids=[" ".join(words)[:60] for words, *_ in BAD]
)
def test_bad_input_is_one_clear_line(
    cli: CommandLine,
    make_network: Callable[..., str],
    words: list[str],
    code: int,
    text: str,
) -> None:
    make_network("lan", "10.71.0.0/24")
    web = cli.run("-p", "18090:80", "--name", "web", "busybox", "sleep", "60")
    done = cli.ask(*words)
    for container in cli.world.engine.client.containers.list(every=True):
        if container["Id"] != web:
            cli.world.engine.client.containers.remove(container["Id"], force=True)
    output = done.stdout.strip().removeprefix("[]")  # of inspect: what was found
    assert (done.returncode, output[64:]) == (code, "")
    assert text in done.stderr
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith("Run '")]
    lines = [line for line in lines if line != "exit status 1"]  # docker's, behind its own line
    assert len(lines) <= 2, lines  # the second is a hint
    assert "Traceback" not in done.stderr
    assert "Error waiting" not in done.stderr
    named = {one["Name"] for one in cli.world.engine.client.networks.list()}
    assert named == {"bridge", "host", "lan", "none"}


def test_a_subnet_without_a_free_address_refuses_the_next(
    cli: CommandLine, make_network: Callable[..., str]
) -> None:
    make_network("tiny", "10.73.0.0/30")
    cli.run("--network", "tiny", "busybox", "sleep", "60")
    full = cli.ask("run", "--rm", "--network", "tiny", "busybox", "true")
    assert full.returncode == 125
    assert "No unallocated IP available in 10.73.0.0/30" in full.stderr
    assert cli("ps", "-aq").count("\n") == 1


def test_the_sdk_knows_networks(world: World, sdk: docker.DockerClient) -> None:
    import docker  # noqa: PLC0415 - as above

    pool = docker.types.IPAMPool(subnet="10.74.0.0/24", gateway="10.74.0.1")
    network = sdk.networks.create(
        "lan", driver="bridge", ipam=docker.types.IPAMConfig(pool_configs=[pool]),
        labels={"k": "v"}, internal=True, check_duplicate=True,
    )  # fmt: skip
    try:
        assert network.attrs["IPAM"]["Config"][0]["Subnet"] == "10.74.0.0/24"
        assert [found.name for found in sdk.networks.list(names=["lan"])] == ["lan"]
        assert [found.id for found in sdk.networks.list(filters={"label": "k=v"})] == [network.id]
        container = sdk.containers.run("busybox", "sleep 60", detach=True)
        world.made.append(container.id)
        network.connect(container, aliases=["www"], ipv4_address="10.74.0.9")
        network.reload()
        assert [each.id for each in network.containers] == [container.id]
        container.reload()
        own = container.attrs["NetworkSettings"]["Networks"]
        assert own["lan"]["IPAddress"] == "10.74.0.9"
        assert own["bridge"]["NetworkID"] == sdk.networks.get("bridge").id
        network.disconnect(container)
        network.reload()
        assert network.containers == []
    finally:
        network.remove()
    with pytest.raises(docker.errors.NotFound):
        sdk.networks.get("lan")
    assert sdk.networks.prune()["NetworksDeleted"] == []


def test_the_sdk_knows_ports(world: World, sdk: docker.DockerClient) -> None:
    container = sdk.containers.run(
        "busybox", list(ECHO), detach=True, ports={"80/tcp": None, "81/tcp": ("127.0.0.1", 18081)}
    )
    world.made.append(container.id)
    container.reload()
    assert container.ports["81/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": "18081"}]
    chosen = int(container.ports["80/tcp"][0]["HostPort"])
    assert comes_true(lambda: world.host.ask("127.0.0.1", chosen) == ANSWER)
    settings = container.attrs["NetworkSettings"]
    assert settings["IPAddress"] == world.address(container.id)
    container.stop(timeout=0)
    container.reload()
    assert container.ports == {}
    assert container.attrs["NetworkSettings"]["IPAddress"] == ""


def test_the_sdk_runs_on_a_network_with_its_settings(
    world: World, sdk: docker.DockerClient, make_network: Callable[..., str]
) -> None:
    make_network("lan", "10.71.0.0/24")
    settings = sdk.api.create_endpoint_config(aliases=["www"], ipv4_address="10.71.0.50")
    container = sdk.containers.run(
        "busybox", "sleep 60", detach=True, network="lan", networking_config={"lan": settings}
    )
    world.made.append(container.id)
    own = container.attrs["NetworkSettings"]["Networks"]["lan"]
    container.reload()
    assert own["IPAMConfig"] == {"IPv4Address": "10.71.0.50"}
    assert world.settings(container.id)["Networks"]["lan"]["IPAddress"] == "10.71.0.50"
    assert sdk.containers.list(filters={"network": "lan"}) == [container]


def test_events_of_networks(world: World, sdk: docker.DockerClient) -> None:
    began = sdk.info()["SystemTime"]
    network = sdk.networks.create("lan")
    container = sdk.containers.run("busybox", "sleep 60", detach=True, network="lan")
    world.made.append(container.id)
    world.clean()
    network.remove()
    events = list(
        sdk.events(since=began, until=sdk.info()["SystemTime"], decode=True,
                   filters={"type": "network", "network": "lan"})
    )  # fmt: skip
    assert [event["Action"] for event in events] == ["create", "connect", "disconnect", "destroy"]
    for event in events:
        assert event["Actor"]["ID"] == network.id
        assert event["Actor"]["Attributes"]["name"] == "lan"
        assert event["Actor"]["Attributes"]["type"] == "bridge"
    assert events[1]["Actor"]["Attributes"]["container"] == container.id


def test_traffic_is_counted(world: World, sdk: docker.DockerClient) -> None:
    container = sdk.containers.run("busybox", list(ECHO), detach=True, ports={"80/tcp": 18085})
    world.made.append(container.id)
    before = container.stats(stream=False)["networks"]["eth0"]
    assert comes_true(lambda: world.host.ask("127.0.0.1", 18085) == ANSWER)
    after = container.stats(stream=False)["networks"]["eth0"]
    assert after["rx_bytes"] > before["rx_bytes"]
    assert after["tx_packets"] > before["tx_packets"]


def test_info_names_the_drivers(sdk: docker.DockerClient) -> None:
    assert sdk.info()["Plugins"]["Network"] == ["bridge", "host", "null"]
