# SPDX-License-Identifier: Apache-2.0
"""The container's init before it becomes the program: a list of system calls, run in order.

LXC executes its init inside the container, where nothing of ours may be relied
on: no interpreter, no library, no shell. So the init is a static program of 120
bytes that this module writes out. It knows one thing: to make the system calls
of a table, one after the other, and to tell when one failed. Its own table
opens the way for a second one, which the shim sends when the container is ready.

Owns the machine code and the layout of the tables. Which calls make a program
out of it is `toolkit.runtime.lxc.calls`'s.
"""

from __future__ import annotations

import platform
import struct
from dataclasses import dataclass
from typing import Final

from toolkit.errors import KernelFeatureMissingError

LINK_FD: Final = 10
TASK_ADDRESS: Final = 0x10000000
TASK_BYTES: Final = 16 * 1024 * 1024
FIRST_PASSED_FD: Final = 3
REPORT: Final = struct.Struct("<QQ")  # address of the entry, errno
ENTRY: Final = struct.Struct("<8Q")  # number, six arguments, tolerated errnos as bits
ENTRY_BYTES: Final = ENTRY.size

_CODE_ADDRESS: Final = 0x400000
_DATA_OFFSET: Final = 0x1000
_DATA_ADDRESS: Final = 0x420000 + _DATA_OFFSET  # a page of its own whatever the page size
_JUMP: Final = 1 << 63
_WORD: Final = (1 << 64) - 1
_AT_FDCWD: Final = -100
_CLOEXEC: Final = 0o2000000
_MSG_CMSG_CLOEXEC: Final = 0x40000000
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PROT_READ_WRITE: Final = 3
_MAP_PRIVATE_FIXED: Final = 0x12
_PASSED_FDS: Final = 8

# Behind an instruction that puts the first table's address into rbx:
#
#   next:   mov rax,[rbx]; test rax,rax; js jump
#           mov rdi,[rbx+8]; mov rsi,[rbx+16]; mov rdx,[rbx+24]
#           mov r10,[rbx+32]; mov r8,[rbx+40]; mov r9,[rbx+48]
#           syscall
#           cmp rax,-4096; ja failed
#   ok:     add rbx,64; jmp next
#   failed: neg rax; xor ebp,ebp; mov r12,[rbx+56]; bt r12,rax; setb bpl
#           push rax; push rbx
#           mov eax,1; mov edi,10; mov rsi,rsp; mov edx,16; syscall       (write the report)
#           pop rbx; pop rax; test ebp,ebp; jne ok
#           mov eax,231; mov edi,1; syscall                               (exit_group)
#   jump:   mov rbx,[rbx+8]; jmp next
_X86_64: Final = bytes.fromhex(
    "488b034885c07861488b7b08488b7310488b53184c8b53204c8b43284c8b4b30"
    "0f05483d00f0ffff77064883c340ebd048f7d831ed4c8b6338490fa3c4400f92"
    "c55053b801000000bf0a0000004889e6ba100000000f055b5885ed75cdb8e700"
    "0000bf010000000f05488b5b08eb91"
)
# Behind instructions that put the first table's address into x19:
#
#   next:   ldp x8,x0,[x19]; tbnz x8,#63,jump
#           ldp x1,x2,[x19,#16]; ldp x3,x4,[x19,#32]; ldr x5,[x19,#48]
#           svc #0
#           cmn x0,#4095; b.hs failed
#   ok:     add x19,x19,#64; b next
#   failed: neg x20,x0; ldr x21,[x19,#56]; lsr x21,x21,x20
#           stp x19,x20,[sp,#-16]!
#           mov x8,#64; mov x0,#10; mov x1,sp; mov x2,#16; svc #0         (write the report)
#           add sp,sp,#16; tbnz x21,#0,ok
#           mov x8,#94; mov x0,#1; svc #0                                 (exit_group)
#   jump:   mov x19,x0; b next
_AARCH64: Final = b"".join(
    word.to_bytes(4, "little")
    for word in (
        0xA9400268, 0xB7F802E8, 0xA9410A61, 0xA9421263, 0xF9401A65, 0xD4000001,
        0xB13FFC1F, 0x54000062, 0x91010273, 0x17FFFFF7, 0xCB0003F4, 0xF9401E75,
        0x9AD426B5, 0xA9BF53F3, 0xD2800808, 0xD2800140, 0x910003E1, 0xD2800202,
        0xD4000001, 0x910043FF, 0x3707FE95, 0xD2800BC8, 0xD2800020, 0xD4000001,
        0xAA0003F3, 0x17FFFFE7,
    )
)  # fmt: skip

