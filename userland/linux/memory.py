"""A Linux process's address space over the machine's exact-range calls.

The machine maps, unmaps and protects pages at exactly the range it is told.  Linux promises more: placement, mappings
without memory until they are touched, cuts anywhere.  Small anonymous mappings get memory at once; large ones at the
first touch, whole 2 MiB blocks at a time, more of them when touched in sequence: a page costs the machine far more than
its share of a block, and a fault costs more than a page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from abi.layout import BLOCK_SIZE, EXECUTE, MMAP_TOP, PAGE_SIZE, READ, STACK_SIZE, STACK_TOP, USER_MIN, WRITE
from userland.linux.errors import EEXIST, ENOMEM, LinuxError
from userland.linux.extents import Extents
from userland.linux.file_mapping import MappedFile
from userland.linux.mappings import Mapping, MappingList
from userland.linux.memory_work import MemoryWork, Work, at_once, ended
from userland.linux.present_pages import PresentPages

if TYPE_CHECKING:
    from userland.linux.hypervisor import Image, Process

EAGER: Final = 16 << 10
"""Anonymous mappings up to this many bytes get their memory in the call itself."""
ROUNDED: Final = 512 << 10
"""Anonymous mappings from this size on get whole 2 MiB blocks, if the machine is large enough to waste the rest."""
WINDOW_FIRST: Final = 8 << 10
"""Bytes given at the first fault in a mapping that holds no whole 2 MiB block there."""
WINDOW_PAGES_MAX: Final = 256 << 10
"""Most bytes of 4 KiB pages given at one fault."""
WINDOW_BLOCKS_MAX: Final = 32 << 20
"""Most bytes of 2 MiB blocks given at one fault: a program that walks through memory gets 1, 2, 4 … 16 blocks."""
MAPPINGS_MAX: Final = 65530
"""As vm.max_map_count."""


# What became of an access that faulted.
REPAIRED: Final = 0
"""The page has memory now."""
UNMAPPED: Final = 1
FORBIDDEN: Final = 2
"""The mapping does not allow the access."""
BEYOND_FILE: Final = 3
"""The page lies beyond the end of the mapped file."""
NO_MEMORY: Final = 4


def page_down(address: int) -> int:
    """The page boundary at or below."""
    return address & -PAGE_SIZE


def page_up(address: int) -> int:
    """The page boundary at or above."""
    return (address + PAGE_SIZE - 1) & -PAGE_SIZE


def block_up(address: int) -> int:
    """The 2 MiB boundary at or above."""
    return (address + BLOCK_SIZE - 1) & -BLOCK_SIZE


class AddressSpace(PresentPages):
    """The mappings of one process, and which of their pages have memory."""

    def __init__(self, process: Process, *, limit: int = 0, mistake: Callable[[], None] = lambda: None) -> None:
        """``limit``: bytes of memory the machine can have (0: unknown); one mapping above it is refused at once.
        ``mistake``: as of MemoryWork."""
        super().__init__(process)
        self.limit = limit
        self.mappings = MappingList()
        self.work = MemoryWork(mistake)
        """The call that is changing this address space."""
        self.brk_start = 0
        self.brk = 0
        self.heap_end = 0

    def adopt(self, image: Image) -> None:
        """Takes over what the loader mapped: the image and the top of the stack; the heap starts behind the image."""
        for pages in image.pages():
            end = pages.address + pages.length
            self.mappings.insert(Mapping(pages.address, end, pages.permissions, name=image.name))
            self.present.add(pages.address, end)
        # The heap gets whole blocks; what of the last one lies above the break can be touched, but reads as zero when
        # the break comes to it.
        self.brk_start = self.brk = self.heap_end = block_up(image.end)
        self.mappings.insert(
            Mapping(STACK_TOP - STACK_SIZE, STACK_TOP, READ | WRITE, grows_down=True, name="[stack]")
        )
        # The top of the stack has its memory; how far down, bisection tells.
        low, start = STACK_TOP - STACK_SIZE, STACK_TOP
        while low < start:
            middle = page_down((low + start) // 2)
            if self.process.permissions(middle) is None:
                low = middle + PAGE_SIZE
            else:
                start = middle
        self.present.add(start, STACK_TOP)

    # Touching: memory for pages that were promised.

    def touch(self, address: int, need: int) -> int:
        """An instruction wanted ``need`` at a page that lacks it: gives the page memory if it was promised.  While a
        call is changing the address space, that goes on, and the instruction is tried again."""
        return REPAIRED if self.work.advance() else self._touch(address, need)

    def _touch(self, address: int, need: int) -> int:
        mapping = self.mappings.find(address)
        if mapping is None:
            return UNMAPPED
        if need & ~mapping.permissions:
            return FORBIDDEN
        page = page_down(address)
        permissions = self.process.permissions(page)
        if permissions is not None:
            # Another thread was faster, or a page is being filled: the instruction is tried again.
            return FORBIDDEN if need & ~permissions else REPAIRED
        self.present.remove(page, page + PAGE_SIZE)
        if mapping.file is not None and page - mapping.start + mapping.offset >= page_up(mapping.file.size()):
            return BEYOND_FILE
        return REPAIRED if self._give_around(mapping, page) else NO_MEMORY

    def populate(self, va: int, length: int, need: int) -> bool:
        """Gives memory to promised pages of [va, va+length) that allow ``need``; whether any page got some, or a call
        that was changing the address space has ended."""
        changed = self.work.complete()
        return at_once(self.populating(va, length, need)) != 0 or changed

    def populating(self, va: int, length: int, need: int) -> Work:
        """As ``populate``, in steps."""
        end = page_up(va + length)
        progress = False
        for mapping in self.mappings.overlapping(page_down(va), end):
            if need & ~mapping.permissions:
                break
            for start, stop in self.present.gaps(max(page_down(va), mapping.start), min(end, mapping.end)):
                page = start
                while page < stop:
                    if page not in self.present:
                        if self._touch(page, need) != REPAIRED:
                            return progress
                        progress = True
                        yield None
                    page += PAGE_SIZE
        return progress

    def _give_around(self, mapping: Mapping, page: int) -> bool:
        """Memory for ``page`` and, if there is enough, for what the program will probably touch next."""
        start, end = self._window(mapping, page)
        if self.give(mapping, start, end) == 0:
            mapping.expected = start if mapping.grows_down else end
            return True
        # Little is left: no more than what is asked for.
        mapping.window = 0
        return any(self.give(mapping, page, min(page + size, mapping.end)) == 0 for size in (WINDOW_FIRST, PAGE_SIZE))

    def _window(self, mapping: Mapping, page: int) -> tuple[int, int]:
        sequential = page + PAGE_SIZE == mapping.expected if mapping.grows_down else page == mapping.expected
        block = page & -BLOCK_SIZE
        if (
            not mapping.grows_down
            and (mapping.file is None or mapping.file.covers(mapping.offset + block - mapping.start, BLOCK_SIZE))
            and mapping.start <= block
            and block + BLOCK_SIZE <= mapping.end
            and not self.present.within(block, block + BLOCK_SIZE)
        ):
            mapping.window = min(max(2 * mapping.window, BLOCK_SIZE), WINDOW_BLOCKS_MAX) if sequential else BLOCK_SIZE
            size = mapping.window if mapping.file is None else BLOCK_SIZE
            return block, min(block + size, mapping.end & -BLOCK_SIZE)
        mapping.window = min(2 * mapping.window, WINDOW_PAGES_MAX) if sequential and mapping.window else WINDOW_FIRST
        if mapping.grows_down:
            return max(page + PAGE_SIZE - mapping.window, mapping.start), page + PAGE_SIZE
        # Up to the block's end only: the next block may be given whole.
        return page, min(page + mapping.window, mapping.end, block + BLOCK_SIZE)

    def give(self, mapping: Mapping, start: int, end: int) -> int:
        """Memory for every page of [start, end), all inside ``mapping``; 0 or -errno, then some may have got it."""
        return at_once(self.giving(mapping, start, end))

    def giving(self, mapping: Mapping, start: int, end: int) -> Work:
        """As ``give``, in steps."""
        for gap_start, gap_end in self.present.gaps(start, end):
            if mapping.file is not None:
                result = yield from self._giving_file(mapping, mapping.file, gap_start, gap_end)
            else:
                result = yield from ended(
                    self.process.begin_map(gap_start, gap_end - gap_start, mapping.permissions)
                )
            if result:
                return -ENOMEM if result == -EEXIST else result
            if mapping.file is None:
                self.present.add(gap_start, gap_end)
        return 0

    def _giving_file(self, mapping: Mapping, file: MappedFile, start: int, end: int) -> Work:
        while start < end:
            stop = min((start & -BLOCK_SIZE) + BLOCK_SIZE, end)
            result = self._give_file(mapping, file, start, stop)
            if result != 0:
                return result
            start = stop
            yield None
        return 0

    def _give_file(self, mapping: Mapping, file: MappedFile, start: int, end: int) -> int:
        offset = mapping.offset + start - mapping.start
        end = min(end, start + max(page_up(file.size() - offset), 0))
        if start >= end:
            return 0
        # Without permissions until it is filled: other threads of the program run meanwhile, and wait at their faults.
        result = self.process.map(start, end - start, 0)
        if result != 0:
            return result
        self.present.add(start, end)
        file.fill(self.process.memory.loader_views(start, end - start), offset)
        self.expect(self.process.protect(start, end - start, mapping.permissions))
        return 0

    # Placing and removing.

    def place(self, hint: int, length: int, alignment: int) -> int:
        """Where a mapping of ``length`` bytes goes: at the hint if it is free, else as high as possible; ENOMEM."""
        self.room_for_mapping()
        hint = page_down(hint)
        if hint >= USER_MIN and hint + length <= STACK_TOP - STACK_SIZE and self.mappings.is_free(hint, hint + length):
            return hint
        start = self.mappings.place(length, max(USER_MIN, self.brk_start), MMAP_TOP, alignment)
        if start is None:
            raise LinuxError(ENOMEM)
        return start

    def room_for_mapping(self) -> None:
        """ENOMEM where the program has as many mappings as one can have: each takes memory of the host."""
        if len(self.mappings) >= MAPPINGS_MAX:
            raise LinuxError(ENOMEM)

    def _room_to_cut(self, start: int, end: int) -> None:
        """As ``room_for_mapping``, if cutting at these addresses makes more mappings."""
        if len(self.mappings) < MAPPINGS_MAX:
            return
        for address in (start, end):
            mapping = self.mappings.find(address)
            if mapping is not None and mapping.start < address:
                raise LinuxError(ENOMEM)

    def unmapping(self, start: int, end: int) -> Work:
        """Removes every mapping in [start, end); addresses without one are passed over.  ENOMEM: nothing changed."""
        if start >= end:
            return 0
        end = self.mappings.with_slack(end)
        self._room_to_cut(start, end)
        yield from self.cut_blocks(start, end)
        self.write_back(start, end)
        for part_start, part_end in self.present.within(start, end):
            yield from self.taking(part_start, part_end)
        for mapping in self.mappings.remove(start, end):
            if mapping.file is not None:
                mapping.file.release()
        return 0

    def protecting(self, start: int, end: int, permissions: int) -> Work:
        """Changes the permissions of [start, end), mapped throughout.  ENOMEM: nothing changed."""
        end = self.mappings.with_slack(end)
        self._room_to_cut(start, end)
        yield from self.cut_blocks(start, end)
        for mapping in self.mappings.carve(start, end):
            for part_start, part_end in self.present.within(mapping.start, mapping.end):
                yield from self.allowing(part_start, part_end, permissions)
            mapping.permissions = permissions
        self.mappings.join(start, end)
        return 0

    def discarding(self, start: int, end: int) -> Work:
        """Forgets what the pages of [start, end) hold: anonymous ones read as zero, file ones as the file."""
        end = self.mappings.with_slack(end)
        self.write_back(start, end)
        for mapping in self.mappings.overlapping(start, end):
            for part_start, part_end in self.present.within(max(start, mapping.start), min(end, mapping.end)):
                if mapping.file is not None:
                    yield from self.cut_blocks(part_start, part_end)
                    yield from self.taking(part_start, part_end)
                    continue
                # Whole blocks are given back; to clear a page costs less than to take and give it.
                first, last = block_up(part_start), part_end & -BLOCK_SIZE
                if first < last:
                    yield from self.taking(first, last)
                    yield from self.clearing(part_start, first)
                    yield from self.clearing(last, part_end)
                else:
                    yield from self.clearing(part_start, part_end)
        return 0

    def grow(self, mapping: Mapping, end: int) -> None:
        """``mapping`` reaches to ``end``, where nothing is yet but its own slack."""
        if end <= mapping.end:
            mapping.slack = mapping.end - end
            return
        mapping.slack = 0
        added = Mapping(
            mapping.end,
            end,
            mapping.permissions,
            shared=mapping.shared,
            grows_down=mapping.grows_down,
            file=mapping.file,
            offset=mapping.offset + (mapping.end - mapping.start if mapping.file else 0),
            name=mapping.name,
        )
        if mapping.file is not None:
            mapping.file.references += 1
        self.mappings.insert(added)

    def moving(self, old: int, old_length: int, new: int, new_length: int) -> Work:
        """Moves a mapping with what it holds to a free range, which may be longer.  ENOMEM: it stays where it was.

        Piece by piece, each given back before its memory is taken again: moving needs no memory but page tables.
        """
        yield from self.cut_blocks(old, old + old_length)
        moved: list[tuple[int, int, int]] = []
        try:
            for start, end in self.present.within(old, old + old_length):
                while start < end:
                    stop = min((start & -BLOCK_SIZE) + BLOCK_SIZE, end)
                    self._move_piece(start, stop, new - old)
                    moved.append((start, stop, new - old))
                    start = stop
                    yield None
        except LinuxError:
            for start, stop, distance in reversed(moved):
                self._move_piece(start + distance, stop + distance, -distance)
            raise
        # What moves has the length that was asked for; slack stays behind and is free again.
        yield from self.unmapping(old + old_length, self.mappings.with_slack(old + old_length))
        pieces = self.mappings.remove(old, old + old_length)
        for piece in pieces:
            piece.start += new - old
            piece.end += new - old
            if piece is pieces[-1]:
                piece.end = new + new_length
            self.mappings.insert(piece)
        return 0

    def _move_piece(self, start: int, end: int, distance: int) -> None:
        permissions = self.process.permissions(start) or 0
        content = self.content(start, end - start)
        self.expect(self.process.unmap(start, end - start))
        self.present.remove(start, end)
        result = self.process.map(start + distance, end - start, 0)
        target = start + distance if result == 0 else start
        if result != 0:
            self.expect(self.process.map(start, end - start, 0))
        self.present.add(target, target + end - start)
        self.set_content(target, content)
        self.expect(self.process.protect(target, end - start, permissions))
        if result != 0:
            raise LinuxError(ENOMEM)

    def write_back(self, start: int, end: int) -> None:
        """Brings what the program changed in shared file mappings of [start, end) into their files."""
        for mapping in self.mappings.overlapping(start, end):
            if mapping.file is None or not mapping.file.writable:
                continue
            for part_start, part_end in self.present.within(max(start, mapping.start), min(end, mapping.end)):
                content = self.content(part_start, part_end - part_start)
                mapping.file.write_back(mapping.offset + part_start - mapping.start, content)

    def close(self) -> None:
        """The process has ended: nothing is written back any more; the files behind mappings are let go."""
        self.work.abandon()
        for mapping in self.mappings:
            if mapping.file is not None:
                mapping.file.release()
        self.mappings = MappingList()
        self.present = Extents()


def permissions_of(protection: int) -> int:
    """Linux's PROT_READ 1, PROT_WRITE 2, PROT_EXEC 4 as page permissions: x86 pages that allow anything can be read."""
    permissions = protection & (READ | WRITE | EXECUTE)
    return permissions | READ if permissions else 0


__all__ = [
    "BEYOND_FILE", "EAGER", "FORBIDDEN", "NO_MEMORY", "REPAIRED", "ROUNDED", "UNMAPPED", "AddressSpace", "block_up",
    "page_down", "page_up", "permissions_of",
]  # fmt: skip
