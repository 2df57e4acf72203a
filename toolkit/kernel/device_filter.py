# SPDX-License-Identifier: Apache-2.0
"""Which devices a control group may use: OCI's rules, v1's lines, v2's eBPF program.

The rules are first reduced as the v1 controller would (security/device_cgroup.c):
a default and its exceptions. Both versions are then made from that, so that the
same rules mean the same on every host.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from toolkit.errors import CgroupError, InvalidRequestError, KernelCallError
from toolkit.kernel.syscalls import call

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BPF_DEVCG_ACC_MKNOD: Final = 1
BPF_DEVCG_ACC_READ: Final = 2
BPF_DEVCG_ACC_WRITE: Final = 4
BPF_DEVCG_DEV_BLOCK: Final = 1
BPF_DEVCG_DEV_CHAR: Final = 2
ANY: Final = -1

_ACCESS: Final = {"r": BPF_DEVCG_ACC_READ, "w": BPF_DEVCG_ACC_WRITE, "m": BPF_DEVCG_ACC_MKNOD}
_ALL_ACCESS: Final = 7
_TYPES: Final = {"b": BPF_DEVCG_DEV_BLOCK, "c": BPF_DEVCG_DEV_CHAR, "u": BPF_DEVCG_DEV_CHAR}

_BPF_PROG_LOAD: Final = 5
_BPF_PROG_ATTACH: Final = 8
_BPF_PROG_DETACH: Final = 9
_BPF_PROG_GET_FD_BY_ID: Final = 13
_BPF_PROG_QUERY: Final = 16
_BPF_PROG_TYPE_CGROUP_DEVICE: Final = 15
_BPF_CGROUP_DEVICE: Final = 6
_BPF_F_ALLOW_MULTI: Final = 2
_BPF_F_REPLACE: Final = 4
_LOAD_ATTEMPTS: Final = 5
_MOST_ATTACHED: Final = 64  # the kernel's own limit for one group

# Instructions: code, destination | source << 4, offset, immediate.
_INSTRUCTION: Final = struct.Struct("<BBhi")
_LDX_W: Final = 0x61
_ALU_AND_K: Final = 0x57
_ALU_RSH_K: Final = 0x77
_MOV_K: Final = 0xB7
_MOV_X: Final = 0xBF
_JMP_JNE_K: Final = 0x55
_JMP_JEQ_K: Final = 0x15
_EXIT: Final = 0x95
_TYPE, _ASKED, _MAJOR, _MINOR, _REST = 2, 3, 4, 5, 6  # registers


@dataclass(frozen=True)
class DeviceRules:
    """A default, and where it does not hold.

    Attributes:
        allows: The default: everything is allowed, or nothing.
        exceptions: Access by (type, major, minor); `ANY` stands for every number.
    """

    allows: bool
    exceptions: dict[tuple[int, int, int], int]

    @classmethod
    def reduce(cls, rules: Iterable[Mapping[str, Any]], *, allows: bool = True) -> DeviceRules:
        """Apply OCI rules in their order; *allows* is the default before the first.

        Raises:
            InvalidRequestError: A rule has an unknown type or access.
        """
        exceptions: dict[tuple[int, int, int], int] = {}
        for rule in rules:
            allow = bool(rule.get("allow"))
            if (rule.get("type") or "a") == "a":
                allows, exceptions = allow, {}
                continue
            key, access = _key(rule), _access(rule)
            if allow != allows:
                exceptions[key] = exceptions.get(key, 0) | access
            elif key in exceptions:
                exceptions[key] &= ~access
        return cls(allows, {key: access for key, access in exceptions.items() if access})

    def permits(self, kind: int, major: int, minor: int, access: int) -> bool:
        """Tell what the kernel answers to one question."""
        masks = [
            mask
            for (a_kind, a_major, a_minor), mask in self.exceptions.items()
            if a_kind == kind and a_major in (ANY, major) and a_minor in (ANY, minor)
        ]
        if self.allows:
            return not any(access & mask for mask in masks)
        return any(access & ~mask == 0 for mask in masks)

    def v1_lines(self) -> list[tuple[str, str]]:
        """Return file and line of each write that brings a v1 group here."""
        default, other = "devices.deny", "devices.allow"
        if self.allows:
            default, other = other, default
        return [(default, "a"), *((other, _line(*item)) for item in self.exceptions.items())]

    def program(self) -> bytes:
        """Return the eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE that decides the same."""
        code = [
            (_LDX_W, _TYPE | 1 << 4, 0, 0),  # access << 16 | type
            (_MOV_X, _ASKED | _TYPE << 4, 0, 0),
            (_ALU_AND_K, _TYPE, 0, 0xFFFF),
            (_ALU_RSH_K, _ASKED, 0, 16),
            (_LDX_W, _MAJOR | 1 << 4, 4, 0),
            (_LDX_W, _MINOR | 1 << 4, 8, 0),
        ]
        for key, access in self.exceptions.items():
            code += self._exception(key, access)
        code += [(_MOV_K, 0, 0, int(self.allows)), (_EXIT, 0, 0, 0)]
        return b"".join(_INSTRUCTION.pack(*instruction) for instruction in code)

    def _exception(self, key: tuple[int, int, int], access: int) -> list[tuple[int, int, int, int]]:
        """Answer the opposite of the default, or jump behind the exception."""
        tests = list(zip((_TYPE, _MAJOR, _MINOR), key, strict=True))
        tests = [(register, value) for register, value in tests if value != ANY]
        # In the denying default all that is asked for must be allowed; in the allowing
        # default any part of it may be denied.
        mask, jump = (access, _JMP_JEQ_K) if self.allows else (~access & _ALL_ACCESS, _JMP_JNE_K)
        tail = [
            (_MOV_X, _REST | _ASKED << 4, 0, 0),
            (_ALU_AND_K, _REST, 0, mask),
            (jump, _REST, 2, 0),
            (_MOV_K, 0, 0, int(not self.allows)),
            (_EXIT, 0, 0, 0),
        ]
        head = [
            (_JMP_JNE_K, register, len(tests) - place + len(tail) - 1, value)
            for place, (register, value) in enumerate(tests)
        ]
        return head + tail


def attach_device_filter(group_fd: int, rules: DeviceRules) -> None:
    """Let a v2 group (its directory) use devices by *rules*, instead of earlier ones.

    Raises:
        CgroupError: The kernel refused.
    """
    attached = _attached_programs(group_fd)
    if rules.allows and not rules.exceptions:
        for program_fd in attached:
            _detach(group_fd, program_fd)
        return
    program_fd = _load(rules.program())
    try:
        flags, replaced = _BPF_F_ALLOW_MULTI, 0
        if attached:
            flags, replaced = flags | _BPF_F_REPLACE, attached[0]
        attributes = struct.pack("=5I", group_fd, program_fd, _BPF_CGROUP_DEVICE, flags, replaced)
        _bpf(_BPF_PROG_ATTACH, attributes, "attach")
    finally:
        for fd in (program_fd, *attached):
            os.close(fd)


def attached_count(group_fd: int) -> int:
    """Return how many device programs are attached to a v2 group itself."""
    fds = _attached_programs(group_fd)
    for fd in fds:
        os.close(fd)
    return len(fds)


def _attached_programs(group_fd: int) -> list[int]:
    numbers = (ctypes.c_uint32 * _MOST_ATTACHED)()
    attributes = ctypes.create_string_buffer(
        struct.pack(
            "=4IQI4x", group_fd, _BPF_CGROUP_DEVICE, 0, 0, ctypes.addressof(numbers), len(numbers)
        ),
        32,
    )
    call("bpf", _BPF_PROG_QUERY, attributes, 32, subject="query", error=CgroupError)
    (count,) = struct.unpack_from("=I", attributes, 24)
    return [_open_program(numbers[place]) for place in range(count)]


def _open_program(number: int) -> int:
    return _bpf(_BPF_PROG_GET_FD_BY_ID, struct.pack("=3I", number, 0, 0), "open program")


def _detach(group_fd: int, program_fd: int) -> None:
    try:
        attributes = struct.pack("=5I", group_fd, program_fd, _BPF_CGROUP_DEVICE, 0, 0)
        _bpf(_BPF_PROG_DETACH, attributes, "detach")
    finally:
        os.close(program_fd)


def _load(program: bytes) -> int:
    code = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    attributes = struct.pack(
        "=2I2Q2IQ2I",
        _BPF_PROG_TYPE_CGROUP_DEVICE, len(program) // _INSTRUCTION.size,
        ctypes.addressof(code), ctypes.addressof(licence), 0, 0, 0, 0, 0,
    )  # fmt: skip
    for attempt in range(1, _LOAD_ATTEMPTS + 1):
        try:
            return _bpf(_BPF_PROG_LOAD, attributes, "load the device filter")
        except KernelCallError as error:  # the verifier gives up when a signal is pending
            if error.errno != errno.EAGAIN or attempt == _LOAD_ATTEMPTS:
                raise
    raise AssertionError  # the last attempt has returned or raised


def _bpf(command: int, attributes: bytes, subject: str) -> int:
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return call("bpf", command, buffer, len(attributes), subject=subject, error=CgroupError)


def _key(rule: Mapping[str, Any]) -> tuple[int, int, int]:
    kind = _TYPES.get(rule["type"])
    if kind is None:
        raise InvalidRequestError(f"device type {rule['type']!r}: use a, b or c")
    return kind, _number(rule.get("major")), _number(rule.get("minor"))


def _number(value: int | None) -> int:
    return ANY if value is None or value < 0 else value


def _access(rule: Mapping[str, Any]) -> int:
    letters = rule.get("access") or "rwm"
    if not set(letters) <= set(_ACCESS):
        raise InvalidRequestError(f"device access {letters!r}: use letters of rwm")
    return sum(_ACCESS[letter] for letter in set(letters))


def _line(key: tuple[int, int, int], access: int) -> str:
    kind, *numbers = key
    major, minor = ("*" if number == ANY else str(number) for number in numbers)
    letters = "".join(letter for letter, bit in _ACCESS.items() if access & bit)
    return f"{'b' if kind == BPF_DEVCG_DEV_BLOCK else 'c'} {major}:{minor} {letters}"
