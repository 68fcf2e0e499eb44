"""Proofs about what the hypervisor does with page tables, from its own functions, by z3.

=================  ==================================================================================================
``vectors``        runs functions of the hypervisor on 64-bit vectors
``entries``        what ``Effects`` stores for an entry of the kernel's tables
``walking``        that a processor's walk of what is stored finds what the kernel's tables say, for every address
``registers``      the same of entries that lead to registers of devices
``system_slot``    that programs reach nothing in the machine's own slot
=================  ==================================================================================================

They are here and not in ``kernel/prove`` because the kernel imports nothing of the hypervisor, proofs neither.
"""

from __future__ import annotations

from collections.abc import Iterator

from hv.prove import entries, registers, system_slot, walking
from kernel.prove.hardware.obligation import Assumption, Obligation

ASSUMPTIONS = (
    Assumption(
        "processor", "processors walk page tables as kernel.prove.hardware.walk does",
        "written from the SDM by hand; the audit compares KVM's own walk (KVM_TRANSLATE) with the kernel's map",
    ),
    Assumption(
        "modes", "vCPUs are in 64-bit mode with CR0.PG and WP, CR4.PAE, EFER.NXE set and CR4.LA57, PKE clear",
        "hv/vcpu.py sets them before a vCPU first runs, and programs in ring 3 cannot change them",
    ),
    Assumption(
        "physical_width", "MAXPHYADDR is at least 39",
        "the guest-physical map ends below 2**39; hv/kvm.py refuses a host whose CPUID says less (80000008H: EAX)",
    ),
    Assumption(
        "size", "a machine has at most 128 GiB, and keeps what it began with",
        "hv/machine.py and hv/guest_memory.py refuse more; proved: no transition writes memory.blocks or "
        "memory.giants, and all that is mapped lies within them",
    ),
    Assumption(
        "memslots", "what TableFrames stores as the nth 64-bit word is at guest-physical TABLES_BASE + 8 n",
        "KVM_SET_USER_MEMORY_REGION is asked for that; KVM is trusted",
    ),
    Assumption(
        "registers", "only pages of 4 KiB lead to registers, and what they lead to is the device's page, or traps",
        "Effects tells RegisterPages of such pages alone, which has KVM map the device's memory there; held by tests",
    ),
    Assumption(
        "frames", "tables that exist at once have different frames, and a frame is zero when a table gets it",
        "TableFrames hands out each number once until it was freed and zeroed; held by tests, not proved",
    ),
    Assumption(
        "translations", "a vCPU uses no translation older than the entry it came from",
        "dropping (obligation entries.dropped) makes KVM's MMU notifier flush; KVM and the host's kernel are trusted",
    ),
    Assumption(
        "journal", "Effects.apply is given each write of an entry or permission by the journal",
        "kernel/journaled puts a record before each store; tests/kernel/test_journaled.py compares them",
    ),
)  # fmt: skip


def obligations() -> Iterator[Obligation]:
    """Everything that is proved here."""
    yield from entries.obligations()
    yield from walking.obligations()
    yield from registers.obligations()
    yield from system_slot.obligations()


__all__ = ["ASSUMPTIONS", "obligations"]
