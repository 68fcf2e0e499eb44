"""A program's variables by name and type: each kind of type, as each way of compiling describes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aerostat import Machine
from aerostat.invariants import ReadOnly, address_of, sizeof, type_of
from aerostat.program import Program
from tests.aerostat.invariants.compiling import (
    FREESTANDING,
    GLIBC,
    GLIBC_PIE,
    MUSL_PIE,
    SOURCES,
    compile_program,
    written,
)
from tests.aerostat.invariants.watching import look, problem
from tests.aerostat.programs import NewMachine

pytestmark = pytest.mark.kvm

KINDS = [SOURCES / "kinds.c", SOURCES / "kinds_elsewhere.c"]
WAYS = {
    "unoptimised": (FREESTANDING, "-O0"),
    "optimised": (FREESTANDING, "-O2"),
    "dwarf2": (FREESTANDING, "-O1", "-gdwarf-2", "-gstrict-dwarf"),
    "dwarf4-type-units": (FREESTANDING, "-gdwarf-4", "-fdebug-types-section"),
    "dwarf5-type-units": (FREESTANDING, "-gdwarf-5", "-fdebug-types-section"),
    "compressed": (FREESTANDING, "-O2", "-gz"),
    "musl-pie": (MUSL_PIE, "-O2"),
    "glibc": (GLIBC, "-O2", "-gdwarf-4"),
    "glibc-pie": (GLIBC_PIE, "-O2"),
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The program kinds.c, compiled in one of the ways."""
    made: dict[str, str] = {}

    def way(name: str) -> str:
        if name not in made:
            compiler, *flags = WAYS[name]
            assert isinstance(compiler, tuple)
            out = tmp_path_factory.mktemp("kinds") / name
            made[name] = compile_program(out, KINDS, compiler, *map(str, flags))
        return made[name]

    return way


@pytest.fixture(params=WAYS)
def kinds(request: pytest.FixtureRequest, compiled: Callable[[str], str], new_machine: NewMachine) -> Program:
    """It, loaded, in each of the ways."""
    return new_machine("32M").load(compiled(request.param))


@pytest.fixture
def plain(compiled: Callable[[str], str], new_machine: NewMachine) -> Program:
    """It, loaded, in the simplest way."""
    return new_machine("32M").load(compiled("unoptimised"))


NUMBERS: dict[str, Any] = {
    "small": -5, "byte": 250, "shorter": -30000, "word": 60000, "number": -2_000_000_000, "natural": 4_000_000_000,
    "longer": -9_000_000_000_000_000_000, "widest": 18446744073709551615, "huge": -(1 << 100), "yes": True, "no": False,
    "letter": ord("q"), "half": 0.5, "third": 1 / 3, "imaginary": 3 + 4j, "constant_volatile": 77, "atomic": 12,
    "color": 5, "sign": -1, "strange_color": 99, "folded": 7, "elsewhere": 55, "global_wins": 1,
    "RED": 0, "GREEN": 5, "BLUE": 7, "MINUS": -1,
}  # fmt: skip


def test_every_kind(kinds: Program) -> None:
    """All at once: a machine a kind and a way would take minutes."""

    def see(m: Any) -> None:
        p = m.program
        for name, expected in NUMBERS.items():
            value = getattr(p, name)
            assert value == expected, name
            assert type(value) is type(expected) or isinstance(value, int), name
        assert math.isclose(p.extended, 1 / 3)
        assert p.color.name == "GREEN"
        assert p.sign.name == "MINUS"
        assert p.strange_color.name is None
        structures(p)
        pointers(p)
        arrays(p)
        names(p)
        if "pie" in p.__repr__() or "glibc" in p.__repr__():
            assert p.per_thread == 32
            assert p.per_thread_too == 32

    look(kinds, see)


