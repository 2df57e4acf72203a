# SPDX-License-Identifier: Apache-2.0
"""What a create request may say: each refusal names the value, none comes later.

Only the request is looked at here; what the host can do is `toolkit.engine.limits`',
where mounts lead is `toolkit.engine.mounts`'.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from toolkit.engine.signals import parse_signal
from toolkit.errors import InvalidRequestError
from toolkit.kernel.capabilities import parse_capability
from toolkit.kernel.rlimits import parse_rlimit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from toolkit.engine.model import ContainerSpec, ExecSpec, HostOptions

LONGEST_STRING_BYTES: Final = 128 * 1024 - 1  # MAX_ARG_STRLEN without its end
LONGEST_PROGRAM_BYTES: Final = 1536 * 1024  # below a quarter of the usual stack, with room
_LONGEST_HOST_NAME: Final = 64
_LONGEST_LABEL: Final = 63
_LARGEST_SIZE: Final = 0xFFFF
_LONGEST_USER: Final = 256

_LABEL: Final = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HOST_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_SEARCH_DOMAIN: Final = re.compile(rf"\.|_?{_LABEL}(?:\._?{_LABEL})*\.?")
_DNS_OPTION: Final = re.compile(r"[a-z][a-z0-9-]*(?::[0-9]{1,5})?")
_PORT: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?/(?:tcp|udp|sctp)")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SYSCTL: Final = re.compile(r"[a-z0-9_]+(?:[./][a-zA-Z0-9_-]+)+")
_NAMESPACED_SYSCTLS: Final = (
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
)
_TMPFS_WORDS: Final = """
    rw ro nosuid suid nodev dev noexec exec sync async atime noatime diratime nodiratime
    relatime norelatime strictatime nostrictatime mand nomand
    private rprivate shared rshared slave rslave
"""
_TMPFS_FLAGS: Final = frozenset(_TMPFS_WORDS.split())
_TMPFS_VALUE: Final = re.compile(r"(?:size|nr_blocks|nr_inodes|mode|uid|gid)=[0-9]+[kKmMgG%]?")
_MOST_PORTS: Final = 65535


def check_spec(spec: ContainerSpec) -> None:
    """Refuse a request that cannot become a container.

    Raises:
        InvalidRequestError: With the value that is wrong.
    """
    check_program((*(spec.entrypoint or ()), *(spec.command or ())), spec.env)
    check_user(spec.user)
    check_working_dir(spec.working_dir)
    check_host_name(spec.hostname, "hostname")
    check_host_name(spec.domainname, "domainname")
    check_size(*spec.host.console_size)
    if spec.stop_signal:
        parse_signal(spec.stop_signal)
    for port in (*spec.exposed_ports, *spec.host.published_ports):
        _check_port(port)
    for name, value in spec.labels.items():
        check_text(name, "label")
        check_text(value, f"label {name}")
        if not name:
            raise InvalidRequestError("invalid label: its name is empty")
    _check_host_options(spec.host)


def check_exec(spec: ExecSpec) -> None:
    """Refuse a program that cannot be run in a container.

    Raises:
        InvalidRequestError: With the value that is wrong.
    """
    if not spec.command or not spec.command[0]:
        raise InvalidRequestError("No exec command specified")
    check_program(spec.command, spec.env)
    check_size(*spec.console_size)
    check_user(spec.user)
    check_working_dir(spec.working_dir)


def check_program(words: Iterable[str], env: Iterable[str]) -> None:
    """Refuse words and variables that no program can be given (row S-73)."""
    total = 0
    for word in words:
        total += _check_string(word, "command")
    for entry in env:
        name = entry.partition("=")[0]
        if not name:
            raise InvalidRequestError(f"invalid environment variable: {entry[:80]!r} has no name")
        total += _check_string(entry, f"environment variable {name[:80]!r}")
    if total > LONGEST_PROGRAM_BYTES:
        raise InvalidRequestError(
            f"argument list too long: command and environment take {total} bytes, "
            f"the most is {LONGEST_PROGRAM_BYTES}"
        )


def check_text(value: str, field: str) -> None:
    """Refuse a NUL and what is not Unicode."""
    if "\0" in value:
        raise InvalidRequestError(f"invalid {field}: it holds a NUL")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError(f"invalid {field}: it is not UTF-8") from None


def check_line(value: str, field: str) -> None:
    """Refuse control characters, which would begin a line of their own somewhere."""
    check_text(value, field)
    if _CONTROL.search(value):
        raise InvalidRequestError(f"invalid {field}: {value[:80]!r} holds a control character")


def check_user(user: str) -> None:
    """Refuse a user that no passwd file can hold."""
    check_line(user, "user")
    if len(user) > _LONGEST_USER or user.count(":") > 1:
        raise InvalidRequestError(f"invalid user: {user[:80]!r}")


def check_working_dir(path: str) -> None:
    """Refuse a working directory that is not absolute."""
    check_text(path, "working directory")
    if path and not path.startswith("/"):
        raise InvalidRequestError(
            f"the working directory {path[:80]!r} is invalid, it needs to be an absolute path"
        )


def check_host_name(name: str, field: str, *, also: str = "") -> None:
    """Refuse what RFC 1123 does not allow, but for the characters *also* (row S-70)."""
    plain = name.translate(dict.fromkeys(map(ord, also), "x"))
    if name and (len(name) > _LONGEST_HOST_NAME or not _HOST_NAME.fullmatch(plain)):
        characters = ", ".join(["letters, digits", *(repr(one) for one in also)])
        raise InvalidRequestError(
            f"invalid {field} format: {name[:80]!r}: use {characters}, '.' and '-' inside, "
            f"at most {_LONGEST_HOST_NAME} characters, {_LONGEST_LABEL} between dots"
        )


def check_address(text: str, field: str) -> None:
    """Refuse what is not an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise InvalidRequestError(f"invalid {field}: {text[:80]!r} is not an IP address") from None


