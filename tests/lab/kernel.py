"""A distribution's kernel packages -> a kernel that QEMU boots, and the modules the lab loads, in load order.

Debian's, whichever is current, is fetched with `apt-get download`, which needs no root and installs nothing.  It has no
iommufd, so there is one of Ubuntu's as well: a version of a release, which its archive keeps, by apt's downloader and
held against the digest that stands here.  They are unpacked with dpkg-deb.  What is taken from them stays in build/lab;
the next run finds it there.
"""

import hashlib
import lzma
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from elftools.elf.elffile import ELFFile

__all__ = [
    "DEBIAN", "MODULES", "UBUNTU", "ArchiveUnreachable", "Kernel", "KernelUnavailable", "Package", "obtain_kernel",
    "pinned",
]  # fmt: skip

DEBIAN, UBUNTU = "debian", "ubuntu"
"""The kernels there are."""

MODULES = ("kvm_amd", "vfio_pci", "vfio_iommu_type1", "nvme")
"""Modules the lab loads; those they need come by themselves."""

_METAPACKAGE = "linux-image-amd64"
_DOWNLOADER = "/usr/lib/apt/apt-helper"
_BRIEFLY = ("-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20")
_ARCHIVE = "http://archive.ubuntu.com/ubuntu"


class KernelUnavailable(Exception):
    """No kernel package could be fetched or read; the text says why."""


class ArchiveUnreachable(KernelUnavailable):
    """The archive that has the second kernel does not answer."""


@dataclass(frozen=True)
class Package:
    """A file of an archive."""

    path: str
    sha256: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


UBUNTU_PACKAGES = (
    Package(
        "pool/main/l/linux-signed/linux-image-6.8.0-31-generic_6.8.0-31.31_amd64.deb",
        "fd2ed023c84163e62c73d3b7b613a9b004bd31e335641c23d42bd249e489fbe6",
    ),
    Package(
        "pool/main/l/linux/linux-modules-6.8.0-31-generic_6.8.0-31.31_amd64.deb",
        "3f17f2c279257eb50e40da44390bdf8272c440ca078831c348773d1314b5c2fe",
    ),
)
"""Ubuntu 24.04 as it was released."""


@dataclass(frozen=True)
class Kernel:
    """A bootable kernel and its modules."""

    version: str
    bzimage: Path
    modules: tuple[Path, ...]
    """Uncompressed modules in an order in which `insmod` accepts them."""


def obtain_kernel(cache: Path, which: str = DEBIAN) -> Kernel:
    """The kernel kept in the directory `cache`; fetches and unpacks DEBIAN or UBUNTU if it is not there.

    Raises KernelUnavailable if apt's programs or dpkg-deb fail or the packages hold no kernel or lack a module, and
    ArchiveUnreachable where UBUNTU cannot be fetched.
    """
    if which == UBUNTU:
        place = cache / UBUNTU  # what is in `cache` itself is Debian's
        place.mkdir(exist_ok=True)
        packages = [pinned(place, package) for package in UBUNTU_PACKAGES]
    else:
        packages = [_downloaded(cache) or _download(cache)]
    unpacked = packages[0].with_name(f"{packages[0].stem}+{'+'.join(MODULES)}")
    if not unpacked.is_dir():
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            for package in packages: _unpack(package, Path(scratch))
            chosen = Path(scratch) / "chosen"
            _choose(Path(scratch), chosen)
            chosen.rename(unpacked)  # last: a directory of this name is complete
    return Kernel(
        version=(unpacked / "version").read_text(),
        bzimage=unpacked / "vmlinuz",
        modules=tuple(sorted((unpacked / "modules").iterdir())),
    )


def pinned(place: Path, package: Package, archive: str = _ARCHIVE) -> Path:
    """The file of an archive, whose digest is the one that is expected, in the directory `place`."""
    kept = place / package.name
    if kept.exists(): return kept
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        os.chmod(scratch, 0o777)
        fetched = Path(scratch, package.name)
        try:
            _output(_DOWNLOADER, *_BRIEFLY, "download-file", f"{archive}/{package.path}", str(fetched))
        except KernelUnavailable as error:
            said = str(error).partition("failed: ")[2].splitlines()  # the command, and what it says, line by line
            raise ArchiveUnreachable(f"{archive} gives no kernel with iommufd: {said[0] if said else error}") from None
        digest = hashlib.sha256(fetched.read_bytes()).hexdigest()
        if digest != package.sha256:
            raise KernelUnavailable(f"{archive}/{package.path} has SHA-256 {digest}, not {package.sha256}")
        return fetched.rename(kept)


