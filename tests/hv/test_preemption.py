"""Kicks and time slices: a program can always be stopped, and notices nothing of it."""

from __future__ import annotations

import random
import threading
import time

import pytest

from abi.layout import PAGE_SIZE
from hv.engine import FAULT, PREEMPTED, SYSCALL
from hv.vcpu import slice_is_over, slice_start, slice_stop
from tests.hv.guest import CODE, DATA, SPIN, STACK, SYSCALL_CODE, Guest, Space, jump_back, run

pytestmark = pytest.mark.kvm

INC_RBX = b"\x48\xff\xc3"
COUNT_CALLS = jump_back(INC_RBX + SYSCALL_CODE)
COUNT_FAULTS = jump_back(INC_RBX + b"\x0f\x0b")


def test_a_kick_before_a_run_ends_it_at_once(guest: Guest) -> None:
    vcpu = guest.program(COUNT_CALLS)
    vcpu.kick()
    vcpu.kick()
    assert (run(vcpu), vcpu.regs.rbx, vcpu.rip) == ("preempted", 0, CODE)
    assert (run(vcpu), vcpu.regs.rbx) == ("syscall", 1), "it counts once"
    vcpu.kick()
    assert (run(vcpu), vcpu.regs.rbx) == ("preempted", 1)
    assert (run(vcpu), vcpu.regs.rbx) == ("syscall", 2)


def test_registers_set_before_a_kicked_run_are_kept(guest: Guest) -> None:
    for code in (COUNT_CALLS, COUNT_FAULTS):
        vcpu = guest.program(code)
        run(vcpu)
        vcpu.regs.rbx = 41
        vcpu.rip = CODE
        vcpu.kick()
        assert run(vcpu) == "preempted"
        assert (vcpu.regs.rbx, vcpu.rip) == (41, CODE)
        assert vcpu.run() in (SYSCALL, FAULT)
        assert vcpu.regs.rbx == 42


def test_a_kick_ends_an_endless_loop(guest: Guest) -> None:
    vcpu = guest.program(SPIN)
    kicker = threading.Timer(0.05, vcpu.kick)
    kicker.start()
    assert (run(vcpu), vcpu.rip) == ("preempted", CODE)
    kicker.join()


def test_no_kick_is_lost_however_it_meets_the_entry(guest: Guest) -> None:
    slice_stop()
    vcpu = guest.program(SPIN)
    lost: list[float] = []
    go, stop = threading.Semaphore(0), threading.Event()
    delays = random.Random(1)

    def kick() -> None:
        while go.acquire() and not stop.is_set():
            until = time.perf_counter() + delays.random() * 2e-4
            while time.perf_counter() < until:
                pass
            vcpu.kick()

    def rescue() -> None:
        lost.append(time.monotonic())
        vcpu.kick()

    kicker = threading.Thread(target=kick)
    kicker.start()
    watchdog = threading.Timer(30, rescue)
    watchdog.start()
    try:
        for _ in range(300):
            go.release()
            assert vcpu.run() == PREEMPTED
    finally:
        stop.set()
        go.release()
        kicker.join()
        watchdog.cancel()
    assert not lost


@pytest.mark.parametrize("code", [COUNT_CALLS, COUNT_FAULTS], ids=["system calls", "faults"])
def test_kicks_at_any_point_of_the_gate_cost_no_call(guest: Guest, code: bytes) -> None:
    """Each call or fault is seen once, in order, whatever else a storm of kicks interrupts; the thread moves between
    two vCPUs whenever it is preempted."""
    space = Space(guest)
    space.put(code)
    vcpus = [guest.vcpu(), guest.vcpu()]
    vcpus[0].start(space.cr3, CODE, STACK)
    stop = threading.Event()
    delays = random.Random(2)

    def storm() -> None:
        while not stop.is_set():
            time.sleep(delays.random() * 3e-4)
            vcpus[0].kick()
            vcpus[1].kick()

    kicker = threading.Thread(target=storm)
    kicker.start()
    calls = preemptions = 0
    current = 0
    try:
        while calls < 2000:
            vcpu = vcpus[current]
            trap = vcpu.run()
            if trap == PREEMPTED:
                preemptions += 1
                assert vcpu.regs.rbx in (calls, calls + 1)
                if preemptions % 3 == 0:
                    context = vcpu.save()
                    current = 1 - current
                    vcpus[current].load(context, space.cr3)
                continue
            assert trap in (SYSCALL, FAULT), vcpu.crash_reason
            calls += 1
            assert vcpu.regs.rbx == calls
            if trap == FAULT:
                assert vcpu.vector == 6
                vcpu.rip += 2
    finally:
        stop.set()
        kicker.join()
    assert preemptions


def test_a_time_slice_ends_an_endless_loop_again_and_again(guest: Guest) -> None:
    vcpu = guest.program(jump_back(INC_RBX))
    slice_start(2_000_000)
    counts = []
    for _ in range(5):
        assert run(vcpu) == "preempted"
        counts.append(vcpu.regs.rbx)
    slice_stop()
    assert counts == sorted(counts)
    assert counts[-1] > 0


