"""Compiles the kernel with mypyc: ``python -m kernel.compiled.build``.

A copy of the sources, rewritten (``kernel.compiled.rewrite``), is compiled as a whole in ``build/kernel``; what comes
of it is used (``kernel.compiled``) as long as the sources are those it was made of.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from kernel import compiled
from kernel.compiled.rewrite import calls, invariants, journaled, objects, specifications
from kernel.evaluation import source as evaluation_source
from kernel.journaled import TRANSITIONS

KERNEL: Final = Path(compiled.KERNEL)
DIGEST: Final = "digest"
"""The file in the result that tells what was compiled from everything else."""
PLAIN: Final = ("written", "fields", "journal", "ledgers", "view", "consequences", "check", "audit", "specs.frame")
"""Modules compiled as they are."""
SETUP: Final = """
import sys
from mypyc.build import mypycify
from setuptools import setup

modules = mypycify(sys.argv[1].split(), group_name={group!r}, opt_level="2", debug_level="0")
for module in modules: module.extra_compile_args.append("-fno-semantic-interposition")  # calls within are direct
setup(
    name="kernel", packages=[], ext_modules=modules,
    script_args=["--quiet", "build_ext", "--build-lib", "built", "--build-temp", "temporary"],
)
"""


def texts() -> Iterator[tuple[str, str]]:
    """What is compiled: (module of the kernel, its text)."""
    yield "storage", (KERNEL / "compiled" / "storage.py").read_text()
    yield "evaluated", evaluation_source()
    for path in _members("objects"): yield f"objects.{path.stem}", objects(path.read_text(), str(path))
    for name in PLAIN: yield name, KERNEL.joinpath(*name.split(".")).with_suffix(".py").read_text()
    for name in TRANSITIONS:
        path = KERNEL / f"{name}.py"
        yield f"journaled.{name}", journaled(path.read_text(), str(path))
    for path in _members("calls"): yield f"calls.{path.stem}", calls(path.read_text(), str(path))
    for path in _members("invariants"):
        yield f"invariants.{path.stem}", invariants(path.read_text(), str(path))
    for path in _members("specs"):
        if path.stem == "frame": continue
        names = vars(importlib.import_module(f"kernel.specs.{path.stem}"))
        yield f"specs.{path.stem}", specifications(path.read_text(), str(path), names)


def constants(modules: Mapping[str, str]) -> list[tuple[str, str]]:
    """The modules of ``abi`` that these import from, and their texts: their constants are compiled in."""
    names = sorted({name for text in modules.values() for name in re.findall(r"from (abi\.\w+) import", text)})
    paths = [KERNEL.parent.joinpath(*name.split(".")).with_suffix(".py") for name in names]
    return [(name, path.read_text()) for name, path in zip(names, paths, strict=True) if path.exists()]


def _members(package: str) -> list[Path]:
    return [path for path in sorted((KERNEL / package).glob("*.py")) if path.stem != "__init__"]


def lay_out(tree: Path, modules: Mapping[str, str]) -> list[str]:
    """Writes into an empty folder what is compiled: the sources, but that these modules of the kernel have these texts,
    and of what is about compiling no module; and ``setup.py``.  Returns the modules' paths there."""
    shutil.copytree(KERNEL, tree / "kernel", ignore=shutil.ignore_patterns("__pycache__", "compiled"))
    shutil.copytree(KERNEL / "compiled", tree / "kernel" / "compiled", ignore=shutil.ignore_patterns("[a-z]*"))
    shutil.copytree(KERNEL.parent / "abi", tree / "abi", ignore=shutil.ignore_patterns("__pycache__"))
    paths = []
    for name, text in modules.items():
        path = tree.joinpath("kernel", *name.split(".")).with_suffix(".py")
        path.write_text(text)
        paths.append(str(path.relative_to(tree)))
    (tree / "setup.py").write_text(SETUP.format(group=compiled.GROUP))
    return paths


def build(*, force: bool = False) -> bool:
    """Compiles unless what is there is current; returns whether it did.  Raises FileNotFoundError if a compiler is
    missing, RuntimeError with what they said if they failed."""
    if compiled.current() and not force: return False
    stamp = compiled.stamp()  # before the sources are read: a change meanwhile makes the result stale
    target = Path(compiled.FOLDER)
    modules = dict(texts())
    made_of = (sorted(modules.items()), constants(modules), SETUP, compiled.SUFFIX)
    digest = hashlib.sha256(repr(made_of).encode()).hexdigest()
    if not force and target.joinpath(DIGEST).exists() and target.joinpath(DIGEST).read_text() == digest:
        target.joinpath(compiled.STAMP).write_text(stamp)  # nothing but comments has changed
        return False
    if importlib.util.find_spec("mypyc") is None: raise FileNotFoundError("mypyc is not there")
    compiler = os.environ.get("CC", "gcc")
    if shutil.which(compiler) is None: raise FileNotFoundError(f"the C compiler {compiler} is not there")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kernel-", dir=target.parent) as scratch:
        tree = Path(scratch)
        paths = lay_out(tree, modules)
        done = subprocess.run(
            [sys.executable, "setup.py", " ".join(paths)],
            cwd=tree, env={**os.environ, "CC": compiler, "PYTHONPATH": str(tree)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode: raise RuntimeError(f"the kernel does not compile:\n{done.stdout}{done.stderr}"[-8000:])
        built = tree / "built"
        built.joinpath(compiled.STAMP).write_text(stamp)
        built.joinpath(DIGEST).write_text(digest)
        if target.exists(): target.rename(tree / "old")  # whoever has it open keeps it
        built.rename(target)
    return True


def main() -> int:
    """The command line."""
    start = time.monotonic()
    if os.environ.get("AEROSTAT_PURE") == "1":
        print("build/kernel: AEROSTAT_PURE is set, not built")
        return 0
    try:
        done = build(force="--force" in sys.argv[1:])
    except FileNotFoundError as missing:
        print(f"build/kernel: not built, {missing}; the kernel runs as it is, 3 to 4 times slower", file=sys.stderr)
        return 0
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"build/kernel: {f'built in {time.monotonic() - start:.0f} s' if done else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
