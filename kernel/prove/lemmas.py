"""Statements that follow from the invariants, and that the proofs of transitions use: each is proved once, of any state
in which all invariants hold.

They are written as invariants are.  The first is what makes 0 mean nothing; the others say of a whole tree of page
tables what the invariants say of its edges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kernel.invariants import Clause, Predicate, live
from kernel.objects import CONTAINER, FREE, READY, TABLE, THREAD, Kernel


@dataclass(frozen=True)
class Lemma(Clause):
    """A lemma: the invariants, and lemmas before it, that it follows from; if by induction, the field that leads to the
    object it is supposed of, where ``measure`` is less there."""

    using: frozenset[str] = frozenset()
    neighbour: str = ""
    measure: Callable[..., int] | None = None
    hypotheses: Callable[..., tuple[tuple[int, ...], ...]] | None = None
    """Where one neighbour is not enough: the ids that it is supposed of."""
    aside: bool = False
    """Nothing but a step towards another lemma, which says it as well: proofs of transitions do without."""


LEMMAS: Final[dict[str, Lemma]] = {}


def lemma(
    domain: str | tuple[str, str], *using: str, neighbour: str = "", measure: Callable[..., int] | None = None,
    hypotheses: Callable[..., tuple[tuple[int, ...], ...]] | None = None, aside: bool = False,
) -> Callable[[Predicate], Predicate]:  # fmt: skip
    """Registers a lemma over the ids of ``domain``."""
    over = domain if isinstance(domain, tuple) else (domain,)

    def register(predicate: Predicate) -> Predicate:
        name = predicate.__name__
        LEMMAS[name] = Lemma(name, over, predicate, frozenset(using), neighbour, measure, hypotheses, aside)
        return predicate

    return register


@lemma("memory", "page_block", "block_split", "block_giant", "block_kind", "giant_kind")
def nothing_at_0(k: Kernel, memory: int) -> bool:
    """Page 0 is never used: id 0 names nothing."""
    return k.page[0].kind == FREE


@lemma("table", "nothing_at_0", "table_place", "entry_target", aside=True)
def table_slot(k: Kernel, x: int) -> bool:
    """A table's slot in its parent is one of 512."""
    return not live(k, x, TABLE) or (k.table[x].slot >= 0 and k.table[x].slot < 512)


@lemma("table", "nothing_at_0", "table_place", "table_base", "table_slot", "process_root")
def table_chain(k: Kernel, x: int) -> bool:
    """The tables above a table, up to the root, lead to it by their slots, and these are the indices of the first page
    that it translates."""
    X = k.table[x]
    if not live(k, x, TABLE): return True
    root = k.process[X.process].root
    if X.level == 4: return root == x and X.base == 0
    if X.slot < 0 or X.slot >= 512 or X.parent == 0: return False
    if X.level == 3: return leads(k, root, X.slot, x) and X.parent == root and X.base == X.slot << 27
    Q = k.table[X.parent]
    if Q.slot < 0 or Q.slot >= 512 or Q.parent == 0 or not leads(k, X.parent, X.slot, x): return False
    if X.level == 2:
        return leads(k, root, Q.slot, X.parent) and Q.parent == root and X.base == (Q.slot << 27) + (X.slot << 18)
    R = k.table[Q.parent]
    if R.slot < 0 or R.slot >= 512 or not leads(k, Q.parent, Q.slot, X.parent): return False
    if not leads(k, root, R.slot, Q.parent) or R.parent != root: return False
    return X.base == (R.slot << 27) + (Q.slot << 18) + (X.slot << 9)


def depth(k: Kernel, c: int) -> int:
    """How deep a container is in the tree."""
    return k.container[c].depth


@lemma("container", "container_place", "container_core", "container_root", neighbour="parent", measure=depth)
def cores_lent(k: Kernel, c: int) -> bool:
    """The container whose cores another uses has a child: one that leads to it."""
    C = k.container[c]
    if not live(k, c, CONTAINER): return True
    return C.cores_of == c or k.container[C.cores_of].child_count >= 1


@lemma(
    "core", "core_placed", "core_place", "thread_core", "thread_charge", "process_charge", "process_place",
    "container_place", "container_core", "cores_lent",
)  # fmt: skip
def cores_used(k: Kernel, r: int) -> bool:
    """A core on which threads are placed is that of a container in which there is something."""
    R = k.core[r]
    if r < 0 or r >= k.cores or R.placed_count <= 0: return True
    C = k.container[R.container]
    return k.thread[R.placed[0]].core == r and (C.processes >= 1 or C.child_count >= 1)


