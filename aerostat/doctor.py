"""``aerostat doctor``: what this host offers, and for what it lacks, what to do."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """One thing looked at.  ``state``: "ok", "missing" (programs cannot run) or "limited" (something else cannot)."""

    subject: str
    state: str
    found: str
    remedy: str = ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _kvm() -> list[Finding]:
    try:
        from hv.kvm import Kvm, KvmUnavailable
    except ImportError:
        return [Finding("native part", "missing", "hv._native is not built", "run `make`")]
    from hv.probe import probe

    try:
        kvm = Kvm()
    except KvmUnavailable as error:
        return [Finding("/dev/kvm", "missing", error.reason, error.remedy)]
    try:
        modules = [name for name in ("kvm_intel", "kvm_amd", "kvm_pvm") if os.path.isdir(f"/sys/module/{name}")]
        findings = [Finding("/dev/kvm", "ok", f"usable ({', '.join(modules) or 'built into the kernel'})")]
        try:
            facts = probe(kvm)
        except Exception as error:
            return [*findings, Finding("a first program", "missing", str(error), "see `dmesg` for what KVM says")]
        entry = "ring 0" if facts.lstar_cpl == 0 else "ring 3 (the host resumes programs itself)"
        findings.append(Finding("system calls", "ok", f"enter the gate in {entry}"))
        paging = "by the CPU (EPT or NPT)" if facts.paging == "nested" else "by KVM (shadow page tables)"
        findings.append(Finding("page translation", "ok", f"walked {paging}"))
        works = [
            name for name, does in (("drop", facts.drop_works), ("release", facts.release_works)) if does
        ]
        if len(works) == 2: findings.append(Finding("dropping translations", "ok", "by madvise and by punching holes"))
        else:
            findings.append(
                Finding("dropping translations", "missing", f"works only by: {', '.join(works) or 'nothing'}",
                        "a KVM with MMU notifiers is needed; report this host's kernel version")
            )  # fmt: skip
        cost = f"{facts.exit_cost_us:.1f} µs from a system call to the host and back"
        findings.append(Finding("exit cost", "ok" if facts.exit_cost_us else "limited", cost))
        findings.append(Finding("virtual CPUs", "ok", f"{kvm.max_vcpus} a machine"))
        return findings
    finally:
        kvm.close()


def _kernel() -> Finding:
    from kernel.compiled import current

    if os.environ.get("AEROSTAT_PURE") == "1":
        slow = "runs as Python source, 3 to 4 times slower, since AEROSTAT_PURE is 1"
        return Finding("kernel", "ok", slow, "unset AEROSTAT_PURE for the compiled one")
    if current(): return Finding("kernel", "ok", "compiled")
    slow = "runs as Python source, 3 to 4 times slower: it is not compiled, or its sources have changed since"
    return Finding("kernel", "limited", slow, "run `make`; it needs gcc")


def _memory() -> list[Finding]:
    meminfo = dict(line.split(":", 1) for line in _read("/proc/meminfo").splitlines() if ":" in line)
    free = int(meminfo.get("MemAvailable", "0 kB").split()[0]) // 1024
    findings = [Finding("memory", "ok" if free > 256 else "limited", f"{free} MiB available")]
    huge = _read("/sys/kernel/mm/transparent_hugepage/enabled")
    on = "[always]" in huge or "[madvise]" in huge
    findings.append(
        Finding("huge pages", "ok" if on else "limited", huge or "not offered by this kernel",
                "" if on else "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled (first touches get faster)")
    )  # fmt: skip
    return findings


def _passthrough() -> list[Finding]:
    groups = Path("/sys/kernel/iommu_groups")
    count = len(list(groups.iterdir())) if groups.is_dir() else 0
    ways = [name for name, node in (("VFIO", "/dev/vfio/vfio"), ("iommufd", "/dev/iommu")) if os.path.exists(node)]
    if count and ways:
        return [Finding("device passthrough", "ok", f"{' and '.join(ways)} with {count} IOMMU groups")]
    lacking = "no IOMMU groups" if not count else "no /dev/vfio/vfio"
    remedy = (
        "boot with intel_iommu=on or amd_iommu=on, and enable the IOMMU in the firmware" if not count
        else "modprobe vfio-pci"
    )  # fmt: skip
    return [Finding("device passthrough", "limited", lacking, remedy)]


def _tools() -> list[Finding]:
    wanted = {
        "musl-gcc": ("building native programs", "musl-tools"),
        "gcc": ("building native programs", "gcc"),
        "busybox": ("the demonstration of Linux programs", "busybox-static"),
        "qemu-system-x86_64": ("the tests on the other kind of host", "qemu-system-x86"),
    }
    findings = []
    for tool, (purpose, package) in wanted.items():
        path = shutil.which(tool)
        if path: findings.append(Finding(tool, "ok", path))
        else: findings.append(Finding(tool, "limited", f"not found; {purpose} needs it", f"apt-get install {package}"))
    return findings


def findings() -> list[Finding]:
    """Everything that was looked at, in order of importance."""
    system = platform.uname()
    right = system.system == "Linux" and system.machine == "x86_64"
    host = Finding(
        "host", "ok" if right else "missing", f"{system.system} {system.release} on {system.machine}",
        "" if right else "aerostat needs Linux on x86-64",
    )  # fmt: skip
    python = Finding("Python", "ok", f"{platform.python_version()}, {os.cpu_count()} CPUs")
    if not right: return [host, python]
    return [host, python, _kernel(), *_kvm(), *_memory(), *_tools(), *_passthrough()]


def doctor(*, as_json: bool) -> int:
    """Prints the findings; 0 if programs can run here, else 1."""
    found = findings()
    runs = all(finding.state != "missing" for finding in found)
    if as_json:
        print(json.dumps({"programs_run": runs, "findings": [asdict(finding) for finding in found]}, indent=2))
        return 0 if runs else 1
    width = max(len(finding.subject) for finding in found)
    for finding in found:
        print(f"{finding.state:>7}  {finding.subject:<{width}}  {finding.found}")
        if finding.remedy: print(f"{'':>7}  {'':<{width}}  -> {finding.remedy}")
    print("\nPrograms run here." if runs else "\nPrograms cannot run here: mend what is `missing`.", file=sys.stdout)
    return 0 if runs else 1


__all__ = ["Finding", "doctor", "findings"]
