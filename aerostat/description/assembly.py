"""Making the machine that a description describes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from abi.elf import read_image
from abi.image import BadElf
from abi.stack import ArgumentsTooLong
from aerostat.description.check import check as problems_of
from aerostat.description.check import quota
from aerostat.description.machine import (
    RIGHTS,
    DeviceDescription,
    MachineDescription,
    ProgramDescription,
    endpoint_variable,
)
from aerostat.description.problems import DescriptionError, Problem
from aerostat.description.toml_lines import Path
from aerostat.device_kinds import open_kind
from aerostat.host_paths import find_program
from aerostat.machine import Machine
from aerostat.program import Program
from hv.failures import OutOfMemory
from hv.hosting import Container, Endpoint, Handle, set_pager, start_timer
from hv.pci import DeviceUnavailable

if TYPE_CHECKING:
    from aerostat.invariants.clause import Clause
    from hv.devices import LentDevice

Inherited = Callable[[str, str], int]
"""The host descriptor that a program's "stdin", "stdout" or "stderr" is where it inherits it."""

MAIN_ENDED: Final = "the main program has ended"
"""Why the programs beside it are ended then, in their reports."""
_STREAMS: Final = {"stdin": 0, "stdout": 1, "stderr": 2}


def _own(_: str, stream: str) -> int:
    return _STREAMS[stream]


