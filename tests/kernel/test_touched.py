"""The check of each step sees what the audit of the whole state sees, and sees it at that very step."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from kernel import ledgers
from kernel.audit import audit
from kernel.check import Checker, CheckFailed
from kernel.handles import close_handle
from kernel.objects import Kernel
from kernel.page_allocator import free_page
from kernel.thread import free_thread, unlink_thread
from tests.kernel.driver import Driver
from tests.kernel.mutants import first_difference, mutant
from tests.kernel.scene import Scene, V
from tests.kernel.state import Place, all_places, load, log_differences, logged_store, snapshot, undo
from tests.kernel.violations import VIOLATIONS, Violation


@dataclass(frozen=True)
class Bug:
    """A replacement in a transition module's source."""

    name: str
    module: str
    text: str
    replacement: str
    damages: bool | None = True
    """The state after it is unsound, which the audit has to see; else only the specification is violated.  None: one
    or the other, by which call shows the bug first."""
    occurrence: int = 0


ENQUEUE = """    a = R.tail
    T.state = READY
    T.next = 0
    T.previous = a
    T.rank = R.ticket
    R.ticket = R.ticket + 1
    if a == 0:
        R.head = t
    else:
        A = k.thread[a]
        A.next = t
    R.tail = t
"""
ENQUEUE_AT_THE_HEAD = """    b = R.head
    T.state = READY
    T.next = b
    T.previous = 0
    T.rank = R.ticket
    R.ticket = R.ticket + 1
    if b == 0:
        R.tail = t
    else:
        B = k.thread[b]
        B.previous = t
    R.head = t
"""

