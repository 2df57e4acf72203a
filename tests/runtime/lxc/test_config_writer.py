# SPDX-License-Identifier: Apache-2.0
"""The writer of LXC configurations, against a model of LXC's reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.lxc import lxcreader
from toolkit.errors import InvalidRequestError
from toolkit.runtime.lxc.config_writer import (
    MOUNT_ENTRY_BYTES,
    ConfigWriter,
    Family,
    Key,
    MountEntry,
    escape_fstab,
)

HOOK = "lxc.hook.pre-start\t=\t/bin/touch\t/tmp/canary\n#"
INJECTIONS = [
    f"/d\n{HOOK}", f"/d\r\n{HOOK}", "/d\x0b", "/d\x0c", "/d\x00", "/d\r", "/d\u2028x", "/d\u2029",
    "/d\x85", "/d\x1b[2J", "/d\x7f", "/d\t",
]  # fmt: skip

_nasty = st.sampled_from([" ", "#", "\\", "\\040", "'", '"', "=", ",", "lxc.", "\\011", "é", "/"])
_characters = st.characters(exclude_categories=["Cc", "Zl", "Zp", "Cs"])
_texts = st.lists(_nasty | st.text(_characters, max_size=5), max_size=8).map("".join)
_paths = _texts.map(lambda text: "/" + text)
_targets = _texts.filter(bool)
_options = st.lists(
    st.sampled_from(["ro", "rw", "bind", "rbind", "nosuid", "noexec", "nodev", "size=64k"]),
    min_size=1,
    max_size=5,
)
mount_entries = st.builds(
    MountEntry,
    source=_paths,
    target=_targets,
    kind=st.sampled_from(["none", "tmpfs", "proc"]),
    options=_options.map(tuple),
    create=st.sampled_from(["", "dir", "file"]),
    field=st.just("mount"),
)


def entry(source: str = "/src", target: str = "dst", *options: str) -> MountEntry:
    return MountEntry(
        source=source, target=target, kind="none", options=options or ("bind", "ro"), field="volume"
    )


def naive_0_7_2(source: str, target: str) -> bytes:
    """How 0.7.2 rendered a volume: a text template that escapes blanks (rule 4.2)."""

    def escaped(path: str) -> str:
        return path.replace(" ", "\\040")

    return f"lxc.mount.entry = {escaped(source)} {escaped(target)} none bind,rw 0 0\n".encode()


@pytest.mark.parametrize("text", INJECTIONS)
def test_a_value_that_could_become_a_line_is_refused_and_its_field_is_named(text: str) -> None:
    """S-40, S-42: for each kind of string that reaches the file."""
    writer = ConfigWriter()
    calls: list[Callable[[], None]] = [
        lambda: writer.set(Key.UTS_NAME, text, field="the field"),
        lambda: writer.set_in(Family.SYSCTL, "kernel.x", text, field="the field"),
        lambda: writer.set_unchecked_key("lxc.uts.name", text, field="the field"),
        lambda: writer.mount(
            MountEntry(source=text, target="d", kind="none", options=("ro",), field="the field")
        ),
        lambda: writer.mount(
            MountEntry(source="/s", target=text, kind="none", options=("ro",), field="the field")
        ),
        lambda: writer.mount(
            MountEntry(source="/s", target="d", kind=text, options=("ro",), field="the field")
        ),
        lambda: writer.mount(
            MountEntry(source="/s", target="d", kind="none", options=(text,), field="the field")
        ),
    ]
    for call in calls:
        with pytest.raises(InvalidRequestError, match="the field"):
            call()
    assert writer.settings() == []


def test_the_control_the_template_of_0_7_2_emits_the_hook() -> None:
    """S-40: the positive control; without the writer's guard the line is there."""
    content = naive_0_7_2("/var/lib/docker/volumes/x", f"/d\n{HOOK}")

    keys = [key for key, _ in lxcreader.read_settings(content)]

    assert keys == ["lxc.mount.entry", "lxc.hook.pre-start"]


