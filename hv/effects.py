"""What transitions mean (``kernel.consequences``) is carried out on the machine.

Page-table entries are encoded and stored, translations dropped, pages given back to the host, and the machine told of
threads that became ready or are gone.  The order matters: a frame exists before an entry is written in it, and an entry
is gone before the page behind it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from abi.layout import DATA_LIMIT, PAGE_SHIFT, READ, SYSTEM_SLOT, WRITE
from hv.gate import Gate
from hv.guest_memory import GuestMemory
from hv.page_tables import ADDRESS_MASK, PRESENT, TableFrames, encode_entry
from kernel.consequences import Consequences
from kernel.objects import (
    ALIVE,
    CONTAINER,
    DEVICE,
    DOMAIN,
    ENDED,
    ENDING,
    ENDPOINT,
    FREE,
    MAPPED,
    MAPPED_BLOCK,
    MAPPED_GIANT,
    PAGES_OF,
    PROCESS,
    READY,
    TABLE,
    THREAD,
    Kernel,
)

if TYPE_CHECKING:
    from hv.devices import Devices


def joined(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Runs of pages, (first, count), sorted, with neighbours made one."""
    found: list[tuple[int, int]] = []
    for first, count in sorted(runs):
        if found and found[-1][0] + found[-1][1] >= first:
            start, before = found[-1]
            found[-1] = (start, max(before, first + count - start))
        else:
            found.append((first, count))
    return found


def encode_register_entry(gpa: int, permissions: int) -> int:
    """The entry that leads to registers of a device: never executable, since the processor could not be stopped by a
    fault from what it would fetch there."""
    return encode_entry(gpa, permissions & (READ | WRITE), table=False, large=False)


class Listener(Protocol):
    """Who is told what became of threads and processes."""

    def thread_ready(self, t: int, core: int) -> None:
        """Thread t waits in the queue of this core."""

    def thread_woken(self, t: int, result: int) -> None:
        """The call in which thread t was blocked returns this."""

    def thread_left(self, t: int, core: int) -> None:
        """Thread t, which ran on this core, was moved to another."""

    def thread_gone(self, t: int) -> None:
        """Thread t has ended; in the kernel nothing is left of it, but perhaps its status."""

    def process_ending(self, s: int) -> None:
        """Process s is ending: from now on what it holds is taken from it."""

    def endpoint_gone(self, e: int) -> None:
        """Nothing is left of endpoint e in the kernel."""

    def container_gone(self, c: int) -> None:
        """Nothing is left of container c in the kernel."""

    def process_ended(self, s: int, status: int) -> None:
        """Process s has ended with this status; its memory is gone."""