@lemma("container.path", "container_place", "container_path", "container_root", neighbour="parent", measure=depth)
def path_has_children(k: Kernel, c: int, i: int) -> bool:
    """Each ancestor of a container has a child: one that leads to it."""
    C = k.container[c]
    if not live(k, c, CONTAINER) or i < 0 or i >= C.depth: return True
    return k.container[C.path[i]].child_count >= 1


def rank(k: Kernel, t: int) -> int:
    """How far a thread is from where its queue begins."""
    return k.thread[t].rank


def behind(k: Kernel, t: int) -> int:
    """How many tickets its core has given since a thread took its own."""
    return k.core[k.thread[t].core].ticket - k.thread[t].rank


def behind_at_endpoint(k: Kernel, t: int) -> int:
    """How many tickets its endpoint has given since a thread took its own."""
    return k.endpoint[k.thread[t].endpoint].ticket - k.thread[t].rank


@lemma("thread", "thread_queue", "core_queue", "nothing_at_0", neighbour="previous", measure=rank)
def head_ranks_first(k: Kernel, t: int) -> bool:
    """No ready thread ranks before the head of its queue."""
    T = k.thread[t]
    if not live(k, t, THREAD) or T.state != READY: return True
    return k.thread[k.core[T.core].head].rank <= T.rank


@lemma("thread", "thread_queue", "core_queue", "nothing_at_0", neighbour="next", measure=behind)
def tail_ranks_last(k: Kernel, t: int) -> bool:
    """No ready thread ranks behind the tail of its queue."""
    T = k.thread[t]
    if not live(k, t, THREAD) or T.state != READY: return True
    return T.rank <= k.thread[k.core[T.core].tail].rank


@lemma("thread", "message_queue", "endpoint_queue", "nothing_at_0", neighbour="previous", measure=rank)
def first_ranks_first(k: Kernel, t: int) -> bool:
    """No thread in the queue of an endpoint ranks before its head."""
    T = k.thread[t]
    if not live(k, t, THREAD) or T.endpoint == 0: return True
    return k.thread[k.endpoint[T.endpoint].head].rank <= T.rank


@lemma("thread", "message_queue", "endpoint_queue", "nothing_at_0", neighbour="next", measure=behind_at_endpoint)
def last_ranks_last(k: Kernel, t: int) -> bool:
    """No thread in the queue of an endpoint ranks behind its tail."""
    T = k.thread[t]
    if not live(k, t, THREAD) or T.endpoint == 0: return True
    return T.rank <= k.thread[k.endpoint[T.endpoint].tail].rank


def both_ranks(k: Kernel, t: int, u: int) -> int:
    """How far two threads are from where their queue begins, together."""
    return k.thread[t].rank + k.thread[u].rank


def before_them(k: Kernel, t: int, u: int) -> tuple[tuple[int, int], ...]:
    """The pairs of two threads and those before them, of which what is said of the two is supposed."""
    a, b = k.thread[t].previous, k.thread[u].previous
    return (t, b), (b, t), (a, b), (b, a)


@lemma(
    ("thread", "thread"), "thread_queue", "core_queue", "nothing_at_0", "head_ranks_first",
    measure=both_ranks, hypotheses=before_them,
)  # fmt: skip
def queue_order(k: Kernel, t: int, u: int) -> bool:
    """Of two ready threads of a core, the one that ranks first has a successor that does not rank behind the other: the
    queue is in the order of ranks, which are distinct."""
    T = k.thread[t]
    U = k.thread[u]
    if t == u or T.state != READY or U.state != READY or T.core != U.core: return True
    if not live(k, t, THREAD) or not live(k, u, THREAD): return True
    if T.rank == U.rank: return False
    return T.rank > U.rank or (T.next != 0 and k.thread[T.next].rank <= U.rank)


@lemma(
    ("thread", "thread"), "message_queue", "endpoint_queue", "nothing_at_0", "first_ranks_first",
    measure=both_ranks, hypotheses=before_them,
)  # fmt: skip
def message_order(k: Kernel, t: int, u: int) -> bool:
    """The same of two threads in the queue of an endpoint."""
    T = k.thread[t]
    U = k.thread[u]
    if t == u or T.endpoint == 0 or T.endpoint != U.endpoint: return True
    if not live(k, t, THREAD) or not live(k, u, THREAD): return True
    if T.rank == U.rank: return False
    return T.rank > U.rank or (T.next != 0 and k.thread[T.next].rank <= U.rank)


def leads(k: Kernel, q: int, i: int, x: int) -> bool:
    """True if entry i of table q leads to table x."""
    return k.table[q].entry[i] == x
