# SPDX-License-Identifier: Apache-2.0
"""The small languages inside docker's flags, each to its part of the wire document. Pure."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from toolkit.cli.units import parse_memory
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

STREAMS: Final = ("stdin", "stdout", "stderr")
_TRUE: Final = frozenset({"", "1", "true", "t", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "f", "no", "off"})
_MOUNT_KEYS: Final = {
    "type": "Type",
    "source": "Source",
    "src": "Source",
    "target": "Target",
    "destination": "Target",
    "dst": "Target",
    "consistency": "Consistency",
}
_MOUNT_TYPES: Final = ("bind", "volume", "tmpfs")
_RESTART_POLICY = re.compile(r"(no|always|unless-stopped|on-failure)(?::(\d+))?", re.ASCII)


def parse_pairs(flag: str, texts: Iterable[str]) -> dict[str, str]:
    """Return ``key=value`` texts as a map, both trimmed.

    Raises:
        InvalidRequestError: One has no ``=``.
    """
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise InvalidRequestError(f"--{flag} {text!r}: use key=value")
        pairs[key.strip()] = value.strip()
    return pairs


def parse_labels(texts: Iterable[str]) -> dict[str, str]:
    """Return labels as a map; one without ``=`` is empty."""
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def read_lines(path: str) -> Iterator[str]:
    """Return the lines of a file that are neither blank nor comments.

    Raises:
        InvalidRequestError: It cannot be read.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:  # noqa: PTH123  # pathlib costs an import
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"{path}: {error}") from error
    for line in lines:
        stripped = line.lstrip()
        if stripped and not stripped.startswith("#"):
            yield stripped


def parse_environment(
    texts: Iterable[str], files: Iterable[str], environ: Mapping[str, str]
) -> list[str]:
    """Return the environment to send: files first, so that flags win.

    A bare name takes its value from *environ*. Unset there, a flag's is sent bare, which
    removes the image's, and a file's is left out.

    Raises:
        InvalidRequestError: A name is empty, or a file cannot be read.
    """
    from_files = [_variable(line, environ) for path in files for line in read_lines(path)]
    from_flags = [_variable(text, environ) for text in texts]
    return [text for text in from_files if "=" in text] + from_flags


def _variable(text: str, environ: Mapping[str, str]) -> str:
    name, equals, _ = text.partition("=")
    if not name:
        raise InvalidRequestError(f"invalid environment variable: {text!r}")
    if equals or name not in environ:
        return text
    return f"{name}={environ[name]}"


