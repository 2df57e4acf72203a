# SPDX-License-Identifier: Apache-2.0
"""Request heads: what one may cost, and what a request is read from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.api.query import Query
from toolkit.api.request import Request, Wire
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    import h11

_VERSIONS = frozenset({b"1.0", b"1.1"})


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one client may cost (S-94).

    Attributes:
        head_bytes: Longest request head, target included.
        head_fields: Most header lines.
        head_seconds: Longest time from a head's first byte to its last.
        linger_seconds: How long what a refused client still sends is read and dropped,
            so that it gets to read the answer.
    """

    head_bytes: int = 64 * 1024
    head_fields: int = 128
    head_seconds: float = 10.0
    linger_seconds: float = 1.0


class HeadTooLargeError(InvalidRequestError):
    """A request's head is larger than any client's."""

    status = 431

    def __init__(self) -> None:
        super().__init__("the request head is too large")


def read_head(event: h11.Request, wire: Wire, limits: Limits) -> Request:
    """Return the request that a head describes.

    Raises:
        InvalidRequestError: It is none that is served, or could be read in two ways.
    """
    if event.http_version not in _VERSIONS:
        raise InvalidRequestError("only HTTP versions 1.0 and 1.1 are spoken here")
    # h11 limits only a head that comes in parts; one that came at once is measured here.
    size = len(event.target) + sum(len(name) + len(value) for name, value in event.headers)
    if size > limits.head_bytes or len(event.headers) > limits.head_fields:
        raise HeadTooLargeError
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in event.headers}
    if "transfer-encoding" in headers and "content-length" in headers:
        raise InvalidRequestError("the request has both Content-Length and Transfer-Encoding")
    path, _, query = event.target.decode("ascii").partition("?")
    return Request(event.method.decode("ascii"), path, Query(query), headers, wire)
