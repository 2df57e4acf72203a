# SPDX-License-Identifier: Apache-2.0
"""From an OCI ``linux.seccomp`` document to the BPF program that a container is given.

Runs in the engine: the first call loads libseccomp's shared library, and what was
compiled is kept. Installing it is `toolkit.kernel.seccomp`'s, which stays small
for the launcher; which calls a container may make is
`toolkit.runtime.seccomp_profile`'s.

Three things are ours and not libseccomp's. An architecture that the document does
not name, x32 included, kills the process. A number that libseccomp does not know
fails with ENOSYS where the default is an error, so that programs fall back to an
older call (as in runc). And i386's ``socketcall`` hides the arguments of the socket
calls behind a pointer, which a filter cannot follow: where the document looks at
such an argument, that way in is refused.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import platform
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import InvalidRequestError, KernelCallError, KernelFeatureMissingError
from toolkit.kernel.seccomp import INSTRUCTION_BYTES, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS
from toolkit.kernel.seccomp_prelude import (
    ARCHITECTURES,
    answer_unknown_numbers,
    refuse_hidden_arguments,
)
from toolkit.kernel.syscalls import LIBC

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Document = dict[str, Any]

_LIBRARY: Final = "libseccomp.so.2"
_OLDEST_LIBRARY: Final = (2, 3, 0)
_MISSING: Final = (
    "libseccomp.so.2 (2.3 or newer) was not found: install it with 'apt install libseccomp2', "
    "or run without a filter (--security-opt seccomp=unconfined)"
)

# OCI's words to libseccomp's numbers; the low half of ERRNO and TRACE is a value.
_ACTIONS: Final = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": SECCOMP_RET_KILL_PROCESS,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": SECCOMP_RET_ERRNO,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_WITH_VALUE: Final = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")

_OPERATORS: Final = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}

_NATIVE: Final = {
    "x86_64": "SCMP_ARCH_X86_64",
    "aarch64": "SCMP_ARCH_AARCH64",
    "riscv64": "SCMP_ARCH_RISCV64",
    "ppc64le": "SCMP_ARCH_PPC64LE",
    "s390x": "SCMP_ARCH_S390X",
}

_SCMP_FLTATR_ACT_BADARCH: Final = 2
_SCMP_FLTATR_CTL_OPTIMIZE: Final = 8
_BINARY_TREE: Final = 2
_NR_SCMP_ERROR: Final = -1
_MOST_NUMBERS: Final = 1024  # above every number that any kernel gives so far
_X32_BIT: Final = 0x40000000

_MOST_INSTRUCTIONS: Final = 4096  # BPF_MAXINSNS
_MOST_KEPT: Final = 64
_DIGEST_BYTES: Final = 32
_CACHE_FORMAT: Final = 1  # raise it when the same document compiles to something else


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


class _Version(ctypes.Structure):
    _fields_ = (("major", ctypes.c_uint), ("minor", ctypes.c_uint), ("micro", ctypes.c_uint))


_compiled: dict[str, bytes] = {}


def native_architecture() -> str:
    """Return OCI's word for the architecture of this machine.

    Raises:
        KernelFeatureMissingError: We do not know it.
    """
    try:
        return _NATIVE[platform.machine()]
    except KeyError:
        raise KernelFeatureMissingError(f"no seccomp filters on {platform.machine()}") from None


def compile_filter(profile: Document, cache_dir: Path | None = None) -> bytes:
    """Return the BPF program of an OCI ``linux.seccomp`` document.

    A name that libseccomp does not know is left out, as runc does: the kernel may
    not have it, and the default action answers for it.

    Args:
        profile: ``defaultAction``, ``defaultErrnoRet``, ``architectures``, ``syscalls``.
        cache_dir: Where programs outlive the process; made with mode 0700 if missing.

    Raises:
        InvalidRequestError: The document has an unknown action, operator or architecture.
        KernelFeatureMissingError: libseccomp is missing or too old.
    """
    text = json.dumps([_CACHE_FORMAT, profile], sort_keys=True, separators=(",", ":"))
    known = _compiled.get(text)
    if known is not None:
        return known
    library, version = _library()
    key = hashlib.sha256(f"{version} {platform.machine()} {text}".encode()).hexdigest()
    program = _read_cached(cache_dir, key)
    if program is None:
        program = (
            refuse_hidden_arguments(profile)
            + _answer_unknown_numbers(library, profile)
            + _compile(library, profile)
        )
        if len(program) > _MOST_INSTRUCTIONS * INSTRUCTION_BYTES:
            raise InvalidRequestError("the seccomp profile is too large for the kernel")
        _write_cached(cache_dir, key, program)
    if len(_compiled) >= _MOST_KEPT:
        _compiled.clear()
    _compiled[text] = program
    return program


def resolve_syscall(name: str, architecture: str) -> int | None:
    """Return the number of a system call by libseccomp's tables; None if it has none there."""
    library, _ = _library()
    number = library.seccomp_syscall_resolve_name_arch(ARCHITECTURES[architecture], name.encode())
    return int(number) if number >= 0 else None


