# SPDX-License-Identifier: Apache-2.0
"""`--security-opt` on the command line: a profile's file becomes its text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from toolkit.cli.security_options import read_security_options
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_profile_is_read_and_all_else_stays(tmp_path: Path) -> None:
    profile = tmp_path / "p.json"
    profile.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    others = ["no-new-privileges", "seccomp=unconfined", "seccomp:builtin", "apparmor=x"]
    assert read_security_options([*others, f"seccomp={profile}"]) == [
        *others, 'seccomp={"defaultAction":"SCMP_ACT_ALLOW"}',
    ]  # fmt: skip


@pytest.mark.parametrize("content", [None, "no json"])
def test_a_file_that_is_no_profile_is_told(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "p.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidRequestError, match="seccomp profile"):
        read_security_options([f"seccomp={path}"])
