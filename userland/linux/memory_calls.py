"""System calls on the address space: brk, mmap and those that change or forget mappings."""

from __future__ import annotations

from typing import Final

from abi.layout import BLOCK_SIZE, PAGE_SIZE, READ, USER_END, USER_MIN, WRITE
from kernel.calls.operations import Operation
from userland.linux.errors import (
    EACCES,
    EAGAIN,
    EBADF,
    EEXIST,
    EFAULT,
    EINVAL,
    ENODEV,
    ENOMEM,
    EOVERFLOW,
    EPERM,
    LinuxError,
)
from userland.linux.file_mapping import SHARED_LIMIT, MappedFile
from userland.linux.mappings import Mapping
from userland.linux.memory import EAGER, ROUNDED, AddressSpace, block_up, page_up, permissions_of
from userland.linux.memory_work import Work
from userland.linux.open_file import HostFile
from userland.linux.registers import signed32
from userland.linux.task import Task

_MAP_SHARED: Final = 1
_MAP_PRIVATE: Final = 2
_MAP_SHARED_VALIDATE: Final = 3
_MAP_TYPE: Final = 0xF
_MAP_FIXED: Final = 0x10
_MAP_ANONYMOUS: Final = 0x20
_MAP_GROWSDOWN: Final = 0x100
_MAP_NORESERVE: Final = 0x4000
_MAP_POPULATE: Final = 0x8000
_MAP_STACK: Final = 0x20000
_MAP_FIXED_NOREPLACE: Final = 0x100000

_PROT_KNOWN: Final = 0x0300_000F
"""READ, WRITE, EXEC, SEM, GROWSDOWN, GROWSUP."""


def _page_range(address: int, length: int, error: int = ENOMEM) -> tuple[int, int]:
    """The pages of [address, address+length); EINVAL for a start inside a page, ``error`` beyond a program's reach."""
    if address % PAGE_SIZE:
        raise LinuxError(EINVAL)
    end = page_up(address + length)
    if end > USER_END:
        raise LinuxError(error)
    return address, end


def _space(task: Task) -> AddressSpace:
    """The address space of the calling process, which no other call is changing; else the call is made again later."""
    space = task.process.space
    space.work.free()
    return space


def sys_brk(task: Task, wanted: int) -> int | Operation:
    space = _space(task)
    if wanted < space.brk_start or wanted > USER_END:
        return space.brk
    if wanted > space.heap_end:
        if space.limit and wanted - space.brk_start > space.limit:
            return space.brk
        # Whole blocks if nothing is in the way.
        for end in (block_up(wanted), page_up(wanted)):
            if end <= USER_END and space.mappings.is_free(space.heap_end, end):
                space.mappings.insert(Mapping(space.heap_end, end, READ | WRITE, name="[heap]"))
                # It will be touched at once: that saves the fault.  If there is no memory the fault will tell.
                space.populate(space.heap_end, 1, WRITE)
                space.heap_end = end
                break
        else:
            return space.brk
    elif page_up(wanted) < page_up(space.brk):
        return space.work.begin(_lowering_break(space, wanted))
    space.brk = wanted
    return wanted


def _lowering_break(space: AddressSpace, wanted: int) -> Work:
    """What lies above the new break is gone, and reads as zero if the break rises again."""
    keep = min(block_up(wanted), space.heap_end)
    for start, end in space.present.within(page_up(wanted), min(page_up(space.brk), keep)):
        yield from space.clearing(start, end)
    if keep < space.heap_end:
        yield from space.unmapping(keep, space.heap_end)
        space.heap_end = keep
    space.brk = wanted
    return wanted


def sys_mmap(
    task: Task, address: int, length: int, protection: int, flags: int, fd: int, offset: int
) -> int | Operation:
    space = _space(task)
    if length == 0 or offset % PAGE_SIZE:
        return -EINVAL
    if length > USER_END:
        return -ENOMEM
    kind = flags & _MAP_TYPE
    if kind not in (_MAP_SHARED, _MAP_PRIVATE, _MAP_SHARED_VALIDATE):
        return -EINVAL
    length = page_up(length)
    permissions = permissions_of(protection)
    shared = kind != _MAP_PRIVATE
    slack = 0
    replaces = False
    file: HostFile | None = None
    if not flags & _MAP_ANONYMOUS:
        file = _mappable(task, fd, permissions, shared, length)
        if offset + length >= 1 << 63:
            return -EOVERFLOW
    elif permissions and not flags & _MAP_NORESERVE and space.limit and length > space.limit:
        # What could never be touched whole is refused at once, as Linux's overcommit heuristic does.
        return -ENOMEM
    if flags & (_MAP_FIXED | _MAP_FIXED_NOREPLACE):
        start, end = _page_range(address, length)
        if start < USER_MIN:
            return -EPERM
        space.room_for_mapping()
        if not space.mappings.is_free(start, end):
            if flags & _MAP_FIXED_NOREPLACE:
                return -EEXIST
            replaces = True
    else:
        if file is None and permissions and not flags & (_MAP_NORESERVE | _MAP_STACK | _MAP_GROWSDOWN):
            slack = _slack(space, length)
        start = space.place(address, length + slack, BLOCK_SIZE if length + slack >= BLOCK_SIZE else PAGE_SIZE)
        if start % BLOCK_SIZE:
            slack = 0
        end = start + length + slack
    mapped = MappedFile(file.fd, writable=shared and file.writable) if file is not None else None
    mapping = Mapping(
        start,
        end,
        permissions,
        shared=shared,
        grows_down=bool(flags & (_MAP_GROWSDOWN | _MAP_STACK)),
        file=mapped,
        offset=offset if mapped is not None else 0,
        name="" if file is None else file.path.decode(errors="replace"),
        slack=slack,
    )
    eager = (length <= EAGER and not flags & (_MAP_NORESERVE | _MAP_STACK)) or flags & _MAP_POPULATE
    populated = permissions != 0 and eager != 0
    return space.work.begin(_mapping(space, mapping, replaces, populated, must=not flags & _MAP_POPULATE))


