"""A kernel with a mistake in it, or damaged memory: the machine stops before any program runs on, and says why."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from abi.layout import PAGE_SHIFT, SYSTEM_SLOT
from aerostat import CheckFailed, Machine
from aerostat.program import Program
from hv.page_tables import LARGE, NO_EXECUTE, PRESENT, USER, WRITABLE
from kernel.calls import sizes
from kernel.objects import BLOCKED, FREE, MAPPED, TABLE, Kernel, Object, Page
from tests.aerostat.programs import (
    API,
    GUARD,
    Capture,
    NewMachine,
    Pipe,
    assert_no_traceback,
    built,
    command_environment,
    command_line,
    open_files,
)

if TYPE_CHECKING:
    from kernel import page_allocator, page_table, process, scheduler, thread
else:
    from kernel.journaled import page_allocator, page_table, process, scheduler, thread

pytestmark = pytest.mark.kvm

Transition = Callable[..., int]


def write(k: Kernel, thing: Object, field: str, value: int) -> None:
    """A write as transitions make them, in the journal."""
    k.journal.append((thing, field, getattr(thing, field)))
    setattr(thing, field, value)


def write_item(k: Kernel, thing: Object, row: str, index: int, value: int) -> None:
    """The same of an item of a row."""
    items = getattr(thing, row)
    k.journal.append((thing, row, index, items[index]))
    items[index] = value


# Mistakes: each is made after the transition did its work, when it succeeded.


def forgets_the_charge(k: Kernel, s: int, *_: int) -> None:
    C = k.container[k.process[s].container]
    write(k, C, "pages", C.pages + 1)


def adds_a_right(k: Kernel, s: int, i4: int, i3: int, i2: int, i1: int, *_: int) -> None:
    x1 = page_table.table_under(k, page_table.table_under(k, page_table.table_under(k, k.process[s].root, i4), i3), i2)
    write_item(k, k.table[x1], "permission", i1, 7)


def maps_another_page_as_well(k: Kernel, s: int, i4: int, i3: int, i2: int, i1: int, *_: int) -> None:
    S = k.process[s]
    v = page_table.page_number(i4, i3, i2, i1)
    write_item(k, S, "map_page", v + 1, S.map_page[v])


def leaves_a_reference(k: Kernel, s: int, *_indices: int) -> None:
    for thing, field, *_ in k.journal:
        if field == "kind" and isinstance(thing, Page) and thing.kind == FREE:
            write(k, thing, "references", 1)
            return


def counts_wrongly(k: Kernel, s: int, *_: int) -> None:
    S = k.process[s]
    write(k, S, "mappings", S.mappings + 1)


def lengthens_a_queue(k: Kernel, t: int, *_: int) -> None:
    R = k.core[0]
    write(k, R, "head", R.current)


def loses_the_thread(k: Kernel, t: int, *_: int) -> None:
    write(k, k.thread[t], "state", BLOCKED)


MISTAKES = [
    (page_table, "map_page", forgets_the_charge, "demo/memory", "map_page"),
    (page_table, "map_page", adds_a_right, "demo/memory", None),
    (page_table, "map_page", maps_another_page_as_well, "demo/memory", None),
    (page_table, "unmap_page", leaves_a_reference, "demo/memory", None),
    (page_table, "unmap_page", counts_wrongly, "demo/memory", None),
    (page_table, "protect_page", maps_another_page_as_well, "demo/memory", "protect_page"),
    (page_table, "protect_page", adds_a_right, "demo/memory", None),
    (thread, "thread_create", lengthens_a_queue, "demo/threads", None),
    (scheduler, "thread_yield", loses_the_thread, "tests/calls", None),
]


def break_transition(monkeypatch: pytest.MonkeyPatch, module: object, name: str, mistake: Callable[..., None]) -> None:
    """The transition makes this mistake when it succeeds."""
    real: Transition = getattr(module, name)

    def broken(k: Kernel, *arguments: int) -> int:
        result = real(k, *arguments)
        if result >= 0: mistake(k, *arguments)
        return result

    broken.__name__ = name
    monkeypatch.setattr(module, name, broken)
    for by_size in (sizes.MAP, sizes.UNMAP, sizes.PROTECT, sizes.SHARE, sizes.GRANT):
        for count, transition in by_size.items():
            if transition is real: monkeypatch.setitem(by_size, count, broken)


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize(
    ("module", "name", "mistake", "program", "clause"), MISTAKES,
    ids=[f"{name}-{mistake.__name__}" for _, name, mistake, _, _ in MISTAKES],
)  # fmt: skip
def test_a_mistake_stops_the_machine(
    monkeypatch: pytest.MonkeyPatch, module: object, name: str, mistake: Callable[..., None], program: str,
    clause: str | None, cores: int,
) -> None:  # fmt: skip
    before = open_files()
    with Capture() as output:
        machine = Machine("16M", cores=cores)
        words = ["yield", "5"] if program == "tests/calls" else []
        loaded = machine.load(built(program), [program, *words], stdout=output.fd, linux=False)
        break_transition(monkeypatch, module, name, mistake)
        loaded.start()
        with pytest.raises(CheckFailed) as caught:
            loaded.wait(GUARD)
        assert output.text() == "" or name != "map_page", "the program has not run on"
        failure = caught.value
        assert failure.transition == name
        assert failure.kind in ("specification", "invariant")
        if clause: assert failure.name == clause
        assert failure.changes
        text = str(failure)
        assert f"{failure.kind} {failure.name}" in text
        assert "does not hold" in text
        assert f"after {name}(" in text
        assert " -> " in text
        for core in machine.hypervisor.cores:
            core._host.join(GUARD)
            assert not core._host.is_alive(), "nothing runs any more"
        exits = machine.statistics()["exits"]
        for use in (lambda: machine.spawn(API), machine.audit, lambda: loaded.wait(GUARD)):
            with pytest.raises(CheckFailed):
                use()
        assert machine.statistics()["exits"] == exits
        machine.close()
    assert open_files() == before


def test_other_programs_are_stopped_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    with Machine("24M", cores=2) as machine, Pipe() as output, Capture() as other:
        hammer = machine.spawn(built("tests/races"), ["races", "hammer"], stdout=output.fd, linux=False)
        output.until("hammering")
        victim = machine.load(built("demo/memory"), stdout=other.fd, linux=False)
        break_transition(monkeypatch, page_table, "map_page", forgets_the_charge)
        victim.start()
        for program in (victim, hammer):
            with pytest.raises(CheckFailed, match="specification map_page"):
                program.wait(GUARD)
        assert other.text() == ""


def test_a_mistake_in_what_the_host_asks_is_raised_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading maps pages; the machine is not used any more."""
    with Machine("16M") as machine:
        break_transition(monkeypatch, page_table, "map_page", counts_wrongly)
        with pytest.raises(CheckFailed, match="map_page"):
            machine.spawn(built("demo/hello"))


