# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from toolkit.errors import InvalidRequestError
from toolkit.vm.where import Where, decide


def where(
    *,
    here: bool = False,
    provider: str = "",
    platform: str = "linux",
    is_root: bool = True,
    asked_of_machines: str = "",
    has_machines: bool = False,
    **environ: str,
) -> Where:
    return decide(
        environ,
        here=here,
        provider=provider,
        platform=platform,
        is_root=is_root,
        asked_of_machines=asked_of_machines,
        has_machines=has_machines,
    )


def test_root_on_linux_needs_no_machine() -> None:
    assert where() == Where(is_here=True, reason="Linux, and you are root")


def test_macos_needs_one() -> None:
    assert not where(platform="darwin", is_root=False).is_here


def test_an_ordinary_user_on_linux_gets_one_and_is_told_why() -> None:
    decided = where(is_root=False)
    assert not decided.is_here
    assert "--here" in decided.reason


def test_a_named_provider_is_a_wish_for_a_machine() -> None:
    assert not where(provider="libvirt").is_here
    assert not where(TOOLKIT_PROVIDER="qemu").is_here


def test_here_goes_before_the_environment() -> None:
    assert where(here=True, TOOLKIT_PROVIDER="qemu").is_here


def test_here_on_macos_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="Linux kernel"):
        where(here=True, platform="darwin")


def test_here_and_a_provider_contradict_each_other() -> None:
    with pytest.raises(InvalidRequestError, match="choose one"):
        where(here=True, provider="libvirt")


def test_a_machine_that_is_there_is_the_one_that_is_meant_and_why_is_told() -> None:
    decided = where(has_machines=True)
    assert not decided.is_here
    assert "has one" in decided.reason


def test_here_passes_over_a_machine_that_is_there() -> None:
    assert where(here=True, has_machines=True).is_here


@pytest.mark.parametrize("option", ["--machines", "--cgroups"])
def test_what_only_a_machine_can_do_is_a_wish_for_one(option: str) -> None:
    assert where(asked_of_machines=option) == Where(is_here=False, reason=f"{option} is asked for")
    with pytest.raises(InvalidRequestError, match=f"--here and {option}: choose one"):
        where(here=True, asked_of_machines=option)
