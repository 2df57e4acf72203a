# SPDX-License-Identifier: Apache-2.0
"""The allocator of host ports."""

from __future__ import annotations

import threading
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from toolkit.errors import AllPortsTakenError, InvalidPortError, PortInUseError
from toolkit.network.ports import (
    FIRST_RANDOM_PORT,
    LAST_RANDOM_PORT,
    HostPort,
    PortAllocator,
    PortWish,
    overlaps,
    parse_port,
    wishes_of,
)

if TYPE_CHECKING:
    from toolkit.network.ports import HostAddress, Protocol

ONE = ip_address("192.168.0.1")
TWO = ip_address("192.168.0.2")
ANY = ip_address("0.0.0.0")  # noqa: S104 - what is to be tested
ANY6 = ip_address("::")
ONE6 = ip_address("fd00::1")


def wish(
    first: int = 0, last: int = 0, address: HostAddress = ONE, protocol: Protocol = "tcp"
) -> PortWish:
    return PortWish(80, protocol, address, first, last)


def take(ports: PortAllocator, wanted: PortWish, holder: str = "a") -> int:
    return ports.reserve(wanted, holder).host.port


def test_ports_are_given_once_for_each_address() -> None:
    """Row RT-080."""
    ports = PortAllocator()
    assert take(ports, wish(80)) == 80
    random = take(ports, wish())
    assert random > 0
    with pytest.raises(PortInUseError):
        take(ports, wish(random))
    assert take(ports, wish()) != random
    with pytest.raises(PortInUseError):
        take(ports, wish(80))
    assert take(ports, wish(80, address=TWO)) == 80
    with pytest.raises(PortInUseError):
        take(ports, wish(80, address=TWO))
    ports.release(HostPort("tcp", ONE, 80), "a")
    assert take(ports, wish(80)) == 80


def test_random_ports_go_round_and_leave_out_the_last() -> None:
    """Rule 6.22: one generator for all addresses, 49153 to 65534."""
    ports = PortAllocator({HostPort("tcp", ONE, FIRST_RANDOM_PORT + 1): "b"})
    assert take(ports, wish()) == FIRST_RANDOM_PORT
    assert take(ports, wish()) == FIRST_RANDOM_PORT + 2
    assert take(ports, wish(address=TWO)) == FIRST_RANDOM_PORT + 3
    ports._cursor["tcp"] = LAST_RANDOM_PORT
    assert take(ports, wish()) == LAST_RANDOM_PORT == 65534
    assert take(ports, wish(address=TWO)) == FIRST_RANDOM_PORT


def test_a_number_that_was_given_back_is_not_the_next() -> None:
    ports = PortAllocator()
    first = ports.reserve(wish(), "a")
    ports.release(first.host, "a")
    assert take(ports, wish()) == FIRST_RANDOM_PORT + 1


def test_when_all_are_taken_there_is_an_error() -> None:
    """Row S-86: 0.7.2 never returned."""
    taken = {HostPort("udp", ONE, n): "b" for n in range(FIRST_RANDOM_PORT, LAST_RANDOM_PORT + 1)}
    ports = PortAllocator(taken)
    with pytest.raises(AllPortsTakenError, match="all udp ports from 49153 to 65534"):
        take(ports, wish(protocol="udp"))
    assert ports.held() == taken


def test_tcp_and_udp_are_apart() -> None:
    """Defects D-8 and D-12 are not kept."""
    ports = PortAllocator()
    for _ in range(3):
        assert take(ports, wish(53)) == take(ports, wish(53, protocol="udp")) == 53
        ports.release(HostPort("udp", ONE, 53), "a")
        assert set(ports.held()) == {HostPort("tcp", ONE, 53)}
        ports.release(HostPort("tcp", ONE, 53), "a")


@pytest.mark.parametrize(
    ("held", "wanted", "meet"),
    [
        (ANY, ONE, True), (ONE, ANY, True), (ANY, ANY, True), (ONE, TWO, False),
        (ANY6, ONE6, True), (ANY6, ANY, False), (ANY6, ONE, False),
    ],
)  # fmt: skip
def test_all_addresses_are_one_of_them_too(
    held: HostAddress,
    wanted: HostAddress,
    meet: bool,  # noqa: FBT001 - a table
) -> None:
    """Row S-86."""
    assert overlaps(held, wanted) is meet
    ports = PortAllocator({HostPort("tcp", held, 80): "holder"})
    assert ports.holder_of(HostPort("tcp", wanted, 80)) == ("holder" if meet else None)


def test_the_error_names_address_port_and_holder() -> None:
    """Row S-86."""
    ports = PortAllocator({HostPort("tcp", ANY, 80): "f" * 64})
    with pytest.raises(PortInUseError) as caught:
        take(ports, wish(80))
    error = caught.value
    assert (error.address, error.port, error.holder) == ("192.168.0.1", 80, "f" * 64)
    assert "192.168.0.1:80" in str(error)
    assert "f" * 12 in str(error)
    assert error.status == 409


def test_a_range_gives_its_first_free_port() -> None:
    ports = PortAllocator({HostPort("tcp", ONE, 8000): "b"})
    assert take(ports, wish(8000, 8001)) == 8001
    with pytest.raises(AllPortsTakenError, match="from 8000 to 8001"):
        take(ports, wish(8000, 8001))


def test_all_or_nothing() -> None:
    """Row S-86: nothing allocated after a failure."""
    ports = PortAllocator({HostPort("tcp", ONE, 82): "b"})
    with pytest.raises(PortInUseError):
        ports.reserve_all([wish(80), wish(81), wish(82)], "a")
    assert set(ports.held()) == {HostPort("tcp", ONE, 82)}


