"""Specifications of the life of processes."""

from __future__ import annotations

from abi.errors import EBUSY, ECHILD, EINVAL, ENOMEM, ENOSPC, ESRCH
from kernel.objects import (
    ACTIVE,
    ALIVE,
    BLOCKED,
    CLOSING,
    CONTAINER,
    DEVICE,
    DOMAIN,
    ENDED,
    ENDING,
    ENDPOINT,
    FREE,
    KILLED,
    NEW,
    PROCESS,
    RUNNING,
    TABLE,
    THREAD,
)  # fmt: skip
from kernel.specs import Frame, State, specification
from kernel.specs.endpoints import endpoint_dropped, pager_unset
from kernel.specs.handles import HANDLE_FIELDS, handle_closed, handle_opened, handle_room, named
from kernel.specs.quotas import charged, page_becomes
from kernel.specs.scheduling import off_core
from kernel.specs.threads import thread_added, thread_freed, woken

PROCESS_FIELDS = (
    "container", "place", "born", "parent", "position", "killed", "state", "status",
    "root", "holder", "holder_slot", "hosted", "waiter", *HANDLE_FIELDS,
)  # fmt: skip


def process_added(old: State, new: State, f: Frame, c: int, s: int) -> bool:
    """Process s is new in container c, with an empty root table; the container pays for both pages."""
    S = new.process[s]
    x = S.root
    n = old.container[c].processes
    f.may("process", s, "container", "place", "born", "state", "root")
    f.may("container", c, "processes", "born")
    f.may_item("container", c, "members", n)
    f.may("table", x, "level", "process")
    if not page_becomes(old, new, f, s, FREE, PROCESS) or not page_becomes(old, new, f, x, FREE, TABLE): return False
    if S.container != c or S.state != NEW or S.thread_count != 0 or S.mappings != 0: return False
    if new.container[c].members[n] != s: return False
    if S.born != old.container[c].born + 1 or new.container[c].born != S.born: return False
    return charged(old, new, f, c, 2, 0) and bool(new.container[c].processes == n + 1)


def child_added(old: State, new: State, f: Frame, p: int, s: int) -> bool:
    """Process s is the last child of process p."""
    n = old.process[p].child_count
    f.may("process", s, "parent", "position")
    f.may("process", p, "child_count")
    f.may_item("process", p, "children", n)
    if new.process[p].child_count != n + 1 or new.process[p].children[n] != s: return False
    return bool(new.process[s].parent == p)


def child_removed(old: State, new: State, f: Frame, s: int) -> bool:
    """Process s is not among its parent's children; the last of them has its place."""
    p = old.process[s].parent
    if p == 0: return True
    n = old.process[p].child_count - 1
    f.may("process", s, "parent", "position")
    f.may("process", old.process[p].children[n], "position")
    f.may("process", p, "child_count")
    f.may_item("process", p, "children", n)
    f.may_item("process", p, "children", old.process[s].position)
    return bool(new.process[p].child_count == n and new.process[s].parent != p)


def process_freed(old: State, new: State, f: Frame, s: int, beside: int) -> bool:
    """Nothing is left of process s, and its container is charged neither for it nor for ``beside`` pages more."""
    c = old.process[s].container
    n = old.container[c].processes - 1
    f.may("process", s, *PROCESS_FIELDS)
    f.may("process", old.container[c].members[n], "place")
    f.may("container", c, "processes")
    f.may_item("container", c, "members", n)
    f.may_item("container", c, "members", old.process[s].place)
    if not page_becomes(old, new, f, s, PROCESS, FREE): return False
    if new.container[c].processes != n: return False
    return charged(old, new, f, c, -1 - beside, 0)


@specification
def process_spawn(old: State, new: State, f: Frame, result: int, c: int) -> bool:
    """A new process that the host will collect."""
    if old.page[c].kind != CONTAINER or old.container[c].state != ACTIVE: return result == -EINVAL
    if old.container[c].pages < 2: return result == -ENOMEM
    f.may("process", result, "hosted")
    return process_added(old, new, f, c, result) and bool(new.process[result].hosted == 1)


def child_created(old: State, new: State, f: Frame, result: int, p: int, c: int, parent: int) -> bool:
    """A new process in container c, with this parent, to which process p has a handle; or the error that says why
    not."""
    if old.container[c].state != ACTIVE or old.process[p].state != ALIVE: return result == -EBUSY
    if not handle_room(old, p): return result == -ENOSPC
    if old.container[c].pages < 2: return result == -ENOMEM
    s = new.process[p].handle_object[result % 65536]
    f.may("process", s, "holder", "holder_slot")
    if new.process[s].holder != p or new.process[s].holder_slot != result % 65536: return False
    if parent != 0 and not child_added(old, new, f, parent, s): return False
    return result > 0 and process_added(old, new, f, c, s) and handle_opened(old, new, f, p, result, s)


