"""When invariants are evaluated, and what becomes of one that does not hold."""

from __future__ import annotations

import operator
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from abi.calls import BY_NAME
from aerostat import Violation, invariant
from aerostat.invariants import Clause
from aerostat.invariants.clause import call_numbers
from kernel.objects import RUNNING
from tests.aerostat.invariants.compiling import FREESTANDING, compile_program, written
from tests.aerostat.invariants.conftest import Load
from tests.aerostat.invariants.watching import stopped, values
from tests.aerostat.programs import GUARD, Capture, NewMachine, Pipe, assert_idle, built, wait

pytestmark = pytest.mark.kvm


def counts(program: Any, name: str) -> Any:
    """The statistics of an invariant of a program's machine."""
    return program.machine.statistics()["invariants"][name]


# When.


def test_at_every_exit_and_at_the_end(load: Load) -> None:
    program = load("count", "20")
    seen: list[int] = []

    @program.invariant
    def looks(m: Any) -> bool:
        seen.append(m.program.count)
        return True

    program.start()
    assert wait(program) == 0
    assert sorted(set(seen)) == list(range(1, 22)), "at each call, and when it ended"
    assert counts(program, "looks")["evaluated"] == len(seen)
    # An exit that ends the program is one exit: nothing is evaluated twice for it, nor after it.
    assert seen.count(21) == 1


def test_at_every_nth_exit(load: Load) -> None:
    program = load("count", "100")
    seen: list[int] = []

    @program.invariant(every=10)
    def looks(m: Any) -> bool:
        seen.append(m.program.count)
        return True

    program.start()
    assert wait(program) == 0
    assert 10 <= len(seen) <= 14
    assert seen[-1] == 101, "at the end in any case"


def test_at_named_calls_before_they_are_served(load: Load) -> None:
    """What is wrong does not leave the machine."""
    with Capture() as output:
        program = load("print", "5", stdout=output.fd)

        @program.invariant(at=("debug_print", "process_exit"))
        def printed_less_than_three(m: Any) -> bool:
            """Not more than three lines are printed."""
            assert m.call.name == "debug_print"
            assert m.program.bytes(m.call.arguments[0], m.call.arguments[1]) == b"printed\n"
            return bool(m.program.count <= 3)

        violation = stopped(program.machine, program)
        assert output.text() == "printed\n" * 3
    assert values(violation)["count"] == ("3", "4")
    assert counts(program, "printed_less_than_three")["evaluated"] == 4


def test_a_call_by_number_and_a_name_that_is_native_and_linux(load: Load) -> None:
    assert call_numbers("mmap") == [BY_NAME["mmap"].number, 9]
    assert call_numbers(0x1000) == [0x1000]
    program = load("count", "7")
    seen: list[int] = []

    @program.invariant(at=0x1000)
    def looks(m: Any) -> bool:
        seen.append(m.program.count)
        return True

    program.start()
    assert wait(program) == 0
    assert seen == [1, 2, 3, 4, 5, 6, 7]


def test_linux_calls(new_machine: NewMachine) -> None:
    machine = new_machine("32M")
    with Capture() as output:
        program = machine.load(built("tests/hello_libc-musl"), stdout=output.fd)
        seen: list[Any] = []

        @program.invariant(at=["writev", "write", "exit_group"])
        def looks(m: Any) -> bool:
            seen.append((m.call.name, m.call.arguments[0]))
            return True

        program.start()
        assert wait(program) == 0
    assert len(seen) >= 2
    assert seen[0][1] == 1
    assert machine.violations == []


def test_a_call_that_waits_is_one_call(new_machine: NewMachine) -> None:
    """It is tried again when there is something to read: the exit is served then, and no other call was made."""
    machine = new_machine("32M")
    calls: list[str] = []
    served: list[int] = []
    with Pipe() as source, Pipe() as output:
        program = machine.load(
            "/bin/busybox", ["busybox", "head", "-n", "1"], stdin=source.reader, stdout=output.fd
        )

        @program.invariant(at="read")
        def reads(m: Any) -> bool:
            calls.append(m.call.name)
            return True

        @program.invariant
        def exits(m: Any) -> bool:
            served.append(len(calls))
            return True

        program.start()
        hypervisor = machine.hypervisor
        with hypervisor.lock:
            assert hypervisor.lock.wait_for(lambda: all(core.idle for core in hypervisor.cores) and calls, GUARD)
            before = len(served)
        os.write(source.fd, b"a line\n")
        output.until("a line\n")
        assert wait(program) == 0
    assert len(calls) == 1
    assert len(served) > before, "the call was served when it was tried again"


