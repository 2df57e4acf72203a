# SPDX-License-Identifier: Apache-2.0
"""A filter of one's own: docker's form in, the standard's words out."""

from __future__ import annotations

import json

import pytest

from toolkit.engine.model import HostOptions
from toolkit.engine.seccomp_choice import read_profile
from toolkit.engine.security import SecurityChoice
from toolkit.errors import InvalidRequestError

PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "architectures": ["SCMP_ARCH_X86_64"],
    "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["spu_run"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["ppc64le"]}},
    ],
}


@pytest.mark.parametrize(
    ("kept", "names"),
    [(frozenset(), ["read", "clone"]), (frozenset({"CAP_SYS_ADMIN"}), ["read", "mount"])],
)
def test_rules_follow_capabilities_and_architecture(kept: frozenset[str], names: list[str]) -> None:
    document = read_profile(json.dumps(PROFILE), kept)
    assert [rule["names"][0] for rule in document["syscalls"]] == names
    assert document["defaultErrnoRet"] == 38
    assert document["architectures"] == ["SCMP_ARCH_X86_64"]


@pytest.mark.parametrize("text", ["", "{}", "[]", "x", '{"defaultAction":1,"syscalls":[{}]}'])
def test_what_is_no_profile_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="seccomp profile"):
        read_profile(text, frozenset())


def test_options_with_either_separator() -> None:
    text = json.dumps(PROFILE)
    for option in (f"seccomp={text}", f"seccomp:{text}"):
        choice = SecurityChoice.of(HostOptions(security_options=(option,)))
        assert (choice.has_filter, choice.profile) == (True, text)
    choice = SecurityChoice.of(
        HostOptions(security_options=("apparmor=mine", "systempaths=unconfined"))
    )
    assert len(choice.warnings) == 1
    assert (choice.masked_paths, choice.readonly_paths) == ((), ())