def check_tmpfs_options(options: str, target: str) -> None:
    """Refuse options that tmpfs does not have, or that a container must not set."""
    for option in options.split(","):
        if option and option not in _TMPFS_FLAGS and not _TMPFS_VALUE.fullmatch(option):
            raise InvalidRequestError(f"invalid tmpfs option {option[:80]!r} for {target}")


def _check_string(value: str, field: str) -> int:
    check_text(value, field)
    length = len(value.encode()) + 1
    if length > LONGEST_STRING_BYTES:
        raise InvalidRequestError(f"argument list too long: {field} takes {length} bytes")
    return length


def _check_port(port: str) -> None:
    match = _PORT.fullmatch(port)
    numbers = [int(number) for number in match.groups() if number] if match else []
    if not numbers or max(numbers) > _MOST_PORTS or numbers != sorted(numbers):
        raise InvalidRequestError(f"invalid port: {port[:80]!r}")


def _check_host_options(host: HostOptions) -> None:
    for name in (*host.cap_add, *host.cap_drop):
        if name.upper() not in {"ALL", "CAP_ALL"}:
            parse_capability(name)
    for ulimit in host.ulimits:
        parse_rlimit(ulimit.name, ulimit.soft, ulimit.hard)
    for group in host.group_add:
        check_user(group)
    for path, options in host.tmpfs.items():
        check_tmpfs_options(options, path)
    _check_resolver(host)
    _check_sysctls(host)
    _check_policy(host)
    _check_numbers(host)


def _check_resolver(host: HostOptions) -> None:
    for address in host.dns:
        check_address(address, "dns")
    for domain in host.dns_search:
        if not _SEARCH_DOMAIN.fullmatch(domain):
            raise InvalidRequestError(f"invalid dns search domain: {domain[:80]!r}")
    for option in host.dns_options:
        if not _DNS_OPTION.fullmatch(option):
            raise InvalidRequestError(f"invalid dns option: {option[:80]!r}")
    for entry in host.extra_hosts:
        _check_extra_host(entry)


def _check_extra_host(entry: str) -> None:
    name, separator, address = entry.partition(":")
    if not separator or not _HOST_NAME.fullmatch(name):
        raise InvalidRequestError(f"bad format for add-host: {entry[:80]!r}")
    if address != "host-gateway":
        check_address(address.removeprefix("[").removesuffix("]"), "add-host")


def _check_sysctls(host: HostOptions) -> None:
    for name, value in host.sysctls.items():
        check_line(value, f"sysctl {name[:80]}")
        plain = name.replace("/", ".")
        known = plain in _NAMESPACED_SYSCTLS or plain.startswith(("net.", "fs.mqueue."))
        if not _SYSCTL.fullmatch(name) or not known:
            raise InvalidRequestError(
                f"invalid sysctl: {name[:80]!r} is not in a namespace of its own"
            )
        if plain.startswith("net.") and host.network_mode == "host":
            raise InvalidRequestError(f"sysctl {name[:80]!r} not allowed in host network namespace")


def _check_policy(host: HostOptions) -> None:
    policy = host.restart_policy
    if policy.name not in {"no", "always", "on-failure", "unless-stopped"}:
        raise InvalidRequestError(f"invalid restart policy '{policy.name}'")
    if policy.maximum_retries < 0:
        raise InvalidRequestError("maximum retry count cannot be negative")
    if policy.maximum_retries and policy.name != "on-failure":
        raise InvalidRequestError(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'"
        )
    if host.auto_remove and policy.name != "no":
        raise InvalidRequestError("can't create 'AutoRemove' container with restart policy")


def _check_numbers(host: HostOptions) -> None:
    if not -1000 <= host.oom_score_adj <= 1000:  # noqa: PLR2004 - the kernel's own bounds
        raise InvalidRequestError(
            f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]"
        )
    if host.shm_size_bytes < 0:
        raise InvalidRequestError("SHM size can not be less than 0")


def check_size(rows: int, columns: int) -> None:
    """Refuse what is no size of a terminal.

    Raises:
        InvalidRequestError: Not between 0 and 65535.
    """
    if not (0 <= rows <= _LARGEST_SIZE and 0 <= columns <= _LARGEST_SIZE):
        raise InvalidRequestError(f"invalid terminal size: {rows} rows, {columns} columns")
