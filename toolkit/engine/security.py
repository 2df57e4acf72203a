# SPDX-License-Identifier: Apache-2.0
"""docker's ``--security-opt`` texts and what goes with them, read once."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from toolkit.engine.seccomp_choice import read_profile
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from toolkit.engine.model import HostOptions

_SEPARATOR: Final = re.compile(r"[=:]")


@dataclass(frozen=True, kw_only=True)
class SecurityChoice:
    """What a container is closed by beside its capabilities.

    Attributes:
        has_filter: A system call filter is installed.
        profile: The text of one of their own; empty takes the default.
        warnings: What was asked for and cannot be had here, and is no loss of safety we offer.
        masked_paths: None takes the defaults.
    """

    no_new_privileges: bool = False
    has_filter: bool = True
    profile: str = ""
    warnings: tuple[str, ...] = ()
    masked_paths: tuple[str, ...] | None = None
    readonly_paths: tuple[str, ...] | None = None

    @classmethod
    def of(cls, host: HostOptions) -> SecurityChoice:
        """Read the options of a container.

        Raises:
            InvalidRequestError: One is not known, or cannot be had here.
        """
        no_new_privileges, has_filter, profile = False, not host.privileged, ""
        warnings = []
        for option in host.security_options:
            name, value = (*_SEPARATOR.split(option, maxsplit=1), "")[:2]
            match name, value:
                case "no-new-privileges", "" | "true" | "false":
                    no_new_privileges = value != "false"
                case "seccomp", "unconfined":
                    has_filter = False
                case "seccomp", "" | "builtin" | "default":
                    has_filter, profile = True, ""
                case ("apparmor", "unconfined") | ("label", "disable"):
                    pass  # there is nothing of the kind here to switch off
                case (("apparmor" | "label"), _):
                    warnings.append(
                        f"--security-opt {name}: this engine applies no {name} profile. Ignored."
                    )
                case "seccomp", _:
                    read_profile(value, frozenset())
                    has_filter, profile = True, value
                case "systempaths", "unconfined":
                    host = replace(host, masked_paths=(), readonly_paths=())
                case _:
                    raise InvalidRequestError(f"invalid --security-opt: {option[:80]!r}")
        empty: tuple[str, ...] = ()
        return cls(
            no_new_privileges=no_new_privileges,
            has_filter=has_filter,
            profile=profile,
            warnings=tuple(warnings),
            masked_paths=empty if host.privileged else host.masked_paths,
            readonly_paths=empty if host.privileged else host.readonly_paths,
        )
