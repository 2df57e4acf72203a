# SPDX-License-Identifier: Apache-2.0
"""The ``changes`` of import: Dockerfile lines that only set an image's configuration."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any, Final

from toolkit.api.decode_ports import spread
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Config = dict[str, Any]


def config_of_changes(lines: Sequence[str]) -> Config:
    """Return the configuration that lines such as ``CMD ["sh"]`` make.

    Raises:
        InvalidRequestError: A line is not one of the instructions that only set something.
    """
    config: Config = {}
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        apply = _INSTRUCTIONS.get(word.upper())
        if apply is None:
            raise InvalidRequestError(f"{word} is not a valid change command")
        if not rest:
            raise InvalidRequestError(f"{word.upper()} requires at least one argument")
        apply(config, rest)
    return config


def _program(key: str) -> Callable[[Config, str], None]:
    """Return what sets a program: a JSON list, or a line for the shell."""

    def apply(config: Config, rest: str) -> None:
        config[key] = _json_list(rest) or ["/bin/sh", "-c", rest]

    return apply


def _json_list(text: str) -> list[str] | None:
    """Return a JSON list of texts, or None if it is none."""
    if not text.startswith("["):
        return None
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return words if isinstance(words, list) and all(isinstance(w, str) for w in words) else None


def _pairs(rest: str) -> list[tuple[str, str]]:
    """Return ``K=V K2="a b"`` as pairs; the old form ``K V`` is one."""
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise InvalidRequestError(f"{rest!r}: {error}") from None
    if words and "=" not in words[0]:
        key, _, value = rest.partition(" ")
        return [(key, value.strip())]
    pairs = [word.partition("=") for word in words]
    if any(not key or not equals for key, equals, _ in pairs):
        raise InvalidRequestError(f"{rest!r}: use NAME=VALUE")
    return [(key, value) for key, _, value in pairs]


def _env(config: Config, rest: str) -> None:
    """Set variables, each once."""
    for key, value in _pairs(rest):
        kept = [entry for entry in config.get("Env", []) if entry.partition("=")[0] != key]
        config["Env"] = [*kept, f"{key}={value}"]


def _labels(config: Config, rest: str) -> None:
    """Set labels."""
    config.setdefault("Labels", {}).update(_pairs(rest))


def _exposed(config: Config, rest: str) -> None:
    """Expose ports."""
    for text in rest.split():
        config.setdefault("ExposedPorts", {}).update({port: {} for port in spread(text)})


def _volumes(config: Config, rest: str) -> None:
    """Add paths that get a volume."""
    for path in _json_list(rest) or rest.split():
        config.setdefault("Volumes", {})[path] = {}


def _text(key: str) -> Callable[[Config, str], None]:
    """Return what sets one text."""

    def apply(config: Config, rest: str) -> None:
        config[key] = rest

    return apply


def _on_build(config: Config, rest: str) -> None:
    """Add a trigger."""
    config.setdefault("OnBuild", []).append(rest)


_INSTRUCTIONS: Final[dict[str, Callable[[Config, str], None]]] = {
    "CMD": _program("Cmd"),
    "ENTRYPOINT": _program("Entrypoint"),
    "ENV": _env,
    "LABEL": _labels,
    "EXPOSE": _exposed,
    "VOLUME": _volumes,
    "USER": _text("User"),
    "WORKDIR": _text("WorkingDir"),
    "STOPSIGNAL": _text("StopSignal"),
    "ONBUILD": _on_build,
}
