# SPDX-License-Identifier: Apache-2.0
"""From a container to an image: its changes as a layer, its configuration as the image's.

0.7.2's contract (rule 9.49) with today's meaning of a configuration that is not
given: the container's own is taken over.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from toolkit.images.image import ImageId, format_time
from toolkit.images.store import machine_architecture, taggable

if TYPE_CHECKING:
    from toolkit.engine.model import ContainerRecord, ContainerSpec
    from toolkit.engine.ports import Parts
    from toolkit.images.image import Image
    from toolkit.images.references import Reference

Config = dict[str, Any]

_UNITED: Final = ("Labels", "ExposedPorts", "Volumes")


@dataclass(frozen=True, kw_only=True)
class CommitOptions:
    """What an image is to be called, and what is to be different in it.

    Attributes:
        reference: Empty for an image without a name.
        config: Docker's `Config` object: what it says goes before the container's.
        pause: Freeze the container for as long as its files are read.
    """

    reference: str = ""
    message: str = ""
    author: str = ""
    config: Config = field(default_factory=dict)
    pause: bool = True


def commit_layer(parts: Parts, record: ContainerRecord, options: CommitOptions) -> Image:
    """Make the image; a failure leaves neither image nor layer.

    Raises:
        InvalidReferenceError: The name cannot be given to an image.
        ImageNotFoundError: The container's image is not there any more.
    """
    name: Reference | None = taggable(options.reference) if options.reference else None
    image_id = ImageId(record.image_id)
    base = json.loads(parts.images.document(image_id))
    layer = parts.layers.commit(record.id)
    try:
        document = _document(base, record, options, layer.diff_id)
        return parts.images.create(document, parent=image_id, reference=name)
    finally:
        parts.layers.settle(layer.chain_id)


def _document(
    base: Config, record: ContainerRecord, options: CommitOptions, diff_id: str
) -> Config:
    inherited = base.get("config") or {}
    return derived_document(
        base,
        config=merged_config(container_config(inherited, record.spec), options.config),
        made_by=" ".join([record.path, *record.args]),
        diff_id=diff_id,
        author=options.author,
        comment=options.message,
        container_id=record.id,
    )


def derived_document(
    base: Config,
    *,
    config: Config,
    made_by: str,
    diff_id: str = "",
    author: str = "",
    comment: str = "",
    container_id: str = "",
) -> Config:
    """Return the document of an image made from another by one step.

    Args:
        base: The other's document; empty for an image from nothing.
        config: Of the new image.
        made_by: What the step did.
        diff_id: The layer that it added; empty for none.
        author: Whose work it is.
        comment: On the step.
        container_id: Where the step ran.
    """
    now = format_time(datetime.now(UTC))
    step: Config = {"created": now, "created_by": made_by}
    step |= {"author": author} if author else {}
    step |= {"comment": comment} if comment else {}
    step |= {} if diff_id else {"empty_layer": True}
    diff_ids = [*(base.get("rootfs", {}).get("diff_ids") or ()), *([diff_id] if diff_id else [])]
    document = {
        "architecture": base.get("architecture") or machine_architecture(),
        "author": author,
        "config": config,
        "container": container_id,
        "created": now,
        "history": [*(base.get("history") or ()), step],
        "os": base.get("os") or "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    if base.get("variant"):
        document["variant"] = base["variant"]
    return document


def container_config(inherited: Config, spec: ContainerSpec) -> Config:
    """Return a container's configuration as an image has it, over what its image says beside."""
    config = dict(inherited) | {
        "User": spec.user,
        "Env": list(spec.env),
        "Cmd": list(spec.command) if spec.command is not None else None,
        "Entrypoint": list(spec.entrypoint) if spec.entrypoint else None,
        "WorkingDir": spec.working_dir,
        "Labels": dict(spec.labels),
        "ExposedPorts": {port: {} for port in spec.exposed_ports},
        "Volumes": {path: {} for path in spec.volumes},
        "OnBuild": list(spec.on_build),
        "Shell": list(spec.shell),
        "StopSignal": spec.stop_signal,
    }
    if spec.stop_timeout_seconds is not None:
        config["StopTimeout"] = spec.stop_timeout_seconds
    return {key: value for key, value in config.items() if value or key in {"Cmd", "Entrypoint"}}


def merged_config(config: Config, given: Config) -> Config:
    """Return a configuration with what was given over it; empty values say nothing."""
    result = dict(config)
    for key, value in given.items():
        if value in (None, "", [], {}, False, 0):
            continue
        if key in _UNITED and isinstance(value, dict):
            result[key] = {**(result.get(key) or {}), **value}
        elif key == "Env" and isinstance(value, list):
            result[key] = _merged_env(result.get(key) or [], value)
        else:
            result[key] = value
    return result


def _merged_env(env: list[str], given: list[str]) -> list[str]:
    values = {entry.partition("=")[0]: entry for entry in env}
    values |= {entry.partition("=")[0]: entry for entry in given}
    return list(values.values())