def test_without_checks_nothing_is_noticed_but_an_audit_finds_it(
    monkeypatch: pytest.MonkeyPatch, new_machine: NewMachine
) -> None:
    machine = new_machine("16M", check="off")
    program = machine.load(API, linux=False)
    break_transition(monkeypatch, page_table, "map_page", counts_wrongly)
    assert program.process.map(0x10_0000_0000, 4096, 3) == 0
    monkeypatch.undo()
    with pytest.raises(CheckFailed, match="process_mappings"):
        machine.audit()
    machine.hypervisor.kernel.process[program.process.id].mappings -= 1
    machine.audit()


def test_a_check_that_fails_while_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_files()
    machine = Machine("16M")
    with Pipe() as output:
        program = machine.spawn(built("tests/races"), ["races", "hammer"], stdout=output.fd, linux=False)
        output.until("hammering")
        break_transition(monkeypatch, page_table, "unmap_block", counts_wrongly)
        with pytest.raises(CheckFailed, match="unmap_block"):
            machine.close()
        machine.close()
        with pytest.raises(CheckFailed):
            program.wait(GUARD)
    assert open_files() == before


def test_unjournaled_writes_are_found_by_the_full_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not in the journal the touched check cannot see; the audits of "full" can."""

    def silently(k: Kernel, t: int, *_: int) -> None:
        k.memory.free_pages += 1

    with Machine("16M", check="full") as machine:
        loaded = machine.load(built("tests/calls"), ["calls", "yield", "3000"], linux=False)
        break_transition(monkeypatch, scheduler, "thread_yield", silently)
        loaded.start()
        with pytest.raises(CheckFailed, match="memory_counts"):
            loaded.wait(GUARD)


# The command.


SCRIPT = """
import sys, os
import aerostat.cli
from kernel.journaled import page_table
real = page_table.unmap_page
def unmap_page(k, s, *indices):
    result = real(k, s, *indices)
    S = k.process[s]
    k.journal.append((S, "mappings", S.mappings))
    S.mappings += 5
    return result
