"""Debian's kernel package -> a kernel that QEMU boots, and the modules the lab loads, in load order.

The package is fetched with `apt-get download`, which needs no root and installs nothing, and unpacked with dpkg-deb.
What is taken from it stays in build/lab; the next run finds it there.
"""

import lzma
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from elftools.elf.elffile import ELFFile

__all__ = ["MODULES", "Kernel", "KernelUnavailable", "obtain_kernel"]

MODULES = ("kvm_amd", "vfio_pci", "vfio_iommu_type1", "nvme")
"""Modules the lab loads; those they need come by themselves."""

_METAPACKAGE = "linux-image-amd64"


class KernelUnavailable(Exception):
    """No kernel package could be fetched or read; the text says why."""


@dataclass(frozen=True)
class Kernel:
    """A bootable kernel and its modules."""

    version: str
    bzimage: Path
    modules: tuple[Path, ...]
    """Uncompressed modules in an order in which `insmod` accepts them."""


def obtain_kernel(cache: Path) -> Kernel:
    """The kernel kept in the directory `cache`; fetches and unpacks Debian's if there is none.

    Raises KernelUnavailable if apt-get or dpkg-deb fail or the package holds no kernel or lacks a module.
    """
    package = _downloaded(cache) or _download(cache)
    unpacked = cache / f"{package.stem}+{'+'.join(MODULES)}"
    if not unpacked.is_dir():
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            _unpack(package, Path(scratch))
            chosen = Path(scratch) / "chosen"
            _choose(Path(scratch), chosen)
            chosen.rename(unpacked)  # last: a directory of this name is complete
    return Kernel(
        version=(unpacked / "version").read_text(),
        bzimage=unpacked / "vmlinuz",
        modules=tuple(sorted((unpacked / "modules").iterdir())),
    )


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
        raise KernelUnavailable(f"{_METAPACKAGE}: expected one kernel in the package, found {len(images)}")
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
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise KernelUnavailable(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout
