"""The generated header and reference page are those of the table, and the header is what C compilers take."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from abi import errors, header
from abi.calls import BY_NAME, CALLS
from abi.layout import NATIVE_FIRST, PERMISSIONS, USER_FIRST

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(
    ("path", "text"), [(header.HEADER, header.c_header()), (header.REFERENCE, header.reference_page())]
)
def test_generated_files_are_current(path: Path, text: str) -> None:
    assert path.read_text() == text, "run: python -m abi.header --write"


def test_every_call_is_in_both() -> None:
    code, page = header.c_header(), header.reference_page()
    for call in CALLS:
        assert f" aero_{call.name}(" in code
        assert f"## {call.name}\n" in page
        for argument in call.arguments:
            assert argument.meaning in code
        for error, _ in call.errors:
            assert f"AERO_{errors.NAMES[error]} " in code


def test_the_table_is_sound() -> None:
    numbers = [call.number for call in CALLS]
    assert numbers[0] == NATIVE_FIRST
    assert numbers == sorted(set(numbers)), "in order, each once"
    assert CALLS[-1].number < USER_FIRST
    assert len(BY_NAME) == len(CALLS)
    assert all(len(call.arguments) <= 6 for call in CALLS)
    assert all(error in errors.NAMES for call in CALLS for error, _ in call.errors)


@pytest.mark.parametrize("compiler", [["gcc", "-std=c11"], ["gcc", "-std=gnu2x", "-m64"], ["musl-gcc", "-std=gnu11"]])
def test_the_header_alone_compiles_without_warnings(compiler: list[str], tmp_path: Path) -> None:
    source = tmp_path / "one.c"
    source.write_text(
        "#include <aero.h>\n"
        + "".join(f"_Static_assert(AERO_CALL_{call.name} == {call.number}, \"number\");\n" for call in CALLS)
        + f"_Static_assert((AERO_READ | AERO_WRITE | AERO_EXECUTE) == {PERMISSIONS}, \"permissions\");\n"
        + f"_Static_assert(AERO_ENOMEM == {errors.ENOMEM}, \"errors\");\n"
        + "int64_t both(void);\nint64_t both(void) { return aero_null() + aero_mmap(0x10000, 4096, AERO_READ); }\n"
    )
    command: list[str | Path] = [*compiler, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O2"]
    command += ["-I", ROOT / "userland" / "lib"]
    subprocess.run([*command, "-c", source, "-o", tmp_path / "one.o"], check=True)
