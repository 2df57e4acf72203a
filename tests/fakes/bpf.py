# SPDX-License-Identifier: Apache-2.0
"""The kernel's two BPF machines, as far as our programs use them, to ask what they decide."""

from __future__ import annotations

import struct

ALLOW = 0x7FFF0000
ERRNO = 0x00050000
KILL_PROCESS = 0x80000000

AUDIT_ARCH = {"x86_64": 0xC000003E, "i386": 0x40000003, "arm": 0x40000028, "aarch64": 0xC00000B7}

_JUMPS = {0x15: int.__eq__, 0x25: int.__gt__, 0x35: int.__ge__, 0x45: int.__and__}


def evaluate_filter(program: bytes, number: int, arch: int, arguments: tuple[int, ...] = ()) -> int:
    """Return the action of a seccomp program (classic BPF) for one call."""
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number, arch, 0, *padded)
    code: list[tuple[int, int, int, int]] = list(struct.iter_unpack("<HBBI", program))
    accumulator, place = 0, 0
    while True:
        operation, if_true, if_false, value = code[place]
        place += 1
        if operation == 0x06:
            return value
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif operation == 0x54:
            accumulator &= value
        elif operation == 0x05:
            place += value
        else:
            place += if_true if _JUMPS[operation](accumulator, value) else if_false


def evaluate_device_program(program: bytes, kind: int, major: int, minor: int, access: int) -> bool:
    """Return what an eBPF program of type cgroup_device answers."""
    context = struct.pack("<III", access << 16 | kind, major, minor)
    code = list(struct.iter_unpack("<BBhi", program))
    registers = [0] * 11
    place = 0
    while True:
        operation, packed, offset, value = code[place]
        target, source = packed & 15, packed >> 4
        place += 1
        match operation:
            case 0x61:
                assert source == 1
                (registers[target],) = struct.unpack_from("<I", context, offset)
            case 0xBF:
                registers[target] = registers[source]
            case 0xB7:
                registers[target] = value
            case 0x57:
                registers[target] &= value
            case 0x77:
                registers[target] >>= value
            case 0x55:
                place += offset if registers[target] != value else 0
            case 0x15:
                place += offset if registers[target] == value else 0
            case 0x95:
                return bool(registers[0])
            case _:
                raise AssertionError(hex(operation))