def structures(p: Any) -> None:
    """Members, nested and nameless ones, bit fields, unions, packed ones."""
    assert (p.origin.x, p.origin.y, p.alias.x) == (3, -4, 8)
    assert p.overlay.whole == 0x04030201
    assert list(p.overlay.parts) == [1, 2, 3, 4]
    flags = p.flags
    assert (flags.a, flags.b, flags.c, flags.d, flags.e, flags.f) == (5, -7, 0xABCDEF0123, True, 7, 300)
    assert flags.e.name == "BLUE"
    assert flags.d is True
    nested = p.nested
    assert (nested.type, nested.address, nested.string, nested["_space"]) == (1, 2, 3, 4)
    assert (nested.as_int, nested.as_float, nested.deep, nested.deeper) == (0x3F800000, 1.0, 5, 6)
    assert nested.inner.points[1].y == 13
    assert (p.packed.c, p.packed.i, p.packed.l) == (ord("p"), 123456789, -1)
    assert p.crossing.packed.i == 0x11223344
    assert p.crossing.packed.l == 0x5566778899AABBCC
    assert bytes(p.origin) == (3).to_bytes(4, "little") + (-4).to_bytes(4, "little", signed=True)


def pointers(p: Any) -> None:
    """Following, comparing, arithmetic, NULL, functions, types that another file defines."""
    assert p.pointer.x == 3
    assert p.pointer[0].y == -4
    assert p.pointer_to_pointer[0].x == 3
    assert int(p.pointer) == address_of(p.origin)
    assert p.pointer == p.origin
    assert p.pointer == p.nothing
    assert p.pointer != p.wild
    assert p.pointer
    assert not p.null_pointer
    assert p.null_pointer == 0
    assert (p.into_array[0], p.into_array[1], p.into_array[-1]) == (20, 30, 10)
    assert p.into_array == p.row.__class__ or p.into_array > p.row
    assert (p.into_array + 2)[0] == 40
    assert (p.into_array + 2) - p.into_array == 2
    assert p.into_array - 1 == p.row
    assert p.head.next.next.key == 3
    assert not p.head.next.next.next
    assert p.ring.next.next.next.key == 42
    assert p.hidden.self.self.secret == 1234
    assert p.function == p.doubled
    assert p.function.symbol() == "doubled"
    assert not p.no_function
    assert p.object(p.nothing, "struct point").y == -4
    assert p.object(p.nothing, "point_alias").x == 3
    assert p.object(address_of(p.pointer), "struct point *").x == 3


def arrays(p: Any) -> None:
    """Lengths, items, slices, strings, arrays of arrays, without a length."""
    assert list(p.row) == [10, 20, 30, 40, 50]
    assert p.row == [10, 20, 30, 40, 50]
    assert (len(p.row), p.row[4], p.row[1:3], 30 in p.row) == (5, 50, [20, 30], True)
    assert [list(line) for line in p.matrix] == [[1, 2, 3], [4, 5, 6]]
    assert sum(point.x for point in p.points) == 9
    assert p.text.string() == "a string"
    assert p.full.string() == "full"
    assert bytes(p.full) == b"full"
    assert p.message.string() == "pointed to"
    assert [word.string() for word in p.words] == ["one", "two", "three"]
    trailing = p.flexible.trailing
    assert [trailing.rest[i] for i in range(trailing.count)] == [100, 200, 300]


def names(p: Any) -> None:
    """Static variables of files and functions, and names that only say where something is."""
    assert p.variable("twice", file="kinds.c") == 9
    assert p.variable("twice", file="kinds_elsewhere.c") == 103
    assert p.variable("global_wins", file="kinds_elsewhere.c") == 3
    assert p.variable("count", function="counted") == 12
    assert p.variable("count", function="touch_elsewhere") == 101
    assert p["elsewhere"] == 55
    assert (sizeof(p.origin), sizeof(p.row), sizeof(p.pointer)) == (8, 20, 8)
    assert type_of(p.head) == "struct node *"
    assert type_of(p.matrix) == "int[2][3]"
    assert type_of(p.function) == "int (*)(int)"
    assert p.address("number") == address_of(p.object(p.address("number"), "int *"))
    assert p.i32("number") == -2_000_000_000
    assert p.u32("row", 2) == 30
    assert p.f64("third") == 1 / 3
    assert p.string("text") == "a string"
    assert p.bytes("full", 4) == b"full"


