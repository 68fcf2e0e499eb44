"""1 GiB pages as programs see them, in a machine of 3 GiB, which costs the host only what is touched."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from abi.errors import EINVAL, ENOMEM
from abi.layout import BLOCK_SIZE, GIANT_SIZE, PAGE_SIZE, READ, WRITE
from aerostat import Machine
from kernel.objects import MAPPED, MAPPED_BLOCK, MAPPED_GIANT
from tests.aerostat.programs import API, assert_idle, built, run, succeeds

pytestmark = pytest.mark.kvm

AT = 0x40_0000_0000


KINDS = [("full", 2)] if os.environ.get("AEROSTAT_LAB") == "1" else [("touched", 1), ("full", 2)]
"""The lab takes its time; it is there because its vCPUs know 1 GiB entries."""


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """One machine for all programs of this file, so that each meets what the ones before it left."""
    check, cores = request.param
    with Machine("3G", cores=cores, check=check) as made:
        yield made


@pytest.mark.parametrize("part", ["whole", "mixed", "shared", "narrower", "moved", "container", "quota"])
def test_programs_use_giants(machine: Machine, part: str) -> None:
    assert succeeds(machine, "tests/giants", part, linux=False) == f"{part}: ok\n"
    assert_idle(machine)
    machine.audit()
    assert machine.hypervisor.memory.resident() < 64 << 20


@pytest.mark.parametrize("part", ["write", "use"])
def test_what_a_program_may_not_do_with_a_giant_ends_it(machine: Machine, part: str) -> None:
    result = run(machine, "tests/giants", part, linux=False)
    assert result.status == 139
    assert "went on" not in result.output
    assert_idle(machine)


def test_the_demo(machine: Machine) -> None:
    assert succeeds(machine, "demo/giants", linux=False) == (
        "half of the giant: EINVAL\nthe block and the page before it: no error\n"
        "the giant still holds 42\nthe rest: no error\n"
    )


def test_sizes_are_the_largest_that_fit(machine: Machine) -> None:
    """What is mapped by one call, from the address space down to the tables' bytes."""
    program = machine.load(API, linux=False)
    hypervisor, process = machine.hypervisor, program.process
    k, C = hypervisor.kernel, hypervisor.kernel.container[hypervisor.kernel.root]
    before = C.pages + 512 * (C.blocks + 512 * C.giants)
    start, length = AT - BLOCK_SIZE - PAGE_SIZE, 2 * GIANT_SIZE + 2 * BLOCK_SIZE + 3 * PAGE_SIZE
    with hypervisor.lock:
        kept = dict(k.process[process.id].map_page)
        assert process.map(start, length, READ | WRITE) == 0
        mapped = {v: k.page[p].kind for v, p in k.process[process.id].map_page.items() if v not in kept}
        assert list(mapped.values()) == [MAPPED, MAPPED_BLOCK, MAPPED_GIANT, MAPPED_GIANT, MAPPED_BLOCK, MAPPED, MAPPED]
        assert list(mapped)[2:4] == [AT >> 12, AT + GIANT_SIZE >> 12]
        assert process.map(4 * AT, GIANT_SIZE, READ) == -ENOMEM
        process.memory.write(AT + GIANT_SIZE - 4, b"straddle")
        assert process.memory.read(AT + GIANT_SIZE - 8, 16) == b"\0\0\0\0straddle\0\0\0\0"
    assert machine.audit() > 0
    with hypervisor.lock:
        assert process.permissions(AT + 5 * PAGE_SIZE) == READ | WRITE
        assert process.unmap(AT + GIANT_SIZE - PAGE_SIZE, PAGE_SIZE) == -EINVAL
        assert process.protect(AT, 2 * GIANT_SIZE, READ) == 0
    assert machine.audit() > 0
    with hypervisor.lock:
        assert process.permissions(AT + 5 * PAGE_SIZE) == READ
        assert process.unmap(start, length) == 0
        assert C.pages + 512 * (C.blocks + 512 * C.giants) == before
    program.kill()


def test_the_linux_personality_gets_no_giants(machine: Machine) -> None:
    """It unmaps parts of what it maps; of blocks it knows how."""
    program = machine.load(built("tests/libc-musl"))
    hypervisor, process = machine.hypervisor, program.process
    k = hypervisor.kernel
    with hypervisor.lock:
        assert process.map(AT, GIANT_SIZE // 2, READ) == 0
        assert k.page[k.process[process.id].map_page[AT >> 12]].kind == MAPPED_BLOCK
        assert process.unmap(AT, GIANT_SIZE // 2) == 0
        assert process.map(AT, GIANT_SIZE, READ) == 0
        assert k.page[k.process[process.id].map_page[AT >> 12]].kind == MAPPED_BLOCK
        assert process.unmap(AT, GIANT_SIZE) == 0
    program.kill()
