"""Devices in the hands of programs: a board made for it, driven by tests/programs/devices.c."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aerostat import DescriptionError, Machine, MachineFailed, OutOfMemory
from hv.devices import LentDevice
from kernel.check import CheckFailed
from tests.aerostat.board import SCRATCH, Board
from tests.aerostat.programs import GUARD, Capture, Outcome, Pipe, aerostat, assert_idle, built, open_files, wait

pytestmark = pytest.mark.kvm

ALONE = (
    "registers", "info", "unmap", "dma", "dma_after_munmap", "blocks", "hardware_refuses", "interrupts", "reset",
    "arguments", "exhaustion", "pass", "share",
)  # fmt: skip


def play(machine: Machine, lent: LentDevice, scene: str) -> Outcome:
    with Capture() as capture:
        program = machine.spawn(
            built("tests/devices"), ["devices", scene], stdout=capture.fd, linux=False, devices={"board": lent}
        )
        return Outcome(wait(program), capture.text(), program.report)


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("scene", ALONE)
def test_scene(new_machine: Callable[..., Machine], scene: str, cores: int) -> None:
    machine, board = new_machine("16M", cores=cores, check="full"), Board()
    outcome = play(machine, machine.add_device(board), scene)
    assert (outcome.status, outcome.output, outcome.report) == (0, f"{scene}: ok\n", None)
    assert board.mapped == {}
    if scene == "registers":
        assert board.memory[8:16] == (0xFEED).to_bytes(8, "little")
        assert board.memory[0x1FF8:0x2000] == (0xBEEF).to_bytes(8, "little")
    machine.audit()
    assert not machine.hypervisor.devices.registers.frames


@pytest.mark.parametrize("scene", ["store_read_only", "store_protected", "load_unmapped", "execute"])
def test_faults(new_machine: Callable[..., Machine], scene: str) -> None:
    machine, board = new_machine("16M", check="full"), Board()
    lent = machine.add_device(board)
    outcome = play(machine, lent, scene)
    assert (outcome.status, outcome.output) == (139, ""), outcome
    assert play(machine, lent, "registers").output == "registers: ok\n", "it was reset for its next holder"
    assert board.resets == 1


def test_an_instruction_that_cannot_be_emulated_ends_the_program_alone(new_machine: Callable[..., Machine]) -> None:
    machine = new_machine("16M", check="full")
    lent = machine.add_device(Board())
    assert play(machine, lent, "odd_instruction").status in (0, 134)
    assert play(machine, lent, "registers").status == 0


@pytest.mark.parametrize("cores", [1, 2])
def test_kill_of_the_holder(new_machine: Callable[..., Machine], cores: int) -> None:
    machine, board = new_machine("16M", cores=cores, check="full"), Board()
    lent = machine.add_device(board)
    with Pipe() as pipe:
        program = machine.spawn(
            built("tests/devices"), ["devices", "hold"], stdout=pipe.fd, linux=False, devices={"board": lent}
        )
        pipe.until("holds")
        assert len(board.mapped) == 1
        machine.audit()
        with pytest.raises(ValueError, match="another program holds device board"):
            machine.spawn(built("tests/devices"), ["devices", "dma"], linux=False, devices={"board": lent})
        program.kill()
        program.wait()
    assert board.mapped == {}
    assert board.registers[SCRATCH] == 0x1D1E, "nobody has touched it yet"
    machine.audit()
    assert play(machine, lent, "dma").output == "dma: ok\n"
    assert board.resets == 1
    assert machine.statistics()["pages_used"] == 2, "the root and the device"


@pytest.mark.parametrize("cores", [1, 2])
def test_a_thousand_interrupts_at_once(new_machine: Callable[..., Machine], cores: int) -> None:
    """More than are signalled in one go."""
    machine, board = new_machine("16M", cores=cores, check="full"), Board()
    lent = machine.add_device(board)
    with Pipe() as pipe:
        program = machine.spawn(
            built("tests/devices"), ["devices", "many_interrupts"], stdout=pipe.fd, linux=False, devices={"board": lent}
        )
        pipe.until("bound")
        os.eventfd_write(board.interrupts[0], 1000)
        assert "many_interrupts: ok" in pipe.until("many_interrupts:")
        assert wait(program) == 0
    machine.audit()


def test_interrupts_of_one_holder_are_not_the_next_ones(new_machine: Callable[..., Machine]) -> None:
    machine, board = new_machine("16M", check="full"), Board()
    lent = machine.add_device(board)
    with Pipe() as pipe:
        program = machine.spawn(
            built("tests/devices"), ["devices", "hold"], stdout=pipe.fd, linux=False, devices={"board": lent}
        )
        pipe.until("holds")
        program.kill()
        program.wait()
    for interrupt in board.interrupts: os.eventfd_write(interrupt, 7)
    assert play(machine, lent, "interrupts").output == "interrupts: ok\n", "it counts its own"
    machine.audit()


@pytest.mark.parametrize("cores", [1, 2])
def test_two_threads_reset_it_at_once(new_machine: Callable[..., Machine], cores: int) -> None:
    machine, board = new_machine("16M", cores=cores, check="full"), Board()
    lent = machine.add_device(board)
    board.resetting = lambda: time.sleep(0.2)
    outcome = play(machine, lent, "reset_twice")
    assert (outcome.status, outcome.output) == (0, "reset_twice: ok\n"), outcome
    assert board.resets == 2


@pytest.mark.parametrize("by", ["host", "device"])
def test_surprise_removal(new_machine: Callable[..., Machine], by: str) -> None:
    machine, board = new_machine("16M", cores=2, check="full"), Board()
    lent = machine.add_device(board)
    with Pipe() as pipe:
        program = machine.spawn(
            built("tests/devices"), ["devices", "surprise"], stdout=pipe.fd, linux=False, devices={"board": lent}
        )
        pipe.until("here")
        if by == "host": lent.remove()
        else: os.eventfd_write(board.removal, 1)
        assert "surprise: ok" in pipe.until("surprise:")
        assert wait(program) == 0
    assert board.closed
    lent.remove()
    with pytest.raises(ValueError, match="was removed"):
        machine.spawn(built("tests/devices"), ["devices", "dma"], linux=False, devices={"board": lent})
    assert_idle(machine)


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize(("scene", "room"), [("attach_many", 400), ("attach_many", 150), ("attach_meanwhile", 400)])
def test_a_domain_that_maps_much_already(
    new_machine: Callable[..., Machine], scene: str, room: int, cores: int
) -> None:
    """The device is attached, or, where its IOMMU has less room, is not, and reaches nothing."""
    machine, board = new_machine("16M", cores=cores, check="full"), Board(room)
    lent = machine.add_device(board)
    outcome = play(machine, lent, scene)
    assert (outcome.status, outcome.output, outcome.report) == (0, f"{scene}: ok\n", None)
    assert (lent.mirrored, lent.mirroring, board.mapped) == ({}, None, {})
    machine.audit()


def test_others_have_the_lock_while_a_domain_that_maps_much_is_attached(new_machine: Callable[..., Machine]) -> None:
    """They see the device reach a part of it, which an audit finds right; and a holder that is killed then loses it."""
    machine, board = new_machine("16M", cores=2, check="full"), Board(400)
    lent, seen = machine.add_device(board), set[int]()
    board.mapping = lambda: time.sleep(0.002)
    program = machine.load(
        built("tests/devices"), ["devices", "attach_many"], linux=False, devices={"board": lent}
    )
    program.start()
    end = time.monotonic() + GUARD
    while not seen and time.monotonic() < end:
        with machine.hypervisor.lock:
            if lent.mirroring is not None: seen.add(len(lent.mirrored))
    assert 0 < max(seen) < 200
    machine.audit()
    program.kill()
    program.wait()
    assert (lent.mirrored, lent.mirroring, board.mapped) == ({}, None, {})
    machine.audit()


def test_two_devices_in_two_containers_do_not_reach_each_other(new_machine: Callable[..., Machine]) -> None:
    machine = new_machine("32M", cores=2, check="full")
    boards = [Board(), Board()]
    containers = [machine.create_container(name, "4M") for name in ("a", "b")]
    lent = [machine.add_device(*pair) for pair in zip(boards, containers, strict=True)]
    with Pipe() as one, Pipe() as two:
        programs = [
            machine.load(
                built("tests/devices"), ["devices", "hold"], stdout=pipe.fd, linux=False, container=container,
                devices={"board": device},
            )
            for pipe, container, device in zip((one, two), containers, lent, strict=True)
        ]  # fmt: skip
        for program in programs: program.start()
        one.until("holds")
        two.until("holds")
        (first,), (second,) = (board.mapped.values() for board in boards)
        assert first[0] != second[0]
        machine.audit()
        containers[0].kill()
        assert boards[0].mapped == {}
        assert len(boards[1].mapped) == 1
        programs[1].kill()
    assert boards[1].mapped == {}
    machine.audit()


def test_what_a_model_raises_stops_the_machine(new_machine: Callable[..., Machine]) -> None:
    machine, board = new_machine("16M"), Board()
    board.raises = KeyError("a bug in a model")
    with pytest.raises(MachineFailed, match="a bug in a model"):
        play(machine, machine.add_device(board), "registers")


def test_the_audit_notices_what_a_device_reaches_besides(new_machine: Callable[..., Machine]) -> None:
    machine, board = new_machine("16M"), Board()
    lent = machine.add_device(board)
    machine.audit()
    lent.mirrored[5] = (7, 1)
    with pytest.raises(CheckFailed, match="device_mappings"): machine.audit()
    lent.mirrored.clear()


def test_the_audit_notices_an_entry_that_leads_to_other_registers(new_machine: Callable[..., Machine]) -> None:
    machine = new_machine("16M", cores=2)
    lent = machine.add_device(Board())
    with Pipe() as pipe:
        program = machine.spawn(
            built("tests/devices"), ["devices", "hold"], stdout=pipe.fd, linux=False, devices={"board": lent}
        )
        pipe.until("holds")
        frames = machine.hypervisor.devices.registers.frames
        p, address = next(iter(frames.items()))
        frames[p] = address + (1 << 20)
        with pytest.raises(CheckFailed): machine.audit()
        frames[p] = address
        machine.audit()
        program.kill()


def test_a_machine_closes_its_devices_and_leaves_no_files() -> None:
    before, threads = open_files(), threading.active_count()
    board = Board()
    with Machine("16M") as machine:
        assert play(machine, machine.add_device(board), "interrupts").status == 0
        assert not board.closed
    assert board.closed
    assert (open_files(), threading.active_count()) == (before, threads)


def test_a_container_too_small_for_a_device(new_machine: Callable[..., Machine]) -> None:
    machine = new_machine("8M")
    tiny = machine.create_container("tiny", pages=0)
    with pytest.raises(OutOfMemory, match="no memory for device board"): machine.add_device(Board(), tiny)


def test_deadlock_is_found_though_a_device_could_be_removed(new_machine: Callable[..., Machine]) -> None:
    machine = new_machine("16M")
    lent = machine.add_device(Board())
    program = machine.spawn(built("tests/deadlock"), linux=False, devices={"board": lent})
    assert program.wait(GUARD) == 134


def test_a_machine_file_gives_devices_to_programs(tmp_path: Path) -> None:
    file = tmp_path / "machine.toml"
    file.write_text(f"""
        [container.c]
        memory = "4M"
        linux = false
        [device.disk]
        kind = "nvme"
        options = {{ memory = "1M" }}
        container = "c"
        [program.p]
        file = "{built("tests/devices")}"
        arguments = ["ids", "disk"]
        container = "c"
        devices = ["disk"]
        """)
    with Machine.from_file(file, check="full") as machine:
        machine.start()
        assert machine.programs["p"].wait(GUARD) == 0
        machine.audit()
    file.write_text(file.read_text().replace('"1M"', '"1"'))
    with pytest.raises(DescriptionError, match=r"machine.toml:7: device.disk.options: .*less than a block"):
        Machine.from_file(file)


def test_the_command_line_gives_devices_to_programs() -> None:
    done = aerostat(
        "run", "--no-linux", "--check", "full", "--device", "nvme:memory=1M=disk", "--device", "ixgbe=nic",
        built("tests/devices"), "ids", "disk", "nic",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "disk 0x10802\nnic 0x20000\nids: ok\n"
