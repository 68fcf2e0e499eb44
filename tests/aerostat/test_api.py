"""The Python API: spawning programs, waiting for them, their memory and registers."""

from __future__ import annotations

import gc
import os
import struct
import threading
from pathlib import Path

import pytest

from aerostat import ArgumentsTooLong, BadElf, Machine, OutOfMemory, ProgramEnded, Thread, UserFault
from aerostat.sizes import parse_size
from hv.personality import BLOCKED
from tests.aerostat.programs import (
    API,
    GUARD,
    Capture,
    NewMachine,
    Pipe,
    api,
    assert_idle,
    built,
    open_files,
    wait,
)

pytestmark = pytest.mark.kvm


# Spawning.


def test_the_quick_start(capfd: pytest.CaptureFixture[str]) -> None:
    with Machine(memory="256M") as m:
        assert m.spawn(built("demo/hello"), ["hello"]).wait() == 0
    assert capfd.readouterr().out == "hello from ring 3\n"


def test_a_program_from_bytes_and_from_a_path_object(machine: Machine) -> None:
    with Capture() as output:
        for source in (Path(built("demo/hello")).read_bytes(), Path(built("demo/hello")), built("demo/hello")):
            assert wait(machine.spawn(source, stdout=output.fd)) == 0
        assert output.text() == "hello from ring 3\n" * 3


def test_streams(machine: Machine) -> None:
    reader, writer = os.pipe()
    with Pipe() as output, Capture() as errors, os.fdopen(reader), os.fdopen(writer, "wb", buffering=0) as source:
        program = machine.spawn(
            built("tests/libc-musl"), ["libc", "copy"], stdin=reader, stdout=output.fd, stderr=errors.fd
        )
        source.write(b"one\n" * 20000)  # more than a pipe holds, both ways
        source.write(b"two\n")
        source.close()
        assert output.until("TWO\n") == "ONE\n" * 20000 + "TWO\n"
        assert wait(program) == 0
        assert wait(machine.spawn(built("tests/libc-musl"), ["libc", "print"], stdout=output.fd, stderr=errors.fd)) == 0
        assert errors.text() == "to stderr\n"


def test_arguments_may_be_bytes_or_text(machine: Machine) -> None:
    with Capture() as output:
        program = machine.spawn(
            built("tests/libc-musl"), ["x", b"args", b"\xff\xfe", "\udcff", "", "a b"], {"K": "v\udc80"},
            stdout=output.fd,
        )  # fmt: skip
        assert wait(program) == 0
        raw = os.pread(output.fd, 1000, 0)
    assert raw == b"0=x\n1=args\n2=\xff\xfe\n3=\xff\n4=\n5=a b\nenv K=v\x80\n"


def test_no_arguments_at_all(machine: Machine) -> None:
    with Capture() as output:
        assert wait(machine.spawn(built("demo/hello"), [], stdout=output.fd)) == 0
        assert wait(machine.spawn(built("tests/hello_libc-glibc"), [], stdout=output.fd)) == 0
    assert_idle(machine)


@pytest.mark.parametrize("words", [["a\0b"], [b"\0"]])
def test_a_zero_byte_in_an_argument(machine: Machine, words: list[str | bytes]) -> None:
    with pytest.raises(ValueError, match=r"zero|NUL|null"):
        machine.spawn(built("demo/hello"), words)
    with pytest.raises(ValueError, match=r"zero|NUL|null"):
        machine.spawn(built("demo/hello"), ["x"], {"A": "\0"})
    assert_idle(machine)


