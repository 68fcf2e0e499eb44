"""Calls on address spaces: ranges are mapped, unmapped, protected and shared, one page or block a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abi.errors import ECHILD, EEXIST, EFAULT, EINVAL, ENOMEM, OK
from abi.layout import BLOCK_PAGES, GIANT_PAGES, PAGE_SHIFT, PAGE_SIZE
from kernel.calls.base import Calls
from kernel.calls.ranges import Piece, effective, indices, protection_valid, range_valid
from kernel.calls.ranges import pieces as cut
from kernel.objects import ALIVE, MAPPED, MAPPED_BLOCK, MAPPED_GIANT, NEW, PROCESS, TABLE

if TYPE_CHECKING:
    from kernel import page_allocator, page_table, sharing
else:
    from kernel.journaled import page_allocator, page_table, sharing


class MemoryCalls(Calls):
    """mmap, munmap, mprotect, process_share; and what the host does to the memory of a process."""

    # Memory: on a process, which a native call of a thread is about, or the host acts for.

    def map_range(self, s: int, address: int, length: int, protection: int) -> int:
        """Maps zeroed pages at exactly this range of process s.  0, or -EINVAL, -EEXIST, -ENOMEM as mmap."""
        if not range_valid(address, length) or not protection_valid(protection): return -EINVAL
        k, step, permission = self.k, self.step, effective(protection)
        first, end = address >> PAGE_SHIFT, (address + length) >> PAGE_SHIFT
        if length == PAGE_SIZE:  # the most frequent case; the transition's own checks are all there is to do
            result = step(page_table.map_page, s, *indices(first), permission)
            c = k.process[s].container
            while result == -ENOMEM and self.more_pages(c):
                result = step(page_table.map_page, s, *indices(first), permission)
            return result
        C = k.container[k.process[s].container]
        if end - first > C.pages + BLOCK_PAGES * C.blocks + GIANT_PAGES * C.giants:
            return -ENOMEM  # before work that grows with the length
        while C.giants and end - first + BLOCK_PAGES > BLOCK_PAGES * C.blocks: self.more_blocks(k.process[s].container)
        pieces = list(cut(first, end))
        if any(not self.vacant(s, *piece) for piece in pieces): return -EEXIST
        whole = self._fund(s, pieces)
        if whole < 0: return whole
        for v, count in pieces:
            if count == BLOCK_PAGES and v % BLOCK_PAGES == 0 and whole > 0:
                whole -= 1
                result = step(page_table.map_block, s, v >> 27, v >> 18 & 511, v >> 9 & 511, permission)
                assert result == OK, result
                continue
            i4, i3, i2, i1 = indices(v)
            for offset in range(count):
                result = step(page_table.map_page, s, i4, i3, i2, i1 + offset, permission)
                assert result == OK, result
        return OK

    def vacant(self, s: int, v: int, count: int) -> bool:
        """Nothing is mapped in this piece."""
        k = self.k
        S = k.process[s]
        i4, i3, i2, i1 = indices(v)
        x = page_table.table_under(k, page_table.table_under(k, S.root, i4), i3)
        if x == 0: return True
        q = k.table[x].entry[i2]
        if q == 0: return True
        if k.page[q].kind != TABLE: return False
        if count == BLOCK_PAGES: return False  # a table is never empty
        X = k.table[q]
        return not any(X.entry.get(i) for i in range(i1, i1 + count))

    def tables_missing(self, s: int, pieces: list[Piece], whole: int) -> int:
        """Page tables that mapping the pieces will create, if the first ``whole`` full ones become blocks."""
        k = self.k
        root = k.process[s].root
        missing: set[tuple[int, int]] = set()
        for v, count in pieces:
            i4, i3, i2, _ = indices(v)
            block = count == BLOCK_PAGES and whole > 0
            whole -= block
            x3 = page_table.table_under(k, root, i4)
            x2 = page_table.table_under(k, x3, i3)
            if x3 == 0: missing.add((3, v >> 27))
            if x2 == 0: missing.add((2, v >> 18))
            if not block and page_table.table_under(k, x2, i2) == 0: missing.add((1, v >> 9))
        return len(missing)

    def _fund(self, s: int, pieces: list[Piece]) -> int:
        """Makes the container's quota fit: as many full pieces as possible by blocks, the rest and the page tables by
        pages.  Returns how many pieces become blocks, or -ENOMEM with only the split between quotas changed."""
        k, step = self.k, self.step
        c = k.process[s].container
        C = k.container[c]
        full = sum(1 for _, count in pieces if count == BLOCK_PAGES)
        total = sum(count for _, count in pieces)
        whole = min(full, C.blocks)
        pages = total - whole * BLOCK_PAGES + self.tables_missing(s, pieces, whole)
        splits = max(0, -((C.pages - pages) // BLOCK_PAGES))
        # Fewer blocks would not help: each that is not mapped whole takes a split, and perhaps a table.
        if whole + splits > C.blocks: return -ENOMEM
        while whole < full and C.blocks == whole + splits and C.pages >= pages + BLOCK_PAGES:
            if step(page_allocator.quota_merge, c) != OK: break
            whole += 1
            pages -= BLOCK_PAGES
        for _ in range(splits):
            step(page_allocator.quota_split, c)
        return whole

    def mapped_pieces(self, s: int, address: int, length: int) -> list[Piece] | int:
        """The pages and blocks mapped in a valid range, in order: (v, 1) or (v, 512).  -EFAULT if a page of it is not
        mapped, -EINVAL if it cuts a block."""
        k = self.k
        rows = k.process[s].map_page
        v, end = address >> PAGE_SHIFT, (address + length) >> PAGE_SHIFT
        pieces: list[Piece] = []
        while v < end:
            p = rows.get(v)
            if not p:
                around = rows.get(v - v % BLOCK_PAGES)
                return -EINVAL if around and k.page[around].kind == MAPPED_BLOCK else -EFAULT
            if k.page[p].kind == MAPPED:
                pieces.append((v, 1))
                v += 1
                continue
            if v + BLOCK_PAGES > end: return -EINVAL
            pieces.append((v, BLOCK_PAGES))
            v += BLOCK_PAGES
        return pieces

    def unmap_range(self, s: int, address: int, length: int) -> int:
        """Removes the mappings of a range of process s.  0, or -EINVAL, -EFAULT as munmap."""
        if not range_valid(address, length): return -EINVAL
        pieces = self.mapped_pieces(s, address, length)
        if isinstance(pieces, int): return pieces
        for v, count in pieces:
            self.unmap_piece(s, v, count == BLOCK_PAGES)
        return OK

    def unmap_piece(self, s: int, v: int, block: bool) -> None:
        i4, i3, i2, i1 = indices(v)
        if self.k.page[self.k.process[s].map_page[v]].kind == MAPPED_GIANT:
            result = self.step(page_table.unmap_giant, s, i4, i3)
        elif block: result = self.step(page_table.unmap_block, s, i4, i3, i2)
        else: result = self.step(page_table.unmap_page, s, i4, i3, i2, i1)
        assert result == OK, result
        # A row reads as 0 where nothing was written.  What is kept is what is mapped, not all that ever was.
        S = self.k.process[s]
        S.map_page.pop(v, None)
        S.map_permission.pop(v, None)

    def protect_range(self, s: int, address: int, length: int, protection: int) -> int:
        """Changes the permissions of a range of process s.  0, or -EINVAL, -EFAULT as mprotect."""
        if not range_valid(address, length) or not protection_valid(protection): return -EINVAL
        permission = effective(protection)
        if length == PAGE_SIZE:  # the most frequent case; the transition's own checks say all but why there is no page
            result = self.step(page_table.protect_page, s, *indices(address >> PAGE_SHIFT), permission)
            if result != -EFAULT: return result
        pieces = self.mapped_pieces(s, address, length)
        if isinstance(pieces, int): return pieces
        for v, count in pieces:
            i4, i3, i2, i1 = indices(v)
            if count == BLOCK_PAGES: result = self.step(page_table.protect_block, s, i4, i3, i2, permission)
            else: result = self.step(page_table.protect_page, s, i4, i3, i2, i1, permission)
            assert result == OK, result
        return OK

    def mmap(self, t: int, address: int, length: int, protection: int) -> int:
        return self.map_range(self.k.thread[t].process, address, length, protection)

    def munmap(self, t: int, address: int, length: int) -> int:
        return self.unmap_range(self.k.thread[t].process, address, length)

    def mprotect(self, t: int, address: int, length: int, protection: int) -> int:
        return self.protect_range(self.k.thread[t].process, address, length, protection)

    def process_share(self, t: int, handle: int, address: int, length: int, destination: int, protection: int) -> int:
        k = self.k
        s, d = k.thread[t].process, self.named(t, handle, PROCESS)
        if d < 0: return d
        if k.process[d].state not in (NEW, ALIVE): return -ECHILD
        if not range_valid(address, length) or not range_valid(destination, length): return -EINVAL
        if not protection_valid(protection): return -EINVAL
        pieces = self.mapped_pieces(s, address, length)
        if isinstance(pieces, int): return pieces
        permission = effective(protection)
        shift = (destination - address) >> PAGE_SHIFT
        for v, count in pieces:
            if permission & ~k.process[s].map_permission[v]: return -EINVAL
            if count == BLOCK_PAGES and shift % BLOCK_PAGES: return -EINVAL
            if not self.vacant(d, v + shift, count): return -EEXIST
        tables = self.tables_missing(d, [(v + shift, n) for v, n in pieces], sum(n == BLOCK_PAGES for _, n in pieces))
        c = k.process[d].container
        while k.container[c].pages < tables:
            if not self.more_pages(c): return -ENOMEM
        for v, count in pieces:
            source, target = indices(v), indices(v + shift)
            if count == BLOCK_PAGES:
                result = self.step(sharing.share_block, s, *source[:3], d, *target[:3], permission)
            else:
                result = self.step(sharing.share_page, s, *source, d, *target, permission)
            assert result == OK, result
        return OK
