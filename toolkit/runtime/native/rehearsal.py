# SPDX-License-Identifier: Apache-2.0
"""A start played through by a slot before anybody asks for one.

What a forked process does for the first time costs it a page for each object
that it touches. So shim and child play their parts once, with the default
container, while they wait: about a millisecond that no start waits for.
Nothing is mounted, and what is opened is closed again.
"""

from __future__ import annotations

import json
import marshal
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from toolkit.runtime import document as defaults
from toolkit.runtime.native.prepare import Prepared, prepare
from toolkit.runtime.native.program import plan_program
from toolkit.runtime.native.staging import wants_default_mounts

if TYPE_CHECKING:
    from toolkit.runtime.native.staging import Staging

_FILE: Final = "/dev/null"  # any file: it is bound nowhere


def play_shim(staging: Staging) -> bytes:
    """Play what the shim does: read the document, open what it names, describe it.

    Returns:
        What the child would be told; its descriptors are closed.
    """
    document = json.loads(_TEXT)
    wants_default_mounts(document)
    with ExitStack() as undo:
        made = prepare(document, "/", undo, staging)
        for fd in (made.stdio.stdin, made.stdio.stdout, made.stdio.stderr):
            undo.callback(os.close, fd)
        fds: list[int] = []
        return marshal.dumps({**made.describe(fds), "fds": fds})


def play_child(told: bytes) -> None:
    """Play what the child does: read what it is told, plan the program."""
    description = marshal.loads(told)  # noqa: S302 - our own shim's
    prepared = Prepared.from_description(description, description["fds"])
    root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        document = prepared.document
        program = plan_program(
            document["process"], document["annotations"], root_fd,
            stdio=prepared.stdio, seccomp=b"",
        )  # fmt: skip
        os.close(program.cwd_fd)
    finally:
        os.close(root_fd)


def _document() -> dict[str, Any]:
    document = defaults.default_document()
    document["root"]["path"] = "."
    bind = {"destination": "/etc/hosts", "type": "bind", "source": _FILE, "options": ["bind"]}
    document["mounts"] = [
        *defaults.default_mounts(shm_size_bytes=defaults.DEFAULT_SHM_BYTES), bind,
    ]  # fmt: skip
    document["process"]["args"] = ["/"]
    document["annotations"] = {"toolkit.rootfs": "{}", "toolkit.stdin.open": "1"}
    return document


_TEXT: Final = json.dumps(_document())  # made before any fork
