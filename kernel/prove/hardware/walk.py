"""The processor's page walk on bit-vectors: what 4-level paging finds for an address, whatever the tables hold.

Written from the Intel SDM, volume 3, and nothing else: sections 4.5.4 (the walk; figure 4-11 and tables 4-14 to 4-20
for the entries), 4.6.1 (who may do what), 4.7 (reserved bits) and 4.8 (accessed and dirty flags).  It shares no code
with the kernel, which keeps tables of its own kind, nor with the hypervisor, which encodes them.

The modes are those vCPUs are in (hv/vcpu.py): CR0.PG and WP, CR4.PAE, EFER.LMA and NXE set, CR4.LA57 and PKE clear.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import z3

Load = Callable[[z3.BitVecRef], z3.BitVecRef]
"""The 64-bit word of physical memory at a physical address."""


@dataclass(frozen=True)
class Processor:
    """What about a processor the walk depends on."""

    width: z3.BitVecRef
    """MAXPHYADDR: bits of a physical address (64-bit vector, at most 52)."""
    giant_pages: bool
    """Entries that map 1 GiB are known (CPUID 80000001H, EDX bit 26)."""


@dataclass(frozen=True)
class Walk:
    """What a walk finds.  ``physical`` and the rights mean something where ``translated`` holds."""

    translated: z3.BoolRef
    """Every entry on the way was present, and none of them had a reserved bit set."""
    physical: z3.BitVecRef
    user: z3.BoolRef
    writable: z3.BoolRef
    executable: z3.BoolRef
    reserved: z3.BoolRef
    """An entry that was present had a reserved bit set."""
    to_be_marked: z3.BoolRef
    """An access would have the processor write a flag in an entry: accessed, or dirty where it writes."""

    @property
    def readable_by_programs(self) -> z3.BoolRef:
        """A user-mode read succeeds (4.6.1)."""
        return z3.And(self.translated, self.user)

    @property
    def writable_by_programs(self) -> z3.BoolRef:
        """A user-mode write succeeds."""
        return z3.And(self.translated, self.user, self.writable)

    @property
    def executable_by_programs(self) -> z3.BoolRef:
        """A user-mode instruction fetch succeeds."""
        return z3.And(self.translated, self.user, self.executable)


def canonical(linear: z3.BitVecRef) -> z3.BoolRef:
    """Bits 63 to 47 of a linear address are all the same (volume 1, 3.3.7.1); others fault before any walk."""
    high = z3.Extract(63, 47, linear)
    return z3.Or(high == 0, high == (1 << 17) - 1)


def entry_address(holder: z3.BitVecRef, index: z3.BitVecRef) -> z3.BitVecRef:
    """Physical address of an entry: bits 51:12 are those of CR3 or of the entry above, bits 11:3 the 9-bit index."""
    return z3.Concat(z3.BitVecVal(0, 12), z3.Extract(51, 12, holder), index, z3.BitVecVal(0, 3))


def walk(load: Load, cr3: z3.BitVecRef, linear: z3.BitVecRef, processor: Processor) -> Walk:
    """What the processor finds for a linear address, with this CR3 and this physical memory."""
    pml4e = load(entry_address(cr3, z3.Extract(47, 39, linear)))
    pdpte = load(entry_address(pml4e, z3.Extract(38, 30, linear)))
    pde = load(entry_address(pdpte, z3.Extract(29, 21, linear)))
    pte = load(entry_address(pde, z3.Extract(20, 12, linear)))

    # PS in a PML4E is reserved; in a PDPTE it is where 1 GiB pages are not known (table 4-15, note on the bit).
    wrong4 = z3.Or(_bit(pml4e, 7), _too_wide(pml4e, processor))
    giant = _bit(pdpte, 7) if processor.giant_pages else z3.BoolVal(False)
    wrong3 = z3.Or(
        _too_wide(pdpte, processor),
        z3.And(giant, z3.Extract(29, 13, pdpte) != 0) if processor.giant_pages else _bit(pdpte, 7),
    )
    block = _bit(pde, 7)
    wrong2 = z3.Or(_too_wide(pde, processor), z3.And(block, z3.Extract(20, 13, pde) != 0))
    wrong1 = _too_wide(pte, processor)

    # Which entries the walk comes to, and which of those it can use.
    reached4 = canonical(linear)
    used4 = z3.And(reached4, _bit(pml4e, 0), z3.Not(wrong4))
    used3 = z3.And(used4, _bit(pdpte, 0), z3.Not(wrong3))
    reached2 = z3.And(used3, z3.Not(giant))
    used2 = z3.And(reached2, _bit(pde, 0), z3.Not(wrong2))
    reached1 = z3.And(used2, z3.Not(block))
    used1 = z3.And(reached1, _bit(pte, 0), z3.Not(wrong1))
    ends3, ends2 = z3.And(used3, giant), z3.And(used2, block)

    used = ((used4, pml4e), (used3, pdpte), (used2, pde), (used1, pte))
    leaf = z3.If(ends3, pdpte, z3.If(ends2, pde, pte))
    return Walk(
        translated=z3.Or(ends3, ends2, used1),
        physical=z3.Concat(
            z3.BitVecVal(0, 12),
            z3.If(
                ends3, z3.Concat(z3.Extract(51, 30, pdpte), z3.Extract(29, 0, linear)),
                z3.If(
                    ends2, z3.Concat(z3.Extract(51, 21, pde), z3.Extract(20, 0, linear)),
                    z3.Concat(z3.Extract(51, 12, pte), z3.Extract(11, 0, linear)),
                ),
            ),
        ),
        user=z3.And(*[z3.Implies(does, _bit(entry, 2)) for does, entry in used]),
        writable=z3.And(*[z3.Implies(does, _bit(entry, 1)) for does, entry in used]),
        executable=z3.And(*[z3.Implies(does, z3.Not(_bit(entry, 63))) for does, entry in used]),
        reserved=z3.Or(
            z3.And(reached4, _bit(pml4e, 0), wrong4), z3.And(used4, _bit(pdpte, 0), wrong3),
            z3.And(reached2, _bit(pde, 0), wrong2), z3.And(reached1, _bit(pte, 0), wrong1),
        ),
        to_be_marked=z3.Or(
            *[z3.And(does, z3.Not(_bit(entry, 5))) for does, entry in used],
            z3.And(z3.Or(ends3, ends2, used1), z3.Not(_bit(leaf, 6))),
        ),
    )  # fmt: skip


def _bit(entry: z3.BitVecRef, number: int) -> z3.BoolRef:
    return z3.Extract(number, number, entry) == 1


def _too_wide(entry: z3.BitVecRef, processor: Processor) -> z3.BoolRef:
    """One of the bits 51:MAXPHYADDR is set: they are reserved at every level."""
    address = z3.Concat(z3.BitVecVal(0, 12), z3.Extract(51, 12, entry), z3.BitVecVal(0, 12))
    return z3.LShR(address, processor.width) != 0


__all__ = ["Load", "Processor", "Walk", "canonical", "entry_address", "walk"]