@cache
def _library() -> tuple[ctypes.CDLL, str]:
    try:
        library = ctypes.CDLL(_LIBRARY, use_errno=True)
    except OSError as error:
        raise KernelFeatureMissingError(_MISSING) from error
    library.seccomp_version.restype = ctypes.POINTER(_Version)
    found = library.seccomp_version().contents
    version = (found.major, found.minor, found.micro)
    if version < _OLDEST_LIBRARY:
        raise KernelFeatureMissingError(_MISSING)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = (ctypes.c_uint32,)
    library.seccomp_release.argtypes = (ctypes.c_void_p,)
    library.seccomp_release.restype = None
    library.seccomp_attr_set.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32)
    for name in ("seccomp_arch_add", "seccomp_arch_remove"):
        getattr(library, name).argtypes = (ctypes.c_void_p, ctypes.c_uint32)
    library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_syscall_resolve_name_arch.argtypes = (ctypes.c_uint32, ctypes.c_char_p)
    library.seccomp_syscall_resolve_num_arch.argtypes = (ctypes.c_uint32, ctypes.c_int)
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
    library.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison),
    )  # fmt: skip
    library.seccomp_export_bpf.argtypes = (ctypes.c_void_p, ctypes.c_int)
    return library, ".".join(map(str, version))


def _architectures(profile: Mapping[str, Any]) -> list[str]:
    names = list(profile.get("architectures") or ()) or [native_architecture()]
    unknown = [name for name in names if name not in ARCHITECTURES]
    if unknown:
        raise InvalidRequestError(f"seccomp: unknown architecture {unknown[0]!r}")
    return names


def _compile(library: ctypes.CDLL, profile: Mapping[str, Any]) -> bytes:
    default = _action(profile.get("defaultAction", ""), profile.get("defaultErrnoRet"))
    context = library.seccomp_init(default)
    if not context:
        raise InvalidRequestError(f"seccomp refuses default action {profile['defaultAction']!r}")
    try:
        library.seccomp_attr_set(context, _SCMP_FLTATR_ACT_BADARCH, SECCOMP_RET_KILL_PROCESS)
        # Older than 2.5.0 does not know the tree and stays linear: slower, the same decisions.
        library.seccomp_attr_set(context, _SCMP_FLTATR_CTL_OPTIMIZE, _BINARY_TREE)
        _set_architectures(library, context, _architectures(profile))
        for entry in profile.get("syscalls") or ():
            _add_entry(library, context, entry, default)
        return _export(library, context)
    finally:
        library.seccomp_release(context)


def _set_architectures(library: ctypes.CDLL, context: int, names: list[str]) -> None:
    native = native_architecture()
    for name in names:
        result = library.seccomp_arch_add(context, ARCHITECTURES[name])
        if result not in (0, -errno.EEXIST):
            raise InvalidRequestError(f"seccomp: architecture {name!r}: {os.strerror(-result)}")
    if native not in names:
        library.seccomp_arch_remove(context, ARCHITECTURES[native])


