# SPDX-License-Identifier: Apache-2.0
"""What a person got wrong in a call, in the words of that call, before anything starts. Pure."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Final

from toolkit.errors import InvalidRequestError
from toolkit.testing.spec import HealthCheck, RunOptions

_TEXT: Final = "a text"
_FLAG: Final = "True or False"
_NUMBER: Final = "a number"
_COUNT: Final = "a whole number"
_KINDS: Final = {
    "ports": "a list, ports=[8080]",
    "aliases": "a list, aliases=['db']",
    "cap_add": "a list, cap_add=['NET_ADMIN']",
    "cap_drop": "a list, cap_drop=['CHOWN']",
    "env": "a dictionary, env={'NAME': 'value'}",
    "volumes": "a dictionary, volumes={volume_or_path: '/v'}",
    "labels": "a dictionary, labels={'name': 'value'}",
    "files": "a dictionary, files={'/etc/app.conf': 'text'}",
    "tmpfs": "a dictionary, tmpfs={'/tmp': 'size=64m'}",
    "wire": "a dictionary, wire={'HostConfig': {...}}",
    "name": _TEXT,
    "user": "a text, user='1000:1000'",
    "working_dir": _TEXT,
    "hostname": _TEXT,
    "restart": "a text, restart='on-failure:3'",
    "backend": _TEXT,
    "reuse": _FLAG,
    "tty": _FLAG,
    "open_stdin": _FLAG,
    "init": _FLAG,
    "privileged": _FLAG,
    "read_only": _FLAG,
    "timeout_seconds": _NUMBER,
    "cpus": "a number, cpus=0.5",
    "memory_bytes": "a whole number of bytes, memory_bytes=64 << 20",
    "pids_limit": _COUNT,
    "stop_seconds": _COUNT,
    "health": "HealthCheck('command')",
}


class UnknownOptionError(InvalidRequestError, TypeError):
    """A call has a word that there is not; a TypeError as it is of any function."""


def check_call(image: object, command: object, options: Mapping[str, Any]) -> None:
    """Refuse words that there are not, and values that are of the wrong kind.

    Raises:
        UnknownOptionError: There is no such option.
        InvalidRequestError: A value cannot be used.
    """
    unknown = [word for word in options if word not in RunOptions.__annotations__]
    if unknown:
        near = difflib.get_close_matches(unknown[0], RunOptions.__annotations__, n=1)
        guess = f" (did you mean {near[0]}=?)" if near else ""
        raise UnknownOptionError(f"there is no option {unknown[0]}={guess}")
    if not isinstance(image, str) or not image:
        raise InvalidRequestError(f"image {image!r}: use a name, 'busybox' or 'debian:stable'")
    for word, value in {"command": command, "entrypoint": options.get("entrypoint")}.items():
        _check_command(word, value)
    for word, kind in _KINDS.items():
        if word in options and not _is(kind, options[word]):
            raise InvalidRequestError(f"{word}={options[word]!r}: use {kind}")
    network = options.get("network")
    if network is not None and not isinstance(network, str) and not hasattr(network, "id"):
        raise InvalidRequestError(f"network={network!r}: use a network, its name or a container")


def _check_command(word: str, value: object) -> None:
    if isinstance(value, str):
        try:
            shlex.split(value)
        except ValueError as error:
            raise InvalidRequestError(f"{word}={value!r}: {str(error).lower()}") from None
    elif value is not None and not _is("a list", value):
        raise InvalidRequestError(f"{word}={value!r}: use a text, or a list with the arguments")


def _is(kind: str, value: object) -> bool:
    """Tell whether a value is of a kind that begins with these words."""
    if kind.startswith("a list"):
        return isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
    if kind.startswith("a dictionary"):
        return isinstance(value, Mapping)
    if kind == _FLAG:
        return isinstance(value, bool)
    if kind.startswith("a whole number"):
        return isinstance(value, int)
    if kind.startswith(_NUMBER):
        return isinstance(value, (int, float))
    return isinstance(value, str if kind.startswith(_TEXT) else HealthCheck)
