"""A kernel under random calls: what threads call, what the host does, and the scheduling in between.

An action is a word and numbers, and does the same on the same state; a list of actions is a case that can be kept
(``tests.kernel.fuzz.cases``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from abi.calls import BY_NAME, CALLS
from abi.layout import USER_MIN
from kernel.calls import Operation, SpaceBusy, System
from kernel.calls.operations import Again
from kernel.check import Checker
from kernel.objects import (
    ALIVE,
    BLOCKED,
    DEAD,
    DEPTH_LIMIT,
    DEVICE,
    DOMAIN,
    ENDED,
    ENDING,
    HANDLES,
    NEW,
    PROCESS,
    THREAD,
    Kernel,
    Thread,
)  # fmt: skip
from kernel.specs import SPECIFICATIONS
from tests.kernel.fuzz.arguments import arguments
from tests.kernel.fuzz.between import between
from tests.kernel.fuzz.dice import Dice
from tests.kernel.world import PLAIN, Transition, World

Action = tuple[str, *tuple[str | int, ...]]
"""``("call", CORE, NAME, arguments ...)``: the thread that runs on this core makes a system call; ``("step", NAME,
arguments ...)``: a single transition; ``("schedule" | "preempt", CORE)``; ``("spawn",)``, ``("start", PROCESS)``,
``("go", CORE, STEPS)``: the call that the thread on this core is in goes on; ``("reap", STEPS)``: what ends is taken
down; ``("end", PROCESS, STATUS)``, ``("collect", PROCESS)``, ``("lend", PROCESS)`` a device, ``("wake", THREAD)``: the
host."""

NOT_HERE: Final = {
    "debug_print": "reads the program's memory and prints it: the hypervisor's",
    "device_map": "maps registers, which a device has", "device_info": "asks a device", "device_reset": "resets one",
}  # fmt: skip
"""Native calls that the kernel alone does not have."""
DOCUMENTED: Final = {call.name: frozenset(error for error, _ in call.errors) for call in CALLS}
"""By call: its errors."""
NATIVE: Final = tuple(
    call for call in CALLS if call.name not in NOT_HERE
    for _ in range(8 + 4 * len(call.arguments) if call.returns else 1)
)  # fmt: skip
"""Calls to choose from: those that end the caller are rarer, those with more to go wrong more frequent."""
Shape = tuple[int, int, int, str]
"""A machine's blocks, cores, pages of quota, and the scene that is set in it first."""
STRETCHES: Final = (100, 1, 1, 2, 3, 10, 1000)
"""Steps of a call, or of an ending, that are done at a time."""
FINAL: Final = frozenset(
    {"process_end", "process_exit", "container_kill", "container_end", "handle_drop", "thread_exit"}
)
"""Transitions that leave something ending: made as calls, which then take it down."""
STEPS: Final = tuple(sorted(set(SPECIFICATIONS) - FINAL))


class Going(NamedTuple):
    """A call in progress."""

    operation: Operation
    name: str