PROBLEMS = {
    "wild->x: nothing is mapped at 0x123456789000": lambda p: p.wild.x,
    "null_pointer->x: null_pointer is NULL": lambda p: p.null_pointer.x,
    "null_pointer[0].y: nothing is mapped at 0x4": lambda p: p.null_pointer[0].y,
    "head->next->next->next->key: head->next->next->next is NULL": lambda p: p.head.next.next.next.key,
    "row[5]: row has elements 0 to 4": lambda p: p.row[5],
    "row[-1]: row has elements 0 to 4": lambda p: p.row[-1],
    "nested.inner.points[2]: nested.inner.points has elements 0 to 1": lambda p: p.nested.inner.points[2],
    "has no variable, constant or function 'nothing_of_the_kind'": lambda p: p.nothing_of_the_kind,
    "origin is a struct point: it has no member 'z', but x, y": lambda p: p.origin.z,
    "pointer is a struct point: it has no member 'z', but x, y": lambda p: p.pointer.z,
    "into_array is a int *: it has no member 'x'": lambda p: p.into_array.x,
    "twice is static in several places (kinds.c, kinds_elsewhere.c): program.variable('twice', file=...) names one":
        lambda p: p.twice,
    "no variable 'twice' in elsewhere.c": lambda p: p.variable("twice", file="elsewhere.c"),
    "no variable 'count' in function main": lambda p: p.variable("count", function="main"),
    "nothing is a void *: what it points to has no known size": lambda p: p.nothing[0],
    "struct never_defined is only declared": lambda p: p.opaque.x,
    "flexible.trailing.rest: the program does not say how long it is": lambda p: len(p.flexible.trailing.rest),
    "row is a int[5], not an array of char": lambda p: p.row.string(),
    "pointer is a struct point *, not a char *": lambda p: p.pointer.string(),
    "compare text.string() with a str": lambda p: p.text == "a string",
    "origin is a struct point, not an array": lambda p: p.origin[0],
    "the program has no type 'struct nobody'": lambda p: p.object(0, "struct nobody"),
    "the program has no symbol 'nobody'": lambda p: p.u64("nobody"),
    "number: it has 4 bytes, number 0 of 8 bytes is not within it": lambda p: p.u64("number"),
    "row: it has 20 bytes, number 5 of 4 bytes is not within it": lambda p: p.i32("row", 5),
    "the program has 2 symbols 'twice'": lambda p: p.u32("twice"),
    "0x10: nothing is mapped at 0x10": lambda p: p.u8(0x10),
    "crossing.packed.i cannot be set": lambda p: setattr(p.crossing.packed, "i", 1),
    "row[0] cannot be set": lambda p: p.row.__setitem__(0, 1),
    "number cannot be set": lambda p: setattr(p, "number", 1),
    "77 is a value: its address is not known any more": lambda p: address_of(p.constant_volatile),
}  # fmt: skip


def test_what_is_said_where_nothing_can_be_read(plain: Program) -> None:
    def see(m: Any) -> list[str]:
        said = []
        for expected, do in PROBLEMS.items():
            try:
                said.append(f"{expected}: no error but {do(m.program)!r}")
            except (Exception, ReadOnly) as error:
                text = str(error).strip("'\"") if isinstance(error, KeyError) else str(error)
                if expected not in text: said.append(f"{expected!r} is not in {text!r}")
        return said

    assert look(plain, see) == []


def test_an_error_names_the_line_and_the_expression(plain: Program) -> None:
    said = problem(plain, lambda m: m.program.head.next.next.next.key)
    assert said.startswith("test_kinds.py:")
    assert said.endswith("Unreadable: head->next->next->next->key: head->next->next->next is NULL")