class DescribedMachine(Machine):
    """The machine that a description describes: its containers and endpoints made, its programs loaded but not
    started, so that they can be looked at, called and watched before.

    ``check`` takes the place of the description's.  ``inherited`` tells for a program and one of its streams which host
    descriptor it has where it inherits it, by default this process's own.  Raises DescriptionError, with all problems
    that can be found at once, KvmUnavailable, and OSError where the host has no memory for it.
    """

    def __init__(
        self, description: MachineDescription, *, check: str | None = None, inherited: Inherited = _own
    ) -> None:
        self.description = description
        self.programs: dict[str, Program] = {}
        """By name, in the description's order."""
        self.containers: dict[str, Container] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.devices: dict[str, LentDevice] = {}
        self._inherited = inherited
        self._started = False
        self._files: dict[str, int] = {}
        """Host files that are standard streams: their descriptors, by path; those that are read, by program too."""
        problems = problems_of(description)
        for name, program in description.programs.items(): problems += self._program_problems(name, program)
        if problems: raise DescriptionError(problems, description.source)
        invariants = self._read_invariants()
        super().__init__(
            description.memory, cores=description.cores, check=check or description.check,
            on_violation=description.on_violation,
        )  # fmt: skip
        try:
            for name in description.containers: self._make_container(name)
            for name, endpoint in description.endpoints.items():
                self.endpoints[name] = self.create_endpoint(self._container(endpoint.container))
            for name, device in description.devices.items(): self.devices[name] = self._lend(name, device)
            for name, program in description.programs.items(): self.programs[name] = self._load(name, program)
            for name, program in description.programs.items(): self._set_pager(name, program)
            for where, clause in invariants: self._watch_by(where, clause)
        except BaseException:
            self.close()
            raise

    def _program_problems(self, name: str, program: ProgramDescription) -> Iterator[Problem]:
        """What is wrong with what a program names on the host."""
        path = self._path(program) if program.file else ""
        if path is None: yield Problem(("program", name, "file"), f"{program.file!r} was not found in PATH")
        elif path:
            try:
                read_image(path).close()
            except BadElf as error:
                yield Problem(("program", name, "file"), str(error))
        if not program.allow_read and not program.allow_write: return
        from userland.linux.policy import FilePolicy, PolicyError

        for key, grants in (("allow_read", program.allow_read), ("allow_write", program.allow_write)):
            for i, grant in enumerate(grants):
                try:
                    FilePolicy(**{key: [self.description.path(grant)]}).close()
                except PolicyError as error:
                    yield Problem(("program", name, key, i), str(error).partition(" ")[2])

    def _path(self, program: ProgramDescription) -> str | None:
        return self.description.path(program.file) if "/" in program.file else find_program(program.file)

    def _container(self, name: str | None) -> Container | None:
        if name is None: return None
        if name not in self.containers: self._make_container(name)
        return self.containers[name]

    def _make_container(self, name: str) -> None:
        """Makes a container, and those above it first."""
        if name in self.containers: return
        described = self.description.containers[name]
        pages, blocks = quota(described)
        with self._at(("container", name, "memory")):
            self.containers[name] = self.create_container(
                name, pages=pages, blocks=blocks, giants=described.giants, cores=described.cores,
                parent=self._container(described.parent),
            )  # fmt: skip

    def _lend(self, name: str, device: DeviceDescription) -> LentDevice:
        options = {"address": device.address} if device.address is not None else dict(device.options)
        where = ("device", name, "address" if device.address is not None else "options")
        with self._at(where, room=device.container):
            try:
                return self.add_device(open_kind(device.kind, options), self._container(device.container))
            except (DeviceUnavailable, OSError) as error:
                raise ValueError(str(error)) from None

    def _load(self, name: str, program: ProgramDescription) -> Program:
        place = self.description
        container = program.container
        path = self._path(program)
        assert path is not None
        handles = [
            Handle(endpoint_variable(endpoint), self.endpoints[endpoint],
                   sum(RIGHTS[right] for right in set(handle.rights)), handle.badge)
            for endpoint, handle in program.endpoints.items()
        ]  # fmt: skip
        streams: dict[str, Any] = {stream: self._stream(name, stream, getattr(program, stream)) for stream in _STREAMS}
        with self._at(("program", name, "file"), room=container):
            return self.load(
                path, [program.file, *program.arguments], program.environment, **streams,
                cwd=os.path.abspath(place.path(program.cwd or ".")),
                linux=place.allows_linux(container) if program.linux is None else program.linux,
                allow_read=[place.path(grant) for grant in program.allow_read],
                allow_write=[place.path(grant) for grant in program.allow_write],
                time_limit=program.time_limit, container=self._container(container), handles=handles,
                devices={device: self.devices[device] for device in program.devices},
            )  # fmt: skip

    def _set_pager(self, name: str, program: ProgramDescription) -> None:
        """When all are loaded: an endpoint comes to be with the first handle to it."""
        if program.pager is None: return
        with self._at(("program", name, "pager")), self.hypervisor.lock:
            set_pager(
                self.hypervisor, self.programs[name].process.id, self.endpoints[program.pager], program.pager_badge
            )

    def _read_invariants(self) -> list[tuple[Path, Clause]]:
        """The invariants of the files that are named, each with the place it is named at."""
        named: list[tuple[Path, str]] = [
            (("machine", "invariants", i), file) for i, file in enumerate(self.description.invariants)
        ]
        for name, program in self.description.programs.items():
            named += [(("program", name, "invariants", i), file) for i, file in enumerate(program.invariants)]
        if not named: return []
        from aerostat.invariants.files import InvariantFileError, load

        found: list[tuple[Path, Clause]] = []
        problems = []
        for where, file in named:
            try:
                found += [(where, clause) for clause in load(self.description.path(file))]
            except InvariantFileError as error:
                problems.append(Problem(where, str(error)))
        if problems: raise DescriptionError(problems, self.description.source)
        return found

    def _watch_by(self, where: Path, clause: Clause) -> None:
        with self._at(where):
            if where[0] == "machine": self.invariant(clause)
            else: self.programs[str(where[1])].invariant(clause)

    def _stream(self, program: str, stream: str, where: str) -> int:
        if where == "inherit": return self._inherited(program, stream)
        path = os.devnull if where == "none" else self.description.path(where)
        key = path if stream != "stdin" else f"{path} for {program}"
        if key not in self._files:
            flags = os.O_RDONLY if stream == "stdin" else os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
            if path == os.devnull: flags = os.O_RDWR
            try:
                self._files[key] = os.open(path, flags | os.O_CLOEXEC, 0o666)
            except OSError as error:
                problem = Problem(("program", program, stream), f"{path}: {error.strerror}")
                raise DescriptionError([problem], self.description.source) from None
        return self._files[key]

    @contextlib.contextmanager
    def _at(self, where: Path, room: str | None = None) -> Iterator[None]:
        """What goes wrong within is a problem at this place; where memory is lacking, of the container ``room``."""
        try:
            yield
        except OutOfMemory as error:
            if where[0] == "program": where = ("machine",) if room is None else ("container", room)
            where = (*where[:2], "memory")
            text = f"{error}; give it more"
            raise DescriptionError([Problem(where, text)], self.description.source) from None
        except ArgumentsTooLong as error:
            where = (*where[:2], "arguments")
            raise DescriptionError([Problem(where, str(error))], self.description.source) from None
        except (BadElf, ValueError) as error:
            raise DescriptionError([Problem(where, str(error))], self.description.source) from None

    @property
    def main(self) -> Program | None:
        """The program that the machine ends with, if one is so described."""
        names = [name for name, program in self.description.programs.items() if program.main]
        return self.programs[names[0]] if names else None

    def start(self, time_limit: float | None = None) -> None:
        """Starts all programs, in the description's order.  ``time_limit``: seconds after which those that still run
        are ended with status 124, by default as described."""
        limit = self.description.time_limit if time_limit is None else time_limit
        if limit is not None:
            with self.hypervisor.lock:
                deadline = time.monotonic() + limit
                self.hypervisor.events.at(deadline, lambda: self._out_of_time(limit), limit=True)
        with self.hypervisor.lock:
            for name, endpoint in self.description.endpoints.items():
                if endpoint.timer is None or self._started or self.endpoints[name].gone: continue
                with self._at(("endpoint", name, "timer")):
                    start_timer(self.hypervisor, self.endpoints[name], round(endpoint.timer * 1e9))
            self._started = True
        for program in self.programs.values(): program.start()

    def _out_of_time(self, limit: float) -> None:
        for program in self.programs.values():
            if program.status is None:
                reason = f"the machine's time limit of {limit:g} s reached"
                self.hypervisor.end_process(program.process, 124, reason)

    def wait(self) -> int:
        """Waits until the main program has ended, and ends the others; or, without one, until all have.  Returns the
        main program's status, or the first in the description's order that is not 0.  Raises as ``Program.wait``."""
        if self.main is not None:
            status = self.main.wait()
            for program in self.programs.values():
                program.process.kill(reason=MAIN_ENDED)
            return status
        statuses = [program.wait() for program in self.programs.values()]
        return next((status for status in statuses if status), 0)

    def close(self) -> None:
        """Ends all programs and containers and gives everything back.  May be called again."""
        try:
            super().close()
        finally:
            while self._files: os.close(self._files.popitem()[1])


__all__ = ["MAIN_ENDED", "DescribedMachine", "Inherited"]
