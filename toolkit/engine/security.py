# SPDX-License-Identifier: Apache-2.0
"""docker's ``--security-opt`` texts and what goes with them, read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from toolkit.engine.model import HostOptions


@dataclass(frozen=True, kw_only=True)
class SecurityChoice:
    """What a container is closed by beside its capabilities.

    Attributes:
        has_filter: The default system call filter is installed.
        masked_paths: None takes the defaults.
    """

    no_new_privileges: bool = False
    has_filter: bool = True
    masked_paths: tuple[str, ...] | None = None
    readonly_paths: tuple[str, ...] | None = None

    @classmethod
    def of(cls, host: HostOptions) -> SecurityChoice:
        """Read the options of a container.

        Raises:
            InvalidRequestError: One is not known, or cannot be had here.
        """
        no_new_privileges, has_filter = False, not host.privileged
        for option in host.security_options:
            name, _, value = option.replace(":", "=", 1).partition("=")
            match name, value:
                case "no-new-privileges", "" | "true" | "false":
                    no_new_privileges = value != "false"
                case "seccomp", "unconfined":
                    has_filter = False
                case "seccomp", "" | "builtin" | "default":
                    has_filter = True
                case ("apparmor", "unconfined") | ("label", "disable"):
                    pass  # there is nothing of the kind here to switch off
                case "seccomp", _:
                    raise InvalidRequestError(
                        "--security-opt seccomp: profiles of your own are not available yet"
                    )
                case _:
                    raise InvalidRequestError(f"invalid --security-opt: {option[:80]!r}")
        empty: tuple[str, ...] = ()
        return cls(
            no_new_privileges=no_new_privileges,
            has_filter=has_filter,
            masked_paths=empty if host.privileged else host.masked_paths,
            readonly_paths=empty if host.privileged else host.readonly_paths,
        )
