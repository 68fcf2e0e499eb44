"""The Python API: a machine.  The programs in it: ``aerostat.program``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, overload

from abi.elf import read_image
from abi.layout import BLOCK_SIZE, GIANT_SIZE, PAGE_SIZE
from aerostat.program import Program
from aerostat.sizes import parse_size
from hv.hosting import device_variable
from hv.machine import Machine as Hypervisor
from hv.observer import StoppedByObserver
from hv.process import Process

if TYPE_CHECKING:
    from aerostat.description.assembly import DescribedMachine
    from aerostat.description.machine import MachineDescription
    from aerostat.invariants.checking import Checking
    from aerostat.invariants.clause import Clause, Guard, Predicate
    from aerostat.invariants.machine_view import MachineView
    from aerostat.invariants.violation import Violation
    from hv.device import Device
    from hv.devices import LentDevice
    from hv.hosting import Container, Endpoint, Handle

ON_VIOLATION: Final = ("stop", "report", "repl")


class Machine:
    """A virtual machine with a kernel that checks itself at every exit.

    ``memory``: what all programs together can use, bytes or such as "256M".  ``cores``: 1 to 64.  ``check``: "off",
    "touched" (after each transition its specification and the invariants it could have broken) or "full" (and an audit
    of the whole state every 1,000 transitions and at the end).  ``time_limit``: seconds that each program may take.
    ``linux``: whether programs get the Linux system calls; ``allow_read`` and ``allow_write``: the host directories and
    files these reach, none by default.  ``on_violation``: what becomes of an invariant of the user's that does not
    hold: "stop" (the machine stops, and ``Program.wait`` raises the Violation), "report" (``violations`` has it, the
    program runs on), or "repl" (a Python prompt on standard input and error).

    Raises ValueError for arguments outside these, KvmUnavailable where there is no KVM to use.
    """

    def __init__(
        self,
        memory: int | str = "256M",
        *,
        cores: int = 1,
        check: str = "touched",
        time_limit: float | None = None,
        linux: bool = True,
        allow_read: Sequence[str | os.PathLike[str]] = (),
        allow_write: Sequence[str | os.PathLike[str]] = (),
        on_violation: str = "stop",
    ) -> None:
        if on_violation not in ON_VIOLATION:
            raise ValueError(f"on_violation={on_violation!r} is not one of {', '.join(ON_VIOLATION)}")
        self._on_violation = on_violation
        self._checking: Checking | None = None
        self.when_reported: Callable[[Violation], object] | None = None
        """With ``on_violation="report"``: called with the first violation of each invariant, with the big lock held."""
        self.when_asked: Callable[[Violation, MachineView], bool] | None = None
        """With ``on_violation="repl"``: takes the place of the prompt; true if the program is to run on."""
        if time_limit is not None and not time_limit > 0:
            raise ValueError(f"a time limit of {time_limit:g} s is not more than 0")
        self.time_limit = time_limit
        self.linux = linux
        self._allow_read = [os.fspath(path) for path in allow_read]
        self._allow_write = [os.fspath(path) for path in allow_write]
        self._policy: Any = None
        if linux: self._policy = self._new_policy(self._allow_read, self._allow_write)
        self.hypervisor = Hypervisor(parse_size(memory), cores, check)
        """The layer below, for what has no name here."""

    def _new_policy(self, allow_read: Sequence[str], allow_write: Sequence[str]) -> Any:
        if not allow_read and not allow_write: return None
        from userland.linux.policy import FilePolicy

        return FilePolicy(allow_read=allow_read, allow_write=allow_write)

    def _personality(self, streams: tuple[int, int, int], cwd: str | None, policy: Any, c: int) -> Any:
        """For a program in container c, which is told of the memory and cores that the container has."""
        from userland.linux.personality import LinuxPersonality

        k = self.hypervisor.kernel
        C = k.container[c]
        memory = (C.pages + C.used_pages) * PAGE_SIZE + (C.blocks + C.used_blocks) * BLOCK_SIZE
        memory += (C.giants + C.used_giants) * GIANT_SIZE
        return LinuxPersonality(
            files=policy, stdin=streams[0], stdout=streams[1], stderr=streams[2], cwd=cwd,
            memory_limit=k.memory.blocks * BLOCK_SIZE if c == k.root else memory,
            cores=k.container[C.cores_of].core_count,
        )  # fmt: skip

    @classmethod
    def from_description(cls, description: MachineDescription, *, check: str | None = None) -> DescribedMachine:
        """The machine that is described, its programs loaded but not started: see DescribedMachine.  Raises
        DescriptionError."""
        from aerostat.description.assembly import DescribedMachine

        return DescribedMachine(description, check=check)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, check: str | None = None) -> DescribedMachine:
        """The machine that a file describes (docs/machine-files.md), as ``from_description``.  Raises DescriptionError,
        which names file and line, and OSError for a file that cannot be read."""
        from aerostat.description.file import read_description

        return cls.from_description(read_description(path), check=check)

    def create_container(
        self, name: str, memory: int | str = 0, *, pages: int = 0, blocks: int = 0, giants: int = 0, cores: int = 0,
        parent: Container | None = None,
    ) -> Container:  # fmt: skip
        """A container below ``parent`` (default: the root), which gives it its quota: ``memory`` (bytes or such as
        "64M", in 2 MiB blocks and 4 KiB pages), and ``pages``, ``blocks`` and 1 GiB ``giants`` besides; and ``cores``
        of its own, of which it keeps one (0: it uses its parent's).  It lives until it is killed or the machine closed.
        Raises OutOfMemory and ValueError."""
        from hv.hosting import create_container

        size, machine = parse_size(memory), self.hypervisor
        with machine.lock:
            above = self._id(parent)
            pages += -(-(size % BLOCK_SIZE) // PAGE_SIZE)
            return create_container(machine, name, above, pages, blocks + size // BLOCK_SIZE, giants, cores)

    def create_endpoint(self, container: Container | None = None) -> Endpoint:
        """An endpoint, charged to a container (default: the root), for ``load`` to give programs handles to."""
        from hv.hosting import Endpoint

        return Endpoint(self._id(container))

    def add_device(self, device: Device, container: Container | None = None) -> LentDevice:
        """Lends a device (``hv.device``: hardware that ``hv.vfio`` has opened, or a model) to a container, by default
        the root, for ``load`` to give it to a program.  The machine closes it.  Raises OutOfMemory."""
        return self.hypervisor.add_device(device, self._id(container))

    def _id(self, container: Container | None) -> int:
        if container is None: return self.hypervisor.kernel.root
        if container.gone: raise ValueError(f"container {container.name} has ended")
        return container.id

    def load(
        self,
        program: str | os.PathLike[str] | bytes,
        argv: Sequence[str | bytes] | None = None,
        env: Mapping[str, str] | None = None,
        *,
        stdin: int = 0,
        stdout: int = 1,
        stderr: int = 2,
        cwd: str | None = None,
        linux: bool | None = None,
        allow_read: Sequence[str] | None = None,
        allow_write: Sequence[str] | None = None,
        time_limit: float | None = None,
        container: Container | None = None,
        handles: Sequence[Handle] = (),
        devices: Mapping[str, LentDevice] | None = None,
    ) -> Program:
        """Loads a program, an ELF file's path or its bytes, without starting it: to read and write its memory, and to
        call its functions.  Arguments and errors as ``spawn``, and besides: ``allow_read``, ``allow_write`` and
        ``time_limit`` take the place of the machine's; ``container``: where it runs, by default the root; ``handles``:
        to endpoints, which it learns from environment variables; ``devices``: by the names it knows them by, in
        variables AERO_DEVICE_NAME.  One process holds a device at a time (ValueError)."""
        image = read_image(program)
        name = os.fsdecode(program) if not isinstance(program, bytes) else "program"
        arguments = [os.fsencode(word) for word in argv] if argv is not None else [os.fsencode(name)]
        environment = [os.fsencode(f"{key}={value}") for key, value in (env or {}).items()]
        use_linux = self.linux if linux is None else linux
        try:
            personality = None
            if use_linux:
                policy = self._policy
                if allow_read is not None or allow_write is not None:
                    policy = self._new_policy(allow_read or (), allow_write or ())
                personality = self._personality((stdin, stdout, stderr), cwd, policy, self._id(container))
            process = self.hypervisor.spawn(
                image, arguments, environment, name=name, personality=personality, output=stdout, start=False,
                container=self._id(container), handles=handles,
                devices={device_variable(name): lent for name, lent in (devices or {}).items()},
            )  # fmt: skip
        finally:
            image.let_go()  # a user may keep thousands of programs that have ended, or the exception
        limit = self.time_limit if time_limit is None else time_limit
        return Program(self, process, image, personality, limit)

    def spawn(
        self,
        program: str | os.PathLike[str] | bytes,
        argv: Sequence[str | bytes] | None = None,
        env: Mapping[str, str] | None = None,
        *,
        stdin: int = 0,
        stdout: int = 1,
        stderr: int = 2,
        cwd: str | None = None,
        linux: bool | None = None,
        devices: Mapping[str, LentDevice] | None = None,
    ) -> Program:
        """Starts a program: an ELF file's path or its bytes.

        ``argv`` includes the name of the program, as in C, and is just that by default; ``env`` is empty by default.
        ``stdin``, ``stdout`` and ``stderr`` are host descriptors; ``cwd`` a granted directory; ``linux`` overrides the
        machine's; ``devices`` as of ``load``.  Raises BadElf for what is no program, OutOfMemory, ArgumentsTooLong,
        and whatever stopped the machine.
        """
        loaded = self.load(
            program, argv, env, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, linux=linux, devices=devices
        )
        loaded.start()
        return loaded

    def syscall(self, number: int) -> Callable[[Callable[..., int]], Callable[..., int]]:
        """Decorator: serves system call ``number``, 0x2000 to 0x2fff, by a Python function ``f(thread, a0, ..., a5)``.

        It gets the calling thread (registers, ``thread.process.memory``) and the six argument registers, unsigned, and
        returns what rax becomes, ``-errno`` for an error.  It runs with everything stopped but guests on other cores.
        A UserFault it lets through is -EFAULT to the program; any other exception stops the machine and is raised by
        ``wait``.  Raises ValueError for a number out of range or taken."""

        def register(function: Callable[..., int]) -> Callable[..., int]:
            with self.hypervisor.lock:
                self.hypervisor.define_call(number, function)
            return function

        return register

    @overload
    def invariant(self, of: Predicate | Clause, /) -> Clause: ...

    @overload
    def invariant(
        self, of: str = "", /, *, every: int | str = "exit", at: int | str | Sequence[int | str] = (),
        unless: Guard | None = None,
    ) -> Callable[[Predicate], Clause]: ...  # fmt: skip

    def invariant(
        self, of: Predicate | Clause | str = "", /, *, every: int | str = "exit",
        at: int | str | Sequence[int | str] = (), unless: Guard | None = None,
    ) -> Clause | Callable[[Predicate], Clause]:  # fmt: skip
        """Decorator: an invariant that is checked from now on, for each program of the machine; arguments and errors
        as ``aerostat.invariant``, and ValueError for a name that is taken.  A Clause is taken as it is."""
        return self._watch(None, of, every=every, at=at, unless=unless)

    def _watch(
        self, program: Process | None, of: Predicate | Clause | str, **when: Any
    ) -> Clause | Callable[[Predicate], Clause]:
        from aerostat.invariants.clause import Clause, invariant

        def add(clause: Clause) -> Clause:
            with self.hypervisor.lock:
                self._invariants().add(clause, program)
            return clause

        if isinstance(of, Clause): return add(of)
        if callable(of): return add(invariant(of))
        declare = invariant(of, **when)
        return lambda predicate: add(declare(predicate))

    def _invariants(self) -> Checking:
        if self._checking is None:
            from aerostat.invariants.checking import Checking

            self._checking = Checking(self.hypervisor, self._on_violation, self._reported, self._asked)
        return self._checking

    def _reported(self, violation: Violation) -> None:
        if self.when_reported is not None: self.when_reported(violation)

    def _asked(self, violation: Violation, m: MachineView) -> bool:
        if self.when_asked is not None: return self.when_asked(violation, m)
        from aerostat.invariants.prompt import ask

        return ask(violation, m)

    @property
    def watched(self) -> bool:
        """It has invariants of the user's."""
        return self._checking is not None

    @property
    def violations(self) -> list[Violation]:
        """The first violation of each invariant of the user's, in the order in which they came."""
        return list(self._checking.violations) if self._checking is not None else []

    def audit(self) -> int:
        """Evaluates every invariant for every object and compares the page tables' bytes with the kernel's state; then
        those of the user's that are about kernel objects, for each while programs run.  Returns how many instances were
        evaluated; raises CheckFailed, and Violation where violations stop the machine."""
        evaluated = self.hypervisor.audit()
        if self._checking is None: return evaluated
        with self.hypervisor.lock:
            try:
                return evaluated + self._checking.audit()
            except StoppedByObserver as violation:
                self.hypervisor.stop(violation)
                raise

    def statistics(self) -> dict[str, Any]:
        """Counts of exits, checks and programs since the start, and what the machine holds now."""
        with self.hypervisor.lock:
            counts = self.hypervisor.statistics()
            if self._checking is not None: counts["invariants"] = self._checking.statistics()
            return counts

    def close(self) -> None:
        """Ends all programs and gives everything back.  May be called again."""
        self.hypervisor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


__all__ = ["Machine"]
