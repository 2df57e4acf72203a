# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys

import pytest

from toolkit.vm import probes

linux = pytest.mark.skipif(sys.platform != "linux", reason="asks a Linux kernel")


@linux
def test_an_unknown_system_call_is_told_from_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(probes.SYSTEM_CALLS, "none", 9999)
    assert not probes.has_system_call("none")
    assert probes.has_system_call("pidfd_open")
    assert probes.has_system_call("clone3")


@linux
def test_a_missing_library_is_told() -> None:
    assert not probes.has_library("libnosuchthing.so.9")
    assert probes.has_library("libc.so.6")