def test_time_slices_are_exits(load: Load) -> None:
    program = load("compute")
    seen: list[int] = []

    @program.invariant
    def looks(m: Any) -> bool:
        if m.call is None: seen.append(m.program.computing)
        return True

    program.start()
    assert wait(program) == 0
    assert len({value for value in seen if 0 < value < 300_000_000}) > 1, "while it computed"


@pytest.mark.parametrize("cores", [1, 2])
def test_a_guard(load: Load, cores: int) -> None:
    program = load("transfers", cores=cores)

    @program.invariant(unless=lambda m: m.program.lock.held != 0)
    def no_money_is_lost(m: Any) -> bool:
        """The accounts hold 1000 together."""
        return sum(m.program.accounts) == 1000

    program.start()
    assert wait(program) == 0
    found = counts(program, "no_money_is_lost")
    assert found["violated"] == 0
    assert found["skipped"] >= 50, "it yields within the lock"
    assert found["evaluated"] >= 50


# A violation.


def test_a_violation_stops_the_machine(load: Load) -> None:
    program = load("count", "10")

    @program.invariant
    def count_is_small(m: Any) -> bool:
        """The count
        stays below five."""
        return bool(m.program.count < 5)

    violation = stopped(program.machine, program)
    assert violation.clause.name == "count_is_small"
    assert values(violation) == {"count": ("4", "5")}
    assert violation.error is None
    text = str(violation)
    assert text.startswith("invariant count_is_small does not hold: The count stays below five.\n  defined at test_ch")
    assert "count: 4 -> 5" in text
    assert "stopped at the call null" in text
    assert "main" in text.split("called from")[1]
    assert "watched.c:" in text
    assert "rip " in text
    assert "null" in text.split("last traps")[1]
    facts = violation.as_dict()
    assert facts["invariant"] == "count_is_small"
    assert facts["values"] == [{"name": "count", "before": "4", "after": "5"}]
    assert facts["report"]["registers"]["rip"]
    machine = program.machine
    assert program.status is None
    for use in (lambda: machine.spawn(built("demo/hello")), machine.audit, lambda: program.wait(1)):
        with pytest.raises(Violation):
            use()


@pytest.mark.parametrize("cores", [1, 2])
def test_a_bug_in_a_second_thread(load: Load, cores: int) -> None:
    """Seen at the first exit at which nobody holds the lock, whichever thread makes it."""
    program = load("careless", cores=cores)

    @program.invariant(unless=lambda m: m.program.lock.held != 0)
    def no_money_is_lost(m: Any) -> bool:
        """The accounts hold 1000 together."""
        return sum(m.program.accounts) == 1000

    violation = stopped(program.machine, program)
    total = sum(int(after) for name, (_, after) in values(violation).items() if name.startswith("accounts["))
    assert total != 1000
    assert violation.report.thread in program.machine.hypervisor.threads


def test_what_is_broken_when_the_program_exits(load: Load) -> None:
    program = load("break-and-exit")

    @program.invariant
    def not_broken(m: Any) -> bool:
        """Nothing is broken."""
        return not m.program.broken

    violation = stopped(program.machine, program)
    assert "stopped at the call" in violation.report.reason
    assert values(violation)["broken"][1] == "1"


def test_what_is_broken_when_the_program_faults(load: Load) -> None:
    """The invariant says more than the fault, and the fault is told as well."""
    program = load("break-and-fault")

    @program.invariant
    def not_broken(m: Any) -> bool:
        """Nothing is broken."""
        return not m.program.broken

    violation = stopped(program.machine, program)
    assert "page fault" in violation.report.reason
    assert "writing 0x10" in violation.report.reason


