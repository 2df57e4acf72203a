# SPDX-License-Identifier: Apache-2.0
"""IPv6 subnets of an instance's own."""

from __future__ import annotations

from ipaddress import IPv6Network
from typing import TYPE_CHECKING

import pytest

from toolkit.errors import NoFreeSubnetError
from toolkit.network import unique_local
from toolkit.network.unique_local import choose_subnet, pool_of_instance

if TYPE_CHECKING:
    from pathlib import Path

POOL = IPv6Network("fd01:2345:6789::/48")


def test_a_pool_follows_from_machine_and_instance(tmp_path: Path) -> None:
    """RFC 4193; the same each time, and another one for another instance or machine."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.write_text("0123\n")
    there.write_text("4567\n")
    pool = pool_of_instance("toolkit", here)
    assert pool == pool_of_instance("toolkit", here)
    assert pool.prefixlen == 48
    assert pool.subnet_of(IPv6Network("fd00::/8"))
    others = {pool_of_instance("other", here), pool_of_instance("toolkit", there)}
    assert len(others | {pool, pool_of_instance("toolkit", tmp_path / "nothing")}) == 4


def test_the_first_that_overlaps_nothing_is_taken() -> None:
    assert choose_subnet(POOL, []) == IPv6Network("fd01:2345:6789::/64")
    used = [
        IPv6Network("fd01:2345:6789::/63"),
        IPv6Network("fd01:2345:6789:2:8000::/65"),
        IPv6Network("fe80::/64"),
    ]
    assert choose_subnet(POOL, used) == IPv6Network("fd01:2345:6789:3::/64")


def test_a_pool_that_is_routed_elsewhere_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unique_local, "_MOST_TRIED", 3)
    with pytest.raises(NoFreeSubnetError, match="IPv6 address pool in fd01:2345:6789::/48"):
        choose_subnet(POOL, [IPv6Network("fd01:2345::/32")])