@pytest.mark.parametrize("amount", [1 << 16, 1 << 20])
def test_many_arguments(machine: Machine, amount: int) -> None:
    words = ["x" * 1000] * (amount // 1000)
    with Capture() as output:
        assert wait(machine.spawn(built("tests/libc-musl"), ["libc", "args", *words], stdout=output.fd)) == 0
        assert output.text().count("x" * 1000) == len(words)
    assert_idle(machine)


@pytest.mark.parametrize("words", [["x" * (3 << 20)], ["x"] * 500_000], ids=["long", "many"])
def test_too_many_arguments(machine: Machine, words: list[str]) -> None:
    with pytest.raises(ArgumentsTooLong):
        machine.spawn(built("demo/hello"), words)
    with pytest.raises(ArgumentsTooLong):
        machine.spawn(built("demo/hello"), ["x"], {"A": "x" * (3 << 20)})
    assert_idle(machine)


@pytest.mark.parametrize("source", [b"", b"\x7fELF", b"x" * 100000, "/no/such/file", "/", "/dev/null"])
def test_what_is_no_program(machine: Machine, source: str | bytes) -> None:
    assert_idle(machine)
    before = open_files()
    with pytest.raises(BadElf):
        machine.spawn(source)
    assert_idle(machine)
    gc.collect()  # pytest keeps the exception for a while
    assert open_files() == before


def test_a_working_directory_that_was_not_granted(machine: Machine) -> None:
    with Capture() as output:
        try:
            program = machine.spawn(built("tests/hello_libc-musl"), cwd="/no/such", stdout=output.fd)
        except (ValueError, OSError):
            pass
        else:
            assert wait(program) == 0
    assert_idle(machine)


# Waiting and ending.


def test_wait_with_a_timeout_and_kill(machine: Machine) -> None:
    with Pipe() as output:
        program = api(machine, "wait", stdout=output.fd)
        output.until("waiting\n")
        for timeout in (0, 0.01, -1):
            with pytest.raises(TimeoutError, match="still runs"):
                program.wait(timeout)
        assert program.status is None
        assert program.report is None
        program.kill()
        assert [program.wait(), program.wait(0), program.status] == [137] * 3
        assert program.report is not None
        assert program.report.reason == "killed"
        program.kill()
        assert program.status == 137
    assert_idle(machine)


def test_many_wait_for_one_program(machine: Machine) -> None:
    with Pipe() as output:
        program = api(machine, "wait", stdout=output.fd)
        output.until("waiting\n")
        statuses: list[int] = []
        waiters = [threading.Thread(target=lambda: statuses.append(program.wait())) for _ in range(8)]
        for waiter in waiters:
            waiter.start()
        program.write("go", struct.pack("<Q", 1))
        for waiter in waiters:
            waiter.join(GUARD)
        assert statuses == [41] * 8
    assert_idle(machine)


def test_a_program_that_was_never_started(machine: Machine) -> None:
    program = machine.load(API, linux=False)
    with pytest.raises(ValueError, match="never started"):
        program.wait()
    assert program.call("add", 1, 2) == 3
    with pytest.raises(ValueError, match="never started"):
        program.wait(1)
    assert program.status is None
    program.kill()
    assert program.wait() == 137
    program.start()
    assert program.status == 137
    assert_idle(machine)


def test_starting_later_and_twice(machine: Machine) -> None:
    with Pipe() as output:
        program = machine.load(API, ["api", "wait"], stdout=output.fd, linux=False)
        program.write("answer", struct.pack("<Q", 7))
        program.start()
        program.start()
        output.until("waiting\n")
        program.write("go", b"\1")
        assert wait(program) == 7
    assert_idle(machine)


def test_loaded_programs_that_nobody_starts_end_with_the_machine() -> None:
    before = open_files()
    machine = Machine("16M", check="full")
    programs = [machine.load(API, linux=linux) for linux in (False, True)]
    assert programs[0].call("add", 1, 1) == 2
    machine.close()
    assert [program.status for program in programs] == [137, 137]
    assert open_files() == before


# Memory.


def test_reading_and_writing_memory(machine: Machine) -> None:
    with Pipe() as output:
        program = api(machine, "wait", stdout=output.fd)
        output.until("waiting\n")
        assert program.read("text", 22) == b"written by the program"
        program.write("text", b"WRITTEN")
        assert program.read(program.symbol("text"), 22) == b"WRITTEN by the program"
        assert program.read("constant", 7) == b"not to "
        assert program.read("text", 0) == b""
        program.write("answer", (123).to_bytes(8, "little"))
        program.write("go", b"\1")
        assert wait(program) == 123
        for use in (
            lambda: program.read("text", 1), lambda: program.write("text", b"x"), program.registers,
            lambda: program.set_registers({"rax": 1}), lambda: program.call("add", 1, 2),
        ):  # fmt: skip
            with pytest.raises(ProgramEnded, match="has ended"):
                use()
    assert_idle(machine)


@pytest.mark.parametrize(
    ("address", "length"),
    [
        (0, 1), (0x1000, 8), (0x123456789000, 1), (0x7F80_0000_0000, 1), (0x7F7F_FFFF_FFFF, 2), (1 << 47, 8),
        (1 << 63, 8), ((1 << 64) - 1, 1), (1 << 64, 1), (-8, 8), (1 << 200, 1),
    ],
    ids=lambda value: f"{value:#x}"[:20],
)  # fmt: skip
def test_addresses_that_are_none(machine: Machine, address: int, length: int) -> None:
    program = machine.load(API, linux=False)
    with pytest.raises(UserFault):
        program.read(address, length)
    with pytest.raises(UserFault):
        program.write(address, bytes(length))
    program.kill()


def test_lengths_that_are_none(machine: Machine) -> None:
    program = machine.load(API, linux=False)
    text = program.symbol("text")
    for length in (-1, 1 << 30, 1 << 62, 1 << 64):
        with pytest.raises(UserFault):
            program.read(text, length)
    with pytest.raises(UserFault):
        program.write("constant", b"x")
    assert program.read("constant", 7) == b"not to "
    with pytest.raises(KeyError, match="nothing_of_that_name"):
        program.read("nothing_of_that_name", 1)
    program.kill()


def test_symbols_after_the_file_has_gone(machine: Machine, tmp_path: Path) -> None:
    copy = tmp_path / "api"
    copy.write_bytes(Path(API).read_bytes())
    named, unnamed = (machine.load(copy, linux=False) for _ in range(2))
    assert named.symbol("add")
    copy.write_bytes(b"another file")
    assert named.call("add", 1, 2) == 3
    with pytest.raises(KeyError):
        unnamed.symbol("add")
    copy.unlink()
    with pytest.raises(UserFault):
        unnamed.read(0, 1)
    for program in (named, unnamed):
        program.kill()


# Registers.


def test_registers_of_a_running_thread(machine: Machine) -> None:
    with Pipe() as output:
        program = machine.spawn(built("tests/races"), ["races", "hammer"], stdout=output.fd, linux=False)
        output.until("hammering")
        seen = [program.registers(thread) for thread in (0, 1) for _ in range(5)]
        for registers in seen:
            assert set(registers) == {
                "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                "r15", "rip", "rflags",
            }  # fmt: skip
            assert 0x400000 <= registers["rip"] < 0x410000
            assert registers["rflags"] & 0x202 == 0x202
        with pytest.raises(IndexError):
            program.registers(2)
        with pytest.raises(KeyError, match="xyz"):
            program.set_registers({"xyz": 1})
        program.kill()
        assert wait(program) == 137


@pytest.mark.parametrize("cores", [1, 2])
def test_a_running_thread_is_sent_elsewhere(new_machine: NewMachine, cores: int) -> None:
    machine = new_machine(cores=cores)
    with Pipe() as output:
        program = machine.spawn(API, ["api", "wait"], stdout=output.fd, linux=False)
        output.until("waiting\n")
        exit_function = program.symbol("ends_program")
        program.set_registers({"rip": exit_function, "rdi": 55, "rsp": program.registers()["rsp"] - 256 & -16})
        assert wait(program) == 55
    assert_idle(machine)


@pytest.mark.parametrize(
    "rip", [0, 0x7F80_0000_0000, 0x7F80_0000_1000, 1 << 47, 0xFFFF_8000_0000_0000, (1 << 64) - 1, 0x12345]
)
def test_a_thread_sent_to_where_it_cannot_run(machine: Machine, rip: int) -> None:
    with Pipe() as output:
        program = api(machine, "wait", stdout=output.fd)
        output.until("waiting\n")
        program.set_registers({"rip": rip})
        assert wait(program) == 139
        assert program.report is not None
    assert_idle(machine)


def test_flags_that_no_program_may_have(machine: Machine) -> None:
    with Pipe() as output:
        program = api(machine, "wait", stdout=output.fd)
        output.until("waiting\n")
        program.set_registers({"rflags": (1 << 64) - 1, "rbx": -1})
        program.write("go", b"\1")
        assert wait(program) in (41, 145), "AC is a program's to set, and x86 then checks alignment"
        program = api(machine, "wait", stdout=output.fd)
        output.until("waiting\n" * 2)
        program.set_registers({"rflags": 0})
        allowed = 0xCD5 | 0x202 | 0x240000  # CF PF AF ZF SF DF OF; IF and bit 1; AC ID: it may have run on meanwhile
        assert program.registers()["rflags"] & ~allowed == 0
        program.write("go", b"\1")
        assert wait(program) == 41
    assert_idle(machine)


def test_registers_of_a_blocked_thread(machine: Machine) -> None:
    asleep = threading.Event()
    threads: list[Thread] = []

    @machine.syscall(0x2001)
    def sleep(thread: Thread, *_: int) -> int:
        threads.append(thread)
        thread.block()
        asleep.set()
        return BLOCKED

    program = api(machine, "sleep")
    assert asleep.wait(GUARD)
    assert program.registers()["rax"] == 0x2001
    program.set_registers({"r15": 5})
    assert program.registers()["r15"] == 5
    with machine.hypervisor.lock:
        threads[0].wake(77)
    assert wait(program) == 77
    with machine.hypervisor.lock:
        threads[0].wake(1)  # it is gone: no effect
    assert_idle(machine)


# Names and sizes.


def test_programs_that_have_ended_hold_no_files(machine: Machine) -> None:
    with Capture() as output:
        kept = [
            machine.spawn(built("tests/faults"), ["faults", name], stdout=output.fd, linux=linux)
            for name in ("hlt", "null-read") for linux in (False, True)
        ]  # fmt: skip
        assert [wait(program) for program in kept] == [139] * 4
    assert not [name for name in open_files() if "userland" in name]
    assert "halt" in str(kept[0].report)
    assert not [name for name in open_files() if "userland" in name]


def test_no_room_for_a_program(new_machine: NewMachine) -> None:
    with pytest.raises(OutOfMemory, match="needs more memory"):
        new_machine("4M").spawn(built("tests/libc-glibc"))


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("4096", 4096), ("64K", 1 << 16), ("1k", 1024), ("2M", 2 << 20), ("2MiB", 2 << 20), ("2MB", 2 << 20),
     ("1.5G", 3 << 29), (" 3 M ", 3 << 20), ("1T", 1 << 40), ("7B", 7), (123, 123)],
)  # fmt: skip
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "M", "1X", "1.2.3M", "-1M", "1e6", "nan", "inf", "0x10", "1 2M", "²M", "MM", "1KK", "."]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


def test_all_public_names_are_there() -> None:
    import aerostat

    for name in aerostat.__all__:
        assert getattr(aerostat, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = aerostat.nonsense
