"""Formulas given to z3, and its answers: the only module that knows z3.

Terms are handed over through z3's C interface, each once for a solver.  Integers are mathematical ones: Python's are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final

import z3
from z3 import z3core

from kernel.prove.terms import (
    ALL,
    ANY,
    AT_MOST_0,
    CHOICE,
    NAME,
    QUOTIENT,
    READ,
    REMAINDER,
    SUM,
    ZERO,
    Integer,
    Term,
    Truth,
)  # fmt: skip

PROVED: Final = "proved"
REFUTED: Final = "refuted"
UNKNOWN: Final = "unknown"


STEPS_A_SECOND: Final = 2_500_000
"""What z3 does in a second of processor time, in its own unit (rlimit); measured on a processor of 2020."""
SLOWEST: Final = 40
"""How many times slower than that a question may be answered."""


class Solver:
    """What is known, and questions whether something else can hold with it."""

    kept: ClassVar[list[z3.Context] | None] = None
    """If a list, contexts are kept there for good: taking one apart is slow, and not needed in a process that ends."""

    def __init__(self, timeout: float = 20.0, seed: int = 0) -> None:
        self.context = z3.Context()
        if self.kept is not None: self.kept.append(self.context)
        self._solver = z3.SimpleSolver(ctx=self.context)
        # Counted in what z3 does, not by the clock: an answer does not depend on what else the machine is doing.
        self._solver.set("rlimit", int(timeout * STEPS_A_SECOND))
        self._solver.set("timeout", int(timeout * 1000 * SLOWEST))
        # The elder of z3's two simplex solvers: on page tables it answers up to ten times sooner than the one that is
        # taken if nothing is said, and nowhere much later.
        self._solver.set("smt.arith.solver", 2)
        if seed: self._solver.set("random_seed", seed)
        self._c = self.context.ref()
        self._int = z3core.Z3_mk_int_sort(self._c)
        self._functions: dict[tuple[str, int], Any] = {}
        self._made: dict[Term, Any] = {}
        self._kept: list[Any] = []

    def suppose(self, truth: Truth) -> None:
        """From here on, until ``leave`` if after an ``enter``, this is known."""
        if truth is True: return
        z3core.Z3_solver_assert(self._c, self._solver.solver, self._truth(truth))

    def enter(self) -> None:
        """What is supposed from here on is forgotten by ``leave``."""
        self._solver.push()

    def leave(self) -> None:
        """Forgets what was supposed since ``enter``."""
        self._solver.pop()

    def consistent(self) -> str:
        """PROVED if what is known cannot all hold, REFUTED if it can (``value`` then tells how), or UNKNOWN."""
        answer = self._solver.check()
        if answer == z3.unsat: return PROVED
        return REFUTED if answer == z3.sat else UNKNOWN

    def values(self, terms: Iterable[Integer]) -> dict[Term, int]:
        """What these integers are where everything known holds: after ``consistent`` was REFUTED."""
        model = self._solver.model()
        found = {}
        for term in terms:
            if isinstance(term, Term):
                value = model.eval(z3.ArithRef(self._integer(term), self.context), model_completion=True)
                found[term] = value.as_long()
        return found

    def holds(self, truth: Truth) -> bool:
        """Whether this holds where everything known does: after ``consistent`` was REFUTED."""
        model = self._solver.model()
        return bool(z3.is_true(model.eval(z3.BoolRef(self._truth(truth), self.context), model_completion=True)))

    # Handing over.

    def _keep(self, made: Any) -> Any:
        z3core.Z3_inc_ref(self._c, made)
        return made

    def _number(self, value: int) -> Any:
        return self._keep(z3core.Z3_mk_numeral(self._c, str(value), self._int))

    def _function(self, name: str, arity: int) -> Any:
        found = self._functions.get((name, arity))
        if found is None:
            symbol = z3core.Z3_mk_string_symbol(self._c, name)
            domain = (z3.Sort * arity)(*[self._int] * arity)
            found = z3core.Z3_mk_func_decl(self._c, symbol, arity, domain, self._int)
            z3core.Z3_inc_ref(self._c, z3core.Z3_func_decl_to_ast(self._c, found))
            self._functions[name, arity] = found
        return found

    def _integer(self, a: Integer) -> Any:
        if isinstance(a, int): return self._number(a)
        found = self._made.get(a)
        if found is None: found = self._made[a] = self._keep(self._new_integer(a))
        return found

    def _new_integer(self, a: Term) -> Any:
        c, args = self._c, a.args
        if a.op == READ:
            parts = [self._integer(index) for index in args[1:]]
            declared = self._function(str(args[0]), len(parts))
            return z3core.Z3_mk_app(c, declared, len(parts), _array(parts))
        if a.op == NAME:
            return z3core.Z3_mk_app(c, self._function(str(args[0]), 0), 0, (z3.Ast * 0)())
        if a.op == SUM:
            parts = [] if args[0] == 0 else [self._number(args[0])]
            for term, factor in args[1:]:
                made = self._integer(term)
                if factor != 1: made = self._keep(z3core.Z3_mk_mul(c, 2, _array([self._number(factor), made])))
                parts.append(made)
            return z3core.Z3_mk_add(c, len(parts), _array(parts))
        if a.op == CHOICE:
            return z3core.Z3_mk_ite(
                c, self._truth(args[0]), self._integer(args[1]), self._integer(args[2])
            )
        make = z3core.Z3_mk_div if a.op == QUOTIENT else z3core.Z3_mk_mod
        assert a.op in (QUOTIENT, REMAINDER)
        return make(c, self._integer(args[0]), self._number(args[1]))

    def _truth(self, a: Truth) -> Any:
        if isinstance(a, bool): return self._keep((z3core.Z3_mk_true if a else z3core.Z3_mk_false)(self._c))
        found = self._made.get(a)
        if found is None: found = self._made[a] = self._keep(self._new_truth(a))
        return found

    def _new_truth(self, a: Term) -> Any:
        c = self._c
        if a.op in (ALL, ANY):
            parts = [self._truth(b) for b in a.args]
            return (z3core.Z3_mk_and if a.op == ALL else z3core.Z3_mk_or)(c, len(parts), _array(parts))
        left, right = self._sides(a.args[0])
        if a.op == AT_MOST_0: return z3core.Z3_mk_le(c, left, right)
        same = z3core.Z3_mk_eq(c, left, right)
        return same if a.op == ZERO else z3core.Z3_mk_not(c, self._keep(same))

    def _sides(self, a: Integer) -> tuple[Any, Any]:
        """A sum that is compared with 0, as two sums that are compared: z3's congruence wants a = b, not a - b = 0."""
        if not isinstance(a, Term) or a.op != SUM: return self._integer(a), self._number(0)
        constant, parts = a.args[0], a.args[1:]
        left = [(term, f) for term, f in parts if f > 0]
        right = [(term, -f) for term, f in parts if f < 0]
        return self._added(left, 0), self._added(right, -constant)

    def _added(self, parts: list[tuple[Term, int]], constant: int) -> Any:
        made = [] if constant == 0 and parts else [self._number(constant)]
        for term, factor in parts:
            one = self._integer(term)
            if factor != 1: one = self._keep(z3core.Z3_mk_mul(self._c, 2, _array([self._number(factor), one])))
            made.append(one)
        if len(made) == 1: return made[0]
        return self._keep(z3core.Z3_mk_add(self._c, len(made), _array(made)))


def _array(parts: list[Any]) -> Any:
    return (z3.Ast * len(parts))(*parts)


__all__ = ["PROVED", "REFUTED", "UNKNOWN", "Solver"]
