# SPDX-License-Identifier: Apache-2.0
"""How registries are reached: which may be spoken to without TLS, mirrors, time-outs, limits."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DEFAULT_DOMAIN: Final = "docker.io"
_DEFAULT_HOST: Final = "registry-1.docker.io"
MIB: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class RegistrySettings:
    """What the engine was told about registries.

    Attributes:
        insecure: Hosts (with their port) and networks (CIDR) for which plain HTTP and
            certificates of nobody are good enough. Localhost and 127.0.0.0/8 always are.
        mirrors: URLs that are asked before Docker Hub.
        certs_dir: ``<host:port>/ca.crt`` below it vouches for that registry, as in
            docker's ``/etc/docker/certs.d``.
        environ: Holds HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in either case.
        attempts: How often a request is made before it has failed.
        slowest_bytes: A body that comes slower, in bytes a second, is cut off.
    """

    insecure: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    certs_dir: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    attempts: int = 5
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 20.0
    connect_seconds: float = 10.0
    read_seconds: float = 30.0
    slowest_bytes: int = 1024
    slow_seconds: float = 60.0
    most_manifest_bytes: int = 4 * MIB
    most_answer_bytes: int = MIB
    most_layer_bytes: int = 10 * 1024 * MIB
    parallel: int = 3

    def is_insecure(self, host: str) -> bool:
        """Tell whether *host*, with its port if any, may be spoken to without TLS."""
        name = _without_port(host)
        if host in self.insecure or name in self.insecure or name == "localhost":
            return True
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        if address.is_loopback:
            return True
        return any(_contains(network, address) for network in self.insecure)


@dataclass(frozen=True)
class Endpoint:
    """One place where a registry may answer.

    Attributes:
        url: Scheme and authority, without a path.
        verifies: The certificate has to be good.
    """

    url: str
    verifies: bool = True
    is_mirror: bool = False

    @property
    def host(self) -> str:
        """Authority: the host, with its port if any."""
        return self.url.partition("://")[2]


def endpoints_of(domain: str, settings: RegistrySettings, *, push: bool) -> list[Endpoint]:
    """Return where a registry may be, in the order to ask; never plain HTTP unless allowed."""
    host = _DEFAULT_HOST if domain == DEFAULT_DOMAIN else domain
    found = []
    if domain == DEFAULT_DOMAIN and not push:
        for mirror in settings.mirrors:
            url = mirror.rstrip("/")
            insecure = settings.is_insecure(url.partition("://")[2])
            if url.startswith("https://") or insecure:
                found.append(Endpoint(url, verifies=not insecure, is_mirror=True))
    insecure = settings.is_insecure(host)
    found.append(Endpoint(f"https://{host}", verifies=not insecure))
    if insecure:
        found.append(Endpoint(f"http://{host}", verifies=False))
    return found


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def _contains(text: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if "/" not in text:
        return False
    try:
        return address in ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