BUGS = [
    # Physical memory.
    Bug("page not charged", "page_allocator", "    C.used_pages = C.used_pages + 1\n", ""),
    Bug("page charged twice", "page_allocator", "C.pages = C.pages - 1\n", "C.pages = C.pages - 2\n"),
    Bug("page not refunded", "page_allocator", "    C.pages = C.pages + 1\n", ""),
    Bug("refund not promised", "page_allocator", "m.promised_pages = m.promised_pages + 1\n", "pass\n"),
    Bug("freed page keeps its owner", "page_allocator", "    P.owner = 0\n    n = B.listed", "    n = B.listed"),
    Bug("freed page leaks", "page_allocator", "    B.listed = n\n    B.stack[n] = p\n", "    B.stack[n] = p\n"),
    Bug("freed page has the wrong rank", "page_allocator", "    P.rank = n\n", "    P.rank = n + 1\n"),
    Bug("page handed out twice", "page_allocator", "        B.carved = B.carved + 1\n", "        pass\n"),
    Bug("page comes off the stack and stays", "page_allocator", "        B.listed = n - 1\n", "        pass\n"),
    Bug("block freed with a page in use", "page_allocator", "if n == B.carved:", "if n + 1 == B.carved:"),
    Bug("full block stays partial", "page_allocator", "if B.listed == 0 and B.carved == BLOCK_PAGES:\n        unlist",
        "if B.listed == 1 and B.carved == BLOCK_PAGES:\n        unlist"),
    Bug("block leaks", "page_allocator", "    return_block(k, b)\n\n\ndef allocate_giant",
        "    pass\n\n\ndef allocate_giant"),
    Bug("whole block without an owner", "page_allocator", "    B.owner = c\n", ""),
    Bug("quota split for nothing", "page_allocator", "    C.blocks = C.blocks - 1\n    m.promised_blocks = "
        "m.promised_blocks - 1\n    C.pages", "    C.pages"),
    Bug("quota merged without a whole block", "page_allocator", "if free_blocks(k) <= m.promised_blocks:",
        "if free_blocks(k) < m.promised_blocks:"),
    Bug("giant freed with a block in use", "page_allocator", "if n == G.carved and", "if n + 1 == G.carved and"),
    Bug("part of a giant becomes whole", "page_allocator", "if n == G.carved and g <= m.giants:", "if n == G.carved:"),
    Bug("block handed out twice", "page_allocator", "        G.carved = G.carved + 1\n", "        pass\n"),
    Bug("block beyond the end", "page_allocator", "    return n if n < GIANT_BLOCKS else GIANT_BLOCKS\n",
        "    return GIANT_BLOCKS\n"),
    Bug("full giant stays partial", "page_allocator",
        "if G.listed == 0 and G.carved == blocks_of(k, g):\n        unlist",
        "if G.listed == 1 and G.carved == blocks_of(k, g):\n        unlist"),
    Bug("freed block leaks", "page_allocator", "    G.listed = n\n    G.stack[n] = b\n", "    G.stack[n] = b\n"),
    Bug("block does not know its giant", "page_allocator", "    B.giant = g\n    B.position = 0\n    return b",
        "    B.position = 0\n    return b"),
    Bug("giant without an owner", "page_allocator", "    G.owner = c\n", ""),
    Bug("giant not refunded", "page_allocator", "    C.giants = C.giants + 1\n    C.used", "    C.used"),
    Bug("freed giant keeps its first block", "page_allocator", "    B.kind = BLOCK_FREE\n    B.owner = 0\n",
        "    B.owner = 0\n"),
    Bug("quota merged without a whole giant", "page_allocator", "if free_giants(k) <= m.promised_giants:",
        "if free_giants(k) < m.promised_giants:"),
    Bug("blocks out of promised giants", "page_allocator", "(free_giants(k) - m.promised_giants)", "free_giants(k)"),
    # Address spaces.
    Bug("table without a way back", "page_table", "    X.parent = parent\n", ""),
    Bug("table at the wrong base", "page_table", "3, i4 * SPAN_4)", "3, i4 * SPAN_3)"),
    Bug("entries not counted", "page_table", "    Q.used = Q.used + 1\n", ""),
    Bug("empty table stays", "page_table", "    free_empty_tables(k, x1)\n", ""),
    Bug("freed table stays in its parent", "page_table", "    Q.entry[X.slot] = 0\n", ""),
    Bug("freed table remembers its place", "page_table", "    X.base = 0\n", ""),
    Bug("stale entry after unmap", "page_table", "    X.entry[i] = 0\n", ""),
    Bug("stale permission after unmap", "page_table", "    X.permission[i] = 0\n", ""),
    Bug("stale map after unmap", "page_table", "    S.map_page[v] = 0\n", ""),
    Bug("mappings not counted", "page_table", "    S.mappings = S.mappings + 1\n", ""),
    Bug("mapped with more than asked for", "page_table", "permission: int) -> None:\n",
        "permission: int) -> None:\n    permission = 7\n", damages=False),
    Bug("tables allow more than the map", "page_table", "    X.permission[i] = permission\n",
        "    X.permission[i] = 7\n"),
    Bug("protect forgets the tables", "page_table", "    X.permission[i1] = permission\n", ""),
    Bug("protect changes the neighbour", "page_table", "S.map_permission[page_number(i4, i3, i2, i1)] = permission",
        "S.map_permission[page_number(i4, i3, i2, i1) + 1] = permission"),
    Bug("shared page counted once", "page_table", "    P.references = P.references + 1\n", ""),
    Bug("shared page freed", "page_table", "if P.references == 0: free_page", "if P.references <= 1: free_page"),
    Bug("unmapped page leaks", "page_table", "if P.references == 0: free_page", "if P.references < 0: free_page"),
    Bug("shared with more than the owner has", "sharing", "if not narrower(permission, k.table[y1]",
        "if not narrower(0, k.table[y1]", damages=False),
    Bug("granted though another maps it", "sharing", "    if P.references != 1 or P.owner != c:",
        "    if P.owner != c:", damages=False),
    Bug("granted though another pays for it", "sharing", "    if P.references != 1 or P.owner != c:",
        "    if P.references != 1:"),
    Bug("giver keeps what it grants", "sharing", "    remove_page(k, s, y1, j4, j3, j2, j1, p)\n", "",
        damages=False),
    Bug("giver still pays", "sharing", "    P.owner = e\n", ""),
    Bug("receiver pays nothing", "sharing", "    E.used_pages = E.used_pages + 1\n", ""),
    Bug("granted block stays with its owner", "sharing", "    B.owner = e\n", ""),
    Bug("granted beyond the quota", "sharing", "0 if e == c else 1", "0"),
    Bug("quota for one table too few", "page_table", "C.pages >= pages + 3", "C.pages >= pages + 2"),
    Bug("the machine's slot can be mapped", "page_table", "i4 >= SYSTEM_SLOT", "i4 > SYSTEM_SLOT",
        damages=None),
    Bug("giant at the wrong address", "page_table", "set_leaf(k, s, x3, i3, page_number(i4, i3, 0, 0), p, permission)",
        "set_leaf(k, s, x3, i3, page_number(i4, i3, 1, 0), p, permission)"),
    Bug("page mapped within a giant", "page_table", "        if k.table[x3].entry[i3] != 0: return -EEXIST\n", ""),
    Bug("block mapped within a giant", "page_table", "        if k.table[x3].entry[i3] != 0: return -EEXIST\n", "",
        occurrence=1),
    Bug("unmapped giant leaks", "page_table", "    if P.references == 0: free_giant(k, p)\n", ""),
    Bug("granted giant stays with its owner", "sharing", "    G.owner = e\n", ""),
    Bug("mapped over a mapping", "page_table", "        if k.table[q].entry[i1] != 0: return -EEXIST\n", ""),
    # Scheduling.
    Bug("last in, first out", "scheduler", ENQUEUE, ENQUEUE_AT_THE_HEAD),
    Bug("queue skips one", "scheduler", "    t = R.head\n    if t == 0: return 0\n",
        "    t = R.head\n    if t == 0: return 0\n    t = k.thread[t].next or t\n", damages=False),
    Bug("tickets stand still", "scheduler", "    R.ticket = R.ticket + 1\n", ""),
    Bug("no link back", "scheduler", "    T.previous = a\n", ""),
    Bug("old head stays linked", "scheduler", "        B.previous = a\n", "        pass\n"),
    Bug("blocked thread stays on its core", "scheduler", "    R.current = 0\n    T.state = BLOCKED\n",
        "    T.state = BLOCKED\n"),
    Bug("woken though it waits for an end", "scheduler", "    if T.waiting_for != 0 or T.waits", "    if T.waits"),
    Bug("woken though it waits for a message", "scheduler", " or T.waits != 0: return -EINVAL", ": return -EINVAL"),
    Bug("runs without being taken from the queue", "scheduler", "    dequeue(k, t)\n    T =", "    T ="),
    # Handles, threads, processes.
    Bug("slot opened twice", "handles", "        S.handle_carved = slot + 1\n", "        pass\n"),
    Bug("old generation again", "handles", "    g = S.handle_opened + 1\n", "    g = 1\n"),
    Bug("closed handle still names", "handles", "    S.handle_object[slot] = 0\n", ""),
    Bug("any generation will do", "handles", "if generation == 0 or S.handle_generation[slot] != generation: return 0",
        "if generation == 0: return 0", damages=False),
    Bug("thread beyond the list", "thread", "    S.thread_count = S.thread_count + 1\n", ""),
    Bug("moved thread keeps its place", "thread", "    L.position = T.position\n", ""),
    Bug("joiner not told", "thread", "        wake_waiter(k, j, status)\n", ""),
    Bug("joiner told something else", "thread", "wake_waiter(k, j, status)", "wake_waiter(k, j, status ^ 1)",
        damages=False),
    Bug("killed thread leaves its handle", "thread", "        close_handle(k, T.process, T.holder_slot)\n",
        "        pass\n"),
    Bug("freed thread keeps its joiner", "thread", "    T.joiner = 0\n    T.holder_slot = 0\n",
        "    T.holder_slot = 0\n"),
    Bug("core does not rotate", "placement", "    C.core = i + 1\n", "", damages=False),
    Bug("core beyond the last", "placement", "    if i >= A.core_count: i = 0\n", ""),
    Bug("thread placed nowhere", "placement", "    R.placed_count = R.placed_count + 1\n", ""),
    Bug("thread beside its place", "placement", "    T.place = R.placed_count\n", "    T.place = 0\n"),
    Bug("ended thread stays placed", "thread", "    displace(k, t)\n", ""),
    Bug("placed in the place of another", "placement", "    L.place = T.place\n", ""),
    Bug("moved thread still runs", "placement", "        R.current = 0\n", "        pass\n"),
    Bug("moved thread still queued", "placement", "    if T.state == READY: dequeue(k, t)\n", ""),
    Bug("core given with its threads", "placement", "    if R.placed_count != 0: return -EBUSY\n", ""),
    Bug("core given to who uses another's", "placement",
        "    if C.core_count == 0 and (C.processes != 0 or C.child_count != 0): return -EBUSY\n", "", damages=False),
    Bug("core given above a container that uses another's", "placement",
        "    if C.core_count == 0 and (C.processes != 0 or C.child_count != 0): return -EBUSY\n",
        "    if C.core_count == 0 and C.processes != 0: return -EBUSY\n"),
    Bug("last core given", "placement", "    if n < 1: return -ENOMEM\n", "    if n < 0: return -ENOMEM\n",
        damages=False),
    Bug("given core is still the parent's", "placement", "    R.container = c\n", ""),
    Bug("container does not use its core", "placement", "    C.cores_of = c\n", ""),
    Bug("core returned while it is used", "placement", "    if C.processes != 0 or C.child_count != 0: return -EBUSY\n"
        "    A = ", "    A = ", damages=False),
    Bug("core returned to nobody", "placement", "    A.core_count = A.core_count + 1\n", ""),
    Bug("container finished with a core", "container", " or C.core_count != 0: return -EBUSY\n", ": return -EBUSY\n"),
    Bug("query of another number", "container", "    if what == DEPTH: return C.depth\n",
        "    if what == DEPTH: return C.depth + 1\n", damages=False),
    Bug("killed thread stays listed", "thread", "    unlink_thread(k, u)\n", ""),
    Bug("killed with another status", "thread", "    leave_status(k, u, KILLED)\n", "    leave_status(k, u, 9)\n",
        damages=False),
    Bug("thread for an ending process", "thread", "    if S.state != ALIVE: return -EBUSY\n", "", damages=False),
    Bug("join of a thread that has a joiner", "thread", "    if U.joiner != 0: return -EBUSY\n", ""),
    Bug("process without a root", "process", "    S.root = x\n", ""),
    Bug("status lost", "process", "    S.state = ENDING\n    S.status = status\n    return OK\n",
        "    S.state = ENDING\n    return OK\n", damages=False),
    Bug("ended process still holds its table", "process", "    S.root = 0\n    free_page(k, x)\n", "    S.root = 0\n"),
    Bug("finished with mappings left", "process", " or S.mappings != 0 or S.child_count != 0: return -EBUSY\n    x = "
        "S.root\n    X = k.table[x]\n    if X.used != 0: return -EBUSY\n",
        " or S.child_count != 0: return -EBUSY\n    x = S.root\n    X = k.table[x]\n"),
    Bug("processes not counted", "process", "    C.processes = n\n", ""),
    Bug("collected while it runs", "process", "    if S.state != ENDED: return -EBUSY\n", ""),
    Bug("waiter of the dropped", "process", "    W.holder = 0\n", ""),
    Bug("child listed nowhere", "process", "    P.children[P.child_count] = s\n", ""),
    Bug("moved child keeps its place", "process", "    L.position = S.position\n    P.children", "    P.children"),
    Bug("child of the killed not killed", "process", "    S.killed = 1\n    if", "    if", damages=False),
    Bug("child passes to the one that ends", "process", "    if P.parent != 0: link_child(k, P.parent, s)\n",
        "    link_child(k, p, s)\n", damages=False),
    Bug("child of the killed escapes", "process", "    if P.state != ENDING or P.killed != 0: return -EINVAL\n",
        "    if P.state != ENDING: return -EINVAL\n", damages=False),
    Bug("ended process stays a child", "process", "    if S.parent != 0: unlink_child(k, s)\n", ""),
    Bug("finished with a child left", "process", " or S.child_count != 0: return -EBUSY\n", ": return -EBUSY\n"),
    Bug("killed for ever", "process", "    S.killed = 0\n", ""),
    Bug("all born at once", "process", "    C.born = C.born + 1\n", "    C.born = 1\n", damages=False),
    # Containers.
    Bug("container outlives its holder", "process", "        C.state = CLOSING\n", ""),
    Bug("child given what the parent keeps", "container", "    C.pages = C.pages - pages\n", ""),
    Bug("path without the parent", "container", "    N.path[C.depth] = c\n", ""),
    Bug("moved container keeps its place", "container", "    L.position = C.position\n", ""),
    Bug("finished container stays in its holder", "container", "    if C.holder != 0: close_handle(k, C.holder, "
        "C.holder_slot)\n", ""),
    Bug("quota lost with the container", "container", "    A.pages = A.pages + C.pages\n", ""),
    Bug("inherited page charged to nobody", "container", "        A.used_pages = A.used_pages + 1\n", ""),
    Bug("inherited giant charged to nobody", "container", "        A.used_giants = A.used_giants + 1\n", ""),
    Bug("giants lost with the container", "container", "    A.giants = A.giants + C.giants\n", ""),
    Bug("ends below one that goes on", "container", "    if k.container[C.parent].state != CLOSING: return -EINVAL\n",
        "", damages=False),
    Bug("container of the host is nobody's", "hosting", "    N.hosted = 1\n", ""),
    Bug("freed container stays the host's", "container", "    C.hosted = 0\n", ""),
    Bug("handle for one that runs", "hosting", "    if D.state != NEW: return -EBUSY\n", "", damages=False),
    Bug("pager in the place of another", "hosting", "D.state != NEW or D.pager != 0", "D.state != NEW"),
    Bug("pager for one that runs", "hosting", "D.state != NEW or D.pager != 0", "D.pager != 0", damages=False),
    Bug("pager that nobody counts", "endpoint", "    E.references = E.references + 1\n    E.senders = E.senders + 1\n"
        "\n\ndef unset", "\n\ndef unset"),
    Bug("timer bound twice", "hosting", "    if E.timer != 0: return -EBUSY\n", "", damages=False),
    Bug("rights there are not", "hosting", " or not rights_within(rights, SEND + RECEIVE + GRANT)", ""),
    Bug("endpoint of an ending container", "hosting", "    if k.container[c].state != ACTIVE: return -EINVAL\n", "",
        damages=False),
    Bug("forgotten process leaves its handle", "process", "        close_handle(k, S.holder, S.holder_slot)\n        "
        "S.holder = 0\n", "        S.holder = 0\n"),
]  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_planted_bug_is_caught_at_the_very_step(bug: Bug) -> None:
    found = first_difference(mutant(bug.module, bug.text, bug.replacement, bug.occurrence))
    assert found is not None, "no call shows the bug"
    k, caught = found
    assert caught, "the check saw nothing"
    k.ledger = None
    damage = {failure.name for failure in audit(k)[1]}
    assert bug.damages is None or bool(damage) == bug.damages, damage


