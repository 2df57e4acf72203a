# SPDX-License-Identifier: Apache-2.0
"""Which engine a client talks to.

Owns the order of precedence. That the default agrees with `toolkit.config.Instance`
is held by a test: importing it here would cost more than the whole client.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_INSTANCE = "toolkit"
_INSTANCE_NAME = re.compile(r"[a-z][a-z0-9-]{0,10}")


class Host(NamedTuple):
    """An engine's address.

    Attributes:
        url: ``unix://`` and a path.
        source: What named it: an option, a variable, or ``default``.
        instance: Name of the instance, if the address derives from one.
    """

    url: str
    source: str
    instance: str = ""

    @property
    def socket_path(self) -> str:
        """Path of the unix socket."""
        return self.url.removeprefix("unix://")

    @property
    def is_default(self) -> bool:
        """Whether nobody named an address: then the engine may be started for them."""
        return bool(self.instance)


def parse_host(text: str, source: str) -> Host:
    """Return the address that a text names.

    Raises:
        InvalidRequestError: It is not ``unix://`` and an absolute path.
    """
    path = text.removeprefix("unix://")
    if not path.startswith("/"):
        raise InvalidRequestError(f"{source} {text!r}: use unix:// and an absolute path")
    return Host(f"unix://{path}", source)


def resolve_host(explicit: str | None, environ: Mapping[str, str]) -> Host:
    """Return the engine to talk to: the option, TOOLKIT_HOST, DOCKER_HOST, else the instance's.

    Raises:
        InvalidRequestError: The address or the instance's name cannot be used.
    """
    if explicit:
        return parse_host(explicit, "--host")
    for variable in ("TOOLKIT_HOST", "DOCKER_HOST"):
        if text := environ.get(variable):
            return parse_host(text, variable)
    instance = environ.get("TOOLKIT_INSTANCE") or DEFAULT_INSTANCE
    if not _INSTANCE_NAME.fullmatch(instance):
        raise InvalidRequestError(
            f"TOOLKIT_INSTANCE {instance!r}: use a letter, then up to ten of a-z, 0-9 and '-'"
        )
    return Host(f"unix:///run/{instance}/engine.sock", "default", instance)
