# SPDX-License-Identifier: Apache-2.0
"""The local box: a Debian for Vagrant's libvirt provider, built without a machine.

Owns the recipe's key (what the box's content depends on) and the steps. The tree is
mmdebstrap's and ``vagrant/box/customize.sh``'s; the disk is made by mke2fs from the
tree: no loop device, no mount. The kernel is started directly, so there is no boot
loader to install.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import time
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from toolkit.errors import MachineError
from toolkit.vm import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from toolkit.vm.settings import MachineSettings

BOX_NAME: Final = "container-toolkit/debian12"
SUITE: Final = "bookworm"
_PYTHON: Final = "3.11"  # that suite's
_DISK_GIB: Final = 8
_EPOCH: Final = 1_700_000_000  # every file is at most this old in the box
_DISK_UUID: Final = "4b1c4be1-5e51-4b0c-9b25-0c0ffee7d05b"
_TOOLS: Final = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "qemu-img": "qemu-utils",
}
_UNWANTED: Final = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_SLOW_SECONDS: Final = 900.0
_PARTS: Final = ("metadata.json", "Vagrantfile", "vmlinuz", "initrd.img", "box.img")


@dataclass(frozen=True, kw_only=True)
class Box:
    """The local box of one recipe, built or not.

    Attributes:
        machine: Hardware name of this machine, as ``uname -m`` says it.
        run: Runs a program.
    """

    settings: MachineSettings
    machine: str
    say: Callable[[str], None] = print
    run: Callable[..., str] = commands.run

    @property
    def architecture(self) -> str:
        """Debian's word for the hardware.

        Raises:
            MachineError: No box is made for it.
        """
        try:
            return _ARCHITECTURES[self.machine]
        except KeyError:
            known = " and ".join(_ARCHITECTURES)
            raise MachineError(f"no box is made for {self.machine}, only for {known}") from None

    @property
    def recipe(self) -> Path:
        """Directory of the scripts and lists that the box is made by."""
        return self.settings.repository / "vagrant"

    def key(self) -> str:
        """Return a digest of all that decides the box's content, but for Debian's archive."""
        digest = hashlib.sha256(f"{SUITE} {self.machine} {_DISK_GIB} {_EPOCH}".encode())
        for path in sorted(self.recipe.rglob("*")):
            if path.is_file():
                digest.update(f"\n{path.relative_to(self.recipe)}\n".encode())
                digest.update(path.read_bytes())
        digest.update("\n".join(self.requirements()).encode())
        return digest.hexdigest()

    @property
    def version(self) -> str:
        """The key as Vagrant's versions are: numbers with dots."""
        return f"1.0.{int(self.key()[:7], 16)}"

    @property
    def directory(self) -> Path:
        """Where the box is kept once it is built."""
        return self.settings.places.cache_dir / "boxes" / self.version

    @property
    def catalogue(self) -> Path:
        """The file that tells Vagrant of the box."""
        return self.directory / "catalogue.json"

    @property
    def is_built(self) -> bool:
        """Whether it is there, whole."""
        return self.catalogue.is_file()

    def requirements(self) -> list[str]:
        """Return what pip has to have for the toolkit and its tests."""
        with (self.settings.repository / "pyproject.toml").open("rb") as file:
            document = tomllib.load(file)
        project = document["project"]
        extras = project["optional-dependencies"]
        names = [*project["dependencies"], *extras["engine"], *extras["vm"], *extras["test"]]
        own = project["name"]
        wanted = {name for name in names if not name.startswith(own)}
        return sorted(wanted | set(document["build-system"]["requires"]) | {"editables"})

    def build(self) -> Path:
        """Build the box, unless it is there; return its catalogue.

        Raises:
            MachineError: A program is missing, this is not root, or a step failed.
        """
        if self.is_built:
            self.say(f"box {self.version} is there: {self.directory}")
            return self.catalogue
        self._refuse_unfit()
        began = time.monotonic()
        boxes = self.directory.parent
        boxes.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".building-", dir=boxes) as name:
            work = Path(name)
            work.chmod(0o755)
            tree = self._tree(work)
            self._take_kernel(tree, work)
            self._disk(tree, work)
            self._pack(work)
        self.say(f"box {self.version} built in {time.monotonic() - began:.0f} s: {self.directory}")
        return self.catalogue

    def _refuse_unfit(self) -> None:
        if os.geteuid() != 0:
            raise MachineError("box: run as root: the tree's files belong to many users")
        if missing := [package for tool, package in _TOOLS.items() if not shutil.which(tool)]:
            raise MachineError(f"box: apt-get install {' '.join(missing)}")

    def _wheels(self, work: Path) -> Path:
        wheels = work / "wheels"
        platforms = [f"manylinux_2_{minor}_{self.machine}" for minor in (17, 28, 34)]
        command = ["python3", "-m", "pip", "download", "--quiet", "--dest", str(wheels)]
        command += ["--only-binary=:all:", f"--python-version={_PYTHON}"]
        command += [f"--platform={name}" for name in (*platforms, f"manylinux2014_{self.machine}")]
        self.say("  wheels of the toolkit's dependencies")
        self.run([*command, *self.requirements()], timeout_seconds=_SLOW_SECONDS)
        return wheels

    def _tree(self, work: Path) -> Path:
        tree = work / "tree"
        lists = (self.recipe / "box", self.recipe / "provision")
        packages = [f"linux-image-cloud-{self.architecture}"]
        for path in (*lists, self.recipe / "provision" / "test-packages.list"):
            file = path / "packages.list" if path.is_dir() else path
            packages += file.read_text(encoding="utf-8").split()
        environ = {
            "SOURCE_DATE_EPOCH": str(_EPOCH),
            "TOOLKIT_SOURCE": str(self.settings.repository),
            "TOOLKIT_WHEELS": str(self._wheels(work)),
            "TOOLKIT_KEY": str(self._login_key(work)),
        }
        command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase"]
        command += [f"--include={','.join(packages)}"]
        command += [f"--dpkgopt=path-exclude={pattern}" for pattern in _UNWANTED]
        command += [f"--customize-hook={self.recipe / 'box' / 'customize.sh'}"]
        self.say(f"  Debian {SUITE} with {len(packages)} packages and what they need")
        self.run([*command, SUITE, str(tree)], timeout_seconds=_SLOW_SECONDS, environ=environ)
        return tree

    def _login_key(self, work: Path) -> Path:
        """Return the public key that Vagrant tries first, and replaces at the first login."""
        places = ("/usr/share/rubygems-integration", "/opt/vagrant/embedded/gems")
        for place in places:
            for path in sorted(Path(place).rglob("keys/vagrant.pub")):
                kept = work / "vagrant.pub"
                kept.write_bytes(path.read_bytes())
                return kept
        raise MachineError("box: vagrant's public key is not here: apt-get install vagrant")

    def _take_kernel(self, tree: Path, work: Path) -> None:
        for pattern, name in (("vmlinuz-*", "vmlinuz"), ("initrd.img-*", "initrd.img")):
            found = sorted((tree / "boot").glob(pattern))
            if not found:
                raise MachineError(f"box: the tree has no /boot/{pattern}")
            shutil.copyfile(found[-1], work / name)
            (work / name).chmod(0o644)

    def _disk(self, tree: Path, work: Path) -> None:
        self._age(tree)
        raw = work / "disk.raw"
        with raw.open("wb") as file:
            file.truncate(_DISK_GIB << 30)
        options = f"hash_seed={_DISK_UUID},root_owner=0:0,lazy_itable_init=1"
        command = ["mke2fs", "-q", "-t", "ext4", "-F", "-m", "0", "-U", _DISK_UUID, "-E", options]
        self.say("  its disk")
        environ = {"E2FSPROGS_FAKE_TIME": str(_EPOCH)}
        self.run(
            [*command, "-d", str(tree), str(raw)], timeout_seconds=_SLOW_SECONDS, environ=environ
        )
        convert = ["qemu-img", "convert", "-O", "qcow2", str(raw), str(work / "box.img")]
        self.run(convert, timeout_seconds=_SLOW_SECONDS)
        raw.unlink()

    def _age(self, tree: Path) -> None:
        """Let nothing be younger than the recipe says: equal builds are equal bytes."""
        young = ["find", str(tree), "-xdev", "-newermt", f"@{_EPOCH}"]
        touch = ["-exec", "touch", "--no-dereference", f"--date=@{_EPOCH}", "{}", "+"]
        self.run([*young, *touch])

    def _pack(self, work: Path) -> None:
        """Make the archive and the catalogue, and put both in place at once."""
        document = {"provider": "libvirt", "format": "qcow2", "virtual_size": _DISK_GIB}
        (work / "metadata.json").write_text(json.dumps(document))
        shutil.copyfile(self.recipe / "box" / "Vagrantfile", work / "Vagrantfile")
        ready = work / "ready"
        ready.mkdir()
        with tarfile.open(ready / "box.tar", "w") as archive:
            for name in _PARTS:
                archive.add(work / name, arcname=name, filter=_plain)
        (ready / "catalogue.json").write_text(json.dumps(self._catalogue_document(ready), indent=2))
        with _replaced(self.directory):
            ready.rename(self.directory)

    def _catalogue_document(self, ready: Path) -> dict[str, object]:
        with (ready / "box.tar").open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        provider = {
            "name": "libvirt",
            "url": (self.directory / "box.tar").as_uri(),
            "checksum_type": "sha256",
            "checksum": checksum,
        }
        versions = [{"version": self.version, "providers": [provider]}]
        return {"name": BOX_NAME, "versions": versions}


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return a member without what differs from build to build."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mtime = _EPOCH
    member.mode = 0o644
    return member


@contextmanager
def _replaced(directory: Path) -> Iterator[None]:
    """Take away what stands in a directory's place, and older boxes beside it, then go on."""
    for other in directory.parent.iterdir():
        if not other.name.startswith("."):
            shutil.rmtree(other)
    yield
