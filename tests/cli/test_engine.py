# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from toolkit.cli.engine import chosen_instance
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine


def test_the_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_INSTANCE", "other")
    monkeypatch.setenv("TOOLKIT_BACKEND", "lxc")
    assert chosen_instance("", "", "").name == "other"
    instance = chosen_instance("mine", "native", "/x/engine.sock")
    assert (instance.name, instance.backend) == ("mine", "native")
    assert instance.socket_path == Path("/x/engine.sock")
    assert instance.run_dir == Path("/run/mine")


def test_where_and_how_things_are_kept_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_STORAGE_DRIVER", "btrfs")
    assert chosen_instance("", "", "").storage_driver == "btrfs"
    flags = {"TOOLKIT_STORAGE_DRIVER": "vfs", "TOOLKIT_DATA_ROOT": "/d"}
    instance = chosen_instance("", "", "/x/engine.sock", flags)
    assert (instance.storage_driver, instance.data_dir) == ("vfs", Path("/d"))
    flags = {"TOOLKIT_INSECURE_REGISTRIES": "h:1, 10.0.0.0/8", "TOOLKIT_REGISTRY_CERTS": "/c"}
    instance = chosen_instance("", "", "", flags)
    assert instance.insecure_registries == ("h:1", "10.0.0.0/8")
    assert instance.registry_certs_dir == Path("/c")
    assert instance.most_unpacked_bytes == 10 << 30
    instance = chosen_instance("", "", "", {"TOOLKIT_MAX_UNPACKED": "4096"})
    assert instance.most_unpacked_bytes == 4096
    with pytest.raises(InvalidRequestError, match="no number"):
        chosen_instance("", "", "", {"TOOLKIT_MAX_UNPACKED": "20g"})
    assert instance.capability_profile == "podman"
    instance = chosen_instance("", "", "", {"TOOLKIT_CAP_PROFILE": "docker"})
    assert instance.capability_profile == "docker"
    with pytest.raises(InvalidRequestError, match="podman or docker"):
        chosen_instance("", "", "", {"TOOLKIT_CAP_PROFILE": "all"})
    with pytest.raises(InvalidRequestError, match="overlay, btrfs or vfs"):
        chosen_instance("", "", "", {"TOOLKIT_STORAGE_DRIVER": "aufs"})


def test_flags_of_networks_overrule_the_environment(
    toolkit: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 6.1; a flag that is not given leaves the variable alone."""
    seen: dict[str, str] = {}

    def run_engine(_instance: object, *, environ: dict[str, str], **_: object) -> int:
        seen.update(environ)
        return 0

    monkeypatch.setattr("toolkit.api.main.run_engine", run_engine)
    for name, value in {"BIP": "10.0.0.1/8", "ICC": "true", "IP_FORWARD": "false"}.items():
        monkeypatch.setenv(f"TOOLKIT_{name}", value)
    networks = ("--bip", "10.9.0.1/16", "--fixed-cidr", "10.9.8.0/24", "--ip", "127.0.0.1")
    others = ("--icc=false", "--iptables=true", "--mtu=1400", "--dns=1.1.1.1", "--dns", "::1")
    names = ("--dns-search=lan.test", "--dns-search", "test", "--dns-opt", "ndots:2")
    six = ("--ipv6", "--fixed-cidr-v6=fd00:5::/64")
    assert toolkit("engine", *networks, *others, *names, *six).exit_code == 0
    found = {name.removeprefix("TOOLKIT_"): seen[name] for name in seen if "TOOLKIT_" in name}
    assert (
        found.items()
        >= {
            "BIP": "10.9.0.1/16",
            "FIXED_CIDR": "10.9.8.0/24",
            "IPV6": "true",
            "FIXED_CIDR_V6": "fd00:5::/64",
            "IP": "127.0.0.1",
            "ICC": "false",
            "IPTABLES": "true",
            "IP_FORWARD": "false",
            "MTU": "1400",
            "DNS": "1.1.1.1,::1",
            "DNS_SEARCH": "lan.test,test",
            "DNS_OPT": "ndots:2",
        }.items()
    )
    assert "USERLAND_PROXY" not in found
    assert toolkit("engine", "--ipv6=false").exit_code == 0
    assert seen["TOOLKIT_IPV6"] == "false"


@pytest.mark.parametrize(("name", "backend"), [("BAD", ""), ("", "xen")])
def test_bad_flags_are_refused(name: str, backend: str) -> None:
    with pytest.raises(InvalidRequestError):
        chosen_instance(name, backend, "")


def test_missing_packages_are_named_with_the_remedy(
    toolkit: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    result = toolkit("engine")
    assert result.exit_code == 1
    assert result.err.splitlines() == [
        "toolkit: the engine needs h11, msgspec, urllib3",
        "Install them: pip install 'container-toolkit[engine]'",
    ]
