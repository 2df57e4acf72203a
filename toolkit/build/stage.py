# SPDX-License-Identifier: Apache-2.0
"""What a stage has become so far, and what the instructions that only say something make of it.

Pure: no file, no container. Each instruction here changes the configuration and
returns what the history says of it.
"""

from __future__ import annotations

import copy
import json
import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from toolkit.build.words import expand_word, expand_words
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from toolkit.build.instructions import Instruction

Config = dict[str, Any]

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL: Final = ("/bin/sh", "-c")
PREDEFINED_ARGS: Final = frozenset(
    name
    for one in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (one, one.lower())
)
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|\u00b5s|ms|s|m|h))+", re.ASCII)
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|\u00b5s|ms|s|m|h)")
_UNIT_NS: Final = {
    "ns": 1, "us": 1_000, "\u00b5s": 1_000, "ms": 1_000_000,
    "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_PORT: Final = re.compile(
    r"(?P<first>\d{1,5})(?:-(?P<last>\d{1,5}))?(?:/(?P<protocol>tcp|udp|sctp))?"
)
_LARGEST_PORT: Final = 65535
_SIGNAL: Final = re.compile(r"(?:SIG)?[A-Z][A-Z0-9+-]*|\d{1,2}", re.ASCII)
_HEALTH_KEYS: Final = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}


@dataclass
class StageState:
    """One stage while it is built.

    Attributes:
        config: Docker's `Config` object of the image so far.
        image_id: Of the last step; None before the first of a stage from scratch.
        args: Values of the ARGs declared so far.
        given: Values that the build was asked with.
    """

    config: Config = field(default_factory=dict)
    image_id: str | None = None
    author: str = ""
    args: dict[str, str] = field(default_factory=dict)
    given: dict[str, str | None] = field(default_factory=dict)
    global_args: dict[str, str] = field(default_factory=dict)
    consumed: set[str] = field(default_factory=set)
    escape: str = "\\"
    has_own_command: bool = False

    @property
    def env(self) -> dict[str, str]:
        """The variables that the image sets."""
        return dict(entry.partition("=")[::2] for entry in self.config.get("Env") or ())

    @property
    def variables(self) -> dict[str, str]:
        """What ``$NAME`` stands for: an ENV goes before an ARG."""
        return self.args | self.env

    @property
    def shell(self) -> tuple[str, ...]:
        """What runs a line."""
        return tuple(self.config.get("Shell") or DEFAULT_SHELL)

    @property
    def working_dir(self) -> str:
        """Where relative paths begin."""
        return str(self.config.get("WorkingDir") or "/")

    def begin(self, config: Config, image_id: str | None) -> tuple[str, ...]:
        """Take over a base image; return the triggers that it has for its heirs."""
        self.config, self.image_id = copy.deepcopy(config), image_id
        if not any(entry.startswith("PATH=") for entry in self.config.get("Env") or ()):
            self.config["Env"] = [*(self.config.get("Env") or ()), f"PATH={DEFAULT_PATH}"]
        triggers = self.config.pop("OnBuild", None) or ()
        return tuple(trigger for trigger in triggers if isinstance(trigger, str))

    def expand(self, text: str) -> str:
        """Return a text with this stage's variables in it."""
        return expand_word(text, self.variables, escape=self.escape)

    def run_args(self) -> tuple[str, ...]:
        """Return the ARGs that a RUN sees, as ``K=V`` sorted; an ENV hides one."""
        env = self.env
        return tuple(f"{key}={self.args[key]}" for key in sorted(self.args) if key not in env)

    def proxy_args(self) -> tuple[str, ...]:
        """Return the proxies that were given; every RUN sees them and no cache knows them."""
        return tuple(
            f"{key}={value}"
            for key, value in sorted(self.given.items())
            if key in PREDEFINED_ARGS and value is not None and key not in self.args
        )

    def declare(self, name: str, default: str | None) -> None:
        """Note an ARG; what was given goes before its default."""
        value = self.given.get(name)
        if name in self.given:
            self.consumed.add(name)
        if value is None:
            value = default if default is not None else self.global_args.get(name)
        if value is not None:
            self.args[name] = value


def _set_env(state: StageState, one: Instruction) -> str:
    entries = dict(state.env)
    told = []
    variables = state.variables
    for key, value in one.pairs:
        name = expand_word(key, variables, escape=state.escape)
        entries[_checked_name(name)] = expand_word(value, variables, escape=state.escape)
        told.append(f"{name}={entries[name]}")
    state.config["Env"] = [f"{key}={value}" for key, value in entries.items()]
    return f"ENV {' '.join(told)}"


def _checked_name(name: str) -> str:
    if not name or "=" in name:
        raise InvalidRequestError(f"not a name for a variable: {name[:80]!r}")
    return name


def _set_labels(state: StageState, one: Instruction) -> str:
    labels = dict(state.config.get("Labels") or {})
    told = []
    for key, value in one.pairs:
        name = state.expand(key)
        labels[name] = state.expand(value)
        told.append(f"{name}={labels[name]}")
    state.config["Labels"] = labels
    return f"LABEL {' '.join(told)}"


def _set_author(state: StageState, one: Instruction) -> str:
    state.author = one.words[0]
    return f"MAINTAINER {one.words[0]}"


def program_of(state: StageState, one: Instruction) -> list[str]:
    """Return the words that a CMD, ENTRYPOINT or RUN stands for."""
    return list(one.words) if one.is_json else [*state.shell, *one.words]