def _add_entry(library: ctypes.CDLL, context: int, entry: Mapping[str, Any], default: int) -> None:
    action = _action(entry.get("action", ""), entry.get("errnoRet"))
    if action == default:
        return  # libseccomp refuses what says nothing new
    rules = _rules(entry.get("args") or ())
    for name in entry.get("names") or ():
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number == _NR_SCMP_ERROR:
            continue
        for rule in rules:
            comparisons = (_Comparison * len(rule))(*rule)
            result = library.seccomp_rule_add_array(context, action, number, len(rule), comparisons)
            if result:
                raise InvalidRequestError(f"seccomp: rule for {name}: {os.strerror(-result)}")


def _rules(arguments: Iterable[Mapping[str, Any]]) -> list[list[_Comparison]]:
    """Return comparisons to be added as one rule each.

    Comparisons of different arguments must all hold. Of two on the same argument
    one is enough: libseccomp has no such rule, so each becomes its own, as in runc.
    """
    comparisons = [_comparison(argument) for argument in arguments]
    indices = {comparison.index for comparison in comparisons}
    if len(indices) < len(comparisons):
        return [[comparison] for comparison in comparisons]
    return [comparisons]


def _comparison(argument: Mapping[str, Any]) -> _Comparison:
    operator = _OPERATORS.get(argument.get("op", ""))
    index = argument.get("index", -1)
    if operator is None or not 0 <= index <= 5:  # noqa: PLR2004 - a system call has six arguments
        raise InvalidRequestError(f"seccomp: cannot compare {dict(argument)!r}")
    return _Comparison(index, operator, argument.get("value", 0), argument.get("valueTwo", 0))


def _action(name: str, value: int | None) -> int:
    if name not in _ACTIONS:
        raise InvalidRequestError(f"seccomp: unknown action {name!r}")
    if name in _WITH_VALUE:
        return _ACTIONS[name] | ((errno.EPERM if value is None else value) & 0xFFFF)
    return _ACTIONS[name]


def _export(library: ctypes.CDLL, context: int) -> bytes:
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        result = library.seccomp_export_bpf(context, fd)
        if result:
            raise KernelCallError("seccomp_export_bpf", "", -result)
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)


def _answer_unknown_numbers(library: ctypes.CDLL, profile: Mapping[str, Any]) -> bytes:
    if profile.get("defaultAction") != "SCMP_ACT_ERRNO":
        return b""
    return answer_unknown_numbers(
        {
            name: _unknown_ranges(library, name)
            for name in _architectures(profile)
            if name != "SCMP_ARCH_X32"  # it enters as x86-64, with the x32 bit in its numbers
        }
    )


def _unknown_ranges(library: ctypes.CDLL, architecture: str) -> list[tuple[int, int]]:
    """Return first and last of each run of numbers without a name, below the x32 bit."""
    audit = ARCHITECTURES[architecture]
    known = [number for number in range(_MOST_NUMBERS) if _has_name(library, audit, number)]
    starts = [0, *(number + 1 for number in known)]
    ends = [*known, _X32_BIT]
    return [(start, end - 1) for start, end in zip(starts, ends, strict=True) if start < end]


def _has_name(library: ctypes.CDLL, audit: int, number: int) -> bool:
    name = library.seccomp_syscall_resolve_num_arch(audit, number)
    if name:
        LIBC.free(ctypes.c_void_p(name))
    return bool(name)


def _read_cached(cache_dir: Path | None, key: str) -> bytes | None:
    if cache_dir is None:
        return None
    try:
        content = (cache_dir / f"{key}.bpf").read_bytes()
    except OSError:
        return None
    digest, program = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(program).digest() != digest or len(program) % INSTRUCTION_BYTES:
        return None  # damaged: it is compiled again and replaced
    return program or None


def _write_cached(cache_dir: Path | None, key: str, program: bytes) -> None:
    """Keep a program for the next process; a full disk costs only the time to compile again."""
    if cache_dir is None:
        return
    temporary = cache_dir / f".{key}.{os.getpid()}"
    try:
        cache_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.write_bytes(hashlib.sha256(program).digest() + program)
        temporary.replace(cache_dir / f"{key}.bpf")
    except OSError:
        with suppress(OSError):
            temporary.unlink()
