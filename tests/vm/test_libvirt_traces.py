# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.errors import MachineError
from toolkit.vm.libvirt_traces import LibvirtTraces

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LEFT = ["-P FORWARD ACCEPT", "-N LIBVIRT_FWI", "-A FORWARD -j LIBVIRT_FWI"]
NETWORK = "-A LIBVIRT_FWI -d 192.0.2.0/24 -o virbr0 -j ACCEPT"
NEIGHBOUR = "-A FORWARD -i docker0 -j ACCEPT"


@dataclass
class FakeFirewall:
    """iptables with rules in its table filter; there is no ip6tables."""

    rules: list[str] = field(default_factory=list)

    def run(self, argv: Sequence[str], **_: Any) -> str:
        program, _wait, _option, table, act, *words = argv
        if program == "ip6tables":
            raise MachineError("no such program")
        if table != "filter":
            return ""
        if act == "--delete":
            self.rules.remove(f"-A {words[0]} -j {words[2]}")
        if act == "--delete-chain":
            assert not [rule for rule in self.rules if rule.endswith(f"-j {words[0]}")]
            self.rules.remove(f"-N {words[0]}")
        return "".join(f"{rule}\n" for rule in self.rules)


@pytest.fixture
def firewall() -> FakeFirewall:
    return FakeFirewall(rules=["-P FORWARD ACCEPT"])


@pytest.fixture
def traces(tmp_path: Path, firewall: FakeFirewall) -> LibvirtTraces:
    forwarding = tmp_path / "ip_forward"
    forwarding.write_text("0\n")
    cgroups = tmp_path / "cgroup"
    (cgroups / "memory").mkdir(parents=True)
    return LibvirtTraces(
        record=tmp_path / "before", run=firewall.run, forwarding=forwarding, cgroups=cgroups
    )


def test_what_libvirt_left_is_put_back(traces: LibvirtTraces, firewall: FakeFirewall) -> None:
    traces.note()
    firewall.rules[:] = LEFT
    traces.forwarding.write_text("1\n")
    traces.put_back()
    assert firewall.rules == ["-P FORWARD ACCEPT"]
    assert traces.forwarding.read_text() == "0\n"
    assert not traces.record.exists()


def test_what_was_there_before_stays(traces: LibvirtTraces, firewall: FakeFirewall) -> None:
    firewall.rules[:] = LEFT
    traces.forwarding.write_text("1\n")
    traces.note()
    traces.put_back()
    assert firewall.rules == LEFT
    assert traces.forwarding.read_text() == "1\n"


def test_the_first_note_counts(traces: LibvirtTraces, firewall: FakeFirewall) -> None:
    traces.note()
    firewall.rules[:] = LEFT
    traces.forwarding.write_text("1\n")
    traces.note()  # as when the daemon died and is started again
    traces.put_back()
    assert firewall.rules == ["-P FORWARD ACCEPT"]


def test_chains_that_a_network_still_uses_stay(
    traces: LibvirtTraces, firewall: FakeFirewall
) -> None:
    traces.note()
    firewall.rules[:] = [*LEFT, NETWORK]
    traces.put_back()
    assert firewall.rules == [*LEFT, NETWORK]


def test_packets_are_still_passed_on_where_somebody_elses_rules_are_about_them(
    traces: LibvirtTraces, firewall: FakeFirewall
) -> None:
    traces.note()
    firewall.rules[:] = [*LEFT, NEIGHBOUR]
    traces.forwarding.write_text("1\n")
    traces.put_back()
    assert firewall.rules == ["-P FORWARD ACCEPT", NEIGHBOUR]
    assert traces.forwarding.read_text() == "1\n"


def test_without_a_note_nothing_is_touched(traces: LibvirtTraces, firewall: FakeFirewall) -> None:
    firewall.rules[:] = LEFT
    traces.put_back()
    assert firewall.rules == LEFT


def test_control_groups_of_machines_go_unless_they_were_there_or_are_used(
    traces: LibvirtTraces,
) -> None:
    (traces.cgroups / "cpu" / "machine").mkdir(parents=True)
    traces.note()
    (traces.cgroups / "memory" / "machine").mkdir()
    (traces.cgroups / "freezer" / "machine" / "somebodys").mkdir(parents=True)
    traces.put_back()
    left = sorted(path.parent.name for path in traces.cgroups.glob("*/machine"))
    assert left == ["cpu", "freezer"]