@specification
def process_create(old: State, new: State, f: Frame, result: int, t: int) -> bool:
    """A new process in the caller's container."""
    p = old.thread[t].process
    return child_created(old, new, f, result, p, old.process[p].container, p)


@specification
def process_create_in(old: State, new: State, f: Frame, result: int, t: int, slot: int, generation: int) -> bool:
    """A new process in the container that the caller names."""
    p = old.thread[t].process
    c = named(old, p, slot, generation)
    if c == 0 or old.page[c].kind != CONTAINER: return result == -ESRCH
    return child_created(old, new, f, result, p, c, 0)


@specification
def process_start(old: State, new: State, f: Frame, result: int, t: int, slot: int, generation: int) -> bool:
    """The named process is alive with its first thread."""
    s = named(old, old.thread[t].process, slot, generation)
    if s == 0 or old.page[s].kind != PROCESS: return result == -ESRCH
    if old.process[s].state == ALIVE: return result == -EBUSY
    if old.process[s].state != NEW: return result == -ECHILD
    if old.container[old.process[s].container].pages < 1: return result == -ENOMEM
    f.may("process", s, "state")
    return result == 0 and thread_added(old, new, f, s, new.process[s].threads[0]) and new.process[s].state == ALIVE


def ending(new: State, f: Frame, s: int, status: int) -> bool:
    """Process s is ending with this status."""
    f.may("process", s, "state", "status")
    return bool(new.process[s].state == ENDING and new.process[s].status == status)


@specification
def process_exit(old: State, new: State, f: Frame, result: int, t: int, status: int) -> bool:
    """The running thread's process is ending; one that was keeps its status."""
    if old.thread[t].state != RUNNING or not 0 <= status < 1 << 32: return result == -EINVAL
    if old.process[old.thread[t].process].state == ENDING: return result == -EINVAL
    return result == 0 and ending(new, f, old.thread[t].process, status)


@specification
def process_end(old: State, new: State, f: Frame, result: int, s: int, status: int) -> bool:
    """The process is ending."""
    if old.page[s].kind != PROCESS or old.process[s].state not in (NEW, ALIVE): return result == -EINVAL
    if not 0 <= status < 1 << 32: return result == -EINVAL
    return result == 0 and ending(new, f, s, status)


def killed(old: State, new: State, f: Frame, s: int) -> bool:
    """Process s is ending with its descendants; its status is KILLED, unless it was ending with another."""
    was = old.process[s].state == ENDING
    f.may("process", s, "killed")
    if not was and not ending(new, f, s, KILLED): return False
    return bool(new.process[s].killed == 1)


@specification
def process_kill(old: State, new: State, f: Frame, result: int, t: int, slot: int, generation: int) -> bool:
    """The named process is ending with its descendants."""
    s = named(old, old.thread[t].process, slot, generation)
    if s == 0 or old.page[s].kind != PROCESS: return result == -ESRCH
    if old.process[s].state == ENDED or old.process[s].killed == 1: return result == -ECHILD
    return result == 0 and killed(old, new, f, s)


@specification
def child_kill(old: State, new: State, f: Frame, result: int, s: int) -> bool:
    """The child of a killed process is ending with its descendants."""
    p = old.process[s].parent
    if old.page[s].kind != PROCESS or p == 0 or old.process[s].killed == 1: return result == -EINVAL
    if old.process[p].killed == 0: return result == -EINVAL
    return result == 0 and killed(old, new, f, s)


@specification
def child_inherit(old: State, new: State, f: Frame, result: int, s: int) -> bool:
    """The child of a process that ends by itself is its grandparent's last child, or nobody's."""
    p = old.process[s].parent
    if old.page[s].kind != PROCESS or p == 0: return result == -EINVAL
    if old.process[p].state != ENDING or old.process[p].killed == 1: return result == -EINVAL
    g = old.process[p].parent
    if result != 0 or not child_removed(old, new, f, s): return False
    return bool(new.process[s].parent == 0) if g == 0 else child_added(old, new, f, g, s)