def parse_volumes(texts: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """Return ``Volumes`` and ``Binds`` of ``-v`` texts.

    Raises:
        InvalidRequestError: A text has an empty part, too many, or a relative target.
    """
    volumes: dict[str, Any] = {}
    binds = []
    for text in texts:
        parts = text.split(":")
        if len(parts) > 3 or not all(parts):  # noqa: PLR2004  # source:target:mode
            raise InvalidRequestError(f"invalid volume {text!r}: use [source:]target[:ro|rw]")
        target = parts[min(1, len(parts) - 1)]
        if not target.startswith("/"):
            raise InvalidRequestError(f"invalid volume {text!r}: {target!r} is not absolute")
        if len(parts) == 1:
            volumes[os.path.normpath(target)] = {}
            continue
        if os.path.normpath(target) == "/":
            raise InvalidRequestError(f"invalid volume {text!r}: the target cannot be '/'")
        if parts[0].startswith("."):
            parts[0] = os.path.abspath(parts[0])  # noqa: PTH100  # pathlib costs an import
        binds.append(":".join(parts))
    return volumes, binds


def parse_mount(text: str) -> dict[str, Any]:
    """Return an entry of ``Mounts`` from ``type=bind,source=...,target=...``.

    Raises:
        InvalidRequestError: A key is unknown or the target is missing.
    """
    mount: dict[str, Any] = {"Type": "volume"}
    for part in text.split(","):
        key, _, value = part.partition("=")
        key = key.strip().lower()
        if key in _MOUNT_KEYS:
            mount[_MOUNT_KEYS[key]] = value
        elif key in {"readonly", "ro"}:
            mount["ReadOnly"] = parse_boolean(f"--mount {key}", value)
        else:
            _set_mount_option(mount, key, value)
    if mount["Type"] not in _MOUNT_TYPES:
        raise InvalidRequestError(
            f"invalid mount type {mount['Type']!r}: use bind, volume or tmpfs"
        )
    if not mount.get("Target"):
        raise InvalidRequestError(f"invalid mount {text!r}: target is required")
    if mount["Type"] == "bind" and mount.get("Source", "").startswith("."):
        mount["Source"] = os.path.abspath(mount["Source"])  # noqa: PTH100  # as above
    return mount


def _set_mount_option(mount: dict[str, Any], key: str, value: str) -> None:
    if key == "bind-propagation":
        mount.setdefault("BindOptions", {})["Propagation"] = value
    elif key == "tmpfs-size":
        mount.setdefault("TmpfsOptions", {})["SizeBytes"] = parse_memory(value)
    elif key == "tmpfs-mode":
        mount.setdefault("TmpfsOptions", {})["Mode"] = _octal(value)
    elif key in {"bind-nonrecursive", "bind-create-src"}:
        name = {"bind-nonrecursive": "NonRecursive"}.get(key, "CreateMountpoint")
        mount.setdefault("BindOptions", {})[name] = parse_boolean(f"--mount {key}", value)
    elif key == "bind-recursive":
        _set_recursive(mount, value)
    elif key.startswith("volume-"):
        _set_volume_option(mount.setdefault("VolumeOptions", {}), key, value)
    else:
        raise InvalidRequestError(f"unexpected key {key!r} in a mount")


def _set_recursive(mount: dict[str, Any], value: str) -> None:
    if value == "disabled":
        mount.setdefault("BindOptions", {})["NonRecursive"] = True
    elif value == "writable":
        mount.setdefault("BindOptions", {})["ReadOnlyNonRecursive"] = True
    elif value not in {"enabled", "readonly"}:
        raise InvalidRequestError(
            f"invalid bind-recursive {value!r}: use enabled, disabled, writable or readonly"
        )


def _set_volume_option(options: dict[str, Any], key: str, value: str) -> None:
    if key == "volume-nocopy":
        options["NoCopy"] = parse_boolean("--mount volume-nocopy", value)
    elif key == "volume-subpath":
        options["Subpath"] = value
    elif key == "volume-driver":
        options.setdefault("DriverConfig", {})["Name"] = value
    elif key in {"volume-label", "volume-opt"}:
        name, _, text = value.partition("=")
        holder = options if key == "volume-label" else options.setdefault("DriverConfig", {})
        holder.setdefault("Labels" if key == "volume-label" else "Options", {})[name] = text
    else:
        raise InvalidRequestError(f"unexpected key {key!r} in a mount")


def _octal(text: str) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise InvalidRequestError(f"invalid mode {text!r}: use octal digits") from None


def parse_boolean(what: str, text: str) -> bool:
    """Return a boolean in one of docker's spellings; empty is true.

    Raises:
        InvalidRequestError: It is none.
    """
    lowered = text.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise InvalidRequestError(f"{what}: {text!r} is not a boolean")


def parse_tmpfs(texts: Iterable[str]) -> dict[str, str]:
    """Return ``Tmpfs`` of ``path[:options]`` texts."""
    return {path: options for path, _, options in (text.partition(":") for text in texts)}


def parse_ulimit(text: str) -> dict[str, Any]:
    """Return an entry of ``Ulimits`` from ``name=soft[:hard]``.

    Raises:
        InvalidRequestError: It has another form.
    """
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    try:
        soft_value, hard_value = int(soft), int(hard or soft)
    except ValueError:
        raise InvalidRequestError(f"invalid ulimit {text!r}: use name=soft[:hard]") from None
    return {"Name": name, "Soft": soft_value, "Hard": hard_value}


def parse_device(text: str) -> dict[str, str]:
    """Return an entry of ``Devices`` from ``host[:container][:permissions]``.

    Raises:
        InvalidRequestError: It has another form.
    """
    host, *rest = text.split(":")
    permissions = "rwm"
    if rest and rest[-1] and set(rest[-1]) <= set("rwm"):
        permissions = rest.pop()
    inside = rest.pop() if rest else host
    if rest or not host or not inside.startswith("/"):
        raise InvalidRequestError(f"invalid device {text!r}: use host[:container][:rwm]")
    return {"PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": permissions}


def parse_restart_policy(text: str) -> dict[str, Any]:
    """Return ``RestartPolicy`` of ``no``, ``always``, ``unless-stopped`` or ``on-failure[:n]``.

    Raises:
        InvalidRequestError: It is none of these.
    """
    match = _RESTART_POLICY.fullmatch(text or "no")
    if not match or (match[2] and match[1] != "on-failure"):
        raise InvalidRequestError(f"invalid restart policy {text!r}")
    return {"Name": match[1], "MaximumRetryCount": int(match[2] or 0)}


def parse_streams(texts: Iterable[str]) -> frozenset[str]:
    """Return the streams that ``-a`` names, in lower case.

    Raises:
        InvalidRequestError: One is not a stream.
    """
    names = [text.lower() for text in texts]
    for name in names:
        if name not in STREAMS:
            raise InvalidRequestError(f"unsupported stream name {name!r}: use {', '.join(STREAMS)}")
    return frozenset(names)