class Effects:
    """Carries out what the journal says on one machine's memory and page tables."""

    def __init__(
        self, k: Kernel, memory: GuestMemory, frames: TableFrames, gate: Gate, listener: Listener, devices: Devices
    ) -> None:
        self._k = k
        self._memory = memory
        self._frames = frames
        self._system_entry = gate.system_pml4_entry()
        self._listener = listener
        self._devices = devices
        self._registers = devices.registers
        # What is still to be done to pages, as runs: a call to the host costs the same for one page as for many.
        self._drops: list[tuple[int, int]] = []
        self._releases: list[tuple[int, int]] = []

    def settle(self) -> None:
        """Drops the translations, and releases the pages, of the transitions so far.  Before the big lock is given
        up, so that no system call returns before what it took away is out of reach."""
        if not self._devices.settled: self._devices.settle()
        # Taken off first: what fails here stops the machine, and is not tried again on each way out of it.
        if self._drops:
            drops, self._drops = self._drops, []
            for first, count in joined(drops):
                self._memory.drop(first, count)
        if self._releases:
            releases, self._releases = self._releases, []
            for first, count in joined(releases):
                self._memory.release(first, count)

    def apply(self, found: Consequences) -> None:
        """Carries out what a transition means, but for what ``settle`` does."""
        k = self._k
        for t, core in found.left: self._listener.thread_left(t, core)
        if found.devices or found.mappings: self._devices.changed(found)
        if found.kinds: self._before_entries(found.kinds)
        if found.entries: self._write_entries(found.entries, found.kinds)
        if found.kinds: self._after_entries(found.kinds)
        for T, has_result in found.threads:
            if has_result: self._listener.thread_woken(T.id, T.result)
            elif T.state == READY: self._listener.thread_ready(T.id, T.core)
            else: self._listener.thread_gone(T.id)
        for S, before in found.processes:
            if k.page[S.id].kind != PROCESS:
                self._listener.process_ended(S.id, -1)
                k.process.pop(S.id, None)
            elif S.state == ENDING and before == ALIVE:
                self._listener.process_ending(S.id)
            elif S.state == ENDED and before != ENDED:
                self._listener.process_ended(S.id, S.status)

    def _before_entries(self, kinds: dict[int, int]) -> None:
        k, memory = self._k, self._memory
        for p, before in kinds.items():
            kind = k.page[p].kind
            if kind == before:
                continue
            if kind == TABLE:
                self._frames.create(p)
                if k.table[p].level == 4:
                    self._frames.set_entry(p, SYSTEM_SLOT, self._system_entry)
            elif kind == MAPPED:
                if self._releases: self.settle()  # it may be among them, and is somebody's again
                memory.ensure(p)
                if self._registers.next_address: self._registers.mapped(p)
            elif kind in (MAPPED_BLOCK, MAPPED_GIANT):
                if self._releases: self.settle()
                memory.ensure(p + PAGES_OF[kind] - 1)
                memory.huge(p, PAGES_OF[kind])

    def _write_entries(self, entries: dict[tuple[int, int], None], kinds: dict[int, int]) -> None:
        k, frames, registers = self._k, self._frames, self._registers.frames
        for where in entries:
            x, i = where
            X = k.table[x]
            target = X.entry[i]  # 0 in a table that is freed in this transition: its frame goes below
            value = kind = 0
            if target != 0:
                kind = k.page[target].kind
                if kind == TABLE:
                    value = encode_entry(frames.gpa(target), 0, table=True, large=False)
                elif registers and target in registers:
                    value = encode_register_entry(registers[target], X.permission[i])
                else:
                    value = encode_entry(target << PAGE_SHIFT, X.permission[i], table=False, large=kind != MAPPED)
            if kind == MAPPED_GIANT or (frames.stand_ins and where in frames.stand_ins):
                before = frames.mapping(x, i)
                if before != value: frames.set_giant(x, i, value)
            else:
                before = frames.exchange_entry(x, i, value)
            if before == value or not before & PRESENT: continue
            address = before & ADDRESS_MASK
            if address < DATA_LIMIT:  # it led to memory, not to a table
                page = address >> PAGE_SHIFT
                # A page that this transition frees is released below, which drops its translations too.
                if not (page in kinds and k.page[page].kind == FREE):
                    self._drops.append((page, PAGES_OF[k.page[page].kind]))
            else:
                self._registers.dropped(address)

    def _after_entries(self, kinds: dict[int, int]) -> None:
        k = self._k
        for p, before in kinds.items():
            if k.page[p].kind != FREE or before == FREE:
                continue
            if before in PAGES_OF:
                if p in self._registers.frames: self._registers.freed(p)
                self._releases.append((p, PAGES_OF[before]))
            elif before == TABLE:
                self._frames.free(p)
                k.table.pop(p, None)
            elif before == THREAD:
                self._listener.thread_gone(p)
                k.thread.pop(p, None)
            elif before == ENDPOINT:
                self._listener.endpoint_gone(p)
                k.endpoint.pop(p, None)
            elif before == CONTAINER:
                self._listener.container_gone(p)
                k.container.pop(p, None)
            elif before == DOMAIN:
                k.domain.pop(p, None)
            elif before == DEVICE:
                k.device.pop(p, None)


__all__ = ["Effects", "Listener", "encode_register_entry", "joined"]
