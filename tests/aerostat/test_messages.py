"""Messages, pagers and timers: what arrives, who is killed meanwhile, and who waits for ever."""

from __future__ import annotations

import gc
import re
import threading
from collections.abc import Callable, Iterator

import pytest

from aerostat import Machine
from aerostat.program import Program
from hv.vcpu_pool import POOLED_VCPUS
from kernel.objects import AWAITING, CALLING, RECEIVING, SENDING
from tests.aerostat.programs import GUARD, REPOSITORY, Capture, NewMachine, assert_idle, built, run, succeeds, wait

pytestmark = pytest.mark.kvm

CORES = pytest.mark.parametrize("cores", [1, 2])
DEADLOCK = "deadlock: every thread waits for another"


def _scenes(program: str) -> list[tuple[str, str]]:
    """(program, scene), from the table at the end of its source."""
    source = (REPOSITORY / "tests" / "programs" / f"{program}.c").read_text(encoding="ascii").split("scenes[] =")[1]
    return [(program, scene) for scene in re.findall(r'^ +\{"([a-z-]+)", \w+\},$', source, re.MULTILINE)]


SCENES = [scene for program in ("messages", "carried", "pagers", "blocked", "partners") for scene in _scenes(program)]
WAYS = re.findall(
    r'\{"([a-z-]+)", \w+\}', (REPOSITORY / "tests" / "programs" / "blocked.c").read_text().split("WAYS")[0]
)