def touched_reports(checker: Checker) -> str:
    """What the check of the journal's writes says, without a specification: the clause that fails, or nothing."""
    try:
        checker.check_writes()
    except CheckFailed as failure:
        return failure.name
    return ""


@pytest.mark.parametrize(("clause", "damage"), VIOLATIONS, ids=lambda value: getattr(value, "__name__", value))
def test_violation_is_seen_from_its_writes_alone(clause: str, damage: Violation) -> None:
    scene = Scene()
    before = snapshot(scene.k)
    checker = Checker(scene.k)
    damage(scene)
    scene.k.journal.clear()
    log_differences(scene.k, before)
    assert touched_reports(checker) == clause


Damage = Callable[[Scene], Iterator[None]]


def block_for_devices_becomes_a_page(scene: Scene) -> Iterator[None]:
    yield
    scene.k.domain[scene.domain].regions[40] = 1


def page_is_unmapped_and_its_entry_stays(scene: Scene) -> Iterator[None]:
    yield
    scene.S.map_page[V] = scene.S.map_permission[V] = 0
    scene.S.mappings -= 1
    scene.k.page[scene.shared].references -= 1


def entry_is_emptied_and_its_page_stays_mapped(scene: Scene) -> Iterator[None]:
    X = scene.k.table[scene.x1]
    yield
    X.entry[V % 512] = X.permission[V % 512] = 0
    X.used -= 1


