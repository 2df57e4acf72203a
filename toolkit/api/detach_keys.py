# SPDX-License-Identifier: Apache-2.0
"""The keys that detach from a terminal, as ``detachKeys`` names them."""

from __future__ import annotations

from typing import Final

from toolkit.errors import InvalidRequestError

DEFAULT_KEYS: Final = b"\x10\x11"  # ctrl-p ctrl-q
_CTRL: Final = "ctrl-"
_CTRL_NAMES: Final = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def read_detach_keys(text: str) -> bytes:
    """Return the bytes of ``ctrl-p,ctrl-q`` or ``a,ctrl-x``; nothing said takes the default.

    Raises:
        InvalidRequestError: A key has no such name.
    """
    if not text:
        return DEFAULT_KEYS
    return bytes(_key(name, text) for name in text.split(","))


def _key(name: str, whole: str) -> int:
    """Return the byte of one key."""
    if len(name) == 1 and name.isascii():
        return ord(name)
    letter = name.removeprefix(_CTRL).lower()
    if name.startswith(_CTRL) and len(letter) == 1 and letter in _CTRL_NAMES:
        return _CTRL_NAMES.index(letter)
    raise InvalidRequestError(f"Invalid detach keys ({whole}) provided")
