"""What cannot be run: one clear line on standard error, status 126 or 127, and never a traceback.

What the reader of ELF files makes of each kind of damage is tested in tests/abi; here, what the command makes of it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.abi.elf_writer import CODE, ET_REL, PT_INTERP, Header, R, W, X, write_elf
from tests.aerostat.programs import BUILT, aerostat, built, command_line

pytestmark = pytest.mark.kvm

HELLO = Path(built("demo/hello"))


def refused(path: Path | str, *words: str, status: int = 126, cwd: Path | None = None) -> str:
    """Runs it; returns the one line that says why not, which has to name the file and to contain these words."""
    done = aerostat("run", path, cwd=cwd or "/")
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("aerostat: ")
    assert os.path.basename(path) in lines[0]
    for word in words:
        assert word in lines[0]
    return lines[0]


def write(directory: Path, data: bytes) -> Path:
    """A file with this content."""
    path = directory / "suspicious"
    path.write_bytes(data)
    path.chmod(0o755)
    return path


LOADED = Header(data=CODE)
BAD = {
    "empty": (b"", "is empty"),
    "text": (b"hello, world\n" * 100, "is not an ELF program"),
    "script": (b"#!/bin/sh\necho no\n", "is a script for '/bin/sh'"),
    "magic-alone": (b"\x7fELF", "truncated"),
    "half-a-header": (write_elf(LOADED)[:40], "truncated"),
    "headers-missing": (write_elf(LOADED)[:80], "truncated"),
    "segment-cut-off": (write_elf(Header(data=CODE, file_size=100_000)), "truncated"),
    "32-bit": (write_elf(LOADED, ident=b"\x7fELF\x01\x01\x01"), "32-bit"),
    "big-endian": (write_elf(LOADED, ident=b"\x7fELF\x02\x02\x01"), "big-endian"),
    "arm": (write_elf(LOADED, machine=183), "not x86-64"),
    "object-file": (write_elf(LOADED, type=ET_REL), "not a program"),
    "core-dump": (write_elf(LOADED, type=4), "not a program"),
    "nothing-to-load": (write_elf(Header(type=4, data=b"note")), "no loadable segment"),
    "no-headers": (write_elf(), "no program headers"),
    "overlapping": (write_elf(LOADED, Header(address=0x40_0002, data=CODE)), "overlap"),
    "huge": (write_elf(Header(data=CODE, mem_size=1 << 46)), "memory"),
    "wrapping": (write_elf(Header(address=(1 << 64) - 4096, data=CODE, mem_size=1 << 20)), "wraps"),
    "negative-size": (write_elf(Header(data=CODE, mem_size=(1 << 64) - 1)), "memory"),
    "null-page": (write_elf(Header(address=0, data=CODE), entry=0), "outside"),
    "kernel-half": (write_elf(Header(address=0xFFFF_8000_0000_0000, data=CODE)), "outside"),
    "system-pages": (write_elf(Header(address=0x7F80_0000_0000, data=CODE), entry=0x7F80_0000_0000), "outside"),
    "reaches-system-pages": (write_elf(Header(address=0x7F7F_FFFF_F000, data=CODE, mem_size=0x2000)), "outside"),
    "entry-outside": (write_elf(LOADED, entry=0x50_0000), "no executable segment"),
    "entry-in-data": (
        write_elf(LOADED, Header(address=0x50_0000, data=CODE, flags=R | W), entry=0x50_0000), "no executable segment",
    ),
    "entry-null": (write_elf(LOADED, entry=0), "no executable segment"),
    "entry-in-kernel-half": (write_elf(LOADED, entry=0xFFFF_FFFF_8000_0000), "no executable segment"),
    "interpreter": (
        write_elf(Header(type=PT_INTERP, data=b"/lib64/ld-linux-x86-64.so.2\0"), LOADED), "/lib64/ld-linux-x86-64.so.2",
    ),
    "missing-interpreter": (write_elf(Header(type=PT_INTERP, data=b"/no/such/ld.so\0"), LOADED), "/no/such/ld.so"),
    "strange-interpreter": (write_elf(Header(type=PT_INTERP, data=b"no end"), LOADED), "interpreter"),
    "headers-far-away": (write_elf(LOADED, phoff=1 << 60), "truncated"),
    "headers-wrapping": (write_elf(LOADED, phoff=(1 << 64) - 8), "truncated"),
    "thousands-of-headers": (write_elf(LOADED, phnum=65000), "program headers"),
    "headers-of-another-size": (write_elf(LOADED, phentsize=57), "57 bytes"),
    "alignment": (write_elf(Header(data=CODE, align=3)), "power of two"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_damaged_files(tmp_path: Path, kind: str) -> None:
    data, words = BAD[kind]
    refused(write(tmp_path, data), words)


@pytest.mark.parametrize("size", [1, 4, 16, 63, 64, 100, 4096, 8192])
def test_a_real_program_cut_short(tmp_path: Path, size: int) -> None:
    refused(write(tmp_path, HELLO.read_bytes()[:size]), "truncated")


def test_a_program_larger_than_the_machine(tmp_path: Path) -> None:
    path = write(tmp_path, write_elf(Header(data=CODE, flags=R | W | X, mem_size=1 << 30)))
    refused(path, "needs more memory than the machine has")


def test_where_there_is_no_program(tmp_path: Path) -> None:
    refused(tmp_path / "nothing", "No such file", status=127)
    refused(tmp_path / "nothing" / "below", "No such file", status=127)
    refused("no-such-program-anywhere", "not found", status=127)
    refused(tmp_path, "is a directory")
    (tmp_path / "dangling").symlink_to("nowhere")
    refused(tmp_path / "dangling", "No such file", status=127)
    (tmp_path / "loop").symlink_to("loop")
    refused(tmp_path / "loop", "symbolic links")
    refused(HELLO / "below", "Not a directory")
    refused("/" + "x" * 300, "too long")


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "not a regular file")
    refused("/dev/null", "not a regular file")
    refused("/dev/zero", "not a regular file")
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        refused(tmp_path / "socket", "cannot be opened")


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read anything, so the refusal is played."""
    path = write(tmp_path, HELLO.read_bytes())
    path.chmod(0)
    if os.access(path, os.R_OK):
        from abi.elf import read_image
        from abi.image import BadElf

        def refuse(*_: object, **__: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(BadElf, match="Permission denied"):
            read_image(path)
    else:
        refused(path, "Permission denied")


def test_a_program_whose_file_shrinks_while_it_is_loaded(tmp_path: Path) -> None:
    import aerostat
    from aerostat import BadElf, Machine

    assert aerostat
    path = write(tmp_path, HELLO.read_bytes())
    with Machine("16M") as machine:
        hypervisor = machine.hypervisor
        step = hypervisor.system.step

        def shrink(transition: Callable[..., int], *arguments: int) -> int:
            path.write_bytes(HELLO.read_bytes()[:4096])
            return step(transition, *arguments)

        hypervisor.system.step = shrink
        with pytest.raises(BadElf, match="became shorter"):
            machine.spawn(path)
        hypervisor.system.step = step
        assert machine.statistics()["pages_used"] == 1
        assert machine.spawn(HELLO, stdout=os.open(os.devnull, os.O_WRONLY)).wait() == 0


@pytest.mark.parametrize("offset", [16, 18, 24, 32, 40, 54, 56, 64, 68, 72, 80, 96, 104, 112])
def test_a_program_with_one_field_that_is_wild(tmp_path: Path, offset: int) -> None:
    """Each field of the headers in turn: whatever comes of it, it is said in order, or the program faults."""
    data = bytearray(HELLO.read_bytes())
    struct.pack_into("<Q" if offset >= 24 and offset not in (54, 56, 64, 68) else "<H", data, offset, 0xFFFF)
    done = aerostat("run", "--time-limit", "5", write(tmp_path, bytes(data)))
    assert done.returncode in (0, 126, 132, 135, 139, 124)


def test_a_script_is_not_run(tmp_path: Path) -> None:
    line = refused(write(tmp_path, b"#!/usr/bin/env python3\nprint('no')\n"), "is a script")
    assert "run its interpreter" in line


def test_this_python_is_dynamic() -> None:
    done = aerostat("run", command_line()[0], "-c", "pass")
    assert done.returncode in (126, 127)
    assert len(done.stderr.splitlines()) == 1


def test_the_folder_of_programs_is_a_directory() -> None:
    refused(BUILT / "demo", "is a directory")