def thread_is_freed_where_blank_is_its_place(scene: Scene) -> Iterator[None]:
    k, R = scene.k, scene.k.core[0]
    t = R.placed[0]
    T, S = k.thread[t], k.process[k.thread[t].process]
    last = R.placed[R.placed_count - 1]
    assert T.core == T.place == 0
    assert last != t
    scene.w.thread(S.id, 0)  # which the process lives on with
    yield
    unlink_thread(k, t)
    if T.holder_slot != -1: close_handle(k, T.process, T.holder_slot)
    free_thread(k, t)
    k.thread[R.placed[0]].place = R.placed_count
    R.placed[R.placed_count] = R.placed[0]
    R.placed[0] = t
    R.placed_count += 1


def used_slots_are_fewer_than_open_ones(scene: Scene) -> Iterator[None]:
    w, S = scene.w, scene.S
    handles = [w.endpoint(scene.running) for _ in range(S.handle_listed + 1)]
    w.do("handle_close", scene.running, *handles[0][1:])
    assert S.handle_listed == 1
    assert handles[-1][1] == S.handle_carved - 1
    yield
    S.handle_listed -= 1
    S.handle_carved -= 1


def endpoint_is_freed_and_a_slot_names_it_without_rights(scene: Scene) -> Iterator[None]:
    k = scene.k
    e, slot, _ = scene.w.endpoint(scene.running)
    E = k.endpoint[e]
    yield
    scene.S.handle_rights[slot] = 0
    E.references = E.senders = E.receivers = E.ticket = 0
    free_page(k, e)


