# SPDX-License-Identifier: Apache-2.0
"""The ``filters`` of lists and events: from docker's terms to yes or no."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from toolkit.api.decode_ports import spread
from toolkit.api.query import parse_time_ns
from toolkit.api.render import shown_status
from toolkit.api.render_network import network_names, ports_of_list
from toolkit.engine.model import ContainerRecord
from toolkit.errors import InvalidRequestError

Test = Callable[[ContainerRecord], bool]
_Subject = TypeVar("_Subject")

if TYPE_CHECKING:
    from collections.abc import Iterable

    from toolkit.api.query import FilterTerms
    from toolkit.engine.events import Event

CONTAINER_FILTERS: Final = frozenset({
    "ancestor", "before", "expose", "exited", "health", "id", "is-task", "label", "name",
    "network", "publish", "since", "status", "volume",
})  # fmt: skip
EVENT_FILTERS: Final = frozenset({
    "container", "event", "image", "type", "label", "network", "volume", "daemon", "scope",
})  # fmt: skip
PRUNE_FILTERS: Final = frozenset({"until", "label", "label!"})

_STATUSES: Final = frozenset(
    {"created", "running", "paused", "restarting", "removing", "exited", "dead"}
)
_HEALTH: Final = frozenset({"none", "starting", "healthy", "unhealthy"})
_MOST_PATTERN: Final = 256


def container_test(
    terms: FilterTerms, ancestors: Iterable[str], network_ids: Mapping[str, str]
) -> Callable[[ContainerRecord], bool]:
    """Return a test for containers; ``before`` and ``since`` are the list's own matter.

    Args:
        terms: What was asked for.
        ancestors: Ids of the images that ``ancestor`` means.
        network_ids: Of the networks that there are, by name.
    """
    tests = [make(terms[key]) for key, make in _CONTAINER_TERMS.items() if key in terms]
    if "ancestor" in terms:
        tests.append(_ancestor_term(terms["ancestor"], frozenset(ancestors)))
    if "network" in terms:
        tests.append(_network_term(terms["network"], network_ids))
    if terms.keys() & {"expose", "publish"}:
        tests.append(_ports_term(terms.get("publish", ()), terms.get("expose", ())))
    return lambda record: all(test(record) for test in tests)


def _ancestor_term(values: Sequence[str], ancestors: frozenset[str]) -> Test:
    """Images are meant by what was typed, or by what is built on them."""
    return lambda record: record.image_id in ancestors or record.spec.image in values


def _network_term(values: Sequence[str], network_ids: Mapping[str, str]) -> Test:
    """Networks are meant by name, id, or the beginning of one."""

    def test(record: ContainerRecord) -> bool:
        names = network_names(record)
        ids = [network_ids[name] for name in names if name in network_ids]
        return any(
            value in names or any(found.startswith(value) for found in ids) for value in values
        )

    return test


def _ports_term(published: Sequence[str], exposed: Sequence[str]) -> Test:
    """Ports of running containers: published ones by the host's number, exposed by their own."""
    outer = {port for value in published for port in spread(value)}
    inner = {port for value in exposed for port in spread(value)}

    def test(record: ContainerRecord) -> bool:
        return any(
            f"{port.get('PublicPort', 0)}/{port['Type']}" in outer
            or f"{port['PrivatePort']}/{port['Type']}" in inner
            for port in ports_of_list(record)
        )

    return test


def _name_term(values: Sequence[str]) -> Test:
    """Names match as regular expressions, with the slash and without."""
    bare = matches_pattern(values, "name", _name_of)
    slashed = matches_pattern(values, "name", _slashed_name_of)
    return lambda record: bare(record) or slashed(record)


def _name_of(record: ContainerRecord) -> str:
    """Return a container's name."""
    return record.name


def _slashed_name_of(record: ContainerRecord) -> str:
    """Return a container's name with the slash that lists show it with."""
    return f"/{record.name}"


def _status_term(values: Sequence[str]) -> Test:
    """States are docker's words."""
    statuses = _statuses(values)
    return lambda record: shown_status(record.state) in statuses


def _exited_term(values: Sequence[str]) -> Test:
    """Exit codes are those of containers that have ended."""
    codes = {_code(value) for value in values}
    return lambda record: shown_status(record.state) == "exited" and record.state.exit_code in codes


def _volume_term(values: Sequence[str]) -> Test:
    """Volumes are meant by name, source or target."""
    return lambda record: any(
        mount.source in values or mount.target in values for mount in record.mounts
    )


def _health_term(values: Sequence[str]) -> Test:
    """Only the words are checked here: health is no part of a record."""
    if unknown := set(values) - _HEALTH:
        raise InvalidRequestError(f"invalid filter 'health={min(unknown)}'")
    return lambda _: True


