"""System calls on ranges and whole processes, as sequences of transitions.

A transition does one bounded thing; here a call's arguments are validated as a whole, so that nothing has changed when
it returns an error, and then one step follows another.  ``step`` runs each: it checks it, and carries out what it
means for the machine.  Steps of different calls may be interleaved between, but not inside, transitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from abi.errors import ECHILD, EEXIST, EFAULT, EINVAL, ENOMEM, ESRCH, OK
from abi.layout import BLOCK_PAGES, PAGE_SHIFT, PAGE_SIZE, PERMISSIONS, READ, USER_END, USER_MIN
from kernel.objects import (
    ACTIVE,
    ALIVE,
    CONTAINER,
    ENDED,
    ENDING,
    MAPPED,
    MAPPED_BLOCK,
    NEW,
    PROCESS,
    TABLE,
    Kernel,
)  # fmt: skip

if TYPE_CHECKING:
    from kernel import container, handles, page_allocator, page_table, process, scheduler, thread
else:
    from kernel.journaled import container, handles, page_allocator, page_table, process, scheduler, thread

Step = Callable[..., int]
KILLED: Final = 137
"""Status of a process whose container was killed: 128 + SIGKILL."""
LARGEST_QUOTA: Final = 1 << 40
"""More pages than any machine has: beyond, a quota is refused without looking."""
Piece = tuple[int, int]
"""A virtual page number, and how many pages from there: 512 for a block, else within one level-1 table."""


def range_valid(address: int, length: int) -> bool:
    """True for a page-aligned, non-empty range of a program's addresses."""
    if address % PAGE_SIZE or length % PAGE_SIZE or length <= 0: return False
    return address >= USER_MIN and address + length <= USER_END


def protection_valid(protection: int) -> bool:
    """True if no unknown bit is set."""
    return 0 <= protection <= PERMISSIONS


def effective(protection: int) -> int:
    """What x86-64 makes of a protection: what can be written or executed can be read."""
    return protection | READ if protection else 0


def indices(v: int) -> tuple[int, int, int, int]:
    """The four table indices of a virtual page number."""
    return v >> 27, v >> 18 & 511, v >> 9 & 511, v & 511