@specification
def handle_drop(old: State, new: State, f: Frame, result: int, s: int, slot: int) -> bool:
    """The handle is closed; an ended object behind it is freed, an endpoint that nobody else names too, a process that
    never started is ending, and so is a container."""
    if old.page[s].kind != PROCESS or old.process[s].state != ENDING: return result == -EINVAL
    if old.process[s].thread_count != 0: return result == -EBUSY
    o = old.process[s].handle_object[slot]
    if o == 0: return result == -ESRCH
    if old.page[o].kind in (DEVICE, DOMAIN): return result == -EBUSY
    if old.page[o].kind == ENDPOINT: return result == 0 and endpoint_dropped(old, new, f, s, slot)
    if result != 0 or not handle_closed(old, new, f, s, slot): return False
    if old.page[o].kind == THREAD: return thread_freed(old, new, f, o)
    if old.page[o].kind == CONTAINER:
        f.may("container", o, "holder", "holder_slot", "state")
        return bool(new.container[o].holder == 0 and new.container[o].state == CLOSING)
    state = old.process[o].state
    f.may("process", o, "holder", "holder_slot")
    if new.process[o].holder != 0: return False
    if state == ENDED: return process_freed(old, new, f, o, 0)
    if state == NEW:
        f.may("process", o, "state")
        return bool(new.process[o].state == ENDING)
    return True


@specification
def process_finish(old: State, new: State, f: Frame, result: int, s: int) -> bool:
    """The root table and the pager are gone; the status is with who waited, or kept for who holds the process, or with
    nobody."""
    S = old.process[s]
    if old.page[s].kind != PROCESS or S.state != ENDING: return result == -EINVAL
    x = S.root
    if S.thread_count != 0 or S.handle_count != 0 or S.mappings != 0 or old.table[x].used != 0: return result == -EBUSY
    if S.child_count != 0: return result == -EBUSY
    f.may("table", x, "level", "process")
    if result != 0 or not page_becomes(old, new, f, x, TABLE, FREE): return False
    if not child_removed(old, new, f, s): return False
    kept = S.waiter == 0 and (S.holder != 0 or S.hosted != 0)
    pager = int(S.pager != 0 and new.page[S.pager].kind == FREE and old.page[S.pager].owner == S.container)
    if not pager_unset(old, new, f, s, 1 if kept else 2): return False
    if S.waiter != 0:
        if not woken(old, new, f, S.waiter, S.status): return False
        return handle_closed(old, new, f, S.holder, S.holder_slot) and process_freed(old, new, f, s, 1 + pager)
    if not kept: return process_freed(old, new, f, s, 1 + pager)
    f.may("process", s, "state", "root", "killed")
    if not charged(old, new, f, S.container, -1 - pager, 0): return False
    return bool(new.process[s].state == ENDED and new.process[s].status == S.status)


@specification
def process_forget(old: State, new: State, f: Frame, result: int, s: int) -> bool:
    """Nothing is left of an ended process of an ending container, nor of the handle to it."""
    S = old.process[s]
    if old.page[s].kind != PROCESS or old.container[S.container].state != CLOSING: return result == -EINVAL
    if S.state != ENDED: return result == -EBUSY
    if S.holder != 0 and not handle_closed(old, new, f, S.holder, S.holder_slot): return False
    return result == 0 and process_freed(old, new, f, s, 0)


@specification
def process_collect(old: State, new: State, f: Frame, result: int, s: int) -> bool:
    """The host has the status, and nothing is left of the process."""
    if old.page[s].kind != PROCESS or old.process[s].hosted != 1: return result == -EINVAL
    if old.process[s].state != ENDED: return result == -EBUSY
    return result == old.process[s].status and process_freed(old, new, f, s, 0)


@specification
def process_wait(old: State, new: State, f: Frame, result: int, t: int, slot: int, generation: int) -> bool:
    """The status of a child that has ended, of which then nothing is left; or the caller waits for one that has not."""
    if old.thread[t].state != RUNNING: return result == -EINVAL
    p = old.thread[t].process
    s = named(old, p, slot, generation)
    if s == 0 or old.page[s].kind != PROCESS: return result == -ESRCH
    if old.process[s].state == NEW: return result == -EINVAL
    if old.process[s].waiter != 0: return result == -EBUSY
    if old.process[s].state == ENDED:
        if result != old.process[s].status: return False
        return handle_closed(old, new, f, p, slot) and process_freed(old, new, f, s, 0)
    f.may("process", s, "waiter")
    f.may("thread", t, "waiting_for", "state")
    if result != 0 or new.process[s].waiter != t or new.thread[t].waiting_for != s: return False
    return off_core(old, new, f, t) and bool(new.thread[t].state == BLOCKED)
