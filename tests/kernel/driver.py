"""A seeded driver that makes random calls of every transition on a small machine, good calls and bad ones alike."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from kernel.objects import (
    ACTIVE,
    ALIVE,
    CLOSING,
    CONTAINER,
    DEVICE,
    DOMAIN,
    ENDED,
    ENDING,
    ENDPOINT,
    MAPPED,
    MAPPED_BLOCK,
    MAPPED_GIANT,
    NEW,
    PROCESS,
    READY,
    RUNNING,
    THREAD,
)  # fmt: skip
from tests.kernel.world import JOURNALED, Transition, World, indices

Call = tuple[str, *tuple[int, ...]]
"""A transition's name and its arguments."""
PERMISSIONS = (0, 1, 3, 5, 7, 7, 3, 2)


class Driver:
    """Chooses calls by the state they meet.  The same seed on the same state chooses the same calls."""

    def __init__(
        self,
        seed: int,
        level: str = "full",
        blocks: int = 3,
        cores: int = 2,
        with_transitions: dict[str, Transition] | None = None,
        pages: int = 511,
        giants: bool = False,
    ) -> None:
        self.random = random.Random(seed)
        # With two giants, and a part of one; all blocks but a few are in use.
        self.w = World(3 * 512 + 1 if giants else blocks, cores, level, with_transitions or JOURNALED)
        self.k = self.w.k
        self.hog = self._take_blocks(blocks) if giants else 0
        """A process that nothing is done to before the end."""
        self.w.limit(min(pages, self.w.root.pages))
        self.quota = self._quota_of_root()
        self.outcomes: Counter[tuple[str, int]] = Counter()
        """How often each transition returned each error, or (as 0) succeeded."""
        self.pending: list[int] = []
        """Processes that are ending."""
        self._choices: list[Callable[[], Call | None]] = [
            self._map, self._map, self._map, self._map_block, self._unmap, self._unmap, self._unmap_block,
            self._protect, self._share, self._share_block, self._grant, self._grant_block,
            self._quota, self._spawn, self._start, self._schedule, self._map_giant, self._on_giant,
            self._schedule, self._schedule, self._preempt, self._leave_core, self._wake, self._create_thread,
            self._create_process, self._with_handle, self._with_handle, self._with_handle, self._exit, self._end,
            self._collect, self._on_anything, self._ending_step, self._ending_step, self._ending_step,
            self._create_container, self._in_container, self._in_container, self._start_child, self._start_child,
            self._kill_container, self._share_out, self._create_container, self._create_container, self._share_out,
            self._grant_out,
            self._closing_step, self._closing_step, self._closing_step, self._on_any_container,
            self._create_endpoint, self._with_endpoint, self._with_endpoint, self._message, self._message,
            self._message, self._message, self._message, self._message, self._cancel, self._paging, self._signal,
            self._device, self._device, self._with_device, self._with_device, self._with_device, self._unmap_domain,
            self._kill_family, self._grandchild, self._grandchild, self._kill_family, self._host,
            self._give_core, self._affinity, self._query,
        ]  # fmt: skip

    def run(self, calls: int) -> None:
        """Makes this many calls."""
        for _ in range(calls):
            self.call(*self.choose())

    def choose(self) -> Call:
        """The next call; the state is not changed."""
        while True:
            call = self.random.choice(self._choices)()
            if call is not None: return call

    def call(self, name: str, *arguments: int) -> int:
        """Makes one call."""
        result = self.w.call(name, *arguments)
        self.outcomes[name, min(result, 0)] += 1
        self.pending = [s for s, S in self.k.process.items() if S.state == ENDING]
        return result

    def finish(self) -> None:
        """Ends and collects everything; every page has to be free then and the quota whole."""
        w, k = self.w, self.k
        w.end_everything()
        C = w.root
        assert (C.used_pages, C.used_blocks, C.used_giants, C.processes) == (1, 0, 0, 0)
        assert self._quota_of_root() == self.quota
        assert sum(P.kind != 0 for P in k.page.values()) == 1
        assert all(R.current == R.head == R.tail == 0 for R in k.core.values())
        if w.checker.level != "off": w.checker.audit()

    def _quota_of_root(self) -> int:
        C = self.w.root
        return C.pages + C.used_pages + 512 * (C.blocks + C.used_blocks + 512 * (C.giants + C.used_giants))

    def _take_blocks(self, leaving: int) -> int:
        """Has a process take all blocks but these few.  Returns it."""
        with self.w.unchecked():
            s, v = self.w.process(), 3 << 27
            while self.w.root.blocks > leaving:
                self.w.map_block(s, v)
                v += 512
        return s

    # Containers.

    def _containers(self, *states: int) -> list[int]:
        return [c for c, C in self.k.container.items() if C.state in states]

    def _container_handle(self, t: int, but: int = 5) -> tuple[int, int]:
        """A handle of thread t to a container, or now and then another or none."""
        S = self.k.process[self.k.thread[t].process]
        handles = [(slot, S.handle_generation[slot]) for slot, o in S.handle_object.items()
                   if o and (self.k.page[o].kind == CONTAINER or self.random.random() < 0.1)]  # fmt: skip
        return self.random.choice(handles) if handles else (but, 1)

    def _create_container(self) -> Call | None:
        t = self._running()
        if t is None or len(self._containers(ACTIVE, CLOSING)) >= 7: return None
        pick = self.random.choice
        return ("container_create", t, pick((-1, 3, 10, 30, 60, 1000)), pick((0, 0, 0, 1)), pick((0, 0, 0, 1)))

    def _in_container(self) -> Call | None:
        t = self._running()
        if t is None or len(self._processes(NEW, ALIVE, ENDING, ENDED)) >= 12: return None
        if self._container_handle(t) == (5, 1) and self.random.random() < 0.9: return None
        return ("process_create_in", t, *self._container_handle(t))

    def _start_child(self) -> Call | None:
        """The first thread of a child, most likely of one in a container below."""
        t = self._running()
        if t is None: return None
        S = self.k.process[self.k.thread[t].process]
        new = [(slot, S.handle_generation[slot]) for slot, o in S.handle_object.items()
               if self.k.process[o].state == NEW
               and (self.k.process[o].container != S.container or self.random.random() < 0.3)]  # fmt: skip
        return ("process_start", t, *self.random.choice(new)) if new else None

    def _share_out(self) -> Call | None:
        """Something that a process maps, for one in another container."""
        processes = self._processes(NEW, ALIVE)
        pairs = [(s, d) for s in processes for d in processes
                 if self.k.process[s].container not in (self.k.root, self.k.process[d].container)]  # fmt: skip
        if not pairs: return None
        s, d = self.random.choice(pairs)
        return ("share_page", s, *self._mapped(s), d, *self._address(), 1)

    def _grant_out(self) -> Call | None:
        """As _share_out, but the charge moves with it."""
        call = self._share_out()
        return None if call is None else ("grant_page", *call[1:])

    def _kill_container(self) -> Call | None:
        t = self._running()
        if t is None or self.random.random() < 0.8: return None
        return ("container_kill", t, *self._container_handle(t))

    def _closing_step(self) -> Call | None:
        """A step towards the end of a container that is ending."""
        closing = self._containers(CLOSING)
        if not closing: return None
        k, c = self.k, self.random.choice(closing)
        C = k.container[c]
        steps: list[Call] = [("container_end", n) for n in (C.children[i] for i in range(C.child_count))
                             if k.container[n].state == ACTIVE]  # fmt: skip
        for s in (C.members[i] for i in range(C.processes)):
            if k.process[s].state in (NEW, ALIVE): steps.append(("process_end", s, 137))
            if k.process[s].state == ENDED: steps.append(("process_forget", s))
        if C.processes == 0 and C.child_count == 0 and C.core_count: steps.append(("core_return", c))
        if C.processes == 0:
            passing = (MAPPED, MAPPED_BLOCK, MAPPED_GIANT, ENDPOINT, DEVICE)
            left = [p for p, P in k.page.items() if P.owner == c and P.kind in passing]
            steps += [("page_inherit", p) for p in left]
        return self.random.choice(steps) if steps else ("container_finish", c)

    def _on_any_container(self) -> Call:
        """Steps that need a container that is ending, on something that may be no such."""
        k = self.k
        name = self.random.choice(
            ("container_end", "container_finish", "page_inherit", "process_forget", "container_close", "core_give",
             "core_return")
        )
        if name == "container_close" and self.random.random() < 0.8: name = "container_end"
        return (name, self.random.choice([p for p, P in k.page.items() if P.kind] if name == "page_inherit" else
                                         [*self._containers(ACTIVE, CLOSING), *self._processes(NEW, ALIVE, ENDED)]))

    def _host(self) -> Call | None:
        """What the host sets up before programs run, good or bad."""
        k, pick = self.k, self.random.choice
        name = pick(("container_spawn", "process_spawn", "endpoint_spawn", "handle_assign", "handle_assign",
                     "pager_assign", "timer_assign"))
        containers = self._containers(ACTIVE, CLOSING)
        c = pick([*containers, k.root, k.root, *self._processes(ALIVE)[:1]])
        if name == "container_spawn":
            hosted = [n for n in self._containers(ACTIVE) if k.container[n].hosted]
            if len(hosted) >= 2 and self.random.random() < 0.7: return ("container_close", pick(hosted))
            return None if len(hosted) >= 2 else (name, c, pick((-1, 3, 20, 20)), pick((0, 0, 1)), pick((0, 0, 0, 1)))
        if name == "process_spawn": return None if len(self._processes(NEW, ALIVE, ENDING, ENDED)) >= 8 else (name, c)
        new = self._processes(NEW)
        d = pick([*new, *new, *new, *self._processes(ALIVE, ENDED), k.root])
        endpoints = [e for e, E in k.endpoint.items() if E.references]
        rights, badge = pick((1, 2, 3, 5, 7, 0, 8)), pick((0, 0, 4, -1))
        if k.process[d].handle_count > 40: return None
        if name == "endpoint_spawn": return None if len(endpoints) >= 4 else (name, d, c, rights, badge)
        e = pick([*endpoints, *endpoints, d])
        if name == "timer_assign": return (name, e)
        if name == "pager_assign": return (name, d, e, badge)
        return (name, d, e, rights, badge)

    # Endpoints and messages.

    def _endpoint_handle(self, t: int) -> tuple[int, int]:
        """A handle of thread t to an endpoint, or now and then another, a stale one, or none."""
        S = self.k.process[self.k.thread[t].process]
        handles = [(slot, S.handle_generation[slot] + (self.random.random() < 0.02)) for slot, o in
                   S.handle_object.items()
                   if o and (self.k.page[o].kind == ENDPOINT or self.random.random() < 0.03)]  # fmt: skip
        return self.random.choice(handles) if handles else (5, 1)

    def _create_endpoint(self) -> Call | None:
        endpoints = [e for e, E in self.k.endpoint.items() if E.references]
        if len(endpoints) >= 6: return None
        t = self.random.choice(self._threads() or [0]) if self.random.random() < 0.1 else self._running()
        return None if t is None else ("endpoint_create", t)

    def _with_endpoint(self) -> Call | None:
        t = self._running()
        if t is None: return None
        handle, pick = self._endpoint_handle(t), self.random.choice
        S = self.k.process[self.k.thread[t].process]
        name = pick(("handle_copy", "handle_copy", "handle_close", "handle_give", "handle_give", "timer_bind"))
        if name == "handle_close": return (name, t, *handle) if self.random.random() < 0.6 else None
        if name == "timer_bind": return (name, t, *handle, pick((0, 1, 1, 2)))
        if name == "handle_copy":
            return None if S.handle_count > 40 else (name, t, *handle, pick((1, 2, 3, 5, 7, 7, 0, 8)), pick((0, 0, 6)))
        children = [(slot, S.handle_generation[slot]) for slot, o in S.handle_object.items()
                    if o and self.k.process[o].state == NEW]  # fmt: skip
        return (name, t, *(pick(children) if children else (5, 1)), *handle, pick((1, 3, 7)))

    def _item(self, t: int) -> tuple[int, int, int, int]:
        """What a message carries; mostly nothing."""
        pick = self.random.choice
        kind = pick((0, 0, 0, 0, 1, 2, 3, 3, 4))
        if kind == 0: return (0, 0, 0, 0)
        if kind == 3: return (3, *self._endpoint_handle(t), pick((1, 2, 3, 7)))
        return (kind, pick((7, 9)), pick((1, 2, 2, 0)), pick((1, 3, 8)))

    def _message(self) -> Call | None:
        t, pick = self._running(), self.random.choice
        if t is None: return None
        name = pick(("message_send", "message_call", "message_receive", "message_receive", "message_reply",
                     "message_reply_receive", "message_accept"))  # fmt: skip
        replying = [R.current for R in self.k.core.values() if self.k.thread[R.current].caller]
        if replying and self.random.random() < 0.6:
            t = pick(replying)
            name = pick(("message_reply", "message_reply_receive"))
        if name == "message_accept": return (name, t, pick((0, 9)), pick((0, 2, 2, -1)), pick((0, 1, 1, 2)))
        if name == "message_receive": return (name, t, *self._endpoint_handle(t), pick((0, 1, 1, 1)), pick((0, 1, 2)))
        item = self._item(t)
        moved = pick((item[2], item[2], 0))
        if name == "message_reply": return (name, t, *item, moved)
        if name == "message_reply_receive": return (name, t, *self._endpoint_handle(t), *item, moved)
        return (name, t, *self._endpoint_handle(t), pick((0, 1, 1, 1)), *item, moved)

    def _cancel(self) -> Call | None:
        waiting = [t for t in self._threads() if self.k.thread[t].waits]
        t = self.random.choice(waiting if waiting and self.random.random() < 0.8 else [*self._threads(), self.k.root])
        return ("message_cancel", t, self.random.choice((-110, -32, -32, 0))) if self.random.random() < 0.4 else None

    def _paging(self) -> Call | None:
        t = self._running()
        if t is None: return None
        s = self.k.thread[t].process
        if self.random.random() < 0.5: return ("message_fault", t, self.random.choice((1, 77, 77, 0)))
        d = self.random.choice([s, s, s, *self._processes(NEW, ALIVE, ENDING), self.k.root])
        return ("pager_set", t, d, *(self._endpoint_handle(t) if self.random.random() < 0.7 else (0, 0)))

    def _signal(self) -> Call | None:
        endpoints = [e for e, E in self.k.endpoint.items() if E.references]
        if self.random.random() < 0.7: return None
        return ("endpoint_signal", self.random.choice(endpoints or [self.k.root]))

    def _give_core(self) -> Call | None:
        """A core for a container; or a thread that is in its way goes."""
        k = self.k
        empty = [c for c in self._containers(ACTIVE) if c != k.root and k.container[c].processes == 0]
        if not empty: return None
        c = self.random.choice(empty)
        A = k.container[k.container[c].parent]
        last = k.core[A.cores[A.core_count - 1]] if A.core_count > 1 else None
        if last is not None and last.placed_count:
            return ("thread_move", last.placed[0], self.random.randrange(-1, A.core_count))
        return ("core_give", c)

    def _affinity(self) -> Call | None:
        t = self._running()
        if t is None: return None
        S = self.k.process[self.k.thread[t].process]
        handles = [(slot, g) for slot, g in S.handle_generation.items() if g]
        return ("thread_affinity", t, *self.random.choice([(0, 0), (5, 1), *handles]), self.random.randrange(-1, 4))

    def _query(self) -> Call | None:
        t = self._running()
        if t is None: return None
        handle = (0, 0) if self.random.random() < 0.5 else self._container_handle(t)
        return ("container_query", t, *handle, self.random.randrange(-1, 12))

    # Devices and domains.

    def _of_kind(self, kind: int) -> list[int]:
        return [p for p, P in self.k.page.items() if P.kind == kind]

    def _device(self) -> Call | None:
        """The host lends a device, gives it to a process, or takes it back; or steps of ending, too early."""
        devices, pick = self._of_kind(DEVICE), self.random.choice
        what = self.random.random()
        if what > 0.97: return ("device_release", pick([*devices, self.k.root]))
        if what > 0.94: return ("domain_release", pick([*self._of_kind(DOMAIN), self.k.root]))
        if what < 0.2: return ("device_remove", pick([*devices, *devices, self.k.root]))
        if what < 0.5 and len(devices) < 4:
            return ("device_add", pick([*self._containers(ACTIVE, CLOSING), self._any_process()]))
        running = [self.k.thread[R.current].process for R in self.k.core.values() if R.current] * 3
        return ("device_open", pick([*devices, self.k.root]), pick([*self._processes(NEW, ALIVE, ENDING), *running, 0]))

    def _named(self, t: int, kind: int) -> tuple[int, int]:
        """A handle of thread t to an object of this kind, or now and then another, or none."""
        S = self.k.process[self.k.thread[t].process]
        handles = [(slot, S.handle_generation[slot]) for slot, o in S.handle_object.items()
                   if o and (self.k.page[o].kind == kind or self.random.random() < 0.03)]  # fmt: skip
        return self.random.choice(handles) if handles else (5, 1)

    def _with_device(self) -> Call | None:
        t, pick = self._running(), self.random.choice
        if t is None: return None
        name = pick(("domain_create", "domain_map", "domain_map", "domain_map", "domain_close", "device_attach",
                     "device_detach", "interrupt_bind", "handle_give"))  # fmt: skip
        device, domain = self._named(t, DEVICE), self._named(t, DOMAIN)
        S = self.k.process[self.k.thread[t].process]
        attached = [slot for slot, o in S.handle_object.items() if o and self.k.device[o].domain]
        if attached and self.random.random() < 0.3:
            return ("device_detach", t, attached[0], S.handle_generation[attached[0]])
        if name == "domain_create": return (name, t) if len(self._of_kind(DOMAIN)) < 5 else None
        if name == "domain_close": return (name, t, *domain)
        if name == "device_attach": return (name, t, *device, *domain)
        if name == "device_detach": return (name, t, *device)
        if name == "interrupt_bind":
            return (name, t, *device, *(self._endpoint_handle(t) if self.random.random() < 0.7 else (0, 0)))
        if name == "handle_give": return (name, t, *self._named(t, PROCESS), *pick((device, domain)), pick((0, 0, 1)))
        mapped = [v for v, p in S.map_page.items() if p]
        return (name, t, *domain, *indices(pick([*mapped, 7])), pick((512, 513, 1024, 7, -1)), pick((1, 3, 3, 5)))

    def _unmap_domain(self) -> Call:
        domains = self._of_kind(DOMAIN)
        m = self.random.choice([*domains, self.k.root])
        mapped = [w for w, p in self.k.domain[m].map_page.items() if p] if domains else []
        return ("domain_unmap", m, self.random.choice([*mapped, 7]))

    # What there is to act on.

    def _processes(self, *states: int) -> list[int]:
        return [s for s, S in self.k.process.items() if S.state in states and s != self.hog]

    def _any_process(self) -> int:
        return self.random.choice(self._processes(NEW, ALIVE) or [0])

    def _threads(self) -> list[int]:
        return [t for t, P in self.k.page.items() if P.kind == THREAD]

    def _running(self) -> int | None:
        running = [R.current for R in self.k.core.values() if R.current]
        return self.random.choice(running) if running else None

    def _address(self) -> tuple[int, int, int, int]:
        pick = self.random.choice
        return pick((0, 0, 1, 254, 255)), pick((0, 1, 511)), pick((0, 1)), pick((0, 1, 2, 3, 511, 512))

    def _mapped(self, s: int) -> tuple[int, int, int, int]:
        mapped = [v for v, p in self.k.process[s].map_page.items() if p] if s else []
        return indices(self.random.choice(mapped)) if mapped and self.random.random() < 0.6 else self._address()

    def _permission(self) -> int:
        return self.random.choice(PERMISSIONS)

    # Memory.

    def _map(self) -> Call:
        return ("map_page", self._any_process(), *self._address(), self._permission())

    def _map_block(self) -> Call:
        return ("map_block", self._any_process(), *self._address()[:3], self._permission())

    def _unmap(self) -> Call:
        s = self._any_process()
        return ("unmap_page", s, *self._mapped(s))

    def _unmap_block(self) -> Call:
        s = self._any_process()
        return ("unmap_block", s, *self._mapped(s)[:3])

    def _protect(self) -> Call:
        s = self._any_process()
        if self.random.random() < 0.5: return ("protect_page", s, *self._mapped(s), self._permission())
        return ("protect_block", s, *self._mapped(s)[:3], self._permission())

    def _share(self) -> Call:
        s, d = self._any_process(), self._any_process()
        return ("share_page", s, *self._mapped(s), d, *self._address(), self._permission())

    def _share_block(self) -> Call:
        s, d = self._any_process(), self._any_process()
        return ("share_block", s, *self._mapped(s)[:3], d, *self._address()[:3], self._permission())

    def _map_giant(self) -> Call | None:
        if self.k.memory.giants == 0 and self.random.random() < 0.7: return None
        return ("map_giant", self._any_process(), *self._address()[:2], self._permission())

    def _on_giant(self) -> Call | None:
        """Something that is done to a giant, where one may be mapped."""
        if self.k.memory.giants == 0 and self.random.random() < 0.7: return None
        s, d, permission = self._any_process(), self._any_process(), self._permission()
        giants = [(s, v) for s in self._processes(NEW, ALIVE) for v, p in self.k.process[s].map_page.items()
                  if self.k.page[p].kind == MAPPED_GIANT]  # fmt: skip
        source, target = self._mapped(s)[:2], self._address()[:2]
        if giants and self.random.random() < 0.7:
            s, v = self.random.choice(giants)
            source = indices(v)[:2]
        return self.random.choice(
            (("unmap_giant", s, *source), ("unmap_giant", s, *source), ("protect_giant", s, *source, permission),
             ("share_giant", s, *source, d, *target, permission), ("grant_giant", s, *source, d, *target, permission))
        )  # fmt: skip

    def _grant(self) -> Call:
        return ("grant_page", *self._share()[1:])

    def _grant_block(self) -> Call:
        return ("grant_block", *self._share_block()[1:])

    def _quota(self) -> Call:
        c = self.random.choice((self.k.root, *self._containers(ACTIVE)))
        return (self.random.choice(("quota_split", "quota_merge", "giant_split", "giant_merge")), c)

    # Processes and threads.

    def _spawn(self) -> Call | None:
        return ("process_spawn", self.k.root) if len(self._processes(NEW, ALIVE, ENDING, ENDED)) < 8 else None

    def _start(self) -> Call:
        return ("thread_start", self.random.choice(self._processes(NEW, ALIVE, ENDING, ENDED) or [0]))

    def _core(self) -> int:
        return self.random.randrange(-1, self.k.cores + 1)

    def _schedule(self) -> Call:
        return ("schedule", self._core())

    def _preempt(self) -> Call:
        return ("preempt", self._core())

    def _leave_core(self) -> Call | None:
        t = self._running()
        return None if t is None else (self.random.choice(("thread_yield", "thread_block")), t)

    def _wake(self) -> Call | None:
        threads = self._threads()
        return ("thread_wake", self.random.choice(threads)) if threads else None

    def _create_thread(self) -> Call | None:
        t = self._running()
        return None if t is None else ("thread_create", t)

    def _create_process(self) -> Call | None:
        t = self._running()
        if t is None or len(self._processes(NEW, ALIVE, ENDING, ENDED)) >= 8: return None
        return ("process_create", t)

    def _with_handle(self) -> Call | None:
        t = self._running()
        if t is None: return None
        S = self.k.process[self.k.thread[t].process]
        handles = [(slot, g + self.random.choice((0, 0, 0, 0, 1))) for slot, g in S.handle_generation.items()]
        handle = self.random.choice([*handles, (5, 1), (-1, 1)])
        name = self.random.choice(("thread_join", "process_wait", "process_wait", "process_start", "thread_kill",
                                   "process_kill"))
        return (name, t, *handle)

    def _grandchild(self) -> Call | None:
        """A child of a process that has a parent itself; or its thread is brought nearer to a core."""
        k = self.k
        children = [s for s in self._processes(ALIVE) if k.process[s].parent]
        if not children or len(self._processes(NEW, ALIVE, ENDING, ENDED)) >= 14: return None
        T = k.thread[k.process[self.random.choice(children)].threads[0]]
        if T.state == RUNNING: return ("process_create", T.id)
        if T.state != READY: return None
        return ("preempt" if k.core[T.core].current else "schedule", T.core)

    def _kill_family(self) -> Call | None:
        """A child that has children, now and then."""
        t = self._running()
        if t is None or self.random.random() < 0.5: return None
        S = self.k.process[self.k.thread[t].process]
        parents = [(slot, S.handle_generation[slot]) for slot, o in S.handle_object.items()
                   if self.k.process[o].child_count]  # fmt: skip
        return ("process_kill", t, *self.random.choice(parents)) if parents else None

    def _status(self) -> int:
        return self.random.choice((0, 1, 255, (1 << 32) - 1, 1 << 32, -1))

    def _exit(self) -> Call | None:
        t = self._running()
        if t is None: return None
        return ("thread_exit" if self.random.random() < 0.7 else "process_exit", t, self._status())

    def _end(self) -> Call | None:
        if self.random.random() < 0.7: return None
        return ("process_end", self._any_process() or self.k.root, self._status())

    def _collect(self) -> Call:
        return ("process_collect", self.random.choice(self._processes(NEW, ALIVE, ENDING, ENDED) or [0]))

    def _on_anything(self) -> Call:
        """Steps that need a process that is ending, or a thread that runs, on one that may not be."""
        name = self.random.choice(
            ("thread_end", "process_finish", "handle_drop", "child_kill", "child_inherit",
             "thread_yield", "thread_block", "thread_exit",
             "process_exit", "process_spawn", "process_collect")
        )  # fmt: skip
        o = self.random.choice([*self._threads(), *self._processes(NEW, ALIVE, ENDING, ENDED), self.k.root])
        if name == "process_spawn" and o == self.k.root: o = 0
        if name == "thread_exit" and self.k.thread[o].state == RUNNING: return (name, o, -1)
        if name == "handle_drop": return (name, o, self.random.randrange(4))
        return (name, o, 3) if name in ("thread_exit", "process_exit") else (name, o)

    def _ending_step(self) -> Call | None:
        """A step towards the end of a process that is ending."""
        if not self.pending: return None
        k, s = self.k, self.random.choice(self.pending)
        S = k.process[s]
        children = "child_kill" if S.killed else "child_inherit"
        steps: list[Call] = [(children, S.children[i]) for i in range(S.child_count)]
        if S.thread_count: steps.append(("thread_end", S.threads[self.random.randrange(S.thread_count)]))
        mapped = [v for v, p in S.map_page.items() if p]
        if mapped:
            v = self.random.choice(mapped)
            kind = k.page[S.map_page[v]].kind
            if kind == MAPPED_GIANT: steps.append(("unmap_giant", s, *indices(v)[:2]))
            elif kind == MAPPED_BLOCK: steps.append(("unmap_block", s, *indices(v)[:3]))
            else: steps.append(("unmap_page", s, *indices(v)))
        for o in S.handle_object.values():
            if o and k.page[o].kind == DEVICE: steps.append(("device_release", o))
            if o and k.page[o].kind == DOMAIN:
                mapped = [w for w, p in k.domain[o].map_page.items() if p]
                steps.append(("domain_unmap", o, mapped[0]) if mapped else ("domain_release", o))
        slots = [slot for slot, o in S.handle_object.items() if o]
        if slots: steps.append(("handle_drop", s, self.random.choice(slots)))
        return self.random.choice(steps) if steps else ("process_finish", s)