def _downloaded(cache: Path) -> Path | None:
    packages = sorted(cache.glob("linux-image-*.deb"), key=lambda path: path.stat().st_mtime)
    return packages[-1] if packages else None


def _download(cache: Path) -> Path:
    """Fetch the package that Debian's metapackage for amd64 kernels depends on."""
    depends = _output("apt-cache", "depends", "--no-recommends", "--no-suggests", _METAPACKAGE)
    names = [line.split()[-1] for line in depends.splitlines() if line.strip().startswith("Depends:")]
    if not names:
        raise KernelUnavailable(f"apt knows no {_METAPACKAGE}: run `apt-get update` as root first")
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        # Root's apt-get downloads as the user _apt where it can.
        os.chmod(scratch, 0o777)
        _output("apt-get", "download", names[0], directory=scratch)
        [fetched] = Path(scratch).glob("*.deb")
        return fetched.rename(cache / fetched.name)


def _unpack(package: Path, into: Path) -> None:
    _output("dpkg-deb", "-x", str(package), str(into))


def _choose(tree: Path, chosen: Path) -> None:
    """Take the kernel and the modules in question from an unpacked package to the new directory `chosen`."""
    images = sorted(tree.glob("boot/vmlinuz-*"))
    # Debian 13 moved /lib to /usr/lib in its packages.
    roots = [*tree.glob("lib/modules/*"), *tree.glob("usr/lib/modules/*")]
    if len(images) != 1 or len(roots) != 1:
        raise KernelUnavailable(f"expected one kernel with modules, found {len(images)} and {len(roots)}")
    (chosen / "modules").mkdir(parents=True)
    shutil.copyfile(images[0], chosen / "vmlinuz")
    (chosen / "version").write_text(roots[0].name)
    files = {_module_name(path): path for path in roots[0].rglob("*.ko*")}
    for number, (name, data) in enumerate(_with_dependencies(MODULES, files).items()):
        (chosen / "modules" / f"{number:02}-{name}.ko").write_bytes(data)


def _with_dependencies(wanted: tuple[str, ...], files: dict[str, Path]) -> dict[str, bytes]:
    """Modules by name, each behind those it needs (dictionaries keep their order)."""
    loaded: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in loaded:
            return
        if name not in files:
            raise KernelUnavailable(f"the kernel package has no module {name}")
        data = _module_bytes(files[name])
        for needed in _depends(data):
            add(needed)
        loaded[name] = data

    for name in wanted:
        add(name)
    return loaded


def _module_name(path: Path) -> str:
    # Names count with '-' and '_' alike, in `depends=` too.
    return path.name.split(".ko")[0].replace("-", "_")


def _module_bytes(path: Path) -> bytes:
    match path.suffix:
        case ".ko":
            return path.read_bytes()
        case ".xz":
            return lzma.decompress(path.read_bytes())
        case ".zst":
            return _read("zstd", "-dcq", str(path))
        case suffix:
            raise KernelUnavailable(f"modules compressed as {suffix} are not supported: {path.name}")


def _depends(module: bytes) -> list[str]:
    """Names of the modules this one needs directly, from its .modinfo section (`depends=a,b`)."""
    section = ELFFile(BytesIO(module)).get_section_by_name(".modinfo")
    for line in section.data().split(b"\0") if section else []:
        key, _, value = line.decode(errors="replace").partition("=")
        if key == "depends":
            return [name.replace("-", "_") for name in value.split(",") if name]
    return []


def _output(*command: str, directory: str | None = None) -> str:
    return _read(*command, directory=directory).decode(errors="replace")


def _read(*command: str, directory: str | None = None) -> bytes:
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, check=False)
    except FileNotFoundError:
        raise KernelUnavailable(f"there is no {command[0]}") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise KernelUnavailable(f"`{' '.join(command)}` failed: {said}")
    return done.stdout