def test_what_the_compiler_left_out(tmp_path: Path, new_machine: NewMachine) -> None:
    sources = written(
        tmp_path,
        main="#include <aero.h>\nstatic struct { int a, b; } gone;\n"
        "static const struct { int a, b[2]; } kept = { 1, { 2, 3 } };\nstatic const signed char minus = -3;\n"
        "int main(int argc, char **argv) { (void)argv; int r = kept.b[argc & 1] + minus + gone.a;"
        " aero_null(); return r != 0; }\n",
    )
    program = new_machine().load(compile_program(tmp_path / "main", sources, FREESTANDING, "-O2"), linux=False)

    def see(m: Any) -> str:
        assert (m.program.kept.a, m.program.minus) == (1, -3)
        with pytest.raises(AttributeError) as caught:
            print(m.program.gone)
        return str(caught.value)

    said = look(program, see)
    assert said == "gone: the compiler left it out (optimised away) in main.c" or "no variable" in said


def test_without_debugging_information(tmp_path: Path, new_machine: NewMachine) -> None:
    sources = written(
        tmp_path,
        main="#include <aero.h>\nlong counter = 1 << 20; int numbers[3] = { 7, -8, 9 };\n"
        "int main(void) { counter++; aero_null(); return 0; }\n",
    )
    path = compile_program(tmp_path / "main", sources, FREESTANDING, "-g0", "-Wl,--strip-debug")
    machine = new_machine()

    def see(m: Any) -> str:
        assert m.program.u64("counter") == (1 << 20) + 1
        assert [m.program.i32("numbers", i) for i in range(3)] == [7, -8, 9]
        assert m.program.address("main")
        with pytest.raises(AttributeError) as caught:
            print(m.program.counter)
        return str(caught.value)

    said = look(machine.load(path, linux=False), see)
    assert "it has no debugging information: compile it with -g" in said
    assert 'without it, program.u64("counter") and its like read by symbol' in said


def test_split_debugging_information_is_refused(tmp_path: Path, new_machine: NewMachine) -> None:
    sources = written(tmp_path, main="#include <aero.h>\nint x;\nint main(void) { aero_null(); return 0; }\n")
    path = compile_program(tmp_path / "main", sources, FREESTANDING, "-gsplit-dwarf")
    said = problem(new_machine().load(path, linux=False), lambda m: m.program.x)
    assert "compile without -gsplit-dwarf" in said


def test_damaged_debugging_information_is_an_error(tmp_path: Path, compiled: Callable[[str], str]) -> None:
    """Whatever the bytes are: no exception but one that says so, and no machine that hangs."""
    from io import BytesIO
    from random import Random

    from abi.debug_info import DebugInfo, DebugInfoError

    whole = Path(compiled("unoptimised")).read_bytes()
    random, told = Random(1), 0
    for _ in range(60):
        damaged = bytearray(whole)
        start = random.randrange(len(damaged) // 2, len(damaged) - 64)
        damaged[start : start + 64] = random.randbytes(64)
        try:
            debug = DebugInfo(BytesIO(damaged))
            for name in ("nested", "head", "row", "GREEN", "hidden"):
                for variable in debug.variables(name):
                    getattr(variable.type, "members", None)
        except DebugInfoError:
            told += 1
    assert told


def test_nothing_of_it_is_imported_before_it_is_used() -> None:
    """The start of a plain `aerostat run` pays for none of it."""
    import subprocess
    import sys

    code = (
        "import sys, aerostat.run; "
        "print([n for n in sys.modules if n.startswith(('elftools', 'aerostat.invariants', 'abi.debug'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_machine_that_was_closed(compiled: Callable[[str], str]) -> None:
    """A view that somebody kept reads nothing any more, and harms nothing."""
    kept: list[Any] = []
    with Machine("32M") as machine:
        look(machine.load(compiled("unoptimised")), lambda m: kept.append(m.program))
    with pytest.raises((ValueError, Exception)) as caught:
        print(kept[0].number)
    assert not isinstance(caught.value, SystemError)