def test_a_slice_that_ends_in_the_host_ends_the_next_run(guest: Guest) -> None:
    vcpu = guest.program(COUNT_CALLS)
    slice_start(5_000_000)
    enough = time.thread_time() + 0.02
    while time.thread_time() < enough: pass
    assert (run(vcpu), vcpu.regs.rbx) == ("preempted", 0)
    slice_stop()
    assert (run(vcpu), vcpu.regs.rbx) == ("syscall", 1)


def test_a_slice_that_begins_anew_forgets_what_has_come(guest: Guest) -> None:
    vcpu = guest.program(COUNT_CALLS)
    slice_start(1_000_000)
    while not slice_is_over(): pass
    slice_start(30_000_000_000)
    assert not slice_is_over()
    assert (run(vcpu), vcpu.regs.rbx) == ("syscall", 1)
    slice_stop()


def test_slices_are_a_threads_own(guest: Guest) -> None:
    """A tick of this thread does not end the run of another one."""
    vcpu = guest.program(COUNT_CALLS)
    slice_start(1_000_000)
    seen: list[str] = []
    other = threading.Thread(target=lambda: seen.extend(run(vcpu) for _ in range(300)))
    other.start()
    other.join()
    slice_stop()
    assert seen == ["syscall"] * 300


def test_a_slice_has_a_length(guest: Guest) -> None:
    with pytest.raises(ValueError, match="slice"):
        slice_start(0)


def test_preempted_programs_compute_what_they_would_have(guest: Guest) -> None:
    """Integer and vector counters agree after many preemptions, each followed by a move to another vCPU."""
    rounds = 20_000_000
    # mov ecx, rounds; 1: inc r8; inc r9; paddq xmm0, xmm1; dec ecx; jnz 1b; movq rax, xmm0; syscall
    loop = b"\x49\xff\xc0" + b"\x49\xff\xc1" + b"\x66\x0f\xd4\xc1" + b"\xff\xc9" + b"\x75\xf2"
    load_one = b"\xb8\x01\x00\x00\x00" + b"\x66\x48\x0f\x6e\xc8"  # mov eax, 1; movq xmm1, rax
    code = load_one + b"\xb9" + rounds.to_bytes(4, "little") + loop + b"\x66\x48\x0f\x7e\xc0" + SYSCALL_CODE
    space = Space(guest)
    space.put(code)
    vcpus = [guest.vcpu() for _ in range(3)]
    vcpus[0].start(space.cr3, CODE, STACK)
    slice_start(5_000_000)
    moves = 0
    while run(vcpus[moves % 3]) == "preempted":
        context = vcpus[moves % 3].save()
        moves += 1
        vcpus[moves % 3].load(context, space.cr3)
    slice_stop()
    registers = vcpus[moves % 3].regs
    assert (registers.r8, registers.r9, registers.rax) == (rounds, rounds, rounds)


def test_the_host_may_redirect_a_preempted_program(guest: Guest) -> None:
    """As a signal does."""
    space = Space(guest)
    space.put(SPIN.ljust(16, b"\x90") + INC_RBX + SYSCALL_CODE)
    vcpu = guest.vcpu()
    vcpu.start(space.cr3, CODE, STACK)
    slice_start(2_000_000)
    assert run(vcpu) == "preempted"
    slice_stop()
    vcpu.rip = CODE + 16
    vcpu.regs.rbx = 9
    vcpu.rsp = STACK - 128
    assert run(vcpu) == "syscall"
    assert (vcpu.regs.rbx, vcpu.rsp) == (10, STACK - 128)


def test_vcpus_run_in_threads_of_their_own(guest: Guest) -> None:
    """Two programs count in memory of their own, and in memory they share, at the same time."""
    spaces = [Space(guest), Space(guest)]
    shared = guest.new_page()
    locked_increment = b"\xf0\x48\xff\x07"  # lock inc qword [rdi]
    vcpus = []
    for space in spaces:
        space.put(jump_back(locked_increment + INC_RBX + SYSCALL_CODE))
        space.map(DATA, shared)
        vcpu = guest.vcpu()
        vcpu.start(space.cr3, CODE, STACK, rdi=DATA)
        vcpus.append(vcpu)
    traps: list[list[int]] = [[], []]

    def work(number: int) -> None:
        traps[number] = [vcpus[number].run() for _ in range(1000)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert traps == [[SYSCALL] * 1000] * 2
    assert [vcpu.regs.rbx for vcpu in vcpus] == [1000, 1000]
    assert guest.load(shared) == 2000


def test_a_running_vcpu_cannot_be_closed(guest: Guest) -> None:
    vcpu = guest.program(jump_back(b"\x48\xff\x07"))  # inc qword [rdi]
    page = 1  # the program's code is page 0
    outcome: list[str] = []
    runner = threading.Thread(target=lambda: outcome.append(run(vcpu)))
    runner.start()
    while not guest.memory.view[page * PAGE_SIZE]:
        time.sleep(0.001)
    with pytest.raises(RuntimeError, match="running"):
        vcpu.close()
    vcpu.kick()
    runner.join()
    assert outcome == ["preempted"]
    vcpu.close()
