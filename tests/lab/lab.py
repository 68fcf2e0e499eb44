"""Run test files of this project in the lab: start QEMU, follow its console, end it, read the results."""

import fcntl
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hv.native.build import build
from tests.lab.hardware import IOMMU_PARAMETERS, Hardware, Left
from tests.lab.image import REPOSITORY, build_base, write_repository
from tests.lab.kernel import DEBIAN, UBUNTU, Kernel, obtain_kernel

__all__ = ["PACKAGES", "LabResult", "LabUnavailable", "qemu_command", "read_report", "run"]

PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "setpriv": "util-linux", "zstd": "zstd",
}  # fmt: skip
"""Program -> Debian package: what the lab needs besides apt-get and dpkg-deb, which every Debian has."""

CACHE = REPOSITORY / "build" / "lab"


class LabUnavailable(Exception):
    """The lab cannot run on this host; the text says what to do about it."""


@dataclass
class LabResult:
    """What came out of a run. Counts are of tests; an error in a set-up or a collection counts as a failure."""

    named: tuple[str, ...]
    """The test files asked for."""
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    ran: Counter[str] = field(default_factory=Counter)
    """Test file -> tests of it that passed or failed."""
    output: str = ""
    """All that came over the console."""
    seconds: float = 0.0
    """From the start of QEMU to its end."""
    left: Left = field(default_factory=Left)
    """What the lab's devices have left, if it had some."""
    ended: str = ""
    """Why there are no (complete) results: "time limit", "no results"; empty if there are."""

    def problems(self) -> list[str]:
        """Sentences about everything that keeps this run from being a pass: empty means every named file ran, whole."""
        found = [f"the lab did not finish: {self.ended}"] if self.ended else []
        if self.failed:
            found.append(f"{self.failed} tests failed")
        if self.skipped:
            found.append(f"{self.skipped} tests were skipped")
        if self.left.errors:
            found.append(f"drivers did what devices do not allow:\n{self.left.errors}")
        found += [f"no test of {name} ran" for name in self.named if not self.ran[name]]
        found += [f"{name} ran and was not asked for" for name in sorted(set(self.ran) - set(self.named))]
        return found

    def summary(self) -> str:
        """One line with the counts, for people."""
        files = ", ".join(f"{name} {self.ran[name]}" for name in self.named)
        counts = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped in {self.seconds:.0f} s"
        return f"lab: {len(self.named)} files, {self.passed + self.failed} tests ({files}): {counts}"


def run(
    files: Sequence[str],
    *,
    timeout: float = 1200,
    smp: int = 1,
    memory_mb: int = 2048,
    devices: bool = False,
    kernel: str = DEBIAN,
    follow: Callable[[str], None] | None = None,
    pytest_arguments: Sequence[str] = (),
) -> LabResult:
    """Run pytest on `files` (paths relative to the repository) in the lab.

    `timeout`: seconds until QEMU is killed. `smp`: processors in the lab. `memory_mb`: its memory, of which the image
    takes about 250 MB. `devices`: with those of tests.lab.hardware. `kernel`: DEBIAN or UBUNTU of
    tests.lab.kernel. `follow` gets the console's output line by line.  Raises LabUnavailable if a program is missing,
    KernelUnavailable if its kernel cannot be fetched.
    """
    qemu, busybox = _program("qemu-system-x86_64"), Path(_program("busybox"))
    if kernel == UBUNTU: _program("zstd")
    build()  # there is no compiler in the lab
    result = LabResult(tuple(files))
    with tempfile.TemporaryDirectory(prefix="aerostat-lab-") as scratch:
        image, results = Path(scratch, "image.cpio"), Path(scratch, "results.xml")
        with _cache() as cache:
            booted = obtain_kernel(cache, kernel)
            shutil.copyfile(build_base(cache, busybox), image)
        write_repository(image, _job(files, pytest_arguments, kernel), booted)
        hardware = Hardware(Path(scratch)) if devices else None
        command = qemu_command(
            qemu, booted, image, results, smp=smp, memory_mb=memory_mb,
            devices=hardware.options() if hardware else (), parameters=IOMMU_PARAMETERS if hardware else "",
        )  # fmt: skip
        started = time.monotonic()
        finished = _follow(command, started + timeout, result, follow)
        result.seconds = time.monotonic() - started
        if hardware: result.left = hardware.left()
        report = results.read_bytes() if results.exists() else b""
    if not finished:
        result.ended = f"time limit of {timeout:.0f} s"
    elif not read_report(report, result):
        result.ended = "no results arrived"
    return result


