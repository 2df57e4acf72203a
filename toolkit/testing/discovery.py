# SPDX-License-Identifier: Apache-2.0
"""Which engine a run of tests uses, and starting a private one where nobody named any.

In this order: ``--container-engine``, the ini option ``container_engine``,
``TOOLKIT_HOST``, ``DOCKER_HOST``, a private engine (root on Linux), the default
instance's if it listens. A private engine is an instance of its own that is
shared by the processes of a run (and by runs beside it), and ends by itself when
nobody holds a session any more.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from toolkit.client.host import DEFAULT_INSTANCE, Host, parse_host, resolve_host
from toolkit.client.local_engine import is_listening, start_engine
from toolkit.errors import EngineUnreachableError, ToolkitError

if TYPE_CHECKING:
    from collections.abc import Mapping

PRIVATE: Final = "private"
IDLE_SECONDS: Final = 3
_SUFFIX: Final = "-pt"
_LONGEST_INSTANCE: Final = 11
_DIGITS: Final = 4
_EXTRA: Final = ("h11", "msgspec")
_LOOPBACK: Final = "127.0.0.1"


class NoEngineError(EngineUnreachableError):
    """A run of tests has no engine to use."""

    hint = (
        "Name one with --container-engine=unix:///path, TOOLKIT_HOST or DOCKER_HOST; "
        "or run pytest as root on Linux, which starts a private one."
    )


class FoundEngine(NamedTuple):
    """An engine that answers.

    Attributes:
        url: ``unix://`` and a path.
        source: What named it.
        published_host: Where its published ports are reached from here.
    """

    url: str
    source: str
    published_host: str = _LOOPBACK


def named_host(explicit: str | None, environ: Mapping[str, str]) -> Host | None:
    """Return the engine that a person named; None if nobody did.

    Raises:
        InvalidRequestError: The address cannot be used.
    """
    if explicit == PRIVATE:
        return None
    if explicit:
        return parse_host(explicit, "--container-engine")
    found = resolve_host(None, environ)
    return None if found.is_default else found


def private_instance(environ: Mapping[str, str]) -> str:
    """Return the name of the instance of private engines."""
    own = environ.get("TOOLKIT_INSTANCE") or DEFAULT_INSTANCE
    if len(own) + len(_SUFFIX) > _LONGEST_INSTANCE:
        own = own[:_DIGITS] + hashlib.sha256(own.encode()).hexdigest()[:_DIGITS]
    return own + _SUFFIX


def find_engine(explicit: str | None, environ: Mapping[str, str]) -> FoundEngine:
    """Return an engine that answers, started if need be.

    Raises:
        NoEngineError: There is none, with what to do about it.
        InvalidRequestError: The address cannot be used.
    """
    named = named_host(explicit, environ)
    published_host = environ.get("TOOLKIT_PUBLISHED_HOST") or _LOOPBACK
    if named is not None:
        if not is_listening(Path(named.socket_path)):
            raise NoEngineError(f"no engine listens on {named.url} (from {named.source})")
        return FoundEngine(named.url, named.source, published_host)
    if sys.platform == "linux" and os.geteuid() == 0:
        return _private_engine(environ)
    default = resolve_host(None, {"TOOLKIT_INSTANCE": environ.get("TOOLKIT_INSTANCE", "")})
    if explicit != PRIVATE and is_listening(Path(default.socket_path)):
        return FoundEngine(default.url, default.source, published_host)
    reason = "not root" if sys.platform == "linux" else f"{sys.platform} has no containers"
    raise NoEngineError(f"no container engine was named, and none can be started here: {reason}")


def _private_engine(environ: Mapping[str, str]) -> FoundEngine:
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise NoEngineError(
            f"a private engine needs {' and '.join(missing)}: "
            "pip install 'container-toolkit[engine]'"
        )
    instance = private_instance(environ)
    try:
        start_engine(instance, command=engine_command(instance))
    except ToolkitError as error:
        raise NoEngineError(str(error)) from error
    return FoundEngine(f"unix:///run/{instance}/engine.sock", "private engine")


def engine_command(instance: str, *options: str) -> list[str]:
    """Return the words that run an engine which ends when nobody holds a session any more."""
    words = [sys.executable, "-m", "toolkit.cli.main", "engine", "--instance", instance]
    return [*words, "--until-idle", str(IDLE_SECONDS), *options]