def test_reports_and_runs_on(load: Load) -> None:
    program = load("break-and-mend", "5", on_violation="report")
    told: list[Violation] = []
    program.machine.when_reported = told.append

    @program.invariant
    def not_broken(m: Any) -> bool:
        """Nothing is broken."""
        return not m.program.broken

    @program.invariant
    def never_even(m: Any) -> bool:
        """This one does not hold either."""
        return bool(m.program.broken != 0)

    program.start()
    assert wait(program) == 0
    assert [violation.clause.name for violation in told] == ["never_even", "not_broken"] or len(told) == 2
    assert program.machine.violations == told, "once a clause"
    assert counts(program, "not_broken")["violated"] >= 5
    assert program.machine.audit() > 0


def test_asks_and_runs_on_or_not(load: Load) -> None:
    """Asked once each time that it breaks, not at each exit at which it is broken."""
    program = load("break-and-mend", "5", on_violation="repl")
    asked: list[str] = []

    def answer(violation: Violation, m: Any) -> bool:
        asked.append(str(m.program.broken))
        return len(asked) < 3

    program.machine.when_asked = answer

    @program.invariant
    def not_broken(m: Any) -> bool:
        """Nothing is broken."""
        return not m.program.broken

    program.start()
    with pytest.raises(Violation):
        wait(program)
    assert asked == ["1", "1", "1"]
    assert len(program.machine.violations) == 1


def test_time_limits_stand_still_while_somebody_is_asked(load: Load) -> None:
    import time

    program = load("break-and-mend", "1", on_violation="repl", time_limit=5)
    limits: list[float] = []

    def answer(violation: Violation, m: Any) -> bool:
        assert program.process.limit is not None
        limits.append(program.process.limit.deadline)
        time.sleep(0.2)
        return True

    program.machine.when_asked = answer

    @program.invariant(at="null")
    def not_broken(m: Any) -> bool:
        """Nothing is broken."""
        if limits and program.process.limit is not None: limits.append(program.process.limit.deadline)
        return not m.program.broken

    program.start()
    assert wait(program) == 0
    assert limits[-1] >= limits[0] + 0.2


# What predicates do.


def test_one_that_raises(load: Load) -> None:
    program = load("count", "10")

    @program.invariant
    def divides(m: Any) -> bool:
        """A ratio."""
        return bool(1 / (m.program.count - 3))

    violation = stopped(program.machine, program)
    assert violation.error is not None
    assert violation.error.startswith("test_checking.py:")
    assert violation.error.endswith(", in divides: ZeroDivisionError: division by zero")
    assert str(violation).startswith("invariant divides cannot be evaluated: test_checking.py:")
    assert values(violation)["count"][1] == "3"


def test_a_guard_that_raises(load: Load) -> None:
    program = load("count", "10")

    @program.invariant(unless=lambda m: m.program.nobody)
    def holds(m: Any) -> bool:
        return True

    violation = stopped(program.machine, program)
    assert violation.error is not None
    assert "no variable, constant or function 'nobody'" in violation.error


def test_one_that_forgets_to_return(load: Load) -> None:
    program = load("count", "10")

    @program.invariant
    def forgets(m: Any) -> None:
        print(m.program.count, file=open("/dev/null", "w"))  # noqa: SIM115

    violation = stopped(program.machine, program)
    assert violation.error == "it returned None: an invariant returns True or False"


def test_one_that_exits_python(load: Load) -> None:
    program = load("count", "10")

    @program.invariant
    def leaves(m: Any) -> bool:
        raise SystemExit(3)

    violation = stopped(program.machine, program)
    assert violation.error is not None
    assert violation.error.endswith("SystemExit: 3")


MUTATIONS = {
    "m.program": lambda m: setattr(m, "program", 1),
    "m.kernel": lambda m: setattr(m, "kernel", 1),
    "program": lambda m: setattr(m.program, "count", 1),
    "item": lambda m: m.program.__setitem__("count", 1),
    "array": lambda m: m.program.accounts.__setitem__(0, 1),
    "structure": lambda m: setattr(m.program.lock, "held", 1),
    "deleting": lambda m: delattr(m.program.lock, "held"),
    "thread": lambda m: setattr(m.thread, "state", 1),
    "kernel": lambda m: setattr(m.kernel, "threads", 1),
    "row": lambda m: operator.setitem(next(iter(m.kernel.processes)).threads, 0, 1),
}  # fmt: skip


