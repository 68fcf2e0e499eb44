"""Calls on address spaces: ranges are mapped, unmapped, protected and shared, one page, block or giant a step.

One page is the most frequent case: it takes one transition, whose own checks are all there is to do.  Anything longer
is an operation (``kernel.calls.operations``): it holds the address space, looks at the whole range, and only then
changes it, so that it is done as a whole or, with an error, not at all.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING

from abi.errors import ECHILD, EEXIST, EFAULT, EINVAL, ENOMEM, ESRCH, OK
from abi.layout import BLOCK_PAGES, GIANT_BLOCKS, GIANT_PAGES, PAGE_SHIFT, PAGE_SIZE
from kernel.calls import sizes
from kernel.calls.base import Calls
from kernel.calls.operations import LOOKS, Operation, SpaceLost, Steps
from kernel.calls.ranges import Piece, effective, indices, mapping_around, protection_valid, range_valid, whole
from kernel.calls.ranges import pieces as cut
from kernel.calls.sizes import place
from kernel.objects import ALIVE, NEW, PAGES_OF, PROCESS, TABLE

if TYPE_CHECKING:
    from kernel import page_allocator, page_table
else:
    from kernel.journaled import page_allocator, page_table


class MemoryCalls(Calls):
    """mmap, munmap, mprotect, process_share; and what the host does to the memory of a process."""

    # Memory: on a process, which a native call of a thread is about, or the host acts for.

    def map_range(
        self, s: int, address: int, length: int, protection: int, largest: int = GIANT_PAGES
    ) -> int | Operation:
        """Maps zeroed pages at exactly this range of process s, as one what is aligned for it, up to ``largest`` 4 KiB
        pages (512, or those of a giant).  0, or -EINVAL, -EEXIST, -ENOMEM as mmap."""
        if not range_valid(address, length) or not protection_valid(protection): return -EINVAL
        k, step, permission = self.k, self.step, effective(protection)
        first = address >> PAGE_SHIFT
        if length == PAGE_SIZE and s not in self.busy:
            result = step(page_table.map_page, s, *indices(first), permission)
            c = k.process[s].container
            while result == -ENOMEM and self.more_pages(c):
                result = step(page_table.map_page, s, *indices(first), permission)
            return result
        pages, C = length >> PAGE_SHIFT, k.container[k.process[s].container]
        if pages > C.pages + BLOCK_PAGES * C.blocks + GIANT_PAGES * C.giants:
            return -ENOMEM  # before work that grows with the length
        return Operation(self._map, s, first, first + pages, permission, largest)

    def _map(self, this: Operation, s: int, first: int, end: int, permission: int, largest: int) -> Steps:
        try:
            yield from self.operations.hold(this, s)
            for v, count in cut(first, end, whole(first, end, GIANT_PAGES)):
                if not self.vacant(s, v, count): return -EEXIST
                yield None
            refusal = yield from self._fund(s, first, end, largest)
            if refusal != OK: return refusal
            v = first
            while v < end:
                count = self._map_largest(s, v, end, permission, largest)
                if count < 0:
                    yield from self._take_back(s, first, v)
                    return count
                v += count
                yield None
            return OK
        except SpaceLost:
            return -ESRCH
        finally:
            self.operations.release(this)

    def _map_largest(self, s: int, v: int, end: int, permission: int, largest: int) -> int:
        """Maps the largest piece at v that is aligned, ends within the range, and that there is quota for: what _fund
        found, others in the container may have taken since.  Returns its pages, or -ENOMEM."""
        for count in (GIANT_PAGES, BLOCK_PAGES):
            if count > largest or v % count or v + count > end: continue
            if self.step(sizes.MAP[count], s, *place(v, count), permission) == OK: return count
        result = self.map_one(s, v, permission)
        return 1 if result == OK else result

    def map_one(self, s: int, v: int, permission: int) -> int:
        """Maps one page, splitting blocks of the quota for it and its tables as need be."""
        c = self.k.process[s].container
        result = self.step(page_table.map_page, s, *indices(v), permission)
        while result == -ENOMEM and self.more_pages(c):
            result = self.step(page_table.map_page, s, *indices(v), permission)
        return result

    def _take_back(self, s: int, first: int, end: int) -> Generator[None, None, None]:
        """Unmaps what an operation has mapped in a range that was vacant."""
        v = first
        while v < end:
            count = self._piece_at(s, v, end)
            if count > 0: self.unmap_piece(s, v)
            v += max(count, 1)
            yield

    def vacant(self, s: int, v: int, count: int) -> bool:
        """Nothing is mapped in this piece."""
        k = self.k
        S = k.process[s]
        i4, i3, i2, i1 = indices(v)
        above = page_table.table_under(k, S.root, i4)
        x = page_table.table_under(k, above, i3)
        if x == 0: return above == 0 or k.table[above].entry[i3] == 0
        if count == GIANT_PAGES: return False
        q = k.table[x].entry[i2]
        if q == 0: return True
        if k.page[q].kind != TABLE: return False
        if count == BLOCK_PAGES: return False  # a table is never empty
        X = k.table[q]
        return not any(X.entry.get(i) for i in range(i1, i1 + count))

    def counting_tables(self, s: int, pieces: Iterable[Piece], whole: int) -> Generator[None, None, int]:
        """Page tables that mapping the pieces will create, if the first ``whole`` full ones become blocks."""
        k = self.k
        root = k.process[s].root
        missing = last_3 = last_2 = last_1 = 0
        for looked, (v, count) in enumerate(pieces, 1):
            i4, i3, i2, _ = indices(v)
            block = count == BLOCK_PAGES and whole > 0
            whole -= block
            x3 = page_table.table_under(k, root, i4)
            x2 = page_table.table_under(k, x3, i3)
            # Pieces ascend: a table that several of them need was counted with the one before.
            if x3 == 0 and v >> 27 != last_3 - 1: missing, last_3 = missing + 1, (v >> 27) + 1
            if count != GIANT_PAGES:
                if x2 == 0 and v >> 18 != last_2 - 1: missing, last_2 = missing + 1, (v >> 18) + 1
                if not block and page_table.table_under(k, x2, i2) == 0 and v >> 9 != last_1 - 1:
                    missing, last_1 = missing + 1, (v >> 9) + 1
            if looked % (LOOKS // 4) == 0: yield
        return missing

    def tables_missing(self, s: int, pieces: list[Piece], whole: int) -> int:
        """As ``counting_tables``, at once, for pieces of which there are not many."""
        counting = self.counting_tables(s, pieces, whole)
        while True:
            try:
                next(counting)
            except StopIteration as end:
                return int(end.value)

    def _fund(self, s: int, first: int, end: int, largest: int) -> Steps:
        """Makes the container's quota fit: as much as possible by giants, then by blocks, the rest and the page tables
        by pages.  0, or -ENOMEM with only the split between quotas changed."""
        k, step = self.k, self.step
        c = k.process[s].container
        C = k.container[c]
        stretches = whole(first, end, GIANT_PAGES) if largest >= GIANT_PAGES else 0
        while C.giants < stretches and step(page_allocator.giant_merge, c) == OK: yield None
        giants = min(stretches, C.giants)
        full = whole(first, end, BLOCK_PAGES) - giants * GIANT_BLOCKS
        there = C.blocks + GIANT_BLOCKS * (C.giants - giants)
        blocks = min(full, there)
        tables = yield from self.counting_tables(s, cut(first, end, giants), blocks)
        pages = end - first - giants * GIANT_PAGES - blocks * BLOCK_PAGES + tables
        splits = max(0, -((C.pages - pages) // BLOCK_PAGES))
        # Less in large pieces would not help: what is not mapped whole takes a split of one, and perhaps a table.
        if blocks + splits > there: return -ENOMEM
        while C.blocks < blocks + splits and self.more_blocks(c): yield None
        while blocks < full and C.blocks == blocks + splits and C.pages >= pages + BLOCK_PAGES:
            if step(page_allocator.quota_merge, c) != OK: break
            blocks += 1
            pages -= BLOCK_PAGES
            yield None
        for _ in range(splits):
            if step(page_allocator.quota_split, c) != OK: break
            yield None
        return OK

    def _piece_at(self, s: int, v: int, end: int) -> int:
        """How many pages are mapped as one at v: 1, 512, or those of a giant.  -EFAULT if nothing is mapped there,
        -EINVAL if it is within a block or giant, or that goes beyond ``end``."""
        k = self.k
        p = k.process[s].map_page.get(v)
        if not p: return -EFAULT if mapping_around(k, s, v) < 0 else -EINVAL
        count = PAGES_OF[k.page[p].kind]
        return count if v + count <= end else -EINVAL

    def _all_mapped(self, s: int, first: int, end: int) -> Steps:
        """0 if all of a range is mapped and no block or giant is cut, else -EFAULT or -EINVAL."""
        v, looked = first, 0
        while v < end:
            count = self._piece_at(s, v, end)
            if count < 0: return count
            v += count
            looked += 1
            if looked % LOOKS == 0: yield None
        return OK

    def mapped_pieces(self, s: int, address: int, length: int, most: int) -> list[Piece] | int:
        """What is mapped as one in a valid range, in order, with how many pages each has; of more than ``most`` only
        one more than that.  -EFAULT if a page of the range is not mapped, -EINVAL if it cuts a block or giant."""
        v, end = address >> PAGE_SHIFT, (address + length) >> PAGE_SHIFT
        pieces: list[Piece] = []
        while v < end and len(pieces) <= most:
            count = self._piece_at(s, v, end)
            if count < 0: return count
            pieces.append((v, count))
            v += count
        return pieces

    def unmap_range(self, s: int, address: int, length: int) -> int | Operation:
        """Removes the mappings of a range of process s.  0, or -EINVAL, -EFAULT as munmap."""
        if not range_valid(address, length): return -EINVAL
        v = address >> PAGE_SHIFT
        if length == PAGE_SIZE and s not in self.busy:
            count = self._piece_at(s, v, v + 1)
            if count < 0: return count
            self.unmap_piece(s, v)
            return OK
        return Operation(self._unmap, s, v, (address + length) >> PAGE_SHIFT)

    def _unmap(self, this: Operation, s: int, first: int, end: int) -> Steps:
        try:
            yield from self.operations.hold(this, s)
            refusal = yield from self._all_mapped(s, first, end)
            if refusal != OK: return refusal
            v = first
            while v < end:
                count = self._piece_at(s, v, end)
                assert count > 0, count
                self.unmap_piece(s, v)
                v += count
                yield None
            return OK
        except SpaceLost:
            return -ESRCH
        finally:
            self.operations.release(this)

    def unmap_piece(self, s: int, v: int) -> None:
        """Removes what one entry maps at v: a page, a block or a giant."""
        S = self.k.process[s]
        count = PAGES_OF[self.k.page[S.map_page[v]].kind]
        result = self.step(sizes.UNMAP[count], s, *place(v, count))
        assert result == OK, result
        # A row reads as 0 where nothing was written.  What is kept is what is mapped, not all that ever was.
        S.map_page.pop(v, None)
        S.map_permission.pop(v, None)

    def protect_range(self, s: int, address: int, length: int, protection: int) -> int | Operation:
        """Changes the permissions of a range of process s.  0, or -EINVAL, -EFAULT as mprotect."""
        if not range_valid(address, length) or not protection_valid(protection): return -EINVAL
        permission, v = effective(protection), address >> PAGE_SHIFT
        if length == PAGE_SIZE and s not in self.busy:
            result = self.step(page_table.protect_page, s, *indices(v), permission)
            return result if result != -EFAULT else self._piece_at(s, v, v + 1)  # which says why there is no page
        return Operation(self._protect, s, v, (address + length) >> PAGE_SHIFT, permission)

    def _protect(self, this: Operation, s: int, first: int, end: int, permission: int) -> Steps:
        try:
            yield from self.operations.hold(this, s)
            refusal = yield from self._all_mapped(s, first, end)
            if refusal != OK: return refusal
            v = first
            while v < end:
                count = self._piece_at(s, v, end)
                result = self.step(sizes.PROTECT[count], s, *place(v, count), permission)
                assert result == OK, result
                v += count
                yield None
            return OK
        except SpaceLost:
            return -ESRCH
        finally:
            self.operations.release(this)

    def mmap(self, t: int, address: int, length: int, protection: int) -> int | Operation:
        return self.map_range(self.k.thread[t].process, address, length, protection)

    def munmap(self, t: int, address: int, length: int) -> int | Operation:
        return self.unmap_range(self.k.thread[t].process, address, length)

    def mprotect(self, t: int, address: int, length: int, protection: int) -> int | Operation:
        return self.protect_range(self.k.thread[t].process, address, length, protection)

    def process_share(
        self, t: int, handle: int, address: int, length: int, destination: int, protection: int
    ) -> int | Operation:
        d = self.named(t, handle, PROCESS)
        if d < 0: return d
        if self.k.process[d].state not in (NEW, ALIVE): return -ECHILD
        if not range_valid(address, length) or not range_valid(destination, length): return -EINVAL
        if not protection_valid(protection): return -EINVAL
        first, end, target = address >> PAGE_SHIFT, (address + length) >> PAGE_SHIFT, destination >> PAGE_SHIFT
        return Operation(self._share, t, handle, d, first, end, target, effective(protection))

    def _share(
        self, this: Operation, t: int, handle: int, d: int, first: int, end: int, target: int, permission: int
    ) -> Steps:
        k = self.k
        s = k.thread[t].process
        shared = first
        try:
            yield from self.operations.hold(this, s, d)
            # While it waited for the address spaces, another thread may have closed the handle.
            if self.named(t, handle, PROCESS) != d: return -ESRCH
            refusal = yield from self._can_be_shared(s, first, end, d, target, permission)
            if refusal != OK: return refusal
            while shared < end:
                count, v = self._piece_at(s, shared, end), shared - first + target
                result = self._share_one(s, shared, d, v, permission, count)
                while result == -ENOMEM and self.more_pages(k.process[d].container):
                    result = self._share_one(s, shared, d, v, permission, count)
                if result != OK:
                    yield from self._take_back(d, target, v)
                    return result
                shared += count
                yield None
            return OK
        except SpaceLost as lost:
            if lost.process == d: return -ECHILD
            try:
                yield from self._take_back(d, target, shared - first + target)
            except SpaceLost:
                pass
            return -ESRCH
        finally:
            self.operations.release(this)

    def _share_one(self, s: int, v: int, d: int, target: int, permission: int, count: int) -> int:
        return self.step(sizes.SHARE[count], s, *place(v, count), d, *place(target, count), permission)

    def _can_be_shared(self, s: int, first: int, end: int, d: int, target: int, permission: int) -> Steps:
        """0 if process d can see this range of process s from ``target`` on, but for the quota; else an error."""
        permissions, shift = self.k.process[s].map_permission, target - first
        v, looked = first, 0
        while v < end:
            count = self._piece_at(s, v, end)
            if count < 0: return count
            if permission & ~permissions[v]: return -EINVAL
            if shift % count: return -EINVAL
            if not self.vacant(d, v + shift, count): return -EEXIST
            v += count
            looked += 1
            if looked % (LOOKS // 8) == 0: yield None
        return OK
