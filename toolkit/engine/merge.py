# SPDX-License-Identifier: Apache-2.0
"""What was asked for, and what the image says, made one (rules 10.15 to 10.18, today's form).

An image's configuration is somebody else's text: it is checked by type, and only
the fields named here are read (row S-96).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from toolkit.engine.model import HealthCheck
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from toolkit.engine.model import ContainerSpec

_NoValue = dict[str, Any]


class ImageHealthCheck(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """``Healthcheck`` of an image's configuration."""

    test: list[str] | None = None
    interval: int | None = None
    timeout: int | None = None
    start_period: int | None = None
    start_interval: int | None = None
    retries: int | None = None


class ImageDefaults(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """The fields of an image's configuration that a container inherits."""

    user: str | None = None
    env: list[str] | None = None
    cmd: list[str] | str | None = None
    entrypoint: list[str] | str | None = None
    working_dir: str | None = None
    volumes: dict[str, _NoValue | None] | None = None
    exposed_ports: dict[str, _NoValue | None] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | None = None
    stop_timeout: int | None = None
    shell: list[str] | None = None
    on_build: list[str] | None = None
    healthcheck: ImageHealthCheck | None = None


def image_defaults(config: Mapping[str, Any]) -> ImageDefaults:
    """Return what a container inherits from an image.

    Raises:
        InvalidRequestError: The image's configuration has the wrong shape.
    """
    try:
        return msgspec.convert(dict(config), ImageDefaults)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"image config: {error}") from error


def merged(spec: ContainerSpec, image: ImageDefaults) -> ContainerSpec:
    """Return *spec* with the image's values where it says nothing."""
    entrypoint, command = _program(spec, image)
    timeout = spec.stop_timeout_seconds
    return replace(
        spec,
        user=spec.user or image.user or "",
        working_dir=spec.working_dir or image.working_dir or "",
        entrypoint=entrypoint,
        command=command,
        env=merged_env(spec.env, image.env or ()),
        exposed_ports=_union(spec.exposed_ports, image.exposed_ports or ()),
        volumes=_union(spec.volumes, image.volumes or ()),
        labels={**(image.labels or {}), **spec.labels},
        stop_signal=spec.stop_signal or image.stop_signal or "",
        stop_timeout_seconds=image.stop_timeout if timeout is None else timeout,
        shell=spec.shell or tuple(image.shell or ()),
        on_build=spec.on_build or tuple(image.on_build or ()),
        health=merged_health(spec.health, image.healthcheck),
    )


def merged_health(asked: HealthCheck | None, image: ImageHealthCheck | None) -> HealthCheck | None:
    """Return a health check with the image's values where it says nothing."""
    if image is None:
        return asked
    asked = asked or HealthCheck()
    return HealthCheck(
        test=asked.test or tuple(image.test or ()),
        interval_ns=asked.interval_ns or image.interval or 0,
        timeout_ns=asked.timeout_ns or image.timeout or 0,
        start_period_ns=asked.start_period_ns or image.start_period or 0,
        start_interval_ns=asked.start_interval_ns or image.start_interval or 0,
        retries=asked.retries or image.retries or 0,
    )


def merged_env(asked: Iterable[str], inherited: Iterable[str]) -> tuple[str, ...]:
    """Return what was asked for, then the inherited variables that it does not name.

    A bare name stays: it takes the variable away from what stands before it.
    """
    asked = tuple(asked)
    names = {entry.partition("=")[0] for entry in asked}
    return (*asked, *(entry for entry in inherited if entry.partition("=")[0] not in names))


def program_of(spec: ContainerSpec) -> tuple[str, ...]:
    """Return the program and its arguments (rule 10.16).

    Raises:
        InvalidRequestError: Neither the request nor the image names one.
    """
    words = (*(spec.entrypoint or ()), *(spec.command or ()))
    if not words or not words[0]:
        raise InvalidRequestError("No command specified")
    return words


def _program(
    spec: ContainerSpec, image: ImageDefaults
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Return entrypoint and command.

    A given entrypoint hides the image's command; ``[""]`` takes the entrypoint away.
    """
    entrypoint, command = spec.entrypoint, spec.command
    if not entrypoint:
        command = command or _words(image.cmd)
        if entrypoint is None:
            entrypoint = _words(image.entrypoint)
    if entrypoint == ("",):
        entrypoint = None
    return entrypoint, command


def _words(value: list[str] | str | None) -> tuple[str, ...] | None:
    if not value:
        return None
    return (value,) if isinstance(value, str) else tuple(value)


def _union(asked: Iterable[str], inherited: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*asked, *inherited)))