@pytest.mark.parametrize("how", MUTATIONS)
def test_one_that_changes_something(load: Load, how: str) -> None:
    program = load("count", "10")

    @program.invariant
    def changes(m: Any) -> bool:
        MUTATIONS[how](m)
        return True

    violation = stopped(program.machine, program)
    assert violation.error is not None
    assert "cannot be" in violation.error or "does not support item assignment" in violation.error
    assert program.process.memory.read_u32(program.symbol("lock")) == 0


def test_a_slow_one(load: Load) -> None:
    """It costs what it costs: the statistics say so."""
    import time

    program = load("count", "5")

    @program.invariant(at="null")
    def slow(m: Any) -> bool:
        time.sleep(0.02)
        return True

    program.start()
    assert wait(program) == 0
    found = counts(program, "slow")
    assert found["evaluated"] == 5
    assert found["mean_us"] >= 20_000
    assert found["total_ms"] >= 80


def test_ten_at_once(load: Load) -> None:
    program = load("count", "50")
    seen = [0] * 10

    def make(i: int) -> Clause:
        def predicate(m: Any) -> bool:
            seen[i] += 1
            return bool(m.program.count >= 0 and m.program.accounts[i % 2] == 500)

        predicate.__name__ = f"clause_{i}"
        return invariant(predicate)

    for i in range(10):
        program.invariant(make(i))
    program.start()
    assert wait(program) == 0
    assert len(set(seen)) == 1
    assert seen[0] > 50
    assert list(program.machine.statistics()["invariants"]) == [f"clause_{i}" for i in range(10)]


@pytest.mark.parametrize("check", ["off", "touched", "full"])
def test_whatever_is_checked_of_the_kernel(load: Load, check: str) -> None:
    program = load("count", "10", check=check)

    @program.invariant
    def count_is_small(m: Any) -> bool:
        """Small."""
        return bool(m.program.count < 5)

    assert values(stopped(program.machine, program))["count"] == ("4", "5")


# Kernel objects.


def test_each_object_of_a_kind(load: Load) -> None:
    program = load("transfers", cores=2)
    most: list[int] = []

    @program.machine.invariant("thread")
    def runs_on_a_core(m: Any, thread: Any) -> bool:
        """A thread that runs is what its core says that it runs."""
        return thread.state != RUNNING or m.kernel.cores[thread.core].current == thread.id

    @program.machine.invariant
    def counted(m: Any) -> bool:
        most.append(len(m.kernel.threads))
        assert len(m.kernel.processes) == 1
        assert m.kernel.root.id in m.kernel.containers
        assert sorted(m.kernel.threads.ids()) == sorted(thread.id for thread in m.kernel.threads)
        process = next(iter(m.kernel.processes))
        assert all(process.threads[i] in m.kernel.threads for i in range(process.thread_count))
        assert process.threads[12345] == 0
        assert m.kernel.memory.free_pages >= 0
        return all(page.kind != 0 for page in m.kernel.pages)

    program.start()
    assert wait(program) == 0
    assert max(most) == 3
    assert counts(program, "runs_on_a_core")["evaluated"] > len(most)


def test_a_violation_names_the_object(load: Load) -> None:
    program = load("transfers")

    @program.machine.invariant("process", every=1)
    def few_threads(m: Any, process: Any) -> bool:
        """A process has at most two threads."""
        return bool(process.thread_count <= 2)

    violation = stopped(program.machine, program)
    assert violation.about == f"process[{program.process.id}]"
    assert values(violation) == {f"process[{program.process.id}].thread_count": ("2", "3")}
    assert str(violation).startswith(f"invariant few_threads(process[{program.process.id}]) does not hold")


def test_kernel_objects_after_a_call(load: Load) -> None:
    """The call has been served, and the vCPU has not run on."""
    program = load("transfers")
    seen: list[int] = []

    @program.machine.invariant("process", at="thread_create")
    def looks(m: Any, process: Any) -> bool:
        seen.append(process.thread_count)
        return True

    program.start()
    assert wait(program) == 0
    assert seen == [2, 3]


def test_a_field_that_there_is_not(load: Load) -> None:
    program = load("count", "3")

    @program.machine.invariant("thread")
    def asks(m: Any, thread: Any) -> bool:
        return bool(thread.colour)

    violation = stopped(program.machine, program)
    assert violation.error is not None
    assert "has no field 'colour', but " in violation.error


# Programs.