def _set_command(state: StageState, one: Instruction) -> str:
    state.config["Cmd"] = program_of(state, one)
    state.has_own_command = True
    return f"CMD {_shown(state.config['Cmd'])}"


def _set_entrypoint(state: StageState, one: Instruction) -> str:
    state.config["Entrypoint"] = program_of(state, one) or None
    if not state.has_own_command:
        state.config["Cmd"] = None
    return f"ENTRYPOINT {_shown(state.config['Entrypoint'] or [])}"


def _shown(words: list[str]) -> str:
    return f"[{' '.join(json.dumps(word, ensure_ascii=False) for word in words)}]"


def _expose(state: StageState, one: Instruction) -> str:
    ports = dict(state.config.get("ExposedPorts") or {})
    variables = state.variables
    found: list[str] = []
    for text in one.words:
        for word in expand_words(text, variables, escape=state.escape):
            found += _ports(word)
    state.config["ExposedPorts"] = ports | {port: {} for port in found}
    return f"EXPOSE {' '.join(sorted(found))}"


def _ports(text: str) -> list[str]:
    """Return a port or a range as docker names each; a host's part before it says nothing."""
    match = _PORT.fullmatch(text.rpartition(":")[2].lower())
    first = int(match["first"]) if match else 0
    last = int(match["last"] or first) if match else 0
    if match is None or not 0 < first <= last <= _LARGEST_PORT:
        raise InvalidRequestError(f"Invalid containerPort: {text[:80]}")
    return [f"{port}/{match['protocol'] or 'tcp'}" for port in range(first, last + 1)]


def _add_volumes(state: StageState, one: Instruction) -> str:
    volumes = dict(state.config.get("Volumes") or {})
    paths = [state.expand(word).strip() for word in one.words]
    if not all(paths):
        raise InvalidRequestError("VOLUME specified can not be an empty string")
    state.config["Volumes"] = volumes | {path: {} for path in paths}
    return f"VOLUME [{' '.join(paths)}]"


def _set_user(state: StageState, one: Instruction) -> str:
    state.config["User"] = state.expand(one.words[0])
    return f"USER {state.config['User']}"


def set_working_dir(state: StageState, one: Instruction) -> str:
    """Set where programs and relative paths begin; a relative one goes on from the last."""
    path = posixpath.normpath(posixpath.join(state.working_dir, state.expand(one.words[0])))
    state.config["WorkingDir"] = f"/{path.lstrip('/')}"
    return f"WORKDIR {state.config['WorkingDir']}"


def _set_stop_signal(state: StageState, one: Instruction) -> str:
    text = state.expand(one.words[0])
    if not _SIGNAL.fullmatch(text.upper()):
        raise InvalidRequestError(f"Invalid signal: {text[:80]}")
    state.config["StopSignal"] = text
    return f"STOPSIGNAL {text}"


def _set_shell(state: StageState, one: Instruction) -> str:
    if not one.words:
        raise InvalidRequestError("SHELL requires at least one argument")
    state.config["Shell"] = list(one.words)
    return f"SHELL [{' '.join(one.words)}]"


def _add_trigger(state: StageState, one: Instruction) -> str:
    state.config["OnBuild"] = [*(state.config.get("OnBuild") or ()), one.words[0]]
    return f"ONBUILD {one.words[0]}"


def _set_health(state: StageState, one: Instruction) -> str:
    health: Config = {"Test": list(one.words)}
    for flag, key in _HEALTH_KEYS.items():
        if flag in one.flags:
            health[key] = _duration_ns(flag, one.flags[flag])
    if "retries" in one.flags:
        text = one.flags["retries"]
        if not text.isdecimal() or not text.isascii() or len(text) > len(str(_LARGEST_PORT)):
            raise InvalidRequestError(f"--retries: not a whole number: {text[:80]!r}")
        health["Retries"] = int(text)
    state.config["Healthcheck"] = health
    return f"HEALTHCHECK {json.dumps(health, separators=(',', ':'))}"


def _duration_ns(flag: str, text: str) -> int:
    if text == "0":
        return 0
    if not _DURATION.fullmatch(text):
        raise InvalidRequestError(f"--{flag}: not a duration: {text[:80]!r} (use 30s or 1m30s)")
    total = sum(float(number) * _UNIT_NS[unit] for number, unit in _DURATION_PART.findall(text))
    if 0 < total < _UNIT_NS["ms"]:
        raise InvalidRequestError(f"Interval {flag!r} cannot be less than 1ms")
    return int(total)


def declare_args(state: StageState, one: Instruction) -> str:
    """Declare the variables that a build may be asked with."""
    told = []
    for word in one.words:
        name, equals, default = word.partition("=")
        name = _checked_name(state.expand(name))
        value = state.expand(default) if equals else None
        state.declare(name, value)
        told.append(f"{name}={value}" if equals else name)
    return f"ARG {' '.join(told)}"


SAYINGS: Final[dict[str, Callable[[StageState, Instruction], str]]] = {
    "ARG": declare_args,
    "CMD": _set_command,
    "ENTRYPOINT": _set_entrypoint,
    "ENV": _set_env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _set_health,
    "LABEL": _set_labels,
    "MAINTAINER": _set_author,
    "ONBUILD": _add_trigger,
    "SHELL": _set_shell,
    "STOPSIGNAL": _set_stop_signal,
    "USER": _set_user,
    "VOLUME": _add_volumes,
}
