# SPDX-License-Identifier: Apache-2.0
"""What a create request may say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.engine.model import (
    ContainerSpec,
    ExecSpec,
    HostOptions,
    RestartPolicy,
    Ulimit,
)
from toolkit.engine.validation import check_exec, check_spec
from toolkit.errors import InvalidRequestError

GOOD = ContainerSpec(image="x", command=("true",))


def refused(spec: ContainerSpec) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        check_spec(spec)
    assert caught.value.status == 400
    return str(caught.value)


def test_a_full_request_passes() -> None:
    check_spec(
        ContainerSpec(
            image="x",
            command=("sh", "-c", "a\nb"),
            env=("A=", "B=tri\ncky", "C"),
            user="1000:daemon",
            working_dir="/w",
            hostname="a.b-c.d",
            domainname="example.org",
            labels={"a": ""},
            exposed_ports=("80/tcp", "7000-7010/udp"),
            stop_signal="SIGQUIT",
            host=HostOptions(
                cap_add=("NET_RAW", "cap_mknod"),
                cap_drop=("all",),
                dns=("8.8.8.8", "::1"),
                dns_search=("example.org", ".", "_tcp.example.org"),
                dns_options=("ndots:5", "use-vc"),
                extra_hosts=("db:10.0.0.1", "v6:[::1]", "gw:host-gateway"),
                sysctls={"net.core.somaxconn": "5", "kernel.shmmax": "1"},
                ulimits=(Ulimit(name="nofile", soft=1, hard=2),),
                tmpfs={"/t": "size=64m,mode=1777,noexec"},
                oom_score_adj=-1000,
            ),
        )
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("command", ("a\0b",)),
        ("env", ("=x",)),
        ("env", ("A=\0",)),
        ("env", ("A=\udc80",)),
        ("user", "a\nb"),
        ("user", "a:b:c"),
        ("working_dir", "relative"),
        ("working_dir", "/a\0"),
        ("stop_signal", "NOSUCH"),
        ("labels", {"": "x"}),
        ("labels", {"a": "\0"}),
        ("exposed_ports", ("0x50/tcp",)),
        ("exposed_ports", ("70000/tcp",)),
        ("exposed_ports", ("80/icmp",)),
        ("exposed_ports", ("90-80/tcp",)),
    ],
)
def test_a_bad_value_is_refused(field: str, value: Any) -> None:
    """Row S-73."""
    refused(replace(GOOD, **{field: value}))


@pytest.mark.parametrize("field", ["hostname", "domainname"])
@pytest.mark.parametrize("name", ["a\nb", "-a", "a-", "a..b", "a b", "a_b", "x" * 65, "ä", "a\x1b"])
def test_a_host_name_is_rfc_1123(field: str, name: str) -> None:
    """Row S-70."""
    changes: dict[str, Any] = {field: name}
    refused(replace(GOOD, **changes))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dns", ("127",)),
        ("dns", ("1.2.3.4\nnameserver 6.6.6.6",)),
        ("dns_search", ("a\nb",)),
        ("dns_options", ("a b",)),
        ("extra_hosts", ("db",)),
        ("extra_hosts", ("db:nowhere",)),
        ("extra_hosts", ("a\nb:1.2.3.4",)),
        ("cap_add", ("NO_SUCH",)),
        ("cap_drop", ("",)),
        ("sysctls", {"kernel.core_pattern": "|/x"}),
        ("sysctls", {"net.ipv4.ip_forward": "1\n"}),
        ("sysctls", {"net.../../kernel": "1"}),
        ("ulimits", (Ulimit(name="nosuch", soft=1, hard=1),)),
        ("ulimits", (Ulimit(name="nofile", soft=2, hard=1),)),
        ("tmpfs", {"/t": "bind"}),
        ("tmpfs", {"/t": "size=1,remount"}),
        ("group_add", ("a\nb",)),
        ("oom_score_adj", 1001),
        ("shm_size_bytes", -1),
    ],
)
def test_a_bad_host_option_is_refused(field: str, value: Any) -> None:
    """Row S-70."""
    refused(replace(GOOD, host=replace(HostOptions(), **{field: value})))


def test_a_sysctl_of_the_network_needs_a_network_of_its_own() -> None:
    host = HostOptions(network_mode="host", sysctls={"net.core.somaxconn": "5"})
    assert "host network" in refused(replace(GOOD, host=host))


def test_a_container_that_removes_itself_has_no_restart_policy() -> None:
    host = HostOptions(auto_remove=True, restart_policy=RestartPolicy(name="always"))
    assert "AutoRemove" in refused(replace(GOOD, host=host))
    policy = RestartPolicy(name="always", maximum_retries=1)
    refused(replace(GOOD, host=HostOptions(restart_policy=policy)))


def test_too_long_a_program_is_refused_before_the_kernel_does() -> None:
    """Row S-73: one string above MAX_ARG_STRLEN, and all together."""
    assert "argument list too long" in refused(replace(GOOD, env=("A=" + "x" * (128 * 1024),)))
    many = tuple(f"A{number}=" + "x" * 100_000 for number in range(20))
    assert "argument list too long" in refused(replace(GOOD, env=many))


@given(st.text(max_size=40))
def test_no_text_in_a_host_name_passes_a_line_break(text: str) -> None:
    spec = replace(GOOD, hostname=text)
    try:
        check_spec(spec)
    except InvalidRequestError:
        return
    assert text == "" or (text.isascii() and text.replace("-", "").replace(".", "").isalnum())


@pytest.mark.parametrize(
    "spec",
    [
        ExecSpec(command=()),
        ExecSpec(command=("",)),
        ExecSpec(command=("a\0",)),
        ExecSpec(command=("a",), working_dir="x"),
        ExecSpec(command=("a",), env=("=",)),
        ExecSpec(command=("a",), user="a\n"),
    ],
)
def test_an_exec_is_checked_likewise(spec: ExecSpec) -> None:
    with pytest.raises(InvalidRequestError):
        check_exec(spec)
