"""What is wrong with the description of a machine, as far as it says so itself: before any machine is made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from abi.layout import BLOCK_PAGES, BLOCK_SIZE, DATA_LIMIT, GIANT_PAGES, PAGE_SIZE
from aerostat.description.machine import (
    RIGHTS,
    ContainerDescription,
    MachineDescription,
    ProgramDescription,
    endpoint_variable,
)
from aerostat.description.problems import Problem, suggestion
from aerostat.device_kinds import KINDS, PCI
from aerostat.host_paths import granted
from aerostat.machine import ON_VIOLATION
from aerostat.sizes import parse_size
from hv.pci import full_address
from kernel.check import LEVELS
from kernel.objects import DEPTH_LIMIT

MAX_CORES: Final = 64
SHORTEST_PERIOD: Final = 0.001
"""Seconds between two expiries of a timer."""
LARGEST_BADGE: Final = (1 << 63) - 1
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def quota(container: ContainerDescription) -> tuple[int, int]:
    """The pages and blocks of a container, besides its giants.  ValueError for a size that is none."""
    size = parse_size(container.memory)
    return (container.pages + -(-(size % BLOCK_SIZE) // PAGE_SIZE), container.blocks + size // BLOCK_SIZE)


def _pages(container: ContainerDescription) -> int:
    pages, blocks = quota(container)
    return pages + BLOCK_PAGES * blocks + GIANT_PAGES * container.giants


def _size(pages: int) -> str:
    """A number of pages in words."""
    for unit, name in ((1 << 18, "G"), (1 << 8, "M")):
        if pages >= unit and pages % unit == 0: return f"{pages // unit}{name}"
    return f"{pages >> 8}M and {(pages & 255) * 4}K" if pages >= 256 else f"{pages * 4}K"


def check(machine: MachineDescription) -> list[Problem]:
    """All that is wrong; empty if a machine can be made, as far as the description itself says."""
    problems = [*_machine(machine), *_names(machine)]
    tree = list(_tree(machine))
    problems += tree
    problems += [problem for name, c in machine.containers.items() for problem in _container(machine, name, c)]
    if not tree and not any("memory" in p.where for p in problems): problems += [*_sums(machine), *_cores(machine)]
    problems += [*_endpoints(machine), *_devices(machine)]
    for name, program in machine.programs.items():
        problems += _program(machine, name, program, linux=not tree)
    mains = [name for name, program in machine.programs.items() if program.main]
    problems += [Problem(("program", name, "main"), f"{mains[0]!r} is the main program already") for name in mains[1:]]
    return problems


def _machine(machine: MachineDescription) -> Iterator[Problem]:
    try:
        memory = parse_size(machine.memory)
        if not BLOCK_SIZE <= memory <= DATA_LIMIT - BLOCK_SIZE:
            yield Problem(("machine", "memory"), f"{machine.memory} is not within 2M to 128G")
    except ValueError as error:
        yield Problem(("machine", "memory"), str(error))
    if not 1 <= machine.cores <= MAX_CORES:
        yield Problem(("machine", "cores"), f"{machine.cores} cores are not within 1 to {MAX_CORES}")
    if machine.check not in LEVELS:
        yield Problem(("machine", "check"), f"{machine.check!r} is not one of {', '.join(LEVELS)}")
    if machine.on_violation not in ON_VIOLATION:
        yield Problem(
            ("machine", "on_violation"), f"{machine.on_violation!r} is not one of {', '.join(ON_VIOLATION)}"
        )
    if machine.time_limit is not None and not machine.time_limit > 0:
        yield Problem(("machine", "time_limit"), f"{machine.time_limit:g} s is not more than 0")
    if not machine.programs: yield Problem((), "there is no program: write [program.NAME] with its file")


def _names(machine: MachineDescription) -> Iterator[Problem]:
    tables = {"container": machine.containers, "endpoint": machine.endpoints, "device": machine.devices,
              "program": machine.programs}  # fmt: skip
    for table, names in tables.items():
        for name in names:
            if not _NAME.fullmatch(name):
                text = "a name is of letters, digits, - and _, and begins with a letter"
                yield Problem((table, name), text)
    seen: dict[str, str] = {}
    for name in machine.endpoints:
        variable = endpoint_variable(name)
        if variable in seen: yield Problem(("endpoint", name), f"programs could not tell it from {seen[variable]!r}")
        seen.setdefault(variable, name)


def _container_there(machine: MachineDescription, name: str | None) -> str:
    """Why there is no such container; empty if there is one."""
    if name is None or name in machine.containers: return ""
    return f"there is no container {name!r}; {suggestion(name, machine.containers, 'the containers')}"


def _tree(machine: MachineDescription) -> Iterator[Problem]:
    """Containers are a tree below the root."""
    for name, container in machine.containers.items():
        missing = _container_there(machine, container.parent)
        if missing: yield Problem(("container", name, "parent"), missing)
        seen, above = [name], container.parent
        while above is not None and above in machine.containers and above not in seen:
            seen.append(above)
            above = machine.containers[above].parent
        if above == name: yield Problem(("container", name, "parent"), "it would be inside itself")
        if len(seen) > DEPTH_LIMIT:
            yield Problem(("container", name, "parent"), f"containers can be {DEPTH_LIMIT} deep at most")


def _container(machine: MachineDescription, name: str, container: ContainerDescription) -> Iterator[Problem]:
    where = ("container", name)
    for field in ("pages", "blocks", "giants", "cores"):
        if getattr(container, field) < 0: yield Problem((*where, field), "a quota is not less than 0")
    try:
        if parse_size(container.memory) < 0: yield Problem((*where, "memory"), "a quota is not less than 0")
        elif _pages(container) == 0:
            yield Problem(where, 'it has no memory: write how much, such as memory = "16M"')
    except ValueError as error:
        yield Problem((*where, "memory"), str(error))
    parent = container.parent
    if container.linux and parent is not None and machine.containers.get(parent, container).linux is False:
        yield Problem((*where, "linux"), f"its parent {parent!r} says linux = false, for all below it")


def _sums(machine: MachineDescription) -> Iterator[Problem]:
    """What a container gives its children it has; each child takes a page besides, for itself."""
    left: dict[str | None, int] = {name: _pages(c) for name, c in machine.containers.items()}
    left[None] = -(-parse_size(machine.memory) // BLOCK_SIZE) * BLOCK_PAGES - 1
    for name, container in machine.containers.items():
        wanted, parent = _pages(container) + 1, container.parent
        if wanted > left[parent]:
            whose = f"of {parent!r}" if parent is not None else "of the machine"
            key = next((key for key in ("memory", "giants", "blocks", "pages") if getattr(container, key)), "memory")
            text = f"{_size(wanted - 1)} do not fit: {_size(max(left[parent] - 1, 0))} {whose} are left"
            yield Problem(("container", name, key), f"{text}; give it less, or its parent more")
        left[parent] -= wanted


def _cores(machine: MachineDescription) -> Iterator[Problem]:
    """Who owns cores can give all but one of them."""
    left: dict[str | None, int] = {name: max(c.cores - 1, 0) for name, c in machine.containers.items()}
    left[None] = machine.cores - 1
    for name, container in machine.containers.items():
        parent = container.parent
        if container.cores > left[parent]:
            whose = f"its parent {parent!r}" if parent is not None else "the machine"
            text = f"{whose} has {left[parent]} to give, as it keeps one: give it more cores of its own"
            yield Problem(("container", name, "cores"), f"{container.cores} cores are too many: {text}")
        left[parent] -= max(container.cores, 0)


def _endpoints(machine: MachineDescription) -> Iterator[Problem]:
    for name, endpoint in machine.endpoints.items():
        missing = _container_there(machine, endpoint.container)
        if missing: yield Problem(("endpoint", name, "container"), missing)
        if endpoint.timer is not None and not endpoint.timer >= SHORTEST_PERIOD:
            text = f"{endpoint.timer:g} s is less than a timer can have between two expiries: {SHORTEST_PERIOD} s"
            yield Problem(("endpoint", name, "timer"), text)
        handles = [p.endpoints[name] for p in machine.programs.values() if name in p.endpoints]
        if not any("receive" in handle.rights for handle in handles):
            yield Problem(("endpoint", name), f'no program can receive from it: endpoints = {{ {name} = "receive" }}')


def _devices(machine: MachineDescription) -> Iterator[Problem]:
    for name, device in machine.devices.items():
        where = ("device", name)
        missing = _container_there(machine, device.container)
        if missing: yield Problem((*where, "container"), missing)
        if device.kind not in KINDS:
            told = f"there is no kind of device {device.kind!r}" if device.kind else "it has no kind"
            yield Problem((*where, "kind"), f"{told}: write one of {', '.join(KINDS)}")
        elif device.kind != PCI:
            if device.address is not None: yield Problem((*where, "address"), "only a pci device has an address")
        elif device.options:
            yield Problem((*where, "options"), "a pci device has an address, and no options")
        else:
            try:
                full_address(device.address or "")
            except ValueError as error:
                yield Problem((*where, "address"), str(error))
        holders = [program for program, described in machine.programs.items() if name in described.devices]
        for program in holders[1:]:
            at = machine.programs[program].devices.index(name)
            yield Problem(("program", program, "devices", at), f"program {holders[0]!r} holds {name!r}")


def _endpoint_there(machine: MachineDescription, name: str) -> str:
    """Why there is no such endpoint; empty if there is one."""
    if name in machine.endpoints: return ""
    return f"there is no endpoint {name!r}; {suggestion(name, machine.endpoints, 'the endpoints')}"


def _pager(machine: MachineDescription, where: tuple[str, ...], program: ProgramDescription) -> Iterator[Problem]:
    if program.pager is None:
        if program.pager_badge: yield Problem((*where, "pager_badge"), "it has no pager: write pager = ENDPOINT")
        return
    missing = _endpoint_there(machine, program.pager)
    if missing: yield Problem((*where, "pager"), missing)
    if not 0 <= program.pager_badge <= LARGEST_BADGE:
        yield Problem((*where, "pager_badge"), "a badge is a number from 0 to 2^63 - 1")


def _program(machine: MachineDescription, name: str, program: ProgramDescription, *, linux: bool) -> Iterator[Problem]:
    where = ("program", name)
    if not program.file: yield Problem(where, 'it has no file: write file = "PATH"')
    missing = _container_there(machine, program.container)
    if missing: yield Problem((*where, "container"), missing)
    elif linux and program.linux and not machine.allows_linux(program.container):
        yield Problem((*where, "linux"), f"its container {program.container!r} says linux = false")
    for endpoint, handle in program.endpoints.items():
        at = (*where, "endpoints", endpoint)
        absent = _endpoint_there(machine, endpoint)
        if absent: yield Problem(at, absent)
        if not handle.rights: yield Problem(at, f"it has no rights: write some of {', '.join(RIGHTS)}")
        for right in handle.rights:
            if right not in RIGHTS: yield Problem(at, f"{right!r} is no right: write some of {', '.join(RIGHTS)}")
        if not 0 <= handle.badge <= LARGEST_BADGE:
            yield Problem((*at, "badge"), "a badge is a number from 0 to 2^63 - 1")
    for i, device in enumerate(program.devices):
        if device not in machine.devices:
            text = f"there is no device {device!r}; {suggestion(device, machine.devices, 'the devices')}"
            yield Problem((*where, "devices", i), text)
    yield from _pager(machine, where, program)
    for i, word in enumerate(program.arguments):
        if "\0" in word: yield Problem((*where, "arguments", i), "an argument cannot have a zero byte in it")
    for key, value in program.environment.items():
        if not key or "=" in key or "\0" in key + value:
            yield Problem((*where, "environment", key), "no name or value of an environment can be so")
    if program.time_limit is not None and not program.time_limit > 0:
        yield Problem((*where, "time_limit"), f"{program.time_limit:g} s is not more than 0")
    if (program.allow_read or program.allow_write) and linux and not missing:
        key = "allow_read" if program.allow_read else "allow_write"
        allowed = machine.allows_linux(program.container) if program.linux is None else program.linux
        if not allowed: yield Problem((*where, key), "it gets no Linux system calls, and others reach no files")
    paths = [machine.path(path) for path in (*program.allow_read, *program.allow_write)]
    if program.cwd is not None and not granted(machine.path(program.cwd), paths):
        yield Problem((*where, "cwd"), "it is not within what allow_read or allow_write grants")


__all__ = ["LARGEST_BADGE", "check", "quota"]
