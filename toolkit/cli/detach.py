# SPDX-License-Identifier: Apache-2.0
"""The keys that leave a container's terminal while it goes on. Pure."""

from __future__ import annotations

from typing import Final

from toolkit.errors import InvalidRequestError

DEFAULT_KEYS: Final = b"\x10\x11"  # ctrl-p ctrl-q
_CONTROL: Final = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def parse_detach_keys(text: str) -> bytes:
    """Return the bytes of keys such as ``ctrl-p,ctrl-q`` or ``a,b``; empty takes docker's.

    Raises:
        InvalidRequestError: A key is neither one character nor ``ctrl-`` and one.
    """
    if not text:
        return DEFAULT_KEYS
    return bytes(_key(name) for name in text.split(","))


def _key(name: str) -> int:
    if len(name) == 1 and name.isascii():
        return ord(name)
    character = name.removeprefix("ctrl-")
    if len(character) == 1 and character in _CONTROL and character != name:
        return _CONTROL.index(character)
    raise InvalidRequestError(f"invalid detach key {name!r}: use one character, or ctrl- and one")


class DetachScanner:
    """Look for the keys in what is typed; what only begins them is held back."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._seen = 0

    def feed(self, typed: bytes) -> tuple[bytes, bool]:
        """Return what to send on, and whether the keys are complete."""
        out = bytearray()
        for byte in typed:
            while self._seen and byte != self._keys[self._seen]:
                self._give_up_one(out)
            if byte == self._keys[self._seen]:
                self._seen += 1
            else:
                out.append(byte)
            if self._seen == len(self._keys):
                return bytes(out), True
        return bytes(out), False

    def _give_up_one(self, out: bytearray) -> None:
        """Send held keys until what is left begins the sequence again."""
        held = self._keys[: self._seen]
        for start in range(1, len(held) + 1):
            if self._keys.startswith(held[start:]):
                out += held[:start]
                self._seen = len(held) - start
                return