def container_moves_and_its_path_does_not(scene: Scene) -> Iterator[None]:
    k, w = scene.k, scene.w
    parent, other = (w.do("container_spawn", k.root, 5, 0, 0) for _ in range(2))
    c = w.do("container_spawn", parent, 2, 0, 0)
    A, B = k.container[parent], k.container[other]
    yield
    k.container[c].parent = k.page[c].owner = other
    A.child_count, A.used_pages, A.children[0] = 0, A.used_pages - 1, 0
    B.child_count, B.used_pages, B.children[0] = 1, B.used_pages + 1, c


ELSEWHERE: list[tuple[str, Damage]] = [
    ("domain_mapped", block_for_devices_becomes_a_page),
    ("entry_mapped", page_is_unmapped_and_its_entry_stays),
    ("map_walked", entry_is_emptied_and_its_page_stays_mapped),
    ("core_placed", thread_is_freed_where_blank_is_its_place),
    ("handle_object", used_slots_are_fewer_than_open_ones),
    ("handle_object", endpoint_is_freed_and_a_slot_names_it_without_rights),
    ("container_path", container_moves_and_its_path_does_not),
]
"""Damage that violates a clause, and no other, of what was not written itself: after what is done first, soundly."""


@pytest.mark.parametrize(("clause", "damage"), ELSEWHERE, ids=lambda value: getattr(value, "__name__", value))
def test_what_was_written_leads_to_what_it_breaks(clause: str, damage: Damage) -> None:
    scene = Scene()
    k = scene.k
    steps = damage(scene)
    next(steps)
    before = snapshot(k)
    checker = Checker(k)
    for _ in steps: pass
    k.journal.clear()
    log_differences(k, before)
    said = touched_reports(checker)
    k.ledger = None
    assert {failure.name for failure in audit(k)[1]} == {clause}
    assert said == clause


