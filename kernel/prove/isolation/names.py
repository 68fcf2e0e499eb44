"""Page numbers are names: outside the allocator a transition asks of two whether they are the same, or whether one is
0, and nothing else; no other number is taken for one; and none is ever a result.

That is checked, not asked of a solver: each term that a transition comes to is given a sort.  A state whose pages are
renamed does the same, under the new names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kernel.objects import TABLE_NAMES
from kernel.prove.state import State
from kernel.prove.steps import Step
from kernel.prove.terms import (
    ALL,
    AT_MOST_0,
    CHOICE,
    NAME,
    NONZERO,
    QUOTIENT,
    READ,
    SUM,
    ZERO,
    Term,
    name,
    show,
)  # fmt: skip

NAMED: Final = frozenset({
    "page.owner", "page.block", "block.owner", "block.giant", "giant.owner",
    "container.parent", "container.path", "container.children", "container.holder", "container.members",
    "container.cores_of",
    "process.container", "process.parent", "process.children", "process.root", "process.map_page", "process.threads",
    "process.holder", "process.waiter", "process.handle_object", "process.pager",
    "thread.process", "thread.next", "thread.previous", "thread.joiner", "thread.waiting_for", "thread.endpoint",
    "thread.partner", "thread.caller",
    "endpoint.head", "endpoint.tail",
    "device.holder", "device.domain", "device.endpoint", "domain.holder", "domain.devices", "domain.map_page",
    "table.process", "table.parent", "table.entry",
    "core.container", "core.current", "core.head", "core.tail", "core.placed",
})  # fmt: skip
"""Fields that hold page numbers (or numbers of blocks and giants)."""
BY_PAGE: Final = frozenset(TABLE_NAMES) - {"core"}
"""Tables whose objects are known by such numbers."""
ARGUMENTS: Final = frozenset("ctsdpeom")
"""Parameters that are page numbers."""
HOSTED: Final = frozenset({"schedule", "device_add", "thread_start", "process_spawn", "container_spawn"})
"""Transitions whose result is a page number: it is the host that asks, and no program is told."""

NUMBER, PAGE, EITHER = "number", "page number", "0"


class Misused(Exception):
    """A page number is used as more than a name."""


class Sorts:
    """Gives terms their sorts.  ``names`` says what the step's own names stand for."""

    def __init__(self, state: State) -> None:
        self._meant = {its: term for term, its in state.names.items()}
        self._known: dict[Term, str] = {}

    def of(self, a: object) -> str:
        """NUMBER or PAGE; EITHER for 0.  Raises Misused."""
        if not isinstance(a, Term): return EITHER if a == 0 else NUMBER
        found = self._known.get(a)
        if found is None: found = self._known[a] = self._of(a)
        return found

    def _of(self, a: Term) -> str:
        if a.op == READ:
            self.looked_up(str(a.args[0]), a.args[1] if a.args[1:] else 0)
            for index in a.args[2:]: self.of(index)
            return PAGE if str(a.args[0]).partition("#")[0] in NAMED else NUMBER
        if a.op == NAME: return self._name(a)
        if a.op == CHOICE:
            self.truth(a.args[0])
            sorts = {self.of(a.args[1]), self.of(a.args[2])} - {EITHER}
            if len(sorts) > 1: raise Misused(f"{show(a)} is a page number or another")
            return sorts.pop() if sorts else EITHER
        if a.op == SUM:
            for term, _ in a.args[1:]:
                if self.of(term) == PAGE: raise Misused(f"{show(a)} reckons with a page number")
            return NUMBER
        assert a.op >= QUOTIENT
        if self.of(a.args[0]) == PAGE: raise Misused(f"{show(a)} divides a page number")
        return NUMBER

    def looked_up(self, field: str, id: object) -> None:
        """Goes through the id of an object whose field is read or written.  Raises Misused where objects are known by
        page numbers and this is another: who may ask for any page by its number learns which are its own."""
        if self.of(id) == NUMBER and field.partition(".")[0] in BY_PAGE:
            raise Misused(f"{show(id)} is no page number, and {field} is looked up by it")

    def _name(self, a: Term) -> str:
        if a in self._meant: return self.of(self._meant[a])
        text = str(a.args[0])
        if text.startswith("page'") or text == "root": return PAGE
        return PAGE if text.partition("@")[0] in ARGUMENTS else NUMBER

    def truth(self, a: object) -> None:
        """Goes through a truth.  Raises Misused."""
        if not isinstance(a, Term): return
        if a.op >= ALL:
            for b in a.args: self.truth(b)
            return
        inner = a.args[0]
        if a.op in (ZERO, NONZERO) and isinstance(inner, Term) and inner.op == SUM:
            constant, *parts = inner.args
            if any(self.of(term) == PAGE for term, _ in parts):
                alike = constant == 0 and len(parts) == 2 and {factor for _, factor in parts} == {1, -1}
                if not alike or {self.of(term) for term, _ in parts} != {PAGE}:
                    raise Misused(f"{show(a)} compares a page number with what is none")
            return
        if self.of(inner) == PAGE and a.op == AT_MOST_0: raise Misused(f"{show(a)} puts page numbers in an order")


def misuses(step: Step) -> Iterator[str]:
    """Where a step, evaluated with the allocator at its contracts, uses a page number as more than a name."""
    sorts = Sorts(step.state)
    if step.name not in HOSTED:
        try:
            if sorts.of(step.result) == PAGE: yield f"{step.name} returns a page number: {show(step.result)}"
        except Misused as misused:
            yield f"{step.name} returns: {misused}"
    for field, writes in step.state.writes.items():
        for write in writes:
            if write.id is None: continue
            try:
                sorts.truth(write.condition)
                sorts.looked_up(field, write.id)
                if write.index is not None: sorts.of(write.index)
                # Of a row that is copied, each item.
                value = write.value(write.id, name("any index")) if callable(write.value) else write.value
                its = sorts.of(value)
                if its != EITHER and (its == PAGE) != (field in NAMED):
                    yield f"{step.name} gives {field} a {its}: {show(value)}"
            except Misused as misused:
                yield f"{step.name}, {field}: {misused}"


__all__ = ["ARGUMENTS", "HOSTED", "NAMED", "Misused", "Sorts", "misuses"]
