"""The vCPUs of a machine: created as threads need them, kept for the next thread, never destroyed while it lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hv.engine import Engine
from hv.gate import MAX_VCPUS, Gate
from hv.kvm import Vm
from hv.vcpu import Vcpu

POOLED_VCPUS: Final = 128
"""vCPUs a machine creates at most; further threads share them by saving and loading state."""


class VcpuPool:
    """``reclaim`` is asked for a vCPU when no more can be created: it saves a waiting thread's state, or returns None.
    Hold the big lock."""

    def __init__(self, vm: Vm, gate: Gate, reclaim: Callable[[], Vcpu | None]) -> None:
        self._vm = vm
        self._gate = gate
        self._reclaim = reclaim
        self._limit = min(POOLED_VCPUS, MAX_VCPUS, vm.kvm.max_vcpus)
        self._created: list[Vcpu] = []
        """By index, which is good once: with those that are closed since they crashed."""
        self._free: list[Vcpu] = []
        self._retired = 0

    def __len__(self) -> int:
        return len(self._created) - self._retired

    def take(self) -> Vcpu | None:
        """A vCPU whose state is of no use to anybody; None if all of them are running."""
        if self._free: return self._free.pop()
        if len(self) >= self._limit or len(self._created) >= min(MAX_VCPUS, self._vm.kvm.max_vcpus):
            return self._reclaim()
        vcpu = Vcpu(self._vm, self._gate, len(self._created))
        self._created.append(vcpu)
        return vcpu

    def give_back(self, vcpu: Engine) -> None:
        """Its thread is gone, and it is out of the guest; another may have it."""
        assert isinstance(vcpu, Vcpu)
        if vcpu not in self._free: self._free.append(vcpu)

    def retire(self, vcpu: Engine) -> None:
        """It crashed: what KVM made of its state then, nobody knows, so it is not used again."""
        vcpu.close()
        self._retired += 1

    def close(self) -> None:
        """Closes all of them; none may run."""
        for vcpu in self._created:
            vcpu.close()


__all__ = ["POOLED_VCPUS", "VcpuPool"]
