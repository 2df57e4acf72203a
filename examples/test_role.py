# SPDX-License-Identifier: Apache-2.0
"""An infrastructure role: applied once for all workers, then looked at with testinfra."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.testing import listening

if TYPE_CHECKING:
    from toolkit.testing import Container, ContainerHost, ContainerImage, RunContainer

ROLE = Path(__file__).with_name("role.sh").read_text(encoding="utf-8")


def apply_role(machine: Container) -> None:
    """Do what a deployment does."""
    machine.exec(["sh", "-s"], stdin=ROLE, check=True)


@pytest.fixture(scope="session")
def shop_image(container_image: ContainerImage, debian: str) -> str:
    """The machine as the role leaves it; every test starts from there."""
    return container_image.snapshot_after(
        apply_role, debian, "sleep 600", network="none", stop_seconds=1
    )


@pytest.fixture
def host(run_container: RunContainer, shop_image: str, container_host: ContainerHost) -> Any:
    """The machine with its service running, as testinfra sees it."""
    machine = run_container(
        shop_image,
        "redis-server /etc/shop.conf",
        user="shop",
        network="none",
        init=False,
        wait=listening(6380),
    )
    return container_host(machine, user="root")


def test_the_package_is_there(host: Any) -> None:
    assert host.package("redis-server").is_installed


def test_the_user_cannot_log_in(host: Any) -> None:
    user = host.user("shop")
    assert user.shell == "/usr/sbin/nologin"
    assert user.group == "shop"


def test_the_configuration_is_read_by_its_group_only(host: Any) -> None:
    file = host.file("/etc/shop.conf")
    assert (file.user, file.group, file.mode) == ("root", "shop", 0o640)
    assert file.contains("^maxmemory 32mb$")


def test_the_service_runs_as_its_user_and_listens_on_loopback_only(host: Any) -> None:
    assert host.process.get(comm="redis-server").user == "shop"
    assert host.socket("tcp://127.0.0.1:6380").is_listening
    assert not host.socket("tcp://0.0.0.0:6380").is_listening


def test_the_data_is_written_where_it_should_be(host: Any) -> None:
    assert host.check_output("redis-cli -p 6380 set k v") == "OK"
    assert host.check_output("redis-cli -p 6380 save") == "OK"
    assert host.file("/srv/shop/dump.rdb").user == "shop"
