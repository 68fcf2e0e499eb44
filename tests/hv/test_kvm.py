"""Opening KVM: what is said when it cannot be used, and that nothing is left open."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import hv.kvm
from hv.engine import SYSCALL
from hv.gate import Gate
from hv.guest_memory import GuestMemory
from hv.kvm import Kvm, KvmUnavailable
from hv.native import build
from hv.native.extension import Extension
from tests.hv.guest import SYSCALL_CODE, Guest


def test_a_missing_device_is_explained(tmp_path: Path) -> None:
    with pytest.raises(KvmUnavailable, match="there is no") as caught:
        Kvm(str(tmp_path / "kvm"))
    assert str(tmp_path / "kvm") in caught.value.reason
    assert "modprobe kvm_intel" in caught.value.remedy


@pytest.mark.parametrize(
    ("error", "reason", "remedy"),
    [
        (errno.EACCES, "no permission", "usermod -aG kvm"),
        (errno.ENODEV, "cannot be opened: No such device", "modprobe"),
        (errno.EBUSY, "cannot be opened: Device or resource busy", "dmesg"),
    ],
)
def test_what_the_system_says_is_explained(
    monkeypatch: pytest.MonkeyPatch, error: int, reason: str, remedy: str
) -> None:
    def refuse(path: str, flags: int) -> int:
        raise OSError(error, os.strerror(error), path)

    monkeypatch.setattr("hv.kvm.os.open", refuse)
    with pytest.raises(KvmUnavailable) as caught:
        Kvm()
    assert reason in caught.value.reason
    assert remedy in caught.value.remedy
    assert reason in str(caught.value)
    assert remedy in str(caught.value)


def test_another_device_is_not_taken_for_kvm() -> None:
    before = psutil.Process().num_fds()
    with pytest.raises(KvmUnavailable, match="not KVM"):
        Kvm("/dev/null")
    assert psutil.Process().num_fds() == before


@pytest.mark.kvm
def test_a_kvm_that_is_too_old_is_explained(kvm: Kvm, monkeypatch: pytest.MonkeyPatch) -> None:
    before = psutil.Process().num_fds()
    monkeypatch.setattr(hv.kvm, "API_VERSION", 13)
    with pytest.raises(KvmUnavailable, match="API version 12"):
        Kvm()
    monkeypatch.undo()
    monkeypatch.setattr(Kvm, "capability", lambda self, number: 0)
    with pytest.raises(KvmUnavailable, match=r"lacks KVM_CAP_USER_MEMORY.*newer"):
        Kvm()
    assert psutil.Process().num_fds() == before


@pytest.mark.kvm
def test_a_processor_with_too_few_address_bits_is_explained(kvm: Kvm, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kvm.physical_width >= 39
    before = psutil.Process().num_fds()
    for eax, said in ((38, 38), (0x3000 | 36, 36), (0, 36)):
        monkeypatch.setattr(Kvm, "cpuid_leaf", lambda self, function, index=0, eax=eax: (eax, 0, 0, 0))
        with pytest.raises(KvmUnavailable, match=rf"have {said} bits, fewer than 39.*host-phys-bits"):
            Kvm()
    monkeypatch.setattr(Kvm, "cpuid_leaf", lambda self, function, index=0: (0x3027, 0, 0, 0))
    Kvm().close()
    assert psutil.Process().num_fds() == before


@pytest.mark.kvm
def test_fifty_machines_leave_nothing_behind(kvm: Kvm) -> None:
    def cycle() -> None:
        guest = Guest(kvm)
        for _ in range(3):
            assert guest.program(SYSCALL_CODE).run() == SYSCALL
        guest.close()

    process = psutil.Process()
    cycle()
    gc.collect()
    descriptors, mappings = process.num_fds(), len(process.memory_maps(grouped=False))
    for _ in range(50):
        cycle()
    gc.collect()
    assert process.num_fds() == descriptors
    assert len(process.memory_maps(grouped=False)) <= mappings + 5


@pytest.mark.kvm
def test_what_is_forgotten_is_closed_as_well(kvm: Kvm) -> None:
    process = psutil.Process()
    gc.collect()
    descriptors = process.num_fds()
    for _ in range(10):
        guest = Guest(kvm)
        guest.program(SYSCALL_CODE).run()
        del guest
    gc.collect()
    assert process.num_fds() == descriptors


@pytest.mark.kvm
def test_closing_twice_and_in_any_order_is_fine(kvm: Kvm) -> None:
    own = Kvm()
    vm = own.vm()
    memory = GuestMemory(vm, 1 << 20)
    gate = Gate(vm, 0)
    from hv.vcpu import Vcpu

    vcpu = Vcpu(vm, gate, 0)
    for thing in (own, gate, memory, vm, vcpu) * 2:
        thing.close()


@pytest.mark.kvm
def test_no_descriptor_is_inherited(guest: Guest) -> None:
    guest.vcpu()
    for descriptor in (guest.kvm.fd, guest.vm.fd, guest.vcpus[0].fd):
        assert not os.get_inheritable(descriptor)


@pytest.mark.kvm
def test_capabilities_and_cpuid_are_readable(kvm: Kvm) -> None:
    assert kvm.capability(hv.kvm.lib.KVM_CAP_USER_MEMORY) == 1
    assert kvm.capability(100_000) == 0
    assert kvm.max_vcpus >= 1
    assert kvm.cpuid_leaf(1)[3] & 1, "an x87"
    assert kvm.cpuid_leaf(0x1234_5678) == (0, 0, 0, 0)


@pytest.mark.kvm
def test_overlapping_memslots_are_refused(guest: Guest) -> None:
    guest.new_page()
    with pytest.raises(OSError, match="KVM_SET_USER_MEMORY_REGION") as caught:
        guest.vm.set_memslot(guest.vm.new_slot(), 0, 1 << 20, guest.memory._host.address)
    assert caught.value.errno == errno.EEXIST


def test_the_native_part_is_built_when_it_is_older(tmp_path: Path) -> None:
    assert build.TARGET.exists()
    target, source = tmp_path / "built.so", tmp_path / "source.c"
    extension = Extension(target, build.describe, lambda: (source, Path(build.__file__)))
    source.touch()
    assert not extension.is_current()
    target.touch()
    assert extension.is_current()
    assert not extension.build()
    later = target.stat().st_mtime + 10
    os.utime(source, (later, later))
    assert not extension.is_current()


def test_the_path_to_a_machine_imports_little() -> None:
    """cffi's parser, disassembler and prover are none of its business."""
    program = "import sys, hv.vcpu, hv.probe; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pycparser", "cffi", "capstone", "z3", "rich", "construct", "psutil"} & set(loaded)
