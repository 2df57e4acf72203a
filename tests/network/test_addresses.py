# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from threading import Thread

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from toolkit.errors import AddressInUseError, AddressPoolExhaustedError, InvalidRequestError
from toolkit.network.addresses import AddressPool, mac_of

GATEWAY = IPv4Address("172.17.42.1")
SUBNET = IPv4Network("172.17.0.0/16")


def small() -> AddressPool:
    return AddressPool(IPv4Network("127.0.0.0/29"), IPv4Address("127.0.0.1"))


def last_parts(pool: AddressPool, count: int) -> list[int]:
    return [int(str(pool.reserve()).rpartition(".")[2]) for _ in range(count)]


def test_addresses_go_round_and_a_full_pool_goes_on_with_what_was_released_first() -> None:
    """RT-083: TestIPAllocator."""
    pool = small()
    assert last_parts(pool, 5) == [2, 3, 4, 5, 6]
    with pytest.raises(AddressPoolExhaustedError, match="No unallocated IP available"):
        pool.reserve()
    for last in (5, 4, 6):
        pool.release(IPv4Address(f"127.0.0.{last}"))
    assert last_parts(pool, 3) == [5, 6, 4]
    with pytest.raises(AddressPoolExhaustedError):
        pool.reserve()


def test_the_first_container_of_the_default_bridge_has_address_two() -> None:
    assert str(AddressPool(SUBNET, GATEWAY).reserve()) == "172.17.0.2"


def test_the_gateway_is_passed_over() -> None:
    pool = AddressPool(SUBNET, GATEWAY, last=IPv4Address("172.17.42.0"))
    assert str(pool.reserve()) == "172.17.42.2"


def test_a_released_address_is_reused_last() -> None:
    """S-89: who still sends to the old holder has time to forget it."""
    pool = small()
    first = pool.reserve()
    pool.release(first)
    assert last_parts(pool, 4) == [3, 4, 5, 6]
    assert pool.reserve() == first


def test_a_pool_that_is_made_again_gives_no_address_twice() -> None:
    before = AddressPool(SUBNET, GATEWAY)
    held = [before.reserve() for _ in range(3)]
    before.release(held[1])
    after = AddressPool(SUBNET, GATEWAY, taken=before.taken(), last=held[2])
    assert str(after.reserve()) == "172.17.0.5"


def test_a_certain_address_can_be_asked_for_once() -> None:
    pool = AddressPool(SUBNET, GATEWAY)
    wanted = IPv4Address("172.17.0.2")
    assert pool.reserve(wanted) == wanted
    with pytest.raises(AddressInUseError, match="Address already in use"):
        pool.reserve(wanted)
    assert str(pool.reserve()) == "172.17.0.3"


@pytest.mark.parametrize("wanted", ["172.17.0.0", "172.17.255.255", "10.0.0.1", "::1"])
def test_an_address_that_no_container_can_have_is_refused(wanted: str) -> None:
    with pytest.raises(InvalidRequestError):
        AddressPool(SUBNET, GATEWAY).reserve(ip_address(wanted))


def test_the_gateway_cannot_be_asked_for() -> None:
    with pytest.raises(AddressInUseError):
        AddressPool(SUBNET, GATEWAY).reserve(GATEWAY)


def test_only_the_allocatable_part_is_handed_out() -> None:
    part = IPv4Network("172.17.9.0/30")
    pool = AddressPool(SUBNET, GATEWAY, allocatable=part)
    assert {pool.reserve() for _ in range(4)} == set(part)
    with pytest.raises(AddressPoolExhaustedError):
        pool.reserve()
    assert str(pool.reserve(IPv4Address("172.17.0.9"))) == "172.17.0.9"


def test_an_allocatable_part_outside_the_subnet_is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        AddressPool(SUBNET, GATEWAY, allocatable=IPv4Network("10.0.0.0/24"))


def test_a_large_ipv6_subnet_costs_no_memory() -> None:
    pool = AddressPool(IPv6Network("fd00:1::/64"), IPv6Address("fd00:1::1"))
    assert [str(pool.reserve()) for _ in range(2)] == ["fd00:1::2", "fd00:1::3"]


def test_threads_never_share_an_address() -> None:
    pool = AddressPool(SUBNET, GATEWAY)
    given: list[object] = []
    threads = [
        Thread(target=lambda: given.extend([pool.reserve() for _ in range(50)])) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(given)) == len(given) == 400


def test_a_mac_follows_from_the_address() -> None:
    assert mac_of(IPv4Address("172.17.0.2")) == "02:42:ac:11:00:02"


class Pool(RuleBasedStateMachine):
    """The pool against rules 6.15-6.19 written down as plainly as can be."""

    SIZE = 14
    GATEWAY_AT = 5

    def __init__(self) -> None:
        super().__init__()
        self.pool = AddressPool(IPv4Network("10.0.0.0/28"), self._at(self.GATEWAY_AT))
        self.held: set[int] = set()
        self.cursor = 1

    def _at(self, position: int) -> IPv4Address:
        return IPv4Address("10.0.0.0") + position

    def _free(self) -> list[int]:
        positions = [*range(self.cursor, self.SIZE + 1), *range(1, self.cursor)]
        return [p for p in positions if p not in self.held | {1, self.GATEWAY_AT}]

    @rule()
    def reserve_any(self) -> None:
        free = self._free()
        if not free:
            with pytest.raises(AddressPoolExhaustedError):
                self.pool.reserve()
            return
        assert self.pool.reserve() == self._at(free[0])
        self.held.add(free[0])
        self.cursor = free[0] % self.SIZE + 1

    @rule(position=st.integers(1, SIZE).filter(lambda p: p != Pool.GATEWAY_AT))
    def reserve_a_certain_one(self, position: int) -> None:
        if position in self.held:
            with pytest.raises(AddressInUseError):
                self.pool.reserve(self._at(position))
        else:
            assert self.pool.reserve(self._at(position)) == self._at(position)
            self.held.add(position)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        position = data.draw(st.sampled_from(sorted(self.held)))
        if not self._free():
            self.cursor = position
        self.held.remove(position)
        self.pool.release(self._at(position))

    @rule(position=st.integers(1, SIZE))
    def release_what_is_not_held(self, position: int) -> None:
        if position not in self.held:
            self.pool.release(self._at(position))

    @rule()
    def crash(self) -> None:
        last = self._at(self.cursor - 1) if self.cursor > 1 else self._at(self.SIZE)
        self.pool = AddressPool(
            self.pool.subnet, self.pool.gateway, taken=self.pool.taken(), last=last
        )

    @invariant()
    def same_addresses_are_held(self) -> None:
        assert self.pool.taken() == {self._at(position) for position in self.held}


TestPoolAgainstModel = Pool.TestCase
TestPoolAgainstModel.settings = settings(max_examples=60, stateful_step_count=40)


def test_a_pool_says_where_it_goes_on() -> None:
    """Rule 6.16: what is told to the next pool goes on behind it."""
    pool = AddressPool(IPv4Network("10.0.0.0/29"), IPv4Address("10.0.0.1"))
    given = [pool.reserve() for _ in range(2)]
    assert pool.last == given[-1]
    following = AddressPool(IPv4Network("10.0.0.0/29"), IPv4Address("10.0.0.1"), last=pool.last)
    assert following.reserve() == IPv4Address(int(given[-1]) + 1)
