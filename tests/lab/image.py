"""What is in the lab's file system, and the two archives it is made of.

The lab needs no disk and no file sharing: everything is in one archive that its kernel unpacks into memory, at the
paths it has outside, so that the interpreter, its virtual environment and the compiled extension work unchanged.

- The *base* (interpreter, standard library, packages, busybox) changes rarely and is kept in build/lab.
- The *repository*, and the modules of the run's kernel, are packed anew for every run.

Python sources come with their byte code: compiling in the lab would cost seconds an import.
"""

import contextlib
import hashlib
import importlib.util
import marshal
import os
import platform
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.lab.cpio import CpioWriter
from tests.lab.kernel import Kernel

__all__ = ["REPOSITORY", "build_base", "write_repository"]

REPOSITORY = Path(__file__).resolve().parents[2]

_LAB = Path(__file__).resolve().parent

# What tests in the lab never import, and what would make the image several times its size.
_STDLIB_OMITTED = {
    "__phello__", "dist-packages", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "tkinter",
    "turtledemo",
}  # fmt: skip
_PACKAGES_OMITTED = {
    "_distutils_hack", "ast_serialize", "distutils-precedence.pth", "librt", "mypy", "mypyc", "pip", "pkg_resources",
    "ruff", "setuptools", "wheel", "z3",
}  # fmt: skip
_REPOSITORY_OMITTED = {".git", ".venv", "build/lab"}  # .venv: what is needed of it is in the base
_CACHES = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
_SUFFIXES_OMITTED = {".a", ".pyc", ".pyi"}


def build_base(cache: Path, busybox: Path) -> Path:
    """The path of the archive of all that is not the repository; built unless `cache` holds what these files give."""
    files = list(_base_files())
    archive = cache / f"base-{_fingerprint([*files, busybox, *_LAB.glob('*')])}.cpio"
    if archive.exists():
        return archive
    for outdated in cache.glob("base-*.cpio"):
        outdated.unlink()
    partial = archive.with_suffix(".partial")  # what bears an archive's name is complete
    with partial.open("wb") as out:
        image = _Image(CpioWriter(out))
        for directory in ("/dev", "/proc", "/sys", "/tmp", "/run", "/root", "/lab"):
            image.directory(directory)
        image.cpio.character_device("/dev/console", 5, 1)  # the kernel opens it for `init`
        image.put("/init", (_LAB / "init").read_bytes(), 0o755)
        image.put("/lab/busybox", busybox.read_bytes(), 0o755)
        image.link("/bin/busybox", "/lab/busybox")
        image.link("/bin/sh", "/lab/busybox")
        image.put("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
        for path in files:
            image.mirror(path)
        for library in _libraries([busybox, *filter(_is_elf, files)]):
            image.mirror(library)
        image.cpio.finish()
    partial.rename(archive)
    return archive


def write_repository(archive: Path, job: str, kernel: Kernel) -> None:
    """Append this repository, as it is now, the modules that `init` shall load, and the shell commands that it shall
    run, to the file `archive`."""
    with archive.open("ab") as out:
        image = _Image(CpioWriter(out))
        image.put("/lab/job", job.encode())
        for module in kernel.modules: image.put(f"/lab/modules/{module.name}", module.read_bytes())
        for path in _tree(REPOSITORY, _REPOSITORY_OMITTED):
            with contextlib.suppress(FileNotFoundError):  # a temporary file of a build beside us
                image.mirror(path)
        image.cpio.finish()


class _Image:
    """An archive under construction in which host files keep their paths, links included."""

    def __init__(self, cpio: CpioWriter) -> None:
        self.cpio = cpio
        self._present = {"/"}

    def directory(self, path: str) -> None:
        if path not in self._present:
            self.directory(os.path.dirname(path))
            self._present.add(path)
            self.cpio.directory(path)

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        if path not in self._present:
            self.directory(os.path.dirname(path))
            self._present.add(path)
            self.cpio.file(path, data, mode)

    def link(self, path: str, target: str) -> None:
        if path not in self._present:
            self.directory(os.path.dirname(path))
            self._present.add(path)
            self.cpio.symlink(path, target)

    def mirror(self, path: Path) -> None:
        """Add the host's `path`; for each link on the way to it, the link and what it leads to."""
        for ancestor in [*reversed(path.parents), path]:
            if ancestor.is_symlink():
                target = os.readlink(ancestor)
                self.link(str(ancestor), target)
                beyond = path.relative_to(ancestor)
                self.mirror(Path(os.path.normpath(ancestor.parent / target)) / beyond)
                return
        if path.is_dir():
            self.directory(str(path))
            return
        data = path.read_bytes()
        self.put(str(path), data, stat.S_IMODE(path.stat().st_mode))
        if path.suffix == ".py" and (code := _byte_code(path, data)) is not None:
            self.put(importlib.util.cache_from_source(str(path)), code)


def _base_files() -> Iterator[Path]:
    """The interpreter, its libraries, and the packages of this environment."""
    yield Path(sys.executable)
    yield Path(sys.prefix) / "pyvenv.cfg"
    yield Path("/etc/ld.so.cache")  # says where libraries are that lie in unusual directories
    yield from _tree(Path(sysconfig.get_path("stdlib")), _STDLIB_OMITTED, prefixes=("config-",))
    for packages in sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}):
        omitted = tuple(f"{name}-" for name in _PACKAGES_OMITTED)
        yield from _tree(Path(packages), _PACKAGES_OMITTED, prefixes=omitted, infix="__mypyc")


def _tree(root: Path, omitted: set[str], *, prefixes: tuple[str, ...] = (), infix: str = "\0") -> Iterator[Path]:
    """Files below `root`, in order, without caches, `omitted` paths, and names that `prefixes` or `infix` fit."""
    for directory, subdirectories, names in os.walk(root):
        above = os.path.relpath(directory, root)

        def kept(name: str, above: str = above) -> bool:
            relative = os.path.normpath(os.path.join(above, name))
            return not (name in _CACHES or relative in omitted or name.startswith(prefixes) or infix in name)

        subdirectories[:] = sorted(filter(kept, subdirectories))
        for name in sorted(filter(kept, names)):
            path = Path(directory, name)
            if path.suffix not in _SUFFIXES_OMITTED and (path.is_file() or path.is_symlink()):
                yield path


def _byte_code(path: Path, source: bytes) -> bytes | None:
    """A .pyc that is used without a look at the source's date (PEP 552: flags 1 = hash-based, unchecked), or None."""
    try:
        code = compile(source, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return None  # templates and deliberately bad samples, which nobody imports
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code)


def _is_elf(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _libraries(programs: Iterable[Path]) -> list[Path]:
    """Shared libraries, the loader among them, that these programs and extensions need."""
    listing = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    # "\tlibc.so.6 => /lib/libc.so.6 (0x...)", "\t/lib64/ld-linux-x86-64.so.2 (0x...)"
    words = (word for line in listing.splitlines() if line.startswith("\t") for word in line.split())
    return [Path(path) for path in sorted({word for word in words if word.startswith("/")})]


def _fingerprint(files: Iterable[Path]) -> str:
    digest = hashlib.sha256(f"{sys.version} {platform.machine()}".encode())
    for path in files:
        status = path.lstat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