class Run:
    """A small kernel and the actions on it.  ``blocks``: its memory in 2 MiB; ``pages``: 4 KiB pages of quota that the
    root container has besides its blocks."""

    def __init__(
        self, blocks: int = 3, cores: int = 2, pages: int = 511, scene: str = "", level: str = "full",
        planted: dict[str, Transition] | None = None,
    ) -> None:  # fmt: skip
        self.w = World(blocks, cores, "off", planted)
        self.k: Kernel = self.w.k
        self.w.limit(pages)
        self.shape: Shape = (blocks, cores, pages, scene)
        self._quota = self._quota_of_root()
        self._planted = planted
        self.system = System(self.k, self._step, self._started)
        self._calls = {name: getattr(self.system, name) for name in BY_NAME if name not in NOT_HERE}
        self._going: dict[int, Going] = {}
        """By thread: the call that it is in, which is done in steps."""
        self.outcomes: Counter[tuple[str, int]] = Counter()
        """How often each call returned each error, or (as 0) succeeded."""
        self.interrupted: Counter[tuple[str, str]] = Counter()
        """How often which call, between two of its steps, lost its thread by which action."""
        self.actions: list[Action] = []
        """All that was done."""
        self._doing = ""
        if scene: SCENES[scene](self)
        self.actions.clear()
        self.w.checker = Checker(self.k, level)

    def _quota_of_root(self) -> int:
        C = self.w.root
        return C.pages + 512 * (C.blocks + 512 * C.giants)

    def _step(self, transition: Transition, *arguments: int) -> int:
        if self._planted is not None: transition = self._planted[transition.__name__]
        result = self.w.checker.step(transition, *arguments)
        for entry in self.k.journal:
            written = entry[0]
            if entry[1] == "state" and isinstance(written, Thread) and written.state in (0, DEAD):
                going = self._going.pop(written.id, None)
                if going is None: continue
                if going.operation.begun: self.interrupted[going.name, self._doing] += 1
                self.system.operations.adopt(going.operation)
        return result

    def _started(self, thread: int, entry: int, stack: int, argument: int) -> None:
        assert self.k.thread[thread].process != 0

    # Doing.

    def do(self, action: Action) -> int:
        """Does one action.  Returns its result; -1 for one that makes no sense here, such as a call on an idle core,
        which does nothing."""
        self.actions.append(action)
        self._doing = str(action[2]) if action[0] == "call" else action[0]
        return self._do(*action)

    def _do(self, what: str, *numbers: str | int) -> int:
        if what == "call":
            core, name, *given = numbers
            return self._call(self._int(core), str(name), [self._int(value) for value in given])
        if what == "step":
            name, *given = numbers
            if self._unfinished(): return -1
            return self._step(self.w.transitions[str(name)], *(self._int(value) for value in given))
        return self._host(what, [self._int(value) for value in numbers])

    @staticmethod
    def _int(value: str | int) -> int:
        assert isinstance(value, int), value
        return value

    def _call(self, core: int, name: str, given: list[int]) -> int:
        t = self.k.core[core].current if core < self.k.cores else 0
        if t == 0: return -1
        if t in self._going: return -1
        given += [0] * (len(BY_NAME[name].arguments) - len(given))  # a case may be older than an argument
        try:
            result = self._calls[name](t, *given)
        except SpaceBusy as busy:
            busy.holder.advance(1)
            return -1
        except Again:
            return -1
        if isinstance(result, int): return self._returned(name, result)
        alive = self.k.page[t].kind == THREAD and self.k.thread[t].state != DEAD
        if alive: self._going[t] = Going(result, name)
        else: self.system.operations.adopt(result)
        return 0

    def _returned(self, name: str, result: int) -> int:
        assert result >= 0 or -result in DOCUMENTED[name], f"{name} returned {result}, which abi.calls does not say"
        self.outcomes[name, min(result, 0)] += 1
        return result

    def _go_on(self, core: int, steps: int) -> int:
        t = self.k.core[core].current if core < self.k.cores else 0
        going = self._going.get(t)
        if going is None or not going.operation.advance(steps): return -1
        self._going.pop(t, None)
        assert going.operation.result is not None
        return self._returned(going.name, going.operation.result)

    def _schedule(self, core: int) -> int:
        """As a core does it: a thread whose process is ending does not run any more."""
        t = self._step(self.w.transitions["schedule"], core)
        if t > 0 and self.k.process[self.k.thread[t].process].state == ENDING: self.system.end_thread(t)
        return t

    def _unfinished(self) -> bool:
        """Something is between two of its steps.  A single transition could then take away what it relies on, which
        nobody but the kernel's own calls can do."""
        operations = self.system.operations
        return bool(self._going or operations.orphans or operations.holders or operations.endings)

    def _host(self, what: str, numbers: list[int]) -> int:
        k = self.k
        if what == "preempt": return self._step(self.w.transitions[what], *numbers)
        if what == "schedule": return self._schedule(*numbers)
        if what == "go": return self._go_on(*numbers)
        if what == "reap":
            if self.system.operations.orphans: self.system.operations.reap(*numbers)
            return 0
        if what == "spawn":
            s = self.system.spawn(self.k.root)
            return s if s < 0 else self.system.start_thread(s)
        o, *rest = numbers
        if what == "wake": return self._step(self.w.transitions["thread_wake"], o)
        if k.page[o].kind != PROCESS: return -1
        if what == "start": return self.system.start_thread(o)
        if what == "end":
            return self.system.end(o, *rest)
        if what == "collect": return self.system.collect(o)
        if what == "lend":
            device = self.system.add_device(k.process[o].container)
            return device if device < 0 else self.system.open_device(device, o)
        raise ValueError(f"no action is called {what!r}")

    # Choosing.

    def choose(self, dice: Dice) -> Action:
        """The next action, by the state and the dice; the state is not changed."""
        k = self.k
        what = dice.roll()
        core = dice.roll() % k.cores
        R = k.core[core]
        if what & 7 == 7 and self.system.operations.orphans: return ("reap", dice.pick(STRETCHES))
        if what & 7 == 6:
            aimed = between(self.k, self._going, dice)
            if aimed is not None: return aimed
        if what >= 232: return self._from_outside(what, core, dice)
        if R.current == 0:
            if R.head != 0: return ("schedule", core)
            busy = [r for r in range(k.cores) if k.core[r].current or k.core[r].head]
            if not busy: return ("spawn",) if what < 200 else self._from_outside(what, core, dice)
            core = busy[what % len(busy)]
            R = k.core[core]
            if R.current == 0: return ("schedule", core)
        if what >= 200 and R.head != 0: return ("preempt", core)
        if R.current in self._going: return ("go", core, dice.pick(STRETCHES))
        call = dice.pick(NATIVE)
        return ("call", core, call.name, *arguments(call, k, R.current, dice))

    def _from_outside(self, what: int, core: int, dice: Dice) -> Action:
        """What the host does, or a single transition."""
        k = self.k
        which = what & 7
        processes = [s for s, S in k.process.items() if S.state != 0]
        if which == 0 or not processes: return ("spawn",)
        if which == 1: return ("start", dice.pick(processes))
        if which == 2 and what >= 240: return ("end", dice.pick(processes), dice.pick((0, 3, 137)))
        if which == 3: return ("collect", dice.pick(processes))
        if which == 4:
            blocked = [t for t, T in k.thread.items() if T.state == BLOCKED]
            return ("wake", dice.pick(blocked)) if blocked else ("preempt", core)
        if which == 5: return ("lend", dice.pick(processes))
        name = dice.pick(STEPS)
        code = PLAIN[name].__code__
        things = self._things()
        given = []
        for parameter in code.co_varnames[1 : code.co_argcount]:
            given.append(self._for_transition(parameter, things, dice))
        return ("step", name, *given)

    def _things(self) -> dict[str, list[int]]:
        """By a transition's parameter: the objects it can name."""
        k = self.k
        running = [R.current for R in k.core.values() if R.current]
        processes = [s for s, S in k.process.items() if S.state in (NEW, ALIVE)]
        return {
            "s": processes, "d": processes, "t": running, "r": list(range(-1, k.cores + 1)),
            "o": [p for p, P in k.page.items() if P.kind == DEVICE],
            "m": [p for p, P in k.page.items() if P.kind == DOMAIN],
            "c": [c for c, C in k.container.items() if C.state], "p": [p for p, P in k.page.items() if P.kind],
        }  # fmt: skip

    def _for_transition(self, parameter: str, things: dict[str, list[int]], dice: Dice) -> int:
        candidates = things.get(parameter)
        if candidates: return dice.pick(candidates)
        return dice.pick((0, 1, 3, 2, 7, 511, 100)) if parameter not in things else 0

    # Ending.

    def finish(self) -> None:
        """Ends everything; then every page has to be free and the quota whole."""
        w, k = self.w, self.k
        for s in [s for s, S in k.process.items() if S.state in (NEW, ALIVE)]:
            if k.page[s].kind == PROCESS and k.process[s].state in (NEW, ALIVE): self.system.end(s, 137)
        self.system.operations.drain()
        assert not any(S.state == ENDING for S in k.process.values())
        for s in [s for s, S in k.process.items() if S.state == ENDED and S.hosted]:
            self.system.collect(s)
        w.end_everything()
        C = w.root
        assert (C.used_pages, C.used_blocks, C.used_giants, C.processes) == (1, 0, 0, 0)
        assert self._quota_of_root() == self._quota
        assert sum(P.kind != 0 for P in k.page.values()) == 1
        assert all(R.current == R.head == R.tail == 0 for R in k.core.values())
        if w.checker.level != "off": w.checker.audit()


