# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.bpf import ALLOW, AUDIT_ARCH, ERRNO, KILL_PROCESS, evaluate_filter
from toolkit.errors import InvalidRequestError, KernelFeatureMissingError
from toolkit.kernel import seccomp_compiler
from toolkit.kernel.seccomp_compiler import compile_filter, native_architecture, resolve_syscall

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    native_architecture() != "SCMP_ARCH_X86_64", reason="the numbers below are x86-64's"
)

X86_64, I386 = AUDIT_ARCH["x86_64"], AUDIT_ARCH["i386"]
WORDS = {X86_64: "SCMP_ARCH_X86_64", I386: "SCMP_ARCH_X86"}
NAMES = ["read", "write", "clone", "personality", "mount", "getpid"]
VALUES = [0, 1, 2, 8, 0xFFFFFFFF, 0x100000001, 2**64 - 1]

_arguments = st.lists(
    st.fixed_dictionaries(
        {
            "index": st.integers(0, 5),
            "value": st.sampled_from(VALUES),
            "valueTwo": st.sampled_from(VALUES),
            "op": st.sampled_from(["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]).map(
                "SCMP_CMP_{}".format
            ),
        }
    ),
    max_size=2,
    unique_by=lambda argument: argument["index"],
)


def document(*entries: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": list(entries),
        **changes,
    }


def allow(*names: str, args: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", "args": args or []}


def decide(
    profile: dict[str, Any], name: str, arguments: tuple[int, ...] = (), arch: int = X86_64
) -> int:
    number = resolve_syscall(name, WORDS[arch])
    assert number is not None
    return evaluate_filter(compile_filter(profile), number, arch, arguments)


def holds(argument: dict[str, Any], values: tuple[int, ...]) -> bool:
    actual = values[argument["index"]]
    value: int = argument["value"]
    second: int = argument["valueTwo"]
    answers: dict[str, bool] = {
        "SCMP_CMP_MASKED_EQ": actual & value == second & value,
        "SCMP_CMP_NE": actual != value,
        "SCMP_CMP_LT": actual < value,
        "SCMP_CMP_LE": actual <= value,
        "SCMP_CMP_EQ": actual == value,
        "SCMP_CMP_GE": actual >= value,
        "SCMP_CMP_GT": actual > value,
    }
    return answers[argument["op"]]


@settings(max_examples=60)
@given(
    st.dictionaries(st.sampled_from(NAMES), _arguments, max_size=len(NAMES)),
    st.sampled_from(NAMES),
    st.tuples(*[st.sampled_from(VALUES)] * 6),
)
def test_program_decides_as_the_document(
    rules: dict[str, list[dict[str, Any]]], name: str, values: tuple[int, ...]
) -> None:
    """Row S-11: the filter equals its document."""
    profile = document(*(allow(rule, args=arguments) for rule, arguments in rules.items()))
    passes = name in rules and all(holds(argument, values) for argument in rules[name])
    assert decide(profile, name, values) == (ALLOW if passes else ERRNO | errno.EPERM)


def test_a_name_that_libseccomp_does_not_know_is_left_out() -> None:
    assert decide(document(allow("read", "call_of_the_wild")), "read") == ALLOW


def test_a_number_without_a_name_is_answered_with_enosys() -> None:
    program = compile_filter(document(allow("read")))
    for number in (335, 400, 511, 0x3FFFFFFF):
        assert evaluate_filter(program, number, X86_64) == ERRNO | errno.ENOSYS
    assert evaluate_filter(program, 2**30 - 1, I386) == ERRNO | errno.ENOSYS


def test_the_default_error_number_is_the_documents() -> None:
    profile = document(allow("read"), defaultErrnoRet=errno.EACCES)
    assert decide(profile, "write") == ERRNO | errno.EACCES


def test_a_rule_may_have_its_own_error_number() -> None:
    nosys = {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS}
    assert decide(document(nosys), "clone3") == ERRNO | errno.ENOSYS


def test_a_deny_list_lets_everything_else_pass() -> None:
    deny = {"names": ["mount"], "action": "SCMP_ACT_KILL_PROCESS"}
    profile = document(deny, defaultAction="SCMP_ACT_ALLOW")
    assert decide(profile, "mount") == KILL_PROCESS
    assert decide(profile, "read") == ALLOW
    assert evaluate_filter(compile_filter(profile), 400, X86_64) == ALLOW


def test_two_comparisons_of_one_argument_are_alternatives() -> None:
    either = [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in (3, 5)]
    profile = document(allow("read", args=either))
    decisions = [decide(profile, "read", (value,)) == ALLOW for value in (3, 4, 5)]
    assert decisions == [True, False, True]


def test_the_32_bit_entry_is_filtered_with_its_own_numbers() -> None:
    """Row S-11."""
    profile = document(allow("read", "chown32"))
    assert decide(profile, "read", arch=I386) == ALLOW
    assert decide(profile, "chown32", arch=I386) == ALLOW
    assert decide(profile, "write", arch=I386) == ERRNO | errno.EPERM


def test_an_architecture_that_is_not_named_is_killed() -> None:
    """Row S-11: x32 enters with x86-64's word and a bit in its numbers."""
    program = compile_filter(document(allow("read")))
    assert evaluate_filter(program, 0x40000000, X86_64) == KILL_PROCESS
    assert evaluate_filter(program, 3, AUDIT_ARCH["arm"]) == KILL_PROCESS


def test_without_architectures_the_native_one_is_filtered_alone() -> None:
    program = compile_filter(document(allow("read"), architectures=[]))
    assert evaluate_filter(program, 0, X86_64) == ALLOW
    assert evaluate_filter(program, 3, I386) == KILL_PROCESS


def test_socketcall_cannot_carry_an_argument_past_the_filter() -> None:
    """Row S-12: i386 socketcall(SYS_SOCKET, [AF_ALG, ...]) hides the family."""
    family = [{"index": 0, "value": 38, "op": "SCMP_CMP_NE"}]
    profile = document(allow("socket", args=family), allow("connect"))
    assert decide(profile, "socketcall", (1,), I386) == ERRNO | errno.EPERM
    assert decide(profile, "socketcall", (3,), I386) == ALLOW
    assert evaluate_filter(compile_filter(profile), 359, I386, (2,)) == ALLOW
    assert evaluate_filter(compile_filter(profile), 359, I386, (38,)) == ERRNO | errno.EPERM


def test_several_hidden_calls_are_all_refused() -> None:
    odd = [{"index": 1, "value": 7, "op": "SCMP_CMP_EQ"}]
    names = ("socket", "bind", "listen", "accept4")
    profile = document(allow(*names, args=odd), allow("connect"))
    decisions = {call: decide(profile, "socketcall", (call,), I386) for call in (1, 2, 3, 4, 18)}
    assert decisions.pop(3) == ALLOW
    assert set(decisions.values()) == {ERRNO | errno.EPERM}


def test_a_document_that_allows_socketcall_is_taken_at_its_word() -> None:
    family = [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]
    profile = document(allow("socket", args=family), allow("socketcall"))
    assert decide(profile, "socketcall", (1,), I386) == ALLOW


@pytest.mark.parametrize(
    "wrong",
    [
        {"defaultAction": "SCMP_ACT_PANIC"},
        {"architectures": ["SCMP_ARCH_PDP11"]},
        {"syscalls": [{"names": ["read"], "action": "ALLOW"}]},
        {"syscalls": [allow("read", args=[{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}])]},
        {"syscalls": [allow("read", args=[{"index": 0, "value": 0, "op": "EQ"}])]},
    ],
)
def test_an_unknown_word_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="seccomp"):
        compile_filter(document(**wrong))


def test_a_missing_library_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp_compiler, "_LIBRARY", "libmissing.so.9")
    monkeypatch.setattr(seccomp_compiler, "_library", seccomp_compiler._library.__wrapped__)
    with pytest.raises(KernelFeatureMissingError, match="apt install libseccomp2"):
        compile_filter(document(allow("read"), defaultErrnoRet=99))