def _mapping(space: AddressSpace, mapping: Mapping, replaces: bool, populated: bool, *, must: bool) -> Work:
    """Adds a mapping, in the place of what ``replaces`` says is there; gives it its memory if it is to be
    ``populated``, and takes it back if it ``must`` be and cannot."""
    start, end = mapping.start, mapping.end
    if replaces:
        try:
            yield from space.unmapping(start, end)
        except BaseException:
            if mapping.file is not None:
                mapping.file.release()
            raise
    mapping = space.mappings.insert(mapping)
    if populated and (yield from space.giving(mapping, start, end)) and must:
        yield from space.unmapping(start, end)
        return -ENOMEM
    return start


def _slack(space: AddressSpace, length: int) -> int:
    """Bytes to add to an anonymous mapping so that it is made of whole blocks: a page of its own costs nearly as much
    as a block.  None where they would be missed."""
    slack = block_up(length) - length
    affordable = space.limit == 0 or slack <= space.limit // 64
    return slack if length >= ROUNDED and affordable else 0


def _mappable(task: Task, fd: int, permissions: int, shared: bool, length: int) -> HostFile:
    file = task.files.get(fd)
    if not isinstance(file, HostFile):
        raise LinuxError(EBADF if signed32(fd) < 0 else ENODEV)
    if not file.readable or (shared and permissions & WRITE and not file.writable):
        raise LinuxError(EACCES)
    if shared and file.writable and length > SHARED_LIMIT:
        raise LinuxError(ENODEV)
    return file


def sys_munmap(task: Task, address: int, length: int) -> int | Operation:
    if length == 0:
        return -EINVAL
    start, end = _page_range(address, length, EINVAL)
    space = _space(task)
    return space.work.begin(space.unmapping(start, end))


def sys_mprotect(task: Task, address: int, length: int, protection: int) -> int | Operation:
    if protection & ~_PROT_KNOWN:
        return -EINVAL
    start, end = _page_range(address, length)
    if start == end:
        return 0
    space = _space(task)
    if not space.mappings.covers(start, end):
        return -ENOMEM
    permissions = permissions_of(protection)
    if permissions & WRITE:
        for mapping in space.mappings.overlapping(start, end):
            if mapping.shared and mapping.file is not None and not mapping.file.writable:
                return -EACCES
    return space.work.begin(space.protecting(start, end, permissions))


_MREMAP_MAYMOVE: Final = 1
_MREMAP_FIXED: Final = 2


def sys_mremap(
    task: Task, old: int, old_length: int, new_length: int, flags: int, new: int
) -> int | Operation:
    space = _space(task)
    if old % PAGE_SIZE or flags & ~(_MREMAP_MAYMOVE | _MREMAP_FIXED) or new_length == 0:
        return -EINVAL
    if flags & _MREMAP_FIXED and (not flags & _MREMAP_MAYMOVE or new % PAGE_SIZE):
        return -EINVAL
    if max(old_length, new_length) > USER_END:
        return -EINVAL
    old_length, new_length = page_up(old_length), page_up(new_length)
    if flags & _MREMAP_FIXED:
        if new < USER_MIN or new + new_length > USER_END or (new < old + old_length and old < new + new_length):
            return -EINVAL
    mapping = space.mappings.find(old) if old < USER_END else None
    if mapping is None or old_length == 0 or old + old_length > mapping.end:
        # A length of 0 would duplicate a shared mapping.
        return -EINVAL if mapping is not None and old_length == 0 else -EFAULT
    if flags & _MREMAP_FIXED:
        return space.work.begin(_moving(space, old, old_length, new, new_length, replaces=True))
    if new_length <= old_length:
        return space.work.begin(_shrinking(space, old, old_length, new_length))
    if old + old_length == mapping.end - mapping.slack and _can_grow(space, mapping, old + new_length):
        space.grow(mapping, old + new_length)
        return old
    if not flags & _MREMAP_MAYMOVE:
        return -ENOMEM
    new = space.place(0, new_length, BLOCK_SIZE if new_length >= BLOCK_SIZE else PAGE_SIZE)
    return space.work.begin(_moving(space, old, old_length, new, new_length, replaces=False))