def other_value(rnd: random.Random, k: Kernel, places: list[Place], place: Place) -> int:
    """A value that the place does not have: near its own, that of the same field elsewhere, or any."""
    now = load(k, place)
    alike = [p for p in places if p[0] == place[0] and p[2] == place[2]]
    while True:
        value = rnd.choice(
            (now + 1, now - 1, 0, 1, now + 512, load(k, rnd.choice(alike)), load(k, rnd.choice(places)),
             rnd.choice(places)[1], rnd.randrange(-2, 3000), 1 << 40)
        )  # fmt: skip
        if value != now: return value


def assert_seen_alike(k: Kernel, checker: Checker) -> bool:
    """The writes in the journal break a clause in the eyes of the audit just if the check of them says so."""
    k.ledger, kept = None, k.ledger
    failures = audit(k)[1]
    k.ledger = kept
    said = touched_reports(checker)
    changes = [str(change) for change in checker.changes()]
    if failures: assert said, (changes, [failure.name for failure in failures])
    else: assert not said, (changes, said)
    return bool(failures)


@pytest.mark.parametrize("seed", range(8))
def test_random_damage_is_seen_from_its_write_alone(seed: int) -> None:
    rnd = random.Random(seed)
    driver = Driver(seed, "off", blocks=rnd.randrange(1, 5), pages=rnd.choice((511, 40)), giants=seed % 4 == 3)
    driver.run(400)
    k = driver.k
    places = all_places(k)
    checker = Checker(k)
    broken = 0
    for _ in range(400):
        place = rnd.choice(places)
        k.journal.clear()
        logged_store(k, place, other_value(rnd, k, places, place))
        broken += assert_seen_alike(k, checker)
        undo(k)
        k.ledger = ledgers.count(k)
    assert broken > 200


@pytest.mark.parametrize("seed", range(3))
def test_damage_of_every_field_of_a_scene_is_seen(seed: int) -> None:
    rnd = random.Random(seed)
    scene = Scene()
    k = scene.k
    places = all_places(k)
    tried: dict[tuple[str, str], int] = {}
    checker = Checker(k)
    for place in rnd.sample(places, len(places)):
        kind = place[0], place[2]
        if tried.setdefault(kind, 0) >= 6: continue
        tried[kind] += 1
        k.journal.clear()
        logged_store(k, place, other_value(rnd, k, places, place))
        assert_seen_alike(k, checker)
        undo(k)
        k.ledger = ledgers.count(k)