page_table.unmap_page = unmap_page
aerostat.cli.open_standard_streams()
status = aerostat.cli.main(sys.argv[1:])
sys.stdout.flush()
os._exit(status)
"""


def run_broken(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command with a mistake in unmap_page."""
    done = subprocess.run(
        [*command_line()[:1], "-c", SCRIPT, *arguments], capture_output=True, text=True, timeout=GUARD, check=False,
        env=command_environment(),
    )  # fmt: skip
    assert_no_traceback(done.stderr)
    return done


def test_the_command_tells_what_failed() -> None:
    done = run_broken("run", built("demo/memory"))
    assert done.returncode == 70
    assert "mprotect gives it back" in done.stdout
    assert "half of it can be unmapped" not in done.stdout, "the program did not run on"
    lines = done.stderr.splitlines()
    assert lines[0].startswith("aerostat: ")
    assert "does not hold" in lines[0]
    text = done.stderr
    assert "after unmap_page(" in text
    assert "mappings: " in text
    assert " -> " in text
    assert "thread" in lines[-1]
    assert any("munmap" in line for line in lines[1:]), "the last traps"


def test_the_command_tells_it_as_json(tmp_path: Path) -> None:
    done = run_broken("run", "--report", str(tmp_path / "report"), built("demo/memory"))
    assert done.returncode == 70
    told = json.loads((tmp_path / "report").read_text())
    assert told["status"] == 70
    assert "unmap_page" in told["failure"]
    assert told["report"] is None


def test_a_check_that_fails_at_the_end_of_the_command() -> None:
    """hello unmaps nothing itself: the mistake is made when it has ended, and its pages are taken from it."""
    done = run_broken("run", built("demo/hello"))
    assert done.returncode == 70
    assert done.stdout == "hello from ring 3\n"
    assert "unmap_page" in done.stderr


# Damage to the tables' bytes.


@pytest.fixture
def victim(new_machine: NewMachine) -> Program:
    """A loaded program with a page of code and of data, a 2 MiB stack, and an audit that passes."""
    machine = new_machine("16M")
    program = machine.load(API, linux=False)
    assert machine.audit() > 0
    return program


def leaf(program: Program, address: int) -> tuple[int, int, int]:
    """The table, the index and the bytes of the entry for a 4 KiB page."""
    hypervisor = program.machine.hypervisor
    k, v = hypervisor.kernel, address >> PAGE_SHIFT
    x = k.process[program.process.id].root
    for shift in (27, 18, 9):
        x = page_table.table_under(k, x, v >> shift & 511)
    return x, v & 511, hypervisor.frames.entry(x, v & 511)


