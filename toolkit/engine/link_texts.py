# SPDX-License-Identifier: Apache-2.0
"""What people write for a link, in its three forms, and what it means on a user network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.engine.index import SHORT_ID_LENGTH
from toolkit.engine.names import checked_name
from toolkit.engine.network_index import BRIDGE, HOST
from toolkit.errors import InvalidLinkError, InvalidNameError, InvalidRequestError
from toolkit.network.links import parse_link

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from toolkit.engine.model import ContainerSpec

_MOST_LINKS = 256
_HEXADECIMAL = frozenset("0123456789abcdef")


def link_parts(text: str) -> tuple[str, str]:
    """Return whom a link leads to and its alias.

    ``name:alias`` is 0.7.2's form (rule 7.5); a bare name is its own alias, and
    ``/name:/parent/alias`` is what inspect shows, as with docker of today.

    Raises:
        InvalidLinkError: The text is none of these.
    """
    name, colon, alias = text.partition(":")
    if not colon:
        alias = name.removeprefix("/")
    elif name.startswith("/"):
        alias = alias.rpartition("/")[2]
    name, alias = parse_link(f"{name.removeprefix('/')}:{alias}")
    try:
        return checked_name(name), alias
    except InvalidNameError as error:
        raise InvalidLinkError(str(error)) from None


def check_links(spec: ContainerSpec) -> None:
    """Refuse links that could not be carried out, whoever runs (row S-74).

    Raises:
        InvalidRequestError: A text is no link, or the container has no network for it.
    """
    if spec.host.links and spec.host.network_mode == HOST:
        raise InvalidRequestError(
            "conflicting options: host type networking can't be used with links. "
            "This would result in undefined behavior"
        )
    check_link_texts(spec.host.links)


def check_link_texts(texts: Collection[str]) -> None:
    """Refuse texts that are no links, and too many.

    Raises:
        InvalidLinkError: One is none.
    """
    if len(texts) > _MOST_LINKS:
        raise InvalidLinkError(f"{len(texts)} links are too many, the most is {_MOST_LINKS}")
    for text in texts:
        link_parts(text)


def private_names(spec: ContainerSpec, networks: Iterable[str]) -> dict[str, str]:
    """Return what a container alone calls others: aliases of its links on user networks.

    The name is looked up when it is asked for, so the other may come later, or come back
    with another address. An id stands for the short id, by which everybody is known.
    """
    texts: list[str] = []
    for network in networks:
        if network == BRIDGE:
            continue
        wish = spec.endpoints.get(network)
        texts += wish.links if wish is not None else ()
        if network == spec.host.network_mode:
            texts += spec.host.links
    return {alias: _known_as(name) for name, alias in map(link_parts, texts)}


def _known_as(name: str) -> str:
    is_id = len(name) > SHORT_ID_LENGTH and _HEXADECIMAL.issuperset(name)
    return name[:SHORT_ID_LENGTH] if is_id else name
