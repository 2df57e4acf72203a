# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from toolkit.bootstrap.debian import debian_command, debian_root, host_suite
from toolkit.bootstrap.errors import DebootstrapFailedError, DebootstrapMissingError

if TYPE_CHECKING:
    from pathlib import Path


def fake_mmdebstrap(tmp_path: Path, body: str) -> str:
    program = tmp_path / "mmdebstrap"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return str(program)


def test_the_words_name_suite_and_mirror() -> None:
    words = debian_command("/m", suite="trixie", mirror="http://mirror")
    assert words == [
        "/m",
        "--quiet",
        "--variant=minbase",
        "--format=tar",
        "trixie",
        "-",
        "http://mirror",
    ]
    assert debian_command("/m", suite="s", mirror="")[-1] == "-"


@pytest.mark.parametrize(
    ("text", "suite"),
    [
        ("ID=debian\nVERSION_CODENAME=bookworm\n", "bookworm"),
        ("ID=ubuntu\nVERSION_CODENAME=noble\n", "stable"),
        ('ID="debian"\n', "stable"),
    ],
)
def test_the_suite_is_this_machines_if_it_is_a_debian(
    tmp_path: Path, text: str, suite: str
) -> None:
    file = tmp_path / "os-release"
    file.write_text(text)
    assert host_suite(file) == suite
    assert host_suite(tmp_path / "none") == "stable"


def test_the_archive_comes_as_it_is_written(tmp_path: Path) -> None:
    program = fake_mmdebstrap(tmp_path, "printf '%s' archive")
    with debian_root(suite="x", program=program) as stream:
        assert stream.read(3) == b"arc"
        assert stream.read(100) == b"hive"
        assert stream.read(100) == b""


def test_a_failure_is_an_error_and_never_the_end_of_an_archive(tmp_path: Path) -> None:
    program = fake_mmdebstrap(tmp_path, "printf half; echo 'E: no mirror' >&2; exit 25")
    with debian_root(suite="x", program=program) as stream:
        assert stream.read(100) == b"half"
        with pytest.raises(DebootstrapFailedError, match="E: no mirror"):
            stream.read(100)


def test_an_upload_that_is_given_up_ends_the_program(tmp_path: Path) -> None:
    program = fake_mmdebstrap(tmp_path, "exec sleep 1000")
    with debian_root(suite="x", program=program) as stream:
        assert stream is not None


def test_without_mmdebstrap_the_package_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(DebootstrapMissingError) as caught,
        debian_root(program=f"{tmp_path}/mmdebstrap"),
    ):
        pass
    assert "apt-get install mmdebstrap" in caught.value.hint