DAMAGE: dict[str, Callable[[int], int]] = {
    "gone": lambda entry: 0,
    "writable": lambda entry: entry | WRITABLE,
    "executable": lambda entry: entry & ~NO_EXECUTE,
    "not executable": lambda entry: entry | NO_EXECUTE,
    "not the user's": lambda entry: entry & ~USER,
    "the next page": lambda entry: entry + (1 << PAGE_SHIFT),
    "another page": lambda entry: 5 << PAGE_SHIFT | PRESENT | USER | WRITABLE,
    "a page of the tables": lambda entry: 1 << 38 | PRESENT | USER | WRITABLE,
    "a page of the system": lambda entry: (1 << 38) + (1 << 37) | PRESENT | USER | WRITABLE,
    "beyond all memory": lambda entry: 1 << 45 | PRESENT | USER,
    "large": lambda entry: entry | LARGE,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_an_audit_sees_damaged_bytes(victim: Program, kind: str) -> None:
    frames = victim.machine.hypervisor.frames
    x, i, entry = leaf(victim, victim.symbol("constant" if kind != "not executable" else "main"))
    damaged = DAMAGE[kind](entry)
    assert damaged != entry
    frames.set_entry(x, i, damaged)
    with pytest.raises(CheckFailed, match="does not hold") as caught:
        victim.machine.audit()
    assert (caught.value.kind, caught.value.name, caught.value.ids) == ("audit", "table_bytes", (x, i))
    frames.set_entry(x, i, entry)
    assert victim.machine.audit() > 0
    victim.kill()


def test_an_audit_sees_an_entry_too_many(victim: Program) -> None:
    frames = victim.machine.hypervisor.frames
    x, _, entry = leaf(victim, victim.symbol("main"))
    for i in (300, 511):
        frames.set_entry(x, i, entry)
        with pytest.raises(CheckFailed, match="table_bytes"):
            victim.machine.audit()
        frames.set_entry(x, i, 0)
    victim.kill()


@pytest.mark.parametrize("slot", [SYSTEM_SLOT, 256, 511, 0, 200])
def test_an_audit_sees_damage_in_the_root_table(victim: Program, slot: int) -> None:
    hypervisor = victim.machine.hypervisor
    root = hypervisor.kernel.process[victim.process.id].root
    entry = hypervisor.frames.entry(root, slot)
    system = hypervisor.frames.entry(root, SYSTEM_SLOT)
    hypervisor.frames.set_entry(root, slot, system + (1 << PAGE_SHIFT) if slot == SYSTEM_SLOT else system)
    with pytest.raises(CheckFailed, match="table_bytes"):
        victim.machine.audit()
    hypervisor.frames.set_entry(root, slot, entry)
    assert victim.machine.audit() > 0
    victim.kill()


def test_an_audit_sees_damaged_state(victim: Program) -> None:
    k = victim.machine.hypervisor.kernel
    S = k.process[victim.process.id]
    page = next(p for p in S.map_page.values() if p and k.page[p].kind == MAPPED)
    for thing, field, value in (
        (k.page[page], "references", 2), (k.page[page], "kind", TABLE), (k.page[page], "owner", 0),
        (S, "mappings", 0), (S, "root", page), (k.container[k.root], "pages", 0),
        (k.container[k.root], "used_pages", 1), (k.memory, "free_pages", 0), (k.core[0], "head", page),
    ):  # fmt: skip
        right = getattr(thing, field)
        setattr(thing, field, value)
        with pytest.raises(CheckFailed, match="does not hold"):
            victim.machine.audit()
        setattr(thing, field, right)
    assert victim.machine.audit() > 0
    victim.kill()


def test_modules_that_mistakes_are_made_in_are_the_ones_that_run() -> None:
    import kernel.calls.endings
    import kernel.calls.memory
    import kernel.calls.threads

    users: object
    for users, modules in (
        (kernel.calls.memory, (page_allocator, page_table)),
        (kernel.calls.threads, (scheduler, thread)),
        (kernel.calls.endings, (process, thread)),
    ):
        for module in modules:
            assert getattr(users, module.__name__.rpartition(".")[2]) is module
