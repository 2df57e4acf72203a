# SPDX-License-Identifier: Apache-2.0
"""The real layers below an engine, put together for one instance."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.engine.network_names import NAMES_DIR
from toolkit.engine.network_settings import NetworkSettings
from toolkit.engine.ports import Parts
from toolkit.engine.published_ports import PROXIES_DIR
from toolkit.engine.seccomp_choice import read_profile
from toolkit.errors import KernelFeatureMissingError
from toolkit.images.archive_load import ImageArchives
from toolkit.images.registry.registries import Registries
from toolkit.images.registry.settings import RegistrySettings
from toolkit.images.store import ImageStore
from toolkit.kernel.cgroups import CgroupHost
from toolkit.kernel.seccomp import is_available
from toolkit.kernel.seccomp_compiler import compile_filter
from toolkit.network.host import HostNetworks, real_kit
from toolkit.network.names_server import NamesServer
from toolkit.network.proxy import Proxies
from toolkit.runtime.seccomp_profile import default_profile
from toolkit.runtime.supervisor import Supervisor
from toolkit.storage.layers import LayerStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from toolkit.config import Instance

_log = logging.getLogger(__name__)


def real_parts(instance: Instance, environ: Mapping[str, str] | None = None) -> Parts:
    """Return the parts of an engine on this host.

    Args:
        instance: Whose.
        environ: Says how its networks are to be; None: this process's environment.

    Raises:
        InvalidRequestError: A setting of the networks cannot be used.
        KernelFeatureMissingError: The kernel lacks something that nothing works without.
    """
    layers = LayerStore(
        instance.data_dir,
        instance.storage_driver,
        most_unpacked_bytes=instance.most_unpacked_bytes,
    )
    images = ImageStore(instance.data_dir, layers)
    filters = FilterPrograms(instance)
    settings = NetworkSettings.from_environment(os.environ if environ is None else environ)
    return Parts(
        supervisor=Supervisor(instance),
        layers=layers,
        images=images,
        archives=ImageArchives(instance.data_dir, images, layers),
        registries=Registries(instance.data_dir, images, layers, registry_settings(instance)),
        cgroups=CgroupHost.detect(),
        boot_id=read_boot_id(),
        networks=HostNetworks(
            instance.name,
            lambda: real_kit(
                instance.name,
                with_iptables=settings.with_iptables,
                may_forward=settings.may_forward,
            ),
        ),
        proxies=Proxies(instance.run_dir / PROXIES_DIR, instance.name),
        names=NamesServer(instance.run_dir / NAMES_DIR, instance.name),
        network_settings=settings,
        seccomp_program=filters.path_for,
    )


def registry_settings(instance: Instance) -> RegistrySettings:
    """Return how an instance reaches registries; proxies are the environment's."""
    return RegistrySettings(
        insecure=instance.insecure_registries,
        mirrors=instance.registry_mirrors,
        certs_dir=instance.registry_certs_dir,
        environ=dict(os.environ),
        most_layer_bytes=instance.most_unpacked_bytes,
    )


def read_boot_id() -> str:
    """Return the kernel's name of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class FilterPrograms:
    """The compiled default filters, one file for each set of capabilities.

    A kernel without filters, or a host without libseccomp, is told once in the
    log; its containers run without one.
    """

    def __init__(self, instance: Instance) -> None:
        self._cache_dir = instance.data_dir / "seccomp"
        self._dir = instance.run_dir / "seccomp"
        self._paths: dict[frozenset[str], str] = {}

    def path_for(self, capabilities: frozenset[str], profile: str = "") -> str:
        """Return the file of the filter for *capabilities*; empty without filters.

        Args:
            capabilities: What the container keeps.
            profile: A person's own, in docker's words; empty for ours.

        Raises:
            KernelFeatureMissingError: A profile of their own cannot be had here.
        """
        if profile:
            return self._write_program(read_profile(profile, capabilities))
        path = self._paths.get(capabilities)
        if path is None:
            path = self._paths[capabilities] = self._write(capabilities)
        return path

    def _write(self, capabilities: frozenset[str]) -> str:
        if not is_available():
            _log.warning("this kernel has no seccomp filters: containers run without")
            return ""
        try:
            return self._write_program(default_profile(capabilities))
        except KernelFeatureMissingError as error:
            _log.warning("containers run without a seccomp filter: %s", error)
            return ""

    def _write_program(self, profile: dict[str, Any]) -> str:
        program = compile_filter(profile, self._cache_dir)
        self._dir.mkdir(mode=0o700, exist_ok=True)
        path = self._dir / f"{hashlib.sha256(program).hexdigest()}.bpf"
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(program)
        temporary.rename(path)
        return str(path)