class System:
    """The native system calls of a kernel, and what the host asks of it.

    ``step(transition, *arguments)`` runs one transition.  ``started(thread, entry, stack, argument)`` is told of each
    thread that a program created, for the registers it begins with.
    """

    def __init__(self, k: Kernel, step: Step, started: Callable[[int, int, int, int], None]) -> None:
        self.k = k
        self.step = step
        self.started = started

    # Memory: on a process, which a native call of a thread is about, or the host acts for.

    def map_range(self, s: int, address: int, length: int, protection: int) -> int:
        """Maps zeroed pages at exactly this range of process s.  0, or -EINVAL, -EEXIST, -ENOMEM as mmap."""
        if not range_valid(address, length) or not protection_valid(protection): return -EINVAL
        k, step, permission = self.k, self.step, effective(protection)
        first, end = address >> PAGE_SHIFT, (address + length) >> PAGE_SHIFT
        if length == PAGE_SIZE:  # the most frequent case; the transition's own checks are all there is to do
            result = step(page_table.map_page, s, *indices(first), permission)
            c = k.process[s].container
            while result == -ENOMEM and step(page_allocator.quota_split, c) == OK:
                result = step(page_table.map_page, s, *indices(first), permission)
            return result
        C = k.container[k.process[s].container]
        if end - first > C.pages + BLOCK_PAGES * C.blocks: return -ENOMEM  # before work that grows with the length
        pieces = list(_pieces(first, end))
        if any(not self._vacant(s, *piece) for piece in pieces): return -EEXIST
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

    def _vacant(self, s: int, v: int, count: int) -> bool:
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

    def _tables_missing(self, s: int, pieces: list[Piece], whole: int) -> int:
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
        pages = total - whole * BLOCK_PAGES + self._tables_missing(s, pieces, whole)
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
            self._unmap(s, v, count == BLOCK_PAGES)
        return OK

    def _unmap(self, s: int, v: int, block: bool) -> None:
        i4, i3, i2, i1 = indices(v)
        if block: result = self.step(page_table.unmap_block, s, i4, i3, i2)
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

    # Native calls: t is the calling thread; arguments are any 64-bit values.

    def null(self, t: int) -> int:
        return OK

    def thread_yield(self, t: int) -> int:
        return self.step(scheduler.thread_yield, t)

    def mmap(self, t: int, address: int, length: int, protection: int) -> int:
        return self.map_range(self.k.thread[t].process, address, length, protection)

    def munmap(self, t: int, address: int, length: int) -> int:
        return self.unmap_range(self.k.thread[t].process, address, length)

    def mprotect(self, t: int, address: int, length: int, protection: int) -> int:
        return self.protect_range(self.k.thread[t].process, address, length, protection)

    def _fund_pages(self, c: int, pages: int) -> None:
        """Splits a block of the container's quota if its pages do not cover this many."""
        if self.k.container[c].pages < pages: self.step(page_allocator.quota_split, c)

    def thread_create(self, t: int, entry: int, stack: int, argument: int) -> int:
        if not _start_valid(entry, stack): return -EINVAL
        k = self.k
        s = k.thread[t].process
        self._fund_pages(k.process[s].container, 1)
        handle = self.step(thread.thread_create, t)
        if handle > 0: self.started(handles.object_of(k, s, handle % 65536, handle >> 16), entry, stack, argument)
        return handle

    def thread_exit(self, t: int, status: int) -> int:
        s = self.k.thread[t].process
        self.step(thread.thread_exit, t, status & 0xFFFF_FFFF)
        self.take_down(s)
        return OK

    def thread_join(self, t: int, handle: int) -> int:
        return self.step(thread.thread_join, t, handle % 65536, handle >> 16)

    def process_create(self, t: int) -> int:
        k = self.k
        self._fund_pages(k.process[k.thread[t].process].container, 2)
        return self.step(process.process_create, t)

    def _child(self, t: int, handle: int) -> int:
        """The process that thread t names by a handle, or -ESRCH."""
        k = self.k
        s = handles.object_of(k, k.thread[t].process, handle % 65536, handle >> 16)
        return s if s != 0 and k.page[s].kind == PROCESS else -ESRCH

    def process_share(self, t: int, handle: int, address: int, length: int, destination: int, protection: int) -> int:
        k = self.k
        s, d = k.thread[t].process, self._child(t, handle)
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
            if not self._vacant(d, v + shift, count): return -EEXIST
        tables = self._tables_missing(d, [(v + shift, n) for v, n in pieces], sum(n == BLOCK_PAGES for _, n in pieces))
        c = k.process[d].container
        while k.container[c].pages < tables:
            if self.step(page_allocator.quota_split, c) != OK: return -ENOMEM
        for v, count in pieces:
            source, target = indices(v), indices(v + shift)
            if count == BLOCK_PAGES:
                result = self.step(page_table.share_block, s, *source[:3], d, *target[:3], permission)
            else:
                result = self.step(page_table.share_page, s, *source, d, *target, permission)
            assert result == OK, result
        return OK

    def process_start(self, t: int, handle: int, entry: int, stack: int, argument: int) -> int:
        k = self.k
        d = self._child(t, handle)
        if d < 0: return d
        if not _start_valid(entry, stack): return -EINVAL
        self._fund_pages(k.process[d].container, 1)
        result = self.step(process.process_start, t, handle % 65536, handle >> 16)
        if result == OK: self.started(k.process[d].threads[0], entry, stack, argument)
        return result

    def process_exit(self, t: int, status: int) -> int:
        s = self.k.thread[t].process
        self.step(process.process_exit, t, status & 0xFFFF_FFFF)
        self.take_down(s)
        return OK

    def process_wait(self, t: int, handle: int) -> int:
        return self.step(process.process_wait, t, handle % 65536, handle >> 16)

    def container_create(self, t: int, pages: int, blocks: int) -> int:
        k = self.k
        c = k.process[k.thread[t].process].container
        C = k.container[c]
        if pages > LARGEST_QUOTA or blocks > LARGEST_QUOTA: return -ENOMEM
        while C.pages < pages + 1 and self.step(page_allocator.quota_split, c) == OK: pass
        return self.step(container.container_create, t, pages, blocks)

    def container_kill(self, t: int, handle: int) -> int:
        k = self.k
        c = handles.object_of(k, k.thread[t].process, handle % 65536, handle >> 16)
        result = self.step(container.container_kill, t, handle % 65536, handle >> 16)
        if result == OK: self.take_down_container(c)
        return result

    def process_create_in(self, t: int, handle: int) -> int:
        k = self.k
        c = handles.object_of(k, k.thread[t].process, handle % 65536, handle >> 16)
        if c != 0 and k.page[c].kind == CONTAINER: self._fund_pages(c, 2)
        return self.step(process.process_create_in, t, handle % 65536, handle >> 16)

    # What the host asks.

    def spawn(self) -> int:
        """A new process of the root container, for the host.  Its id, or -ENOMEM."""
        self._fund_pages(self.k.root, 2)
        return self.step(process.process_spawn, self.k.root)

    def start_thread(self, s: int) -> int:
        """A new thread of process s, whose registers the host sets.  Its id, or -EINVAL or -ENOMEM."""
        self._fund_pages(self.k.process[s].container, 1)
        return self.step(thread.thread_start, s)

    def end(self, s: int, status: int) -> int:
        """Ends process s and takes it down.  -EINVAL if it has ended already."""
        result = self.step(process.process_end, s, status & 0xFFFF_FFFF)
        if result == OK: self.take_down(s)
        return result

    def take_down(self, s: int) -> None:
        """Takes from process s, if it is ending, all that it holds, step by step, and from children that it never
        started."""
        k, step = self.k, self.step
        ending = [s]
        while ending:
            s = ending.pop()
            S = k.process[s]
            if k.page[s].kind != PROCESS or S.state != ENDING: continue
            while S.thread_count:
                step(thread.thread_kill, S.threads[S.thread_count - 1])
            for v, p in list(S.map_page.items()):
                if p: self._unmap(s, v, k.page[p].kind == MAPPED_BLOCK)
            for slot, o in list(S.handle_object.items()):
                if o == 0: continue
                step(process.handle_drop, s, slot)
                if k.page[o].kind == PROCESS: ending.append(o)
            result = step(process.process_finish, s)
            assert result == OK, result

    def take_down_container(self, c: int) -> None:
        """Takes everything from the subtree of container c, which is ending, step by step, and its quota back to the
        parent; pages that others still map pass to the parent."""
        k, step = self.k, self.step
        subtree = [c]
        for above in subtree:
            C = k.container[above]
            for i in range(C.child_count):
                child = C.children[i]
                if k.container[child].state == ACTIVE: step(container.container_end, child)
                subtree.append(child)
        for ending in reversed(subtree):
            C = k.container[ending]
            while C.processes:
                s = C.members[C.processes - 1]
                if k.process[s].state in (NEW, ALIVE): step(process.process_end, s, KILLED)
                self.take_down(s)
                if k.page[s].kind == PROCESS and k.process[s].state == ENDED: step(process.process_forget, s)
            for p in [p for p, P in k.page.items() if P.owner == ending and P.kind in (MAPPED, MAPPED_BLOCK)]:
                step(container.page_inherit, p)
            result = step(container.container_finish, ending)
            assert result == OK, result

    def collect(self, s: int) -> int:
        """The status of a process that the host spawned and that has ended, of which then nothing is left."""
        return self.step(process.process_collect, s)


def _pieces(first: int, end: int) -> Iterator[Piece]:
    """Cuts a range of virtual pages at 2 MiB boundaries."""
    v = first
    while v < end:
        count = min(end, v - v % BLOCK_PAGES + BLOCK_PAGES) - v
        yield v, count
        v += count


def _start_valid(entry: int, stack: int) -> bool:
    """A program can run at ``entry`` with this stack pointer."""
    return USER_MIN <= entry < USER_END and USER_MIN <= stack <= USER_END


__all__ = ["Piece", "Step", "System", "effective", "indices", "protection_valid", "range_valid"]
