"""Translations of virtual addresses: from the processor's walk of page tables to the abstract maps of processes.

================  ===================================================================================================
``walk``          the processor's walk, in bit-vectors, from its manual; what it finds in the stored bytes is what the
                  kernel's tables say (``hv.prove``, which knows how entries are stored)
``translation``   what the kernel's tables say of an address, and what its map says
``agreement``     both are the same at every address; tables are a tree; entries lead to the machine's memory alone
``changes``       what each transition does to translations: what it says, at the addresses it is about, and nothing
                  anywhere else
``obligation``    what there is to prove, and what came of it
================  ===================================================================================================

Together: whatever programs do, a processor finds at every address of every process exactly what its map has.
"""

from __future__ import annotations

from collections.abc import Iterator

from kernel.prove.hardware.obligation import Obligation


def obligations() -> Iterator[Obligation]:
    """Everything that is proved here."""
    from kernel.prove.hardware import agreement, changes  # these run transitions: only where proofs are made

    yield from agreement.obligations()
    yield from changes.obligations()


__all__ = ["obligations"]
