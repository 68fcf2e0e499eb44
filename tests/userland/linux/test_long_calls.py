"""Memory calls that take long are done in steps: whatever another thread of the program calls between any two of them,
it is as if the long one had been made as a whole before; what it accesses, before or after.  Every point is tried."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from abi.layout import BLOCK_SIZE, PAGE_SIZE
from hv.personality import BLOCKED, Fault
from kernel.calls.operations import BATCH, Operation, SpaceBusy
from tests.userland.fake_machine import IMAGE_START, FakeMachine, FakeThread
from tests.userland.linux.conftest import Program
from userland.linux.numbers import NUMBERS
from userland.linux.personality import LinuxPersonality
from userland.linux.policy import FilePolicy

READ, WRITE = 1, 2
SHARED, PRIVATE, FIXED, ANONYMOUS, POPULATE = 1, 2, 0x10, 0x20, 0x8000
MAYMOVE, MOVE_FIXED, DONTNEED, POPULATE_WRITE = 1, 2, 4, 23
EFAULT, ESRCH = 14, 3
PAGES = BATCH + 12
AREA = 0x4000_0000 + 2 * BLOCK_SIZE - 3 * PAGE_SIZE
"""Three pages of one block of addresses, the rest in the next: so that no block is given whole."""
LENGTH = PAGES * PAGE_SIZE
ELSEWHERE = AREA + (1 << 32)
RESERVED = AREA + (1 << 33)
RW = READ | WRITE

State = dict[str, object]


class Scene:
    """A program of two threads with an area of memory, each page of which holds its number, one without memory yet, and
    a page of a shared file."""

    def __init__(self, machine: FakeMachine, folder: Path) -> None:
        self.machine = machine
        self.program = Program(machine)
        self.other = FakeThread(machine.process)
        self.results: dict[str, int] = {}
        self.file = folder / "w" / "shared"
        self.file.write_bytes(b"-" * PAGE_SIZE)
        call = self.program
        self.null = 1
        assert call("mmap", AREA, LENGTH, RW, PRIVATE | ANONYMOUS | FIXED | POPULATE, -1, 0) == AREA
        for page in range(PAGES):
            machine.process.memory.write(AREA + page * PAGE_SIZE, bytes([page]))
        assert call("mmap", RESERVED, LENGTH, RW, PRIVATE | ANONYMOUS | FIXED, -1, 0) == RESERVED
        fd = call.open(self.file, os.O_RDWR)
        self.shared = call("mmap", 0, PAGE_SIZE, RW, SHARED, fd, 0)
        assert self.shared > 0
        assert self.program.thread.touch(self.shared, write=True)
        machine.process.memory.write(self.shared, b"+")

    def syscall(self, thread: FakeThread, name: str, *arguments: int) -> int | Operation:
        """A call, as a core makes it: again, where another has to end first."""
        for register, value in zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), arguments, strict=False):
            setattr(thread.regs, register, value & 0xFFFF_FFFF_FFFF_FFFF)
        while True:
            try:
                return self.machine.personality.syscall(thread, NUMBERS[name])
            except SpaceBusy as busy:
                busy.holder.advance(1)

    def complete(self, name: str, *arguments: int) -> None:
        """The other thread makes a call to its end."""
        result = self.syscall(self.other, name, *arguments)
        self.results["other"] = result.complete() if isinstance(result, Operation) else result

    def accesses(self, address: int, write: bool) -> None:
        """The other thread loads or stores, as often as it takes."""
        process, need = self.machine.process, WRITE if write else READ
        while True:
            permissions = process.permissions(address)
            if permissions is not None and permissions & need:
                self.results["other"] = process.memory.read(address, 1)[0]
                return
            code = 4 | (permissions is not None) | 2 * write
            if not self.machine.personality.fault(self.other, Fault(14, code, address, self.other.rip)):
                self.results["other"] = -EFAULT
                return

    def state(self) -> State:
        """All that the program can tell."""
        process = self.machine.process
        space = self.machine.personality._processes[process].space
        pages = {**process.small, **process.blocks}
        return {
            "results": self.results,
            "pages": {base: (page.permissions, bytes(page.bytes)) for base, page in pages.items()},
            "mappings": [(m.start, m.end, m.permissions) for m in space.mappings],
            "present": list(space.present),
        }


Act = Callable[[Scene], None]
LONG: dict[str, tuple[str, *tuple[int, ...]]] = {
    "munmap": ("munmap", AREA, LENGTH),
    "mprotect": ("mprotect", AREA, LENGTH, READ),
    "madvise, discarding": ("madvise", AREA & -BLOCK_SIZE, 2 * BLOCK_SIZE, DONTNEED),
    "madvise, populating": ("madvise", RESERVED, LENGTH, POPULATE_WRITE),
    "mmap, populating": ("mmap", ELSEWHERE, LENGTH, RW, PRIVATE | ANONYMOUS | FIXED | POPULATE, -1, 0),
    "mmap in the place of another": ("mmap", AREA, LENGTH, READ, PRIVATE | ANONYMOUS | FIXED | POPULATE, -1, 0),
    "mremap in the place of another": (
        "mremap", RESERVED, PAGE_SIZE, LENGTH, MAYMOVE | MOVE_FIXED, AREA,
    ),
    "mremap": ("mremap", AREA + 3 * PAGE_SIZE, PAGE_SIZE, PAGE_SIZE, MAYMOVE | MOVE_FIXED, AREA + 4 * PAGE_SIZE),
}  # fmt: skip
LAST = AREA + LENGTH - PAGE_SIZE
ACCESSES: dict[str, Act] = {
    "load from the first page": lambda scene: scene.accesses(AREA, write=False),
    "store to the last page": lambda scene: scene.accesses(LAST, write=True),
    "store elsewhere": lambda scene: scene.accesses(ELSEWHERE + LENGTH - PAGE_SIZE, write=True),
    "write out of the area": lambda scene: scene.complete("write", 1, LAST - PAGE_SIZE, 2 * PAGE_SIZE),
}
CALLS: dict[str, Act] = {
    "store to what has no memory": lambda scene: scene.accesses(RESERVED + 5 * PAGE_SIZE, write=True),
    "uname into what has no memory": lambda scene: scene.complete("uname", RESERVED + LENGTH - PAGE_SIZE),
    "munmap of a page": lambda scene: scene.complete("munmap", LAST, PAGE_SIZE),
    "mmap of a page": lambda scene: scene.complete("mmap", LAST, PAGE_SIZE, RW, PRIVATE | ANONYMOUS | FIXED, -1, 0),
    "mprotect of a page": lambda scene: scene.complete("mprotect", LAST, PAGE_SIZE, 0),
    "mincore": lambda scene: scene.complete("mincore", AREA, LENGTH, IMAGE_START),
    "brk": lambda scene: scene.complete("brk", 0),
}


@pytest.fixture
def scenes(tmp_path: Path) -> Iterator[Callable[[], Scene]]:
    """Makes scenes, one after the other."""
    (tmp_path / "w").mkdir()
    null = os.open(os.devnull, os.O_RDWR)
    machines: list[FakeMachine] = []
    with FilePolicy(allow_write=[tmp_path / "w"]) as files:

        def make() -> Scene:
            for old in machines: old.close()
            personality = LinuxPersonality(files=files, stdin=null, stdout=null, stderr=null, cwd=str(tmp_path / "w"))
            machines[:] = [FakeMachine(personality)]
            return Scene(machines[0], tmp_path)

        yield make
        for machine in machines:
            assert not machine.personality.internal_errors
            machine.close()
    os.close(null)


def begin(scene: Scene, long: str) -> Operation | None:
    """Begins a long call of the first thread; None if it took few steps."""
    name, *arguments = LONG[long]
    result = scene.syscall(scene.program.thread, name, *arguments)
    if isinstance(result, Operation): return result
    assert result != BLOCKED
    scene.results["long"] = result
    return None


def points(scenes: Callable[[], Scene], long: str) -> Iterator[tuple[Scene, Operation]]:
    """Scenes in which a long call has come one step further each."""
    point = 0
    while True:
        scene = scenes()
        operation = begin(scene, long)
        if operation is None: return
        for _ in range(point): operation.advance(1)
        if operation.result is not None: return
        yield scene, operation
        point += 1


def whole(scene: Scene, long: str) -> None:
    operation = begin(scene, long)
    if operation is not None: scene.results["long"] = operation.complete()


@pytest.mark.parametrize("other", CALLS)
@pytest.mark.parametrize("long", LONG)
def test_other_call_between_two_steps_comes_after_the_whole(
    scenes: Callable[[], Scene], long: str, other: str
) -> None:
    after = scenes()
    whole(after, long)
    CALLS[other](after)
    expected = after.state()
    for scene, operation in points(scenes, long):
        CALLS[other](scene)
        scene.results["long"] = operation.complete()
        assert scene.state() == expected


@pytest.mark.parametrize("access", ACCESSES)
@pytest.mark.parametrize("long", LONG)
def test_access_between_two_steps_comes_before_or_after_the_whole(
    scenes: Callable[[], Scene], long: str, access: str
) -> None:
    before = scenes()
    ACCESSES[access](before)
    whole(before, long)
    alike = [before.state()]
    after = scenes()
    whole(after, long)
    ACCESSES[access](after)
    alike.append(after.state())
    for scene, operation in points(scenes, long):
        ACCESSES[access](scene)
        scene.results["long"] = operation.complete()
        assert scene.state() in alike


def test_most_of_them_take_more_steps_than_are_done_at_once(scenes: Callable[[], Scene]) -> None:
    found = {long: sum(1 for _ in points(scenes, long)) for long in LONG}
    assert sum(count > (PAGES - BATCH) // 2 for count in found.values()) >= 5, found


@pytest.mark.parametrize("long", LONG)
def test_process_that_ends_between_two_steps(scenes: Callable[[], Scene], long: str) -> None:
    """Nothing more is done, and what it changed of a shared file is in the file."""
    for scene, operation in points(scenes, long):
        scene.file.write_bytes(b"-" * PAGE_SIZE)
        scene.syscall(scene.other, "exit_group", 3)
        assert scene.machine.process.status == 3
        assert scene.file.read_bytes()[:1] == b"+"
        assert operation.result is not None
        assert not scene.machine.personality._processes


@pytest.mark.parametrize("long", LONG)
def test_process_that_is_killed_between_two_steps(scenes: Callable[[], Scene], long: str) -> None:
    left = set()
    for scene, operation in points(scenes, long):
        scene.machine.process.exit(137)
        assert operation.result == -ESRCH
        assert operation.complete() == -ESRCH
        left.add(len(os.listdir("/proc/self/fd")))
    assert len(left) <= 1