_NUMBERS: Final = {
    "x86_64": {
        "write": 1, "mmap": 9, "ioctl": 16, "recvmsg": 47, "execve": 59, "fchdir": 81,
        "fchown": 93, "umask": 95, "setsid": 112, "setgroups": 116, "setresuid": 117,
        "setresgid": 119, "capset": 126, "prctl": 157, "exit_group": 231, "keyctl": 250,
        "unlinkat": 263, "dup3": 292, "prlimit64": 302, "seccomp": 317, "close_range": 436,
        "openat2": 437,
    },
    "aarch64": {
        "write": 64, "mmap": 222, "ioctl": 29, "recvmsg": 212, "execve": 221, "fchdir": 50,
        "fchown": 55, "umask": 166, "setsid": 157, "setgroups": 159, "setresuid": 147,
        "setresgid": 149, "capset": 91, "prctl": 167, "exit_group": 94, "keyctl": 219,
        "unlinkat": 35, "dup3": 24, "prlimit64": 261, "seccomp": 277, "close_range": 436,
        "openat2": 437,
    },
}  # fmt: skip
_ELF_MACHINES: Final = {"x86_64": 62, "aarch64": 183}


@dataclass(frozen=True)
class Call:
    """One entry of a table.

    Attributes:
        name: Of the system call.
        subject: What it is applied to, for an error.
        tolerated: Errnos after which the table goes on.
    """

    name: str
    arguments: tuple[int, ...] = ()
    subject: str = ""
    tolerated: tuple[int, ...] = ()


