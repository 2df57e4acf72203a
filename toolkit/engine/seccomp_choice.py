# SPDX-License-Identifier: Apache-2.0
"""A system call filter of a person's own: docker's profile, read into OCI's words.

docker's form differs from the standard's ``linux.seccomp`` in what depends on
the container: ``includes`` and ``excludes`` by capability and architecture, and
``archMap``.
"""

from __future__ import annotations

import json
import platform
from typing import Any, Final

from toolkit.errors import InvalidRequestError

_ARCHITECTURES: Final = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
}
_MOST_BYTES: Final = 1024 * 1024


def read_profile(text: str, kept: frozenset[str]) -> dict[str, Any]:
    """Return ``linux.seccomp`` for a profile, for a container that keeps some capabilities.

    Raises:
        InvalidRequestError: It is no profile.
    """
    if len(text) > _MOST_BYTES:
        raise InvalidRequestError("Decoding seccomp profile failed: it is larger than 1 MiB")
    try:
        profile = json.loads(text)
        syscalls = [_rule(rule) for rule in profile.get("syscalls") or () if _applies(rule, kept)]
        document = {
            "defaultAction": profile["defaultAction"],
            "architectures": _architectures(profile),
            "syscalls": syscalls,
        }
        if profile.get("defaultErrnoRet") is not None:
            document["defaultErrnoRet"] = int(profile["defaultErrnoRet"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidRequestError(f"Decoding seccomp profile failed: {error}") from error
    return document


def _architectures(profile: dict[str, Any]) -> list[str]:
    if profile.get("architectures"):
        return [str(name) for name in profile["architectures"]]
    own = _ARCHITECTURES.get(platform.machine(), ("", ""))[1]
    for entry in profile.get("archMap") or ():
        if entry["architecture"] == own:
            return [own, *(entry.get("subArchitectures") or ())]
    return [own]


def _applies(rule: dict[str, Any], kept: frozenset[str]) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    architecture = _ARCHITECTURES.get(platform.machine(), ("", ""))[0]
    wanted, unwanted = includes.get("arches"), excludes.get("arches")
    if wanted and architecture not in wanted:
        return False
    if unwanted and architecture in unwanted:
        return False
    return kept.issuperset(includes.get("caps") or ()) and not (
        excludes.get("caps") and kept.intersection(excludes["caps"])
    )


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    names = rule.get("names") or ([rule["name"]] if rule.get("name") else [])
    if not names:
        raise ValueError("a rule names no system call")
    found: dict[str, Any] = {"names": [str(name) for name in names], "action": rule["action"]}
    if rule.get("args"):
        found["args"] = list(rule["args"])
    if rule.get("errnoRet") is not None:
        found["errnoRet"] = int(rule["errnoRet"])
    return found
