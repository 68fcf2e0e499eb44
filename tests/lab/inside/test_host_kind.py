"""The lab is the kind of host it is there for: AMD's SVM with nested paging, and a /dev/kvm that can be used."""

import fcntl
import os
from pathlib import Path

KVM_GET_API_VERSION = 0xAE00
KVM_CREATE_VM = 0xAE01


def test_vendor_is_amd_with_svm() -> None:
    words = set(Path("/proc/cpuinfo").read_text().split())
    assert {"AuthenticAMD", "svm", "npt"} <= words


def test_kvm_uses_nested_paging() -> None:
    assert Path("/sys/module/kvm_amd/parameters/npt").read_text().strip() in ("Y", "1")


def test_kvm_makes_a_vm() -> None:
    kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    try:
        assert fcntl.ioctl(kvm, KVM_GET_API_VERSION) == 12
        os.close(fcntl.ioctl(kvm, KVM_CREATE_VM, 0))
    finally:
        os.close(kvm)


def test_every_processor_is_online() -> None:
    processors = Path("/sys/devices/system/cpu")
    assert (processors / "online").read_text() == (processors / "present").read_text()