class Table:
    """A list of calls and the bytes that they point to, for one address."""

    def __init__(self, address: int, machine: str = "") -> None:
        self.address = address
        self.calls: list[Call] = []
        self._machine = machine or platform.machine()
        self._extra = bytearray()
        self._room = 0
        if self._machine not in _NUMBERS:
            raise KernelFeatureMissingError(
                f"the lxc backend has no first step for a machine of type {self._machine}"
            )

    def reserve(self, calls: int) -> None:
        """Fix how many calls there are at most; the bytes stand behind them."""
        self._room = calls * ENTRY_BYTES

    def place(self, content: bytes) -> int:
        """Add bytes; return the address that they will have."""
        self._extra += bytes(-len(self._extra) % 8)
        address = self.address + self._room + len(self._extra)
        self._extra += content
        return address

    def place_text(self, text: bytes) -> int:
        """Add a text with its closing zero; return its address."""
        return self.place(text + b"\0")

    def place_list(self, texts: list[bytes]) -> int:
        """Add a list of texts as execve(2) wants it; return its address."""
        addresses = [self.place_text(text) for text in texts]
        return self.place(struct.pack(f"<{len(addresses) + 1}Q", *addresses, 0))

    def add(
        self, name: str, *arguments: int, subject: str = "", tolerated: tuple[int, ...] = ()
    ) -> None:
        """Add a call."""
        self.calls.append(Call(name, arguments, subject, tolerated))

    def call_at(self, address: int) -> Call:
        """Return the call whose entry stands at *address*."""
        return self.calls[(address - self.address) // ENTRY_BYTES]

    @property
    def size_bytes(self) -> int:
        """How large it is, encoded."""
        return self._room + len(self._extra)

    def encode(self) -> bytes:
        """Return the table as it stands in memory."""
        entries = b"".join(self._encode(call) for call in self.calls)
        if len(entries) > self._room:
            raise ValueError(f"{len(self.calls)} calls in a room for {self._room // ENTRY_BYTES}")
        return entries.ljust(self._room, b"\0") + bytes(self._extra)

    def _encode(self, call: Call) -> bytes:
        number = _JUMP if call.name == "jump" else _NUMBERS[self._machine][call.name]
        arguments = [value & _WORD for value in call.arguments]
        arguments += [0] * (6 - len(arguments))
        tolerated = 0
        for errno_ in call.tolerated:
            tolerated |= 1 << (errno_ % 64)
        return ENTRY.pack(number, *arguments, tolerated)


def first_step(own_path: str, machine: str = "") -> bytes:
    """Return the program: an ELF file that runs its own table, and then the one it is sent.

    Args:
        own_path: Where it stands in the container; it takes itself away from there.
        machine: As `platform.machine` says; empty for this one.

    Raises:
        KernelFeatureMissingError: There is no code for this type of machine.
    """
    machine = machine or platform.machine()
    table = _opening(own_path, machine).encode()
    code = _load_address(machine) + (_X86_64 if machine == "x86_64" else _AARCH64)
    start = _CODE_ADDRESS + _HEADERS_BYTES
    head = _elf_header(_ELF_MACHINES[machine], start)
    head += _segment(5, 0, _CODE_ADDRESS, _HEADERS_BYTES + len(code))
    head += _segment(6, _DATA_OFFSET, _DATA_ADDRESS, len(table))
    return (head + code).ljust(_DATA_OFFSET, b"\0") + table


def _opening(own_path: str, machine: str) -> Table:
    """Return the calls up to the second table: no inherited descriptor, no name, no witness."""
    table = Table(_DATA_ADDRESS, machine)
    table.reserve(16)
    control_bytes = 16 + 4 * _PASSED_FDS
    control = table.place(bytes(control_bytes))
    vector = table.place(struct.pack("<QQ", table.place(bytes(8)), 8))
    message = table.place(
        struct.pack("<QIIQQQQII", 0, 0, 0, vector, 1, control, control_bytes, 0, 0)
    )
    table.add("dup3", 0, LINK_FD, _CLOEXEC)
    table.add("close_range", FIRST_PASSED_FD, LINK_FD - 1, 0)
    table.add("close_range", LINK_FD + 1, 0xFFFFFFFF, 0)
    table.add("prctl", _PR_SET_DUMPABLE, 0)
    table.add("prctl", _PR_SET_PDEATHSIG, 0)  # LXC's monitor ends when we are ready
    table.add("unlinkat", _AT_FDCWD, table.place_text(own_path.encode()), 0)
    table.add("write", LINK_FD, table.place(bytes(REPORT.size)), REPORT.size)
    table.add("recvmsg", LINK_FD, message, _MSG_CMSG_CLOEXEC)
    table.add(
        "mmap", TASK_ADDRESS, TASK_BYTES, _PROT_READ_WRITE, _MAP_PRIVATE_FIXED, FIRST_PASSED_FD, 0
    )
    table.add("jump", TASK_ADDRESS)
    return table


def _load_address(machine: str) -> bytes:
    if machine == "x86_64":
        return b"\x48\xbb" + _DATA_ADDRESS.to_bytes(8, "little")  # mov rbx, address
    low, high = _DATA_ADDRESS & 0xFFFF, _DATA_ADDRESS >> 16
    words = (0xD2800013 | low << 5, 0xF2A00013 | high << 5)  # movz x19; movk x19, lsl #16
    return b"".join(word.to_bytes(4, "little") for word in words)


_ELF_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER: Final = struct.Struct("<IIQQQQQQ")
_HEADERS_BYTES: Final = _ELF_HEADER.size + 2 * _PROGRAM_HEADER.size


def _elf_header(machine: int, start: int) -> bytes:
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    return _ELF_HEADER.pack(
        identity, 2, machine, 1, start, _ELF_HEADER.size, 0, 0,
        _ELF_HEADER.size, _PROGRAM_HEADER.size, 2, 0, 0, 0,
    )  # fmt: skip


def _segment(flags: int, offset: int, address: int, size: int) -> bytes:
    return _PROGRAM_HEADER.pack(1, flags, offset, address, address, size, size, 0x10000)