@given(value=_texts)
def test_what_is_written_is_what_lxc_reads(value: str) -> None:
    """S-41."""
    writer = ConfigWriter()
    writer.set(Key.UTS_NAME, value)
    writer.set_in(Family.SYSCTL, "net.ipv4.x", value)

    assert lxcreader.read_settings(writer.render()) == writer.settings()
    assert [text for _, text in writer.settings()] == [value, value]


def mounts_come_back(entries: list[MountEntry]) -> None:
    writer = ConfigWriter()
    for given_entry in entries:
        writer.mount(given_entry)
    found = lxcreader.read_settings(writer.render())
    assert [key for key, _ in found] == ["lxc.mount.entry"] * len(entries)
    for meant, (_, value) in zip(entries, found, strict=True):
        read = lxcreader.read_mount_entry(value)
        created = (f"create={meant.create}",) if meant.create else ()
        assert read == lxcreader.ReadEntry(
            meant.source, meant.target, meant.kind, (*meant.options, *created)
        )


@given(entries=st.lists(mount_entries, max_size=4))
@settings(max_examples=300)
def test_mounts_are_read_back_as_they_were_meant(entries: list[MountEntry]) -> None:
    """S-41: blanks, backslashes, number signs and quotes in paths change nothing."""
    mounts_come_back(entries)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        (" ", "\\040"),
        ("", ""),
        ("/double  space", "/double\\040\\040space"),
        ("/some long test string", "/some\\040long\\040test\\040string"),
        ("/var/lib/docker", "/var/lib/docker"),
        (" leading", "\\040leading"),
        ("trailing ", "trailing\\040"),
        ("back\\slash", "back\\134slash"),
    ],
)
def test_blanks_of_a_path_are_escaped(text: str, escaped: str) -> None:
    """RT-072: and the backslash, which 0.7.2 forgot."""
    assert escape_fstab(text) == escaped


def test_an_entry_that_lxc_would_cut_is_refused() -> None:
    """S-41: getmntent drops what does not fit its buffer, for instance "ro"."""
    fits = entry("/s", "d" * (MOUNT_ENTRY_BYTES - len("/s  none bind,ro 0 0")))
    read = lxcreader.read_mount_entry(fits.text())
    assert read is not None
    assert read.options == ("bind", "ro")

    with pytest.raises(InvalidRequestError, match=f"takes {MOUNT_ENTRY_BYTES} bytes"):
        entry("/s", "d" * MOUNT_ENTRY_BYTES).text()


@pytest.mark.parametrize("option", ["create=dir", "optional", "relative", "idmap=/x", "a,b", "A b"])
def test_an_option_that_tells_lxc_something_is_refused(option: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(repr(option))):
        entry("/s", "d", option).text()


@pytest.mark.parametrize(("source", "target"), [("", "d"), ("/s", ""), ("#s", "d")])
def test_an_entry_that_reads_as_something_else_is_refused(source: str, target: str) -> None:
    with pytest.raises(InvalidRequestError, match="needs a source"):
        entry(source, target).text()


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a\nb", ".a", "a.", "a..b"])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError):
        ConfigWriter().set_in(Family.CGROUP, name, 1)


@pytest.mark.parametrize("key", ["uts.name", "lxc.", "lxc.a b", "lxc.a=b", "#lxc.a", "lxc.a\nb"])
def test_a_passed_key_must_be_one_key(key: str) -> None:
    """S-42."""
    with pytest.raises(InvalidRequestError):
        ConfigWriter().set_unchecked_key(key, "x", field="LxcConf")


@pytest.mark.parametrize("value", [True, None, b"x", 1.5, ["x"]])
def test_only_texts_and_numbers_are_values(value: object) -> None:
    with pytest.raises(TypeError):
        ConfigWriter().set(Key.AUTODEV, value)  # type: ignore[arg-type]  # what is under test