KINDS = [("touched", 1), ("touched", 2), ("full", 2)]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}")
def shared(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """One machine for all scenes, so that each meets what the ones before it left."""
    check, cores = request.param
    with Machine("32M", cores=cores, check=check) as machine:
        yield machine


def test_the_lists_are_not_empty() -> None:
    assert len(SCENES) > 25
    assert len(WAYS) == 9


@pytest.mark.parametrize(("program", "scene"), SCENES, ids=lambda value: value)
def test_scene(shared: Machine, program: str, scene: str) -> None:
    assert succeeds(shared, f"tests/{program}", scene, linux=False) == f"{scene}: ok\n"
    assert_idle(shared)


@pytest.mark.parametrize("seed", range(2, 7))
def test_a_page_shared_ten_ways_is_released_in_any_order(shared: Machine, seed: int) -> None:
    assert succeeds(shared, "tests/carried", "ten-ways", str(seed), linux=False) == "ten-ways: ok\n"
    assert_idle(shared)


# Many at one endpoint.


def waiting(machine: Machine, *how: int) -> int:
    """How many threads wait so with an endpoint."""
    return sum(machine.hypervisor.kernel.thread[t].waits in how for t in machine.hypervisor.threads)


def until(machine: Machine, true: Callable[[], bool]) -> None:
    """Waits until something is true of a machine, which runs on meanwhile."""
    with machine.hypervisor.lock:
        for _ in range(int(GUARD / 0.001)):
            if true(): return
            machine.hypervisor.lock.wait(0.001)
    raise AssertionError("it did not become true")


@CORES
def test_first_come_first_served(new_machine: NewMachine, cores: int) -> None:
    machine = new_machine("32M", cores=cores)
    with Capture() as output:
        program = machine.spawn(built("tests/queues"), ["queues", "first-come"], stdout=output.fd, linux=False)
        for i in range(40):
            program.write("allowed", (i + 1).to_bytes(8, "little"))
            until(machine, lambda expected=i + 1: waiting(machine, SENDING, CALLING) == expected)  # type: ignore[misc]
        program.write("drain", (1).to_bytes(8, "little"))
        assert wait(program) == 0, output.text()
        assert output.text() == "queues: ok\n"
    assert_idle(machine)


@CORES
@pytest.mark.parametrize("how", ["hung-up", "refused"])
def test_many_who_wait_are_turned_away(new_machine: NewMachine, how: str, cores: int) -> None:
    """More than are told at once."""
    machine = new_machine("32M", cores=cores)
    with Capture() as output:
        program = machine.spawn(built("tests/queues"), ["queues", how], stdout=output.fd, linux=False)
        until(machine, lambda: waiting(machine, SENDING) == 40)
        program.write("drain", (1).to_bytes(8, "little"))
        assert wait(program) == 0, output.text()
        assert output.text() == "queues: ok\n"
    assert_idle(machine)


@CORES
def test_more_threads_than_vcpus_call_each_other(new_machine: NewMachine, cores: int) -> None:
    machine = new_machine("32M", cores=cores)
    assert succeeds(machine, "tests/queues", "crowd", "150", "4", linux=False) == "queues: ok\n"
    assert machine.statistics()["vcpus"] == POOLED_VCPUS
    assert_idle(machine)


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_storm_of_messages(new_machine: NewMachine, seed: int) -> None:
    machine = new_machine("32M", cores=1 + seed % 3, check="full")
    assert succeeds(machine, "tests/storm", "120", str(seed), linux=False) == "storm: ok\n"
    assert_idle(machine)


def test_storms_of_several_programs(new_machine: NewMachine) -> None:
    machine = new_machine("32M", cores=2)
    with Capture() as output:
        programs = [
            machine.spawn(built("tests/storm"), ["storm", "150", str(seed)], stdout=output.fd, linux=False)
            for seed in (21, 22, 23)
        ]
        programs[1].kill()
        assert [wait(program) for program in programs] == [0, 137, 0], output.text()
    assert_idle(machine)


# Waiting for what cannot come, or for an end from outside.


def blocked(machine: Machine, way: str) -> Program:
    """A program whose only thread waits so."""
    program = machine.spawn(built("tests/blocked"), ["blocked", "for-ever", way], linux=False)
    until(machine, lambda: waiting(machine, SENDING, CALLING, RECEIVING, AWAITING) == 1)
    return program


@pytest.mark.parametrize("way", WAYS)
def test_kill_from_outside_while_blocked(shared: Machine, way: str) -> None:
    program = blocked(shared, way)
    program.kill()
    assert wait(program) == 137
    assert not shared.hypervisor.events.pending(), "the time of a thread that is gone is no event"
    assert_idle(shared)


@pytest.mark.parametrize("way", WAYS)
def test_a_machine_is_closed_while_a_program_is_blocked(way: str) -> None:
    with Machine("8M", check="full") as machine:
        blocked(machine, way)


@pytest.mark.parametrize("way", WAYS)
def test_waiting_for_what_nobody_can_send(shared: Machine, way: str) -> None:
    """Who waits for the program finds the deadlock; but what has a time to wait at most is none."""
    if way.startswith("timed"):
        program = blocked(shared, way)
        with pytest.raises(TimeoutError):
            program.wait(timeout=0.2)
        program.kill()
        assert wait(program) == 137
    else:
        outcome = run(shared, "tests/blocked", "for-ever", way, linux=False)
        assert (outcome.status, outcome.reason) == (134, DEADLOCK)
        assert outcome.report is not None
        expected = "page fault" if way == "fault" else f"message_{way.split('-')[0]}"
        assert expected in outcome.report.traps[-1].what
    assert_idle(shared)


@CORES
def test_calls_in_a_circle(new_machine: NewMachine, cores: int) -> None:
    machine = new_machine("8M", cores=cores)
    outcome = run(machine, "tests/blocked", "for-ever", "circle", linux=False)
    assert (outcome.status, outcome.reason) == (134, DEADLOCK)
    assert_idle(machine)


def test_a_time_limit_ends_who_is_blocked(new_machine: NewMachine) -> None:
    machine = new_machine("8M", time_limit=0.2)
    for way in ("timed-send", "timed-call", "timed-receive"):
        assert run(machine, "tests/blocked", "for-ever", way, linux=False).status == 124
    assert_idle(machine)


def test_deadlock_after_the_last_timer(new_machine: NewMachine) -> None:
    """Until it expires something is going to happen; then it is found, also by a thread that no signal wakes."""
    machine = new_machine("8M")
    program = machine.spawn(built("tests/blocked"), ["blocked", "for-ever", "expiry"], linux=False)
    waiter = threading.Thread(target=program.wait, daemon=True)
    waiter.start()
    waiter.join(GUARD)
    assert program.status == 134
    assert program.report is not None
    assert program.report.reason == DEADLOCK
    assert_idle(machine)


# Nothing is left.


def test_nothing_is_left_of_endpoints_timers_and_messages(new_machine: NewMachine) -> None:
    machine = new_machine("32M", cores=2)
    hypervisor = machine.hypervisor
    k = hypervisor.kernel

    def a_round() -> None:
        for program, scene in SCENES:
            if scene != "ten-ways": run(machine, f"tests/{program}", scene, linux=False)
        run(machine, "demo/clock", linux=False)

    def objects() -> int:
        gc.collect()
        return len(gc.get_objects())

    a_round()
    assert_idle(machine)
    before = objects()
    a_round()
    assert_idle(machine)
    assert list(k.container) == [k.root]
    assert not k.endpoint
    assert not k.process
    assert not k.thread
    assert not k.table
    assert not hypervisor.messages._timers
    assert not hypervisor.events.pending()
    assert objects() < before + 2000
    assert machine.statistics()["memory_resident"] < 8 << 20, "the host may keep a huge page of which little is left"
