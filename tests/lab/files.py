"""The test files that run in the lab, in one place."""

from dataclasses import dataclass

from tests.lab.kernel import DEBIAN, UBUNTU

__all__ = ["BATCHES", "Batch"]


@dataclass(frozen=True)
class Batch:
    """What one QEMU run is for."""

    files: tuple[str, ...]
    """Relative to the repository."""
    processors: int = 1
    """One is steadier, and makes and closes machines twice as fast; two let vCPUs of a machine really run at once."""
    devices: bool = False
    """With the devices of tests.lab.hardware."""
    kernel: str = DEBIAN
    """Which of tests.lab.kernel."""


BATCHES = {
    "hypervisor": Batch(
        (
            "tests/lab/inside/test_host_kind.py",
            "tests/hv/test_context.py",
            "tests/hv/test_device.py",
            "tests/hv/test_events.py",
            "tests/hv/test_gate.py",
            "tests/hv/test_guest_memory.py",
            "tests/hv/test_interrupt_line.py",
            "tests/hv/test_kvm.py",
            "tests/hv/test_lock.py",
            "tests/hv/test_page_tables.py",
            "tests/hv/test_probe.py",
            "tests/hv/test_vcpu.py",
        )
    ),
    "parallel": Batch(
        (
            "tests/lab/inside/test_host_kind.py",
            "tests/hv/test_giants.py",
            "tests/hv/test_preemption.py",
            "tests/hv/test_translations.py",
        ),
        processors=2,
    ),
    "attacks": Batch(("tests/aerostat/test_hostile.py",)),
    "isolation": Batch(("tests/aerostat/test_isolation.py",), processors=2),
    "devices": Batch(("tests/lab/inside/test_vfio.py", "tests/lab/inside/test_iommu.py"), devices=True),
    "drivers": Batch(("tests/lab/inside/test_drivers.py",), devices=True),
    "iommufd": Batch(
        ("tests/lab/inside/test_vfio.py", "tests/lab/inside/test_iommu.py", "tests/lab/inside/test_drivers.py"),
        devices=True, kernel=UBUNTU,
    ),
    "giants": Batch(("tests/aerostat/test_giants.py",), processors=2),
}
"""Each run has twenty minutes. Python is about 13 times slower there than outside: split a batch before it needs more
than half of that, because a busy host halves the speed again."""
