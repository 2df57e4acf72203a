# SPDX-License-Identifier: Apache-2.0
"""The end of a sandbox's engine, played by a process that ends on SIGTERM or does not."""

from __future__ import annotations

import os
import subprocess

import pytest

from toolkit.testing import sandbox


@pytest.mark.parametrize(("program", "ends"), [("", True), ("trap '' TERM; ", False)])
def test_an_engine_that_does_not_end_is_told_from_one_that_does(
    program: str, *, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "_END_SECONDS", 0.5 if not ends else 20.0)
    script = f"{program}echo ready; read line"
    with subprocess.Popen(
        ["/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert sandbox._end(os.pidfd_open(process.pid)) is ends
        process.kill()