@contextmanager
def _cache() -> Iterator[Path]:
    """The directory of what is kept between runs, for one process at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield CACHE


def qemu_command(
    qemu: str, kernel: Kernel, image: Path, results: Path, *, smp: int, memory_mb: int, devices: Sequence[str] = (),
    parameters: str = "",
) -> list[str]:  # fmt: skip
    """The command that boots the lab. `devices`: more QEMU options (disks, network cards, an IOMMU); `parameters`: more
    for the kernel."""
    return [
        "setpriv", "--pdeathsig", "KILL",  # QEMU does not outlive us, however we end
        qemu,
        "-accel", "tcg,thread=multi",
        "-machine", "q35",
        "-cpu", "EPYC",  # SVM with nested paging
        "-smp", str(smp),
        "-m", str(memory_mb),
        "-nodefaults", "-display", "none", "-no-reboot",
        "-serial", "stdio",
        "-serial", f"file:{results}",
        *devices,
        "-kernel", str(kernel.bzimage),
        "-initrd", str(image),
        "-append", f"console=ttyS0 quiet panic=-1 mitigations=off nowatchdog no_timer_check maxcpus=1 {parameters}",
    ]  # fmt: skip


def read_report(report: bytes, result: LabResult) -> bool:
    """Add the counts of a pytest JUnit report (family xunit1) to `result`; False if it is not a complete report."""
    try:
        suites = ElementTree.fromstring(report)
    except ElementTree.ParseError:
        return False
    for case in suites.iter("testcase"):
        if case.find("skipped") is not None:
            result.skipped += 1
            continue
        # A collection error has no file of its own: its module stands in the name.
        name = case.get("file") or case.get("name", "").replace(".", "/") + ".py"
        result.ran[name] += 1
        if case.find("failure") is not None or case.find("error") is not None:
            result.failed += 1
        else:
            result.passed += 1
    return True


def _job(files: Sequence[str], arguments: Sequence[str], kernel: str) -> str:
    """The shell commands that run in the lab. The other processors come last: see inside/keep_vm.py for why."""
    options = ["-v", "--tb=short", "--durations=5", "-pno:cacheprovider"]
    options += ["-ojunit_family=xunit1", "--junitxml=/tmp/results"]
    # A test that waits for a guest for ever shows where, and costs two minutes, not four.
    options += ["-ofaulthandler_timeout=300", "-ofaulthandler_exit_on_timeout=true"]
    pytest = [sys.executable, "-m", "pytest", *options, *arguments, *files]
    return (
        f"cd {shlex.quote(str(REPOSITORY))}\n"
        f"export AEROSTAT_LAB=1 AEROSTAT_LAB_KERNEL={kernel}\n"
        "export HOME=/root LANG=C.UTF-8 TERM=dumb\n"
        "export PYTHONDONTWRITEBYTECODE=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1\n"
        f"{shlex.quote(sys.executable)} -S tests/lab/inside/keep_vm.py /tmp/kept &\n"
        "while [ ! -e /tmp/kept ] && kill -0 $!; do sleep 0.1; done\n"
        "for processor in /sys/devices/system/cpu/cpu*/online; do grep -qs 0 $processor && echo 1 >$processor; done\n"
        f"{shlex.join(pytest)}\n"
    )


def _follow(command: list[str], deadline: float, result: LabResult, follow: Callable[[str], None] | None) -> bool:
    """Run QEMU and collect its console until it ends (True) or the deadline passes (False). It is gone afterwards."""
    pending = b""

    def take(data: bytes) -> None:
        nonlocal pending
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace").rstrip("\r")
            if "TCG doesn't support requested feature" in text:
                continue  # a dozen lines about features of the processor model that nobody here uses
            result.output += text + "\n"
            if follow is not None:
                follow(text)

    with (
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as qemu,
        selectors.DefaultSelector() as selector,
    ):
        assert qemu.stdout is not None
        selector.register(qemu.stdout, selectors.EVENT_READ)
        try:
            while (left := deadline - time.monotonic()) > 0:
                if not selector.select(left):
                    continue
                data = os.read(qemu.stdout.fileno(), 1 << 16)
                if not data:
                    take(b"\n")
                    return True
                take(data)
            take(b"\n")
            return False
        finally:
            qemu.send_signal(signal.SIGKILL)


def _program(name: str) -> str:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise LabUnavailable("the lab takes its kernel from Debian's packages; this host has no apt-get or dpkg-deb")
    path = shutil.which(name)
    if path is None:
        missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
        raise LabUnavailable(f"the lab needs: apt-get install --no-install-recommends {' '.join(missing)}")
    return path