_CONTAINER_TERMS: Final[dict[str, Callable[[Sequence[str]], Test]]] = {
    "name": _name_term,
    "id": lambda values: lambda record: any(record.id.startswith(value) for value in values),
    "label": lambda values: lambda record: has_labels(record.spec.labels, values),
    "is-task": lambda values: lambda _: "false" in values,
    "status": _status_term,
    "exited": _exited_term,
    "volume": _volume_term,
    "health": _health_term,
}


def has_labels(labels: Mapping[str, str], wanted: Sequence[str]) -> bool:
    """Say whether every wanted ``key`` or ``key=value`` is there."""
    for text in wanted:
        key, equals, value = text.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def lets_labels_through(labels: Mapping[str, str], terms: FilterTerms) -> bool:
    """Say whether the ``label`` and ``label!`` of a prune let something through."""
    unwanted = terms.get("label!", ())
    return has_labels(labels, terms.get("label", ())) and not any(
        has_labels(labels, [text]) for text in unwanted
    )


def matches_pattern(
    values: Sequence[str], name: str, text_of: Callable[[_Subject], str]
) -> Callable[[_Subject], bool]:
    """Return a test for things one of whose texts matches a regular expression of a filter."""
    patterns = [_pattern(value, name) for value in values]
    return lambda subject: any(pattern.search(text_of(subject)) for pattern in patterns)


def event_test(terms: FilterTerms) -> Callable[[Event], bool]:
    """Return a test for events."""
    plain = {key: tuple(values) for key, values in terms.items() if values}
    return lambda event: all(_event_term(event, key, values) for key, values in plain.items())


def _event_term(event: Event, key: str, values: tuple[str, ...]) -> bool:
    """Say whether an event is what one key asks for."""
    match key:
        case "event":
            return any(
                event.action == value or event.action.startswith(f"{value}:") for value in values
            )
        case "type":
            return event.type in values
        case "scope":
            return "local" in values
        case "label":
            return has_labels(event.attributes, values)
        case "image":
            return any(_same_image(name, value) for name in _image_names(event) for value in values)
        case _:
            name = event.attributes.get("name", "")
            return event.type == key and any(
                event.id.startswith(value) or name.startswith(value.removeprefix("/"))
                for value in values
            )


def _image_names(event: Event) -> tuple[str, ...]:
    """Return what the image of an event is called."""
    if event.type == "image":
        return (event.id, event.attributes.get("name", ""))
    return (event.attributes.get("image", ""),)


def _same_image(name: str, wanted: str) -> bool:
    """Say whether an image's name is the wanted one, its tag left out or not."""
    return bool(name) and (name == wanted or name.rpartition(":")[0] == wanted)


def reference_test(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Return a test for familiar image names; ``*`` never crosses a slash."""
    compiled = [re.compile(_glob(pattern)) for pattern in patterns]

    def test(name: str) -> bool:
        repository = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
        return any(glob.fullmatch(name) or glob.fullmatch(repository) for glob in compiled)

    return test


def _glob(pattern: str) -> str:
    """Return a shell pattern as a regular expression that stops at slashes."""
    if len(pattern) > _MOST_PATTERN:
        raise InvalidRequestError("invalid filter 'reference': the pattern is too long")
    parts = []
    for part in re.split(r"([*?]|\[[^\]]*\])", pattern):
        if part == "*":
            parts.append("[^/]*")
        elif part == "?":
            parts.append("[^/]")
        elif part.startswith("["):
            parts.append(fnmatch.translate(part).removeprefix("(?s:").removesuffix(")\\Z"))
        else:
            parts.append(re.escape(part))
    return "".join(parts)


def until_ns(values: Sequence[str], now_ns: int) -> int | None:
    """Return the time before which ``until`` wants things."""
    if not values:
        return None
    return min(parse_time_ns(value, name="until", now_ns=now_ns) for value in values)


def _pattern(text: str, name: str) -> re.Pattern[str]:
    """Return a filter's regular expression."""
    if len(text) > _MOST_PATTERN:
        raise InvalidRequestError(f"invalid filter '{name}': the pattern is too long")
    try:
        return re.compile(text)
    except re.error as error:
        raise InvalidRequestError(f"invalid filter '{name}={text}': {error}") from None


def _statuses(values: Sequence[str]) -> frozenset[str]:
    """Return the statuses that are wanted."""
    for value in values:
        if value not in _STATUSES:
            raise InvalidRequestError(f"invalid filter 'status={value}'")
    return frozenset(values)


def _code(text: str) -> int:
    """Return an exit code."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= len("2147483647")):
        raise InvalidRequestError(f"invalid filter 'exited={text}'")
    return int(text)