class TestCache:
    @pytest.fixture(autouse=True)
    def _forget(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(seccomp_compiler, "_compiled", {})

    def test_a_compiled_program_is_read_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        profile = document(allow("read"))
        program = compile_filter(profile, tmp_path / "cache")
        monkeypatch.setattr(seccomp_compiler, "_compiled", {})
        monkeypatch.setattr(seccomp_compiler, "_compile", lambda *_: b"")
        assert compile_filter(profile, tmp_path / "cache") == program

    def test_a_damaged_program_is_compiled_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        profile = document(allow("read"))
        program = compile_filter(profile, tmp_path)
        (file,) = tmp_path.iterdir()
        file.write_bytes(file.read_bytes()[:-8] + struct.pack("<HBBI", 6, 0, 0, ALLOW))
        monkeypatch.setattr(seccomp_compiler, "_compiled", {})
        assert compile_filter(profile, tmp_path) == program

    def test_another_document_is_another_program(self, tmp_path: Path) -> None:
        compile_filter(document(allow("read")), tmp_path)
        compile_filter(document(allow("write")), tmp_path)
        assert len(list(tmp_path.iterdir())) == 2

    def test_a_directory_that_cannot_be_written_costs_only_time(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        assert compile_filter(document(allow("read")), tmp_path / "file" / "cache")
