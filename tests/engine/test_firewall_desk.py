# SPDX-License-Identifier: Apache-2.0
"""When the firewall is changed, and when all is made ready for the next change."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.fakes.firewall import FakeFirewall
from toolkit.engine import firewall_desk
from toolkit.engine.firewall_desk import FirewallDesk
from toolkit.network.firewall import FirewallState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@pytest.fixture
def firewall() -> FakeFirewall:
    return FakeFirewall()


def play(firewall: FakeFirewall, scenario: Callable[[FirewallDesk], Awaitable[None]]) -> None:
    async def on_host(act: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(act)

    async def run() -> None:
        desk = FirewallDesk(lambda: cast("Any", firewall), on_host, FirewallState())
        async with asyncio.timeout(20):
            await scenario(desk)
            await desk.close()

    asyncio.run(run())


def with_proxies(state: FirewallState) -> FirewallState:
    return replace(state, has_proxies=True)


def test_in_the_quiet_behind_a_change_all_is_made_ready_for_the_next(
    firewall: FakeFirewall,
) -> None:
    async def scenario(desk: FirewallDesk) -> None:
        await desk.change(with_proxies)
        assert not firewall.expected.is_set()
        assert await asyncio.to_thread(firewall.expected.wait, 10)

    play(firewall, scenario)


def test_a_desk_that_is_closed_makes_nothing_ready(
    firewall: FakeFirewall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firewall_desk, "QUIET_SECONDS", 0.01)

    async def scenario(desk: FirewallDesk) -> None:
        await desk.change(with_proxies)
        await desk.close()
        passed = asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, passed.set)
        await passed.wait()
        assert not firewall.expected.is_set()

    play(firewall, scenario)
