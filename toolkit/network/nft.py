# SPDX-License-Identifier: Apache-2.0
"""Running nftables commands, in their JSON form (libnftables-json(5)).

Owns the way in: libnftables within this process (0.1 ms) for elements of sets,
the program ``nft`` (3 ms) for all else. A list of commands is one transaction. JSON is
written by `json` alone, so no value can begin another command.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import shutil
import subprocess
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from toolkit.errors import FirewallError

if TYPE_CHECKING:
    from collections.abc import Sequence

Command = dict[str, Any]

_OUTPUT_JSON: Final = 1 << 4
_SECONDS: Final = 15


class NftRunner(Protocol):
    """Carries out commands, all or none."""

    @property
    def writer_pids(self) -> frozenset[int]:
        """The processes by which changes were made lately."""

    def run(self, commands: Sequence[Command]) -> None:
        """Carry out one transaction, or raise FirewallError."""

    def list(self, what: Command) -> list[Command]:
        """Return the objects that a ``list`` command gives; none where there is no such table."""


class NftLibrary:
    """libnftables, in the network namespace of the thread that made this."""

    def __init__(self, library: str) -> None:
        self._library = ctypes.CDLL(library)
        self._library.nft_ctx_new.restype = ctypes.c_void_p
        for name in ("output", "error"):
            getattr(self._library, f"nft_ctx_get_{name}_buffer").restype = ctypes.c_char_p
        context = self._library.nft_ctx_new(ctypes.c_uint32(0))
        if not context:
            raise FirewallError("nftables cannot be used", "libnftables gives no context")
        self._context = ctypes.c_void_p(context)
        self._library.nft_ctx_output_set_flags(self._context, ctypes.c_uint(_OUTPUT_JSON))
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)
        self._lock = threading.Lock()

    @property
    def writer_pids(self) -> frozenset[int]:
        """Return the number of the engine itself."""
        return frozenset({os.getpid()})

    def run(self, commands: Sequence[Command]) -> None:
        """Carry out one transaction."""
        self._run({"nftables": list(commands)})

    def list(self, what: Command) -> list[Command]:
        """Return the objects that a ``list`` command gives."""
        try:
            answer = self._run({"nftables": [{"list": what}]})
        except FirewallError:
            return []
        return _objects(answer)

    def _run(self, document: dict[str, Any]) -> str:
        text = json.dumps(document).encode()
        with self._lock:
            failed = self._library.nft_run_cmd_from_buffer(self._context, ctypes.c_char_p(text))
            output = self._library.nft_ctx_get_output_buffer(self._context) or b""
            error = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if failed:
            raise FirewallError("nftables refused a change", error.decode(errors="replace").strip())
        return str(output.decode())


class NftCommand:
    """The program ``nft``, a process per transaction."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._pids: deque[int] = deque(maxlen=64)

    @property
    def writer_pids(self) -> frozenset[int]:
        """The last processes that were started."""
        return frozenset(self._pids)

    def run(self, commands: Sequence[Command]) -> None:
        """Carry out one transaction."""
        code, _, error = self._call(json.dumps({"nftables": list(commands)}))
        if code:
            raise FirewallError("nftables refused a change", error)

    def list(self, what: Command) -> list[Command]:
        """Return the objects that a ``list`` command gives."""
        code, output, _ = self._call(json.dumps({"nftables": [{"list": what}]}))
        return [] if code else _objects(output)

    def _call(self, text: str) -> tuple[int, str, str]:
        command = [self._program, "-j", "-f", "-"]
        pipe = subprocess.PIPE
        with subprocess.Popen(  # noqa: S603 - a program by its path, no shell; input is JSON
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        ) as process:
            self._pids.append(process.pid)
            try:
                output, error = process.communicate(text, _SECONDS)
            except subprocess.TimeoutExpired as expired:
                process.kill()
                raise FirewallError("nftables does not answer") from expired
        return process.returncode, output, error.strip()


class NftBoth:
    """The library for what is done often and is simple, the program for all else.

    A library that trips over a rule (1.0.6 does over some) would end this process;
    elements of sets and maps are plain values.
    """

    def __init__(self, library: NftLibrary, command: NftCommand) -> None:
        self._library = library
        self._command = command

    @property
    def writer_pids(self) -> frozenset[int]:
        """Return the engine and the programs that were started last."""
        return self._library.writer_pids | self._command.writer_pids

    def run(self, commands: Sequence[Command]) -> None:
        """Carry out one transaction."""
        runner = self._library if all(map(_is_plain, commands)) else self._command
        runner.run(commands)

    def list(self, what: Command) -> list[Command]:
        """Return the objects that a ``list`` command gives."""
        return self._command.list(what)


def find_nft() -> NftRunner | None:
    """Return the best way to nftables that this host has, or None."""
    program = shutil.which("nft")
    library = ctypes.util.find_library("nftables")
    if program is None:
        return None
    command = NftCommand(program)
    return NftBoth(NftLibrary(library), command) if library else command


def _is_plain(command: Command) -> bool:
    """Tell whether a command adds or deletes one element that is no verdict."""
    act, what = next(iter(command.items()))
    element = what.get("element")
    return act in {"add", "delete"} and bool(element) and "jump" not in json.dumps(element)


def _objects(text: str) -> list[Command]:
    return [entry for entry in json.loads(text)["nftables"] if "metainfo" not in entry]