def test_only_its_holder_gives_a_port_back() -> None:
    ports = PortAllocator()
    ports.reserve_all([wish(80), wish(81)], "a")
    ports.reserve(wish(82), "b")
    ports.release(HostPort("tcp", ONE, 80), "b")
    ports.release(HostPort("tcp", TWO, 9), "b")
    assert len(ports.held()) == 3
    ports.release_all("a")
    assert ports.held() == {HostPort("tcp", ONE, 82): "b"}


def test_of_many_at_once_one_wins() -> None:
    """Row S-86."""
    ports = PortAllocator()
    won: list[str] = []
    barrier = threading.Barrier(32)

    def compete(holder: str) -> None:
        barrier.wait()
        try:
            ports.reserve(wish(80), holder)
        except PortInUseError:
            return
        won.append(holder)

    threads = [threading.Thread(target=compete, args=(str(n),)) for n in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert ports.held() == {HostPort("tcp", ONE, 80): won[0]}


def test_ten_thousand_exposed_ports_are_published() -> None:
    """Row S-86."""
    exposed = [f"{number}/tcp" for number in range(1, 10_001)]
    wishes = wishes_of(exposed, {}, publish_all=True, default_address=ANY)
    assert len({p.host.port for p in PortAllocator().reserve_all(wishes, "a")}) == 10_000


def test_wishes_follow_docker_s_rules() -> None:
    """Rules 6.33 to 6.35."""
    bindings = {
        "80/tcp": [("", "8080"), ("192.168.0.1", "x")],
        "81/tcp": [("[::1]", "1-3")],
        "99/tcp": [("", "9")],
    }
    exposed = ["80/tcp", "81/tcp", "53/udp"]
    expected = [
        PortWish(80, "tcp", ANY, 8080, is_everywhere=True),
        PortWish(80, "tcp", ONE, 0),
        PortWish(81, "tcp", ip_address("::1"), 1, 3),
    ]
    assert wishes_of(exposed, bindings, publish_all=False, default_address=ANY) == expected
    everything = wishes_of(exposed, bindings, publish_all=True, default_address=ANY)
    assert everything == [*expected, PortWish(53, "udp", ANY, is_everywhere=True)]
    named = wishes_of(["80/tcp"], {}, publish_all=True, default_address=ONE)
    assert named == [PortWish(80, "tcp", ONE)]
    with pytest.raises(InvalidPortError, match="not an IP address"):
        wishes_of(
            ["80/tcp"], {"80/tcp": [("nowhere", "1")]}, publish_all=False, default_address=ANY
        )


@pytest.mark.parametrize("text", ["0/tcp", "65536/tcp", "80/sctp", "x", "", "-1/tcp", "80/tcp\n"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(InvalidPortError):
        parse_port(text)


@pytest.mark.parametrize(("first", "last"), [(-1, 0), (65536, 0), (5, 4), (0, 4), (1, 65536)])
def test_what_is_no_range_is_refused(first: int, last: int) -> None:
    with pytest.raises(InvalidPortError):
        wish(first, last)


class AgainstAModel(RuleBasedStateMachine):
    """Row S-86: the allocator and a plain set agree whatever happens."""

    def __init__(self) -> None:
        super().__init__()
        self.ports = PortAllocator()
        self.model: dict[HostPort, str] = {}

    @rule(
        first=st.integers(0, 4),
        more=st.integers(0, 2),
        address=st.sampled_from([ONE, TWO, ANY, ANY6, ONE6]),
        protocol=st.sampled_from(["tcp", "udp"]),
        holder=st.sampled_from("abc"),
    )
    def reserve(
        self, first: int, more: int, address: HostAddress, protocol: Protocol, holder: str
    ) -> None:
        wanted = wish(first, first + more if first else 0, address, protocol)
        try:
            given = self.ports.reserve(wanted, holder).host
        except (PortInUseError, AllPortsTakenError):
            for port in range(first, first + more + 1):
                assert not self.is_free(HostPort(protocol, address, port))
            return
        assert self.is_free(given)
        assert not first or first <= given.port <= first + more
        self.model[given] = holder

    @rule(
        port=st.integers(1, 6),
        address=st.sampled_from([ONE, TWO, ANY, ANY6, ONE6]),
        protocol=st.sampled_from(["tcp", "udp"]),
        holder=st.sampled_from("abc"),
    )
    def release(self, port: int, address: HostAddress, protocol: Protocol, holder: str) -> None:
        host_port = HostPort(protocol, address, port)
        self.ports.release(host_port, holder)
        if self.model.get(host_port) == holder:
            del self.model[host_port]

    @rule(holder=st.sampled_from("abc"))
    def release_all(self, holder: str) -> None:
        self.ports.release_all(holder)
        self.model = {port: other for port, other in self.model.items() if other != holder}

    @invariant()
    def agree(self) -> None:
        assert self.ports.held() == self.model

    def is_free(self, wanted: HostPort) -> bool:
        return not any(
            (held.protocol, held.port) == (wanted.protocol, wanted.port)
            and held.address.version == wanted.address.version
            and (held.address == wanted.address or ANY in {held.address, wanted.address}
                 or ANY6 in {held.address, wanted.address})
            for held in self.model
        )  # fmt: skip


TestAgainstAModel = AgainstAModel.TestCase
TestAgainstAModel.settings = settings(max_examples=60, stateful_step_count=30)
