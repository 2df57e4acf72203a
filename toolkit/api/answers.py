# SPDX-License-Identifier: Apache-2.0
"""The bytes of an answer, by h11: a whole one, or a head, pieces and an end."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import h11

if TYPE_CHECKING:
    from toolkit.api.request import Response

Headers = list[tuple[str, str]]

_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}
_BODILESS: Final = frozenset({204, 304})


class Answers:
    """Turns answers into bytes, in the order that HTTP wants them.

    Args:
        parser: The connection's; it knows what may come next.
        headers: Those that every answer has.
    """

    def __init__(self, parser: h11.Connection, headers: Headers) -> None:
        self._parser = parser
        self._headers = headers

    def whole(self, response: Response, *, closes: bool, is_head: bool = False) -> bytes:
        """Return a whole response.

        Args:
            response: What to say.
            closes: The connection ends with it.
            is_head: The client asked for the head alone.
        """
        headers = [*response.headers]
        with_body = response.status not in _BODILESS
        if with_body:
            headers.append(("Content-Length", str(len(response.body))))
            if response.content_type:
                headers.append(("Content-Type", response.content_type))
        out = self.head(response.status, headers, closes=closes)
        if with_body and response.body and not is_head:
            out += self.piece(response.body)
        return out + self.end()

    def head(self, status: int, headers: Headers, *, closes: bool) -> bytes:
        """Return the head of a response; without a length its body is chunked."""
        headers = [*self._headers, *headers, *([("Connection", "close")] if closes else [])]
        reason = _REASONS.get(status, b"")
        return self._encode(h11.Response(status_code=status, headers=headers, reason=reason))

    def go_on(self) -> bytes:
        """Return what a client waits for before it sends its body."""
        return self._encode(
            h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
        )

    def piece(self, data: bytes) -> bytes:
        """Return a part of a body."""
        return self._encode(h11.Data(data=data))

    def end(self) -> bytes:
        """Return the end of a body."""
        return self._encode(h11.EndOfMessage())

    def _encode(self, event: h11.Event) -> bytes:
        return self._parser.send(event) or b""