def _deep(run: Run) -> None:
    """The deepest chain of containers, a process in each that waits for the one below."""
    run.do(("spawn",))
    run.do(("schedule", 0))
    for depth in range(DEPTH_LIMIT, 0, -1):
        inner = run.do(("call", 0, "container_create", depth * 4 + 30, 0, 0))
        child = run.do(("call", 0, "process_create_in", inner))
        for action in ("process_start", child, USER_MIN, USER_MIN, 0), ("process_wait", child):
            assert run.do(("call", 0, *action)) == 0
        run.do(("schedule", 0))


def _full(run: Run) -> None:
    """A process that has all handles but a few: to a container and to threads."""
    run.do(("spawn",))
    run.do(("schedule", 0))
    assert run.do(("call", 0, "container_create", 20, 0, 0)) > 0
    for _ in range(HANDLES - 4):
        assert run.do(("call", 0, "thread_create", USER_MIN, USER_MIN, 0)) > 0


SCENES: Final[dict[str, Callable[[Run], None]]] = {"deep": _deep, "full": _full}
"""By name: what is set, without checks, before the random actions.  For one core; ``full`` needs ten blocks."""


__all__ = ["DOCUMENTED", "NATIVE", "NOT_HERE", "SCENES", "Action", "Run", "Shape"]
