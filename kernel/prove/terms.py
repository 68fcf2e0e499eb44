"""Formulas of the prover: integers and truths about fields of an arbitrary kernel, each made once and simplified.

An integer is an ``int`` or a Term, a truth a ``bool`` or a Term; what is known is never a Term.  Sums are kept in one
order with one factor each, and differences decide equality, so that most of what the kernel's arithmetic does is
settled here, without a solver.  Truths are in negation normal form: a literal is ``e = 0``, ``e != 0`` or ``e <= 0``.

Terms that are equal are the same object: they are compared by identity.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import gcd
from typing import Any, Final

NAME: Final = 0
"""An arbitrary integer: (name,)."""
READ: Final = 1
"""A field of the state before: (field, index, ...)."""
SUM: Final = 2
"""(constant, (term, factor), ...), the terms in the order of their numbers."""
CHOICE: Final = 3
"""An integer by a truth: (condition, then, else)."""
QUOTIENT: Final = 4
"""(dividend, divisor), rounded down; the divisor is a positive int."""
REMAINDER: Final = 5
ZERO: Final = 6
"""(sum,): it is 0."""
NONZERO: Final = 7
AT_MOST_0: Final = 8
ALL: Final = 9
ANY: Final = 10


class Term:
    """One formula.  ``number`` is its place in the order in which formulas were made."""

    __slots__ = ("op", "args", "number", "choosing", "_negated")

    def __init__(self, op: int, args: tuple[Any, ...], number: int, choosing: bool) -> None:
        self.op = op
        self.args = args
        self.number = number
        self.choosing = choosing
        """True if there is a CHOICE in it."""
        self._negated: bool | Term | None = None

    def __bool__(self) -> bool:
        raise TypeError(f"whether {show(self)} holds is not known")

    def __repr__(self) -> str:
        return show(self)


Integer = int | Term
Truth = bool | Term

_made: dict[tuple[object, ...], Term] = {}
_joins: dict[tuple[int, tuple[Truth, ...]], Truth] = {}


def _make(op: int, args: tuple[Any, ...], choosing: bool) -> Term:
    key = (op, *args)
    term = _made.get(key)
    if term is None:
        term = _made[key] = Term(op, args, len(_made), choosing)
    return term


def forget() -> None:
    """Forgets all terms: none made before may be used any more."""
    _made.clear()
    _joins.clear()


def name(text: str) -> Term:
    """An arbitrary integer with this name."""
    return _make(NAME, (text,), False)


def read(field: str, *index: Integer) -> Term:
    """What a field, or an item of a row, held before."""
    return _make(READ, (field, *index), any(isinstance(i, Term) and i.choosing for i in index))


# Integers.


def _parts(a: Integer) -> tuple[int, tuple[tuple[Term, int], ...]]:
    if isinstance(a, Term):
        if a.op == SUM: return a.args[0], a.args[1:]
        return 0, ((a, 1),)
    return int(a), ()


def _sum(constant: int, parts: Iterable[tuple[Term, int]]) -> Integer:
    kept = tuple(parts)
    if not kept: return constant
    if constant == 0 and len(kept) == 1 and kept[0][1] == 1: return kept[0][0]
    return _make(SUM, (constant, *kept), any(term.choosing for term, _ in kept))


def add(a: Integer, b: Integer, factor: int = 1) -> Integer:
    """a + factor * b."""
    if isinstance(a, int) and isinstance(b, int): return a + factor * b
    constant, left = _parts(a)
    more, right = _parts(b)
    if not right: return _sum(constant + factor * more, left)
    factors = dict(left)
    for term, f in right:
        total = factors.get(term, 0) + f * factor
        if total: factors[term] = total
        else: factors.pop(term, None)
    return _sum(constant + factor * more, sorted(factors.items(), key=_number))


def _number(part: tuple[Term, int]) -> int:
    return part[0].number


def subtract(a: Integer, b: Integer) -> Integer:
    """a - b."""
    return add(a, b, -1)


def multiply(a: Integer, b: Integer) -> Integer:
    """a * b, where one is known, or chosen among known ones."""
    if isinstance(a, int):
        a, b = b, a
    if isinstance(b, int):
        if b == 0: return 0
        constant, parts = _parts(a)
        return _sum(constant * b, [(term, f * b) for term, f in parts])
    for x, y in ((a, b), (b, a)):
        assert isinstance(x, Term)
        if x.op == CHOICE and _known_leaves(x):
            condition, then, other = x.args
            return choice(condition, multiply(then, y), multiply(other, y))
    raise NotImplementedError(f"the product of {show(a)} and {show(b)}")


def _known_leaves(x: object) -> bool:
    if not isinstance(x, Term): return True
    return x.op == CHOICE and _known_leaves(x.args[1]) and _known_leaves(x.args[2])


RANGES: Final[dict[Term, tuple[int, int]]] = {}
"""Names of which it is known, wherever they occur, between which numbers they are."""
RANGES_OF_DIGITS: Final[dict[Term, tuple[int, int]]] = {}
"""Those of them that are so by definition."""


def _range(a: Integer) -> tuple[int, int] | None:
    """Between which numbers an integer is, if that is known."""
    low, parts = _parts(a)
    high = low
    for term, f in parts:
        if term not in RANGES: return None
        least, most = RANGES[term]
        low += f * (least if f > 0 else most)
        high += f * (most if f > 0 else least)
    return low, high


def _within(a: Integer, by: int) -> bool:
    known = _range(a)
    return known is not None and known[0] >= 0 and known[1] < by


def quotient(a: Integer, by: int) -> Integer:
    """a // by, for a positive ``by``."""
    if by <= 0: raise ValueError(by)
    if by == 1: return a
    constant, parts = _parts(a)
    if not parts: return constant // by
    whole = [(term, f // by) for term, f in parts if f % by == 0]
    rest = [(term, f) for term, f in parts if f % by]
    inner = _sum(constant % by, rest)
    if isinstance(inner, int): return _sum(constant // by + inner // by, whole)
    if _within(inner, by): return _sum(constant // by, whole)
    if inner.op == QUOTIENT: left: Integer = quotient(inner.args[0], inner.args[1] * by)
    else: left = _make(QUOTIENT, (inner, by), inner.choosing)
    return add(_sum(constant // by, whole), left)


def remainder(a: Integer, by: int) -> Integer:
    """a % by, for a positive ``by``."""
    if by <= 0: raise ValueError(by)
    constant, parts = _parts(a)
    inner = _sum(constant % by, [(term, f % by) for term, f in parts if f % by])
    if isinstance(inner, int): return inner % by
    if _within(inner, by): return inner
    return _make(REMAINDER, (inner, by), inner.choosing)


def choice(condition: Truth, a: Integer, b: Integer) -> Integer:
    """a if the condition holds, else b."""
    if isinstance(condition, bool): return a if condition else b
    if a is b or (isinstance(a, int) and isinstance(b, int) and a == b): return a
    if condition.op == NONZERO or condition.op == ANY:
        negated = negate(condition)
        assert isinstance(negated, Term)
        condition, a, b = negated, b, a
    if isinstance(a, Term) and a.op == CHOICE and a.args[0] is condition: a = a.args[1]
    if isinstance(b, Term) and b.op == CHOICE and b.args[0] is condition: b = b.args[2]
    if a is b or (isinstance(a, int) and isinstance(b, int) and a == b): return a
    return _make(CHOICE, (condition, a, b), True)


# Truths.


def equal(a: Integer, b: Integer) -> Truth:
    """a == b."""
    return is_zero(subtract(a, b))


def differ(a: Integer, b: Integer) -> Truth:
    """a != b."""
    return negate(is_zero(subtract(a, b)))


def at_most(a: Integer, b: Integer) -> Truth:
    """a <= b."""
    return at_most_zero(subtract(a, b))


def less(a: Integer, b: Integer) -> Truth:
    """a < b."""
    return at_most_zero(add(subtract(a, b), 1))


def is_zero(a: Integer) -> Truth:
    """a == 0."""
    if isinstance(a, int): return a == 0
    chosen = _one_choice(a)
    if chosen is not None:
        constant, factor, (condition, then, other) = chosen
        if isinstance(then, int) or isinstance(other, int):
            yes = is_zero(add(constant, then, factor))
            no = is_zero(add(constant, other, factor))
            return either(condition, yes, no)
    constant, parts = _parts(a)
    if constant:
        divisor = 0
        for _, f in parts: divisor = gcd(divisor, f)
        if constant % divisor: return False
        if divisor > 1: constant, parts = constant // divisor, tuple((term, f // divisor) for term, f in parts)
    elif len(parts) == 1:
        parts = ((parts[0][0], 1),)
    if parts[0][1] < 0: constant, parts = -constant, tuple((term, -f) for term, f in parts)
    normal = _sum(constant, parts)
    return _make(ZERO, (normal,), a.choosing)


def at_most_zero(a: Integer) -> Truth:
    """a <= 0."""
    if isinstance(a, int): return a <= 0
    chosen = _one_choice(a)
    if chosen is not None:
        constant, factor, (condition, then, other) = chosen
        if isinstance(then, int) or isinstance(other, int):
            yes = at_most_zero(add(constant, then, factor))
            no = at_most_zero(add(constant, other, factor))
            return either(condition, yes, no)
    constant, parts = _parts(a)
    divisor = 0
    for _, f in parts: divisor = gcd(divisor, f)
    if divisor > 1:
        constant, parts = -(-constant // divisor), tuple((term, f // divisor) for term, f in parts)
    return _make(AT_MOST_0, (_sum(constant, parts),), a.choosing)


def _one_choice(a: Term) -> tuple[int, int, tuple[Truth, Integer, Integer]] | None:
    """(constant, factor, choice) if a sum is of one CHOICE and a constant."""
    constant, parts = _parts(a)
    if len(parts) != 1 or parts[0][0].op != CHOICE: return None
    return constant, parts[0][1], parts[0][0].args


def negate(a: Truth) -> Truth:
    """not a."""
    if isinstance(a, bool): return not a
    if a._negated is not None: return a._negated
    negated: Truth
    if a.op == ZERO: negated = _make(NONZERO, a.args, a.choosing)
    elif a.op == NONZERO: negated = _make(ZERO, a.args, a.choosing)
    elif a.op == AT_MOST_0: negated = at_most_zero(add(1, a.args[0], -1))
    elif a.op == ALL: negated = any_of([negate(b) for b in a.args])
    else: negated = all_of([negate(b) for b in a.args])
    a._negated = negated
    if isinstance(negated, Term) and negated._negated is None: negated._negated = a
    return negated


def all_of(truths: Iterable[Truth]) -> Truth:
    """All of these hold."""
    return _joined(ALL, truths, True)


def any_of(truths: Iterable[Truth]) -> Truth:
    """One of these holds."""
    return _joined(ANY, truths, False)


def _joined(op: int, truths: Iterable[Truth], neutral: bool) -> Truth:
    key = op, tuple(truths)
    found = _joins.get(key)  # the same are joined again and again: what holds where evaluation is
    if found is None: found = _joins[key] = _new_joined(op, key[1], neutral)
    return found


def _new_joined(op: int, truths: tuple[Truth, ...], neutral: bool) -> Truth:
    kept: dict[Term, None] = {}
    values: dict[tuple[object, ...], int] = {}
    todo = list(reversed(truths))
    while todo:
        a = todo.pop()
        if isinstance(a, bool):
            if a is neutral: continue
            return not neutral
        if a.op == op:
            todo.extend(reversed(a.args))
            continue
        if a in kept: continue
        if a._negated is not None and a._negated in kept: return not neutral
        if a.op == (ZERO if neutral else NONZERO):
            # Two different values of one sum: not both, so one of the two inequalities.
            constant, parts = _parts(a.args[0])
            if values.setdefault(parts, constant) != constant: return not neutral
        kept[a] = None
    if not kept: return neutral
    if len(kept) == 1: return next(iter(kept))
    for a in kept:
        if negate(a) in kept: return not neutral
    ordered = tuple(sorted(kept, key=_place))
    return _make(op, ordered, any(a.choosing for a in ordered))


def _place(a: Term) -> int:
    return a.number


def either(condition: Truth, a: Truth, b: Truth) -> Truth:
    """a if the condition holds, else b."""
    if isinstance(condition, bool): return a if condition else b
    if a is b: return a
    if a is True: return any_of((condition, b))
    if a is False: return all_of((negate(condition), b))
    if b is True: return any_of((negate(condition), a))
    if b is False: return all_of((condition, a))
    return all_of((any_of((negate(condition), a)), any_of((condition, b))))


def implies(a: Truth, b: Truth) -> Truth:
    """b holds if a does."""
    return any_of((negate(a), b))


# Knowledge: what can be assumed while something is evaluated.


class Facts:
    """Truths that are known to hold together, to simplify others by."""

    __slots__ = ("known", "values", "apart")

    def __init__(self, base: Facts | None = None) -> None:
        self.known: set[Term] = set(base.known) if base else set()
        self.values: dict[tuple[object, ...], int] = dict(base.values) if base else {}
        """By the terms of a sum: the constant with which it is 0."""
        self.apart: set[tuple[object, ...]] = set(base.apart) if base else set()

    def learn(self, a: Truth) -> None:
        """From here on this is known."""
        if isinstance(a, bool): return
        if a.op == ALL:
            for b in a.args: self.learn(b)
            return
        if a in self.known: return
        self.known.add(a)
        if a.op == ZERO:
            constant, parts = _parts(a.args[0])
            self.values[parts] = constant

    def simplify(self, a: Truth) -> Truth:
        """The same truth, where these facts hold."""
        return a if isinstance(a, bool) else self._simplified(a)

    def _simplified(self, a: Term) -> Truth:
        known = self.known
        if a in known: return True
        if a.op >= ALL:
            parts = [self._simplified(b) for b in a.args]
            if parts == list(a.args):  # terms are equal if they are the same
                return False if a._negated is not None and a._negated in known else a
            return all_of(parts) if a.op == ALL else any_of(parts)
        if (negate(a) if a._negated is None else a._negated) in known: return False
        constant, terms = _parts(a.args[0])
        value = self.values.get(terms)
        sign = 1
        if value is None and a.op == AT_MOST_0:
            value = self.values.get(tuple((term, -f) for term, f in terms))
            sign = -1
        if value is None: return a
        left = constant - sign * value  # the terms amount to -value (or value, where negated)
        if a.op == ZERO: return left == 0
        if a.op == NONZERO: return left != 0
        return left <= 0

    def choose(self, a: Integer) -> Integer:
        """The same integer, where these facts hold: choices that they decide are gone."""
        if not isinstance(a, Term) or not a.choosing: return a
        if a.op == CHOICE:
            condition = self.simplify(a.args[0])
            if condition is True: return self.choose(a.args[1])
            if condition is False: return self.choose(a.args[2])
            return choice(condition, self.choose(a.args[1]), self.choose(a.args[2]))
        if a.op == SUM:
            total: Integer = a.args[0]
            for term, factor in a.args[1:]: total = add(total, self.choose(term), factor)
            return total
        return a


# Reading and showing.


def parts_of(term: Term) -> Iterable[Term]:
    """The terms a term is made of, one level down."""
    for arg in term.args:
        if isinstance(arg, Term): yield arg
        elif isinstance(arg, tuple): yield arg[0]


def terms_in(formulas: Iterable[Integer | Truth]) -> Iterator[Term]:
    """All terms that these formulas are made of, each once."""
    seen: set[Term] = set()
    todo: list[Integer | Truth] = list(formulas)
    while todo:
        a = todo.pop()
        if not isinstance(a, Term) or a in seen: continue
        seen.add(a)
        yield a
        todo.extend(parts_of(a))


def show(a: object, depth: int = 6) -> str:
    """A formula as text."""
    if not isinstance(a, Term): return str(a)
    if depth == 0: return "..."
    if a.op == NAME: return str(a.args[0]).partition("@")[0]
    if a.op == READ: return _shown_read(a, depth)
    if a.op == SUM: return _shown_sum(a, depth)
    if a.op in (ZERO, NONZERO, AT_MOST_0): return _shown_literal(a, depth)
    inner = [show(b, depth - 1) for b in a.args]
    if a.op == CHOICE: return f"({inner[1]} if {inner[0]} else {inner[2]})"
    if a.op == QUOTIENT: return f"{inner[0]} // {inner[1]}"
    if a.op == REMAINDER: return f"{inner[0]} % {inner[1]}"
    return "(" + (" and " if a.op == ALL else " or ").join(inner) + ")"


def _shown_read(a: Term, depth: int) -> str:
    table, _, field = str(a.args[0]).partition(".")
    shown = [show(b, depth - 1) for b in a.args[1:]]
    if not shown: return f"{table}.{field}" if field else table
    text = f"{table}[{shown[0]}].{field}"
    return text if len(shown) == 1 else f"{text}[{shown[1]}]"


def _shown_sum(a: Term, depth: int) -> str:
    text = ""
    for term, factor in a.args[1:]:
        sign = " - " if factor < 0 else " + "
        text += sign + (f"{abs(factor)} * " if abs(factor) != 1 else "") + show(term, depth - 1)
    if a.args[0]: text += f" - {-a.args[0]}" if a.args[0] < 0 else f" + {a.args[0]}"
    return f"({text[3:] if text.startswith(' + ') else text.strip()})"


def _shown_literal(a: Term, depth: int) -> str:
    constant, parts = _parts(a.args[0])
    left = _sum(0, [(t, f) for t, f in parts if f > 0])
    right = _sum(-constant, [(t, -f) for t, f in parts if f < 0])
    sign = {ZERO: "==", NONZERO: "!=", AT_MOST_0: "<="}[a.op]
    return f"{show(left, depth - 1)} {sign} {show(right, depth - 1)}"