def _shrinking(space: AddressSpace, old: int, old_length: int, new_length: int) -> Work:
    yield from space.unmapping(old + new_length, old + old_length)
    return old


def _moving(space: AddressSpace, old: int, old_length: int, new: int, new_length: int, *, replaces: bool) -> Work:
    if replaces:
        yield from space.unmapping(new, new + new_length)
    if new_length < old_length:
        yield from space.unmapping(old + new_length, old + old_length)
        old_length = new_length
    yield from space.moving(old, old_length, new, new_length)
    return new


def _can_grow(space: AddressSpace, mapping: Mapping, end: int) -> bool:
    return end <= mapping.end or (end <= USER_END and space.mappings.is_free(mapping.end, end))


_MADV_DONTNEED: Final = 4
_MADV_REMOVE: Final = 9
_MADV_POPULATE: Final = (22, 23)
_MADV_DONTNEED_LOCKED: Final = 24
_MADV_HINTS: Final = frozenset({0, 1, 2, 3, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 25})
"""NORMAL RANDOM SEQUENTIAL WILLNEED FREE DONTFORK DOFORK MERGEABLE … COLD PAGEOUT COLLAPSE: no effect."""


def sys_madvise(task: Task, address: int, length: int, advice: int) -> int | Operation:
    advice &= 0xFFFF_FFFF
    if advice not in _MADV_HINTS and advice not in (_MADV_DONTNEED, _MADV_DONTNEED_LOCKED, *_MADV_POPULATE):
        return -EINVAL
    if length > USER_END:
        return -EINVAL
    start, end = _page_range(address, length)
    if start == end:
        return 0
    space = _space(task)
    return space.work.begin(_advising(space, start, end, advice))


def _advising(space: AddressSpace, start: int, end: int, advice: int) -> Work:
    covered = space.mappings.covers(start, end)
    if advice in (_MADV_DONTNEED, _MADV_DONTNEED_LOCKED):
        yield from space.discarding(start, end)
    elif advice in _MADV_POPULATE and covered:
        yield from space.populating(start, end - start, WRITE if advice == _MADV_POPULATE[1] else READ)
        if space.present.gaps(start, end):
            return -EFAULT
    return 0 if covered else -ENOMEM


def sys_msync(task: Task, address: int, length: int, flags: int) -> int:
    flags &= 0xFFFF_FFFF
    if flags & ~7 or flags & 5 == 5:
        return -EINVAL
    if length > USER_END:
        return -ENOMEM
    start, end = _page_range(address, length)
    space = _space(task)
    space.write_back(start, end)
    return 0 if space.mappings.covers(start, end) else -ENOMEM


def sys_mincore(task: Task, address: int, length: int, vector: int) -> int:
    if length > USER_END:
        return -ENOMEM
    start, end = _page_range(address, length)
    space = _space(task)
    if not space.mappings.covers(start, end):
        return -ENOMEM
    if end - start > 1 << 34:
        return -EAGAIN
    pages = bytearray((end - start) // PAGE_SIZE)
    for first, last in space.present.within(start, end):
        pages[(first - start) // PAGE_SIZE : (last - start) // PAGE_SIZE] = b"\1" * ((last - first) // PAGE_SIZE)
    task.memory.write(vector, bytes(pages))
    return 0


def sys_mlock(task: Task, address: int, length: int) -> int:
    # Nothing is ever swapped: memory that a program has stays.
    if length > USER_END:
        return -ENOMEM
    start, end = _page_range(address & -PAGE_SIZE, length + address % PAGE_SIZE)
    return 0 if task.process.space.mappings.covers(start, end) else -ENOMEM


def sys_mlock2(task: Task, address: int, length: int, flags: int) -> int:
    return -EINVAL if flags & 0xFFFF_FFFF & ~1 else sys_mlock(task, address, length)


def sys_munlock(task: Task, address: int, length: int) -> int:
    return sys_mlock(task, address, length)


def sys_mlockall(task: Task, flags: int) -> int:
    return 0 if 0 < flags & 0xFFFF_FFFF <= 7 else -EINVAL


def sys_munlockall(task: Task) -> int:
    return 0


def sys_membarrier(task: Task, command: int, flags: int, cpu: int) -> int:
    # Offers no command: programs use what they have for old kernels.
    return 0 if command & 0xFFFF_FFFF == 0 and not flags & 0xFFFF_FFFF else -EINVAL