def test_for_one_program_or_for_all(load: Load, watched: str) -> None:
    program = load("count", "5")
    machine = program.machine
    other = machine.load(watched, ["watched", "count", "3"], linux=False)
    seen: dict[str, list[int]] = {"one": [], "all": []}

    @program.invariant(at="null")
    def one(m: Any) -> bool:
        seen["one"].append(m.program.count)
        return True

    @machine.invariant(at="null")
    def all_of_them(m: Any) -> bool:
        seen["all"].append(m.program.count)
        return True

    program.start()
    assert wait(program) == 0
    other.start()
    assert wait(other) == 0
    assert seen["one"] == [1, 2, 3, 4, 5]
    assert seen["all"] == [1, 2, 3, 4, 5, 1, 2, 3]
    assert_idle_with(machine)


def assert_idle_with(machine: Any) -> None:
    """As assert_idle, for a machine whose invariants are about another program than the one that is run for that."""
    machine.hypervisor.observer = None
    assert_idle(machine)


def test_exits_of_children_look_at_the_program_that_was_started(new_machine: NewMachine) -> None:
    machine = new_machine("32M")
    with Capture() as output:
        program = machine.load(built("demo/processes"), stdout=output.fd, linux=False)
        seen: list[tuple[int, int]] = []

        @program.invariant
        def looks(m: Any) -> bool:
            thread = m.thread
            if thread is not None: seen.append((thread.process, m.program.address("main")))
            return True

        program.start()
        assert wait(program) == 0
    processes = {process for process, _ in seen}
    assert program.process.id in processes
    assert len(processes) == 2
    assert {address for _, address in seen} == {program.symbol("main")}


def test_the_host_ending_a_program_is_no_exit_of_it(load: Load) -> None:
    """It was interrupted somewhere."""
    program = load("compute", on_violation="stop")

    @program.invariant(every=1_000_000)
    def never(m: Any) -> bool:
        """Does not hold."""
        return False

    program.start()
    program.kill()
    assert wait(program) == 137
    assert program.machine.violations == []


def test_a_file_compiled_without_types(tmp_path: Path, new_machine: NewMachine) -> None:
    text = "#include <aero.h>\nextern int other; int mine;\nint main(void) { mine = other; aero_null(); return 0; }\n"
    sources = written(tmp_path, main=text, other="int other = 3;\n")
    plain = tmp_path / "other.o"
    subprocess.run(["gcc", "-c", "-g0", "-ffreestanding", "-o", str(plain), str(sources[1])], check=True)
    path = compile_program(tmp_path / "main", [sources[0], plain], FREESTANDING)
    program = new_machine().load(path, linux=False)

    @program.invariant(at="null")
    def asks(m: Any) -> bool:
        assert m.program.mine == m.program.u32("other") == 3
        return bool(m.program.other == 3)

    violation = stopped(program.machine, program)
    assert violation.error is not None
    assert "the file that defines it was compiled without -g" in violation.error


# Wrong uses.


@pytest.mark.parametrize(
    ("arguments", "keywords", "said"),
    [
        (("thing",), {}, "there are no kernel objects of kind 'thing', but page, block, giant, container"),
        ((), {"every": 0}, "every=0 is neither 'exit' nor a number from 1 on"),
        ((), {"every": "call"}, "every='call' is neither"),
        ((), {"every": True}, "every=True is neither"),
        ((), {"at": "no_such_call"}, "there is no system call 'no_such_call'"),
        ((), {"at": "write", "every": 3}, "every= and at= exclude each other"),
    ],
)  # fmt: skip
def test_wrong_arguments(arguments: Any, keywords: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        invariant(*arguments, **keywords)


def test_what_is_no_function() -> None:
    with pytest.raises(TypeError, match="is not a Python function"):
        invariant()(len)


def test_a_name_twice(load: Load) -> None:
    program = load("count")

    def same(m: Any) -> bool:
        return True

    program.invariant(same)
    with pytest.raises(ValueError, match=r"two invariants have the name same: test_checking\.py:\d+ and test_ch"):
        program.machine.invariant(same)


def test_a_wrong_word_for_on_violation(new_machine: NewMachine) -> None:
    with pytest.raises(ValueError, match="on_violation='panic' is not one of stop, report, repl"):
        new_machine(on_violation="panic")
