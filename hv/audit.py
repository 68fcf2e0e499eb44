"""The audit of a whole machine: the kernel's invariants, the bytes of its page tables, what the CPU's walk finds, and
what devices can reach.

The kernel says what each entry should be; here the bytes in guest memory are decoded again and compared, entry by
entry, and every mapped page of every address space is looked up by KVM_TRANSLATE, which walks the tables as the MMU
does, with as many addresses that nothing is mapped at.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from abi.layout import BLOCK_SIZE, EXECUTE, PAGE_SHIFT, SYSTEM_SLOT, TABLE_ENTRIES, USER_END, USER_MIN
from hv.page_tables import decode_entry, encode_entry
from kernel.calls.ranges import mapping_around
from kernel.check import CheckFailed
from kernel.objects import ENDED, ENDING, FREE, MAPPED, MAPPED_BLOCK, MAPPED_GIANT, PAGES_OF, PROCESS, TABLE

if TYPE_CHECKING:
    from hv.engine import Engine
    from hv.machine import Machine

UNMAPPED_SAMPLES: Final = 1000


def audit(machine: Machine) -> int:
    """Audits a machine whose guests are all out (the big lock held).  Returns how many comparisons were made; raises
    CheckFailed at the first that fails."""
    compared = machine.checker.audit()
    k = machine.kernel
    for x in [p for p, page in k.page.items() if page.kind == TABLE]:
        compared += _compare_table(machine, x)
    for s in [p for p, page in k.page.items() if page.kind == PROCESS]:
        if k.process[s].state in (ENDING, ENDED): continue
        vcpu = machine.thread_vcpus.borrow(s)
        try:
            compared += _compare_translations(machine, s, vcpu)
        finally:
            machine.vcpus.give_back(vcpu)
    return compared + _compare_devices(machine)


def _compare_devices(machine: Machine) -> int:
    """What each device can reach against what the kernel says; and that what leads to registers is mapped, within what
    the device has, and to nothing else."""
    k, compared = machine.kernel, 0
    for o, lent in machine.devices.lent.items():
        m = k.device[o].domain
        M = k.domain[m]
        expected = {w: (p, PAGES_OF[k.page[p].kind]) for w, p in M.map_page.items() if p} if m else {}
        wrong = sorted(lent.mirrored.items() ^ expected.items())
        if lent.mirroring is not None: wrong = sorted(lent.mirrored.items() - expected.items())  # not all of it yet
        if wrong or lent.unmaps:
            raise CheckFailed("audit", "device_mappings", (o,), f"the device and the kernel differ in {wrong[:8]}")
        compared += 1 + len(expected)
    for p, address in machine.devices.registers.frames.items():
        mapping = machine.devices.registers.at(address)
        if k.page[p].kind != MAPPED or mapping is None or p not in mapping.frames:
            raise CheckFailed("audit", "register_pages", (p,), f"page {p} leads to {address:#x} and should not")
        compared += 1
    return compared


def _compare_table(machine: Machine, x: int) -> int:
    """The 512 entries of table x as they stand in guest memory against what the kernel's state says."""
    k, frames, registers = machine.kernel, machine.frames, machine.devices.registers.frames
    X = k.table[x]
    for i, word in enumerate(frames.entries(x)):
        target = X.entry.get(i, 0)
        if word == 0 and target == 0: continue
        if X.level == 4 and i == SYSTEM_SLOT:
            if word != machine.gate.system_pml4_entry():
                raise CheckFailed("audit", "table_bytes", (x, i), f"the machine's own entry is {word:#x}")
            continue
        kind = k.page[target].kind if target != 0 else FREE
        if kind == TABLE: expected, permission = frames.gpa(target), 7
        else: expected, permission = target << PAGE_SHIFT, X.permission.get(i, 0)
        if target in registers: expected, permission = registers[target], permission & ~EXECUTE
        large = permission != 0 and kind in (MAPPED_BLOCK, MAPPED_GIANT)
        words = [word]
        stand_in = frames.stand_in(x, i)
        if stand_in is not None:
            address, words = stand_in
            if kind != MAPPED_GIANT or word != encode_entry(address, 0, table=True, large=False):
                raise CheckFailed("audit", "table_bytes", (x, i), f"{word:#x} should lead to the table at {address:#x}")
        for n, part in enumerate(words):
            if _says(part, expected + n * BLOCK_SIZE, permission, large): continue
            raise CheckFailed(
                "audit", "table_bytes", (x, i),
                f"entry {part:#x} (level {X.level}) should lead to {expected + n * BLOCK_SIZE:#x} with permissions "
                f"{permission}",
            )  # fmt: skip
    return TABLE_ENTRIES


def _says(word: int, target: int, permission: int, large: bool) -> bool:
    """An entry leads there, with these permissions and in this size; or nowhere, without permissions."""
    entry = decode_entry(word)
    if entry.large != large: return False
    if permission == 0: return entry.permissions == 0
    return entry.target == target and entry.permissions == permission and entry.user


def _compare_translations(machine: Machine, s: int, vcpu: Engine) -> int:
    k = machine.kernel
    S, registers = k.process[s], machine.devices.registers.frames
    compared = 0
    mapped: list[tuple[int, int]] = []
    for v, p in S.map_page.items():
        if p == 0: continue
        count = PAGES_OF[k.page[p].kind]
        mapped.append((v, count))
        for offset in {0, count // 2, count - 1}:
            found = vcpu.translate((v + offset) << PAGE_SHIFT)
            expected = S.map_permission[v] != 0
            compared += 1
            leads_to = registers[p] if p in registers else (p + offset) << PAGE_SHIFT
            if found.valid != expected or (expected and found.physical != leads_to):
                raise CheckFailed(
                    "audit", "translation", (s, v + offset),
                    f"the CPU's walk finds {found.physical:#x} (valid: {found.valid}), the kernel page {p + offset}",
                )  # fmt: skip
    # Addresses near what is mapped are where a stray entry would be, so half of the samples are taken there.
    draw = random.Random(s)
    for n in range(UNMAPPED_SAMPLES):
        if mapped and n % 2:
            v, count = draw.choice(mapped)
            v += draw.choice((-1, count, count + 511, count + 512, -512, 1 << 18))
        else:
            v = draw.randrange(USER_MIN >> PAGE_SHIFT, USER_END >> PAGE_SHIFT)
        if mapping_around(k, s, v) >= 0 or not USER_MIN >> PAGE_SHIFT <= v < USER_END >> PAGE_SHIFT: continue
        compared += 1
        found = vcpu.translate(v << PAGE_SHIFT)
        if found.valid:
            raise CheckFailed(
                "audit", "translation", (s, v),
                f"the CPU's walk finds {found.physical:#x} where the kernel maps nothing",
            )  # fmt: skip
    return compared


__all__ = ["audit"]
