# SPDX-License-Identifier: Apache-2.0
"""The probe's own part; that it makes links shows in `invoke doctor` and in integration."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from toolkit.vm import link_probe

if TYPE_CHECKING:
    from collections.abc import Iterator


class FakeLinks:
    """What pyroute2 is asked for; a kind may be unknown to the kernel."""

    def __init__(self, unknown: str = "") -> None:
        self.unknown = unknown
        self.made: list[str] = []
        self.plugged: list[int] = []

    def link(self, act: str, **fields: Any) -> None:
        if act == "add":
            if fields["kind"] == self.unknown:
                raise NetlinkError(errno.EOPNOTSUPP, "Operation not supported")
            self.made.append(fields["ifname"])
        elif "master" in fields:
            self.plugged.append(fields["master"])

    def link_lookup(self, ifname: str) -> list[int]:
        return [self.made.index(ifname) + 1]

    def addr(self, *_: object, **__: object) -> None:
        pass


def probe(monkeypatch: pytest.MonkeyPatch, links: FakeLinks, *arguments: str) -> int:
    @contextmanager
    def opened() -> Iterator[FakeLinks]:
        yield links

    monkeypatch.setattr(link_probe, "IPRoute", opened)
    return link_probe.main(list(arguments))


def test_a_veth_is_plugged_into_a_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    links = FakeLinks()
    assert probe(monkeypatch, links, "veth") == 0
    assert links.made == ["probe0", "probe1"]
    assert links.plugged == [1]


@pytest.mark.parametrize("kind", ["bridge", "veth"])
def test_what_the_kernel_does_not_know_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    assert probe(monkeypatch, FakeLinks(unknown=kind), kind) == 1
    assert kind in capsys.readouterr().err


def test_an_unknown_word_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe(monkeypatch, FakeLinks(), "dummy") == 2
