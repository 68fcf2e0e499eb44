"""Terms mean what Python's own arithmetic says: whatever is simplified when they are made, and by what is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel.prove import terms
from kernel.prove.addresses import number, unique
from kernel.prove.evaluator import _bits
from kernel.prove.instances import digit_facts, digits, substitute, substitute_integer
from kernel.prove.meaning import Meaning
from kernel.prove.solver import PROVED, REFUTED, Solver
from kernel.prove.terms import Facts, Integer, Term, Truth

NAMES = ("a", "b", "c")
SMALL = ("p", "q")
"""Names that are below 512."""
Values = dict[str, int]


@dataclass
class Formula:
    """A term, and the same said in Python."""

    term: Integer | Truth
    says: Callable[[Values], int]


def meaning(values: Values) -> Meaning:
    """What terms are where the names have these values, and a field of id is a sum of both."""
    return Meaning(
        lambda field, index: sum(index) * 3 - len(field), {terms.name(its): value for its, value in values.items()}
    )


def constant(value: int) -> Formula:
    return Formula(value, lambda values: value)


def named(its: str) -> Formula:
    return Formula(terms.name(its), lambda values: values[its])


def joined(make: Callable[[Integer, Integer], Integer | Truth], says: Callable[[int, int], int]) -> Callable[
    [Formula, Formula], Formula
]:  # fmt: skip
    def join(a: Formula, b: Formula) -> Formula:
        return Formula(make(integer(a), integer(b)), lambda values: says(a.says(values), b.says(values)))

    return join


def integer(a: Formula) -> Integer:
    assert isinstance(a.term, (int, Term))
    return a.term


def divided(make: Callable[[Integer, int], Integer], says: Callable[[int, int], int]) -> Callable[
    [Formula, int], Formula
]:  # fmt: skip
    def divide(a: Formula, by: int) -> Formula:
        return Formula(make(integer(a), by), lambda values: says(a.says(values), by))

    return divide


def chosen(condition: Formula, a: Formula, b: Formula) -> Formula:
    return Formula(
        terms.choice(truth(condition), integer(a), integer(b)),
        lambda values: a.says(values) if condition.says(values) else b.says(values),
    )


def truth(a: Formula) -> Truth:
    assert isinstance(a.term, (bool, Term))
    return a.term


def read(a: Formula) -> Formula:
    return Formula(terms.read("thread.core", integer(a)), lambda values: a.says(values) * 3 - len("thread.core"))


def either(condition: Formula, a: Formula, b: Formula) -> Formula:
    return Formula(
        terms.either(truth(condition), truth(a), truth(b)),
        lambda values: a.says(values) if condition.says(values) else b.says(values),
    )


def many(make: Callable[[list[Truth]], Truth], says: Callable[[list[int]], bool]) -> Callable[
    [list[Formula]], Formula
]:  # fmt: skip
    def of(parts: list[Formula]) -> Formula:
        return Formula(make([truth(a) for a in parts]), lambda values: says([a.says(values) for a in parts]))

    return of


NUMBERS = st.sampled_from([0, 1, -1, 2, 7, 8, 511, 512, 513, -512, 1 << 18, 3])
DIVISORS = st.sampled_from([1, 2, 3, 8, 512, 1 << 18, 1 << 27])
COMPARISONS = {
    terms.equal: lambda a, b: a == b, terms.differ: lambda a, b: a != b, terms.at_most: lambda a, b: a <= b,
    terms.less: lambda a, b: a < b,
}  # fmt: skip


def formulas() -> tuple[st.SearchStrategy[Formula], st.SearchStrategy[Formula]]:
    """Integers, and truths."""
    leaves = st.one_of(NUMBERS.map(constant), st.sampled_from(NAMES + SMALL).map(named))
    integers: st.SearchStrategy[Formula] = st.deferred(lambda: st.one_of(leaves, compound))
    truths: st.SearchStrategy[Formula] = st.deferred(lambda: st.one_of(
        *(st.builds(joined(make, says), integers, integers) for make, says in COMPARISONS.items()),
        st.builds(lambda a: Formula(terms.negate(truth(a)), lambda values: not a.says(values)), truths),
        st.builds(many(terms.all_of, all), st.lists(truths, max_size=3)),
        st.builds(many(terms.any_of, any), st.lists(truths, max_size=3)),
        st.builds(either, truths, truths, truths),
        st.builds(lambda a, b: Formula(
            terms.implies(truth(a), truth(b)), lambda values: not a.says(values) or b.says(values)), truths, truths),
    ))  # fmt: skip
    compound = st.one_of(
        st.builds(joined(terms.add, lambda a, b: a + b), integers, integers),
        st.builds(joined(terms.subtract, lambda a, b: a - b), integers, integers),
        st.builds(joined(terms.multiply, lambda a, b: a * b), integers, NUMBERS.map(constant)),
        st.builds(divided(terms.quotient, lambda a, by: a // by), integers, DIVISORS),
        st.builds(divided(terms.remainder, lambda a, by: a % by), integers, DIVISORS),
        st.builds(divided(_bits, lambda a, by: a & by), integers, st.sampled_from([0, 1, 2, 3, 4, 7])),
        st.builds(chosen, truths, integers, integers),
        st.builds(read, integers),
    )
    return integers, truths


INTEGERS, TRUTHS = formulas()
VALUES = st.fixed_dictionaries(
    {its: st.one_of(st.integers(-3, 9), st.sampled_from([511, 512, 513, 1 << 18, -(1 << 27)]), st.integers())
     for its in NAMES} | {its: st.integers(0, 511) for its in SMALL}
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _small_names() -> object:
    known = {terms.name(its): (0, 511) for its in SMALL}
    terms.RANGES.update(known)
    yield
    for its in known: terms.RANGES.pop(its, None)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(INTEGERS, VALUES)
def test_an_integer_is_what_python_computes(a: Formula, values: Values) -> None:
    assert meaning(values).integer(integer(a)) == a.says(values)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(TRUTHS, VALUES)
def test_a_truth_is_what_python_computes(a: Formula, values: Values) -> None:
    assert meaning(values).truth(truth(a)) == bool(a.says(values))
    assert meaning(values).truth(terms.negate(truth(a))) != bool(a.says(values))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.lists(TRUTHS, max_size=4), TRUTHS, INTEGERS, VALUES)
def test_what_is_known_simplifies_without_changing(
    known: list[Formula], a: Formula, b: Formula, values: Values
) -> None:
    """Of what does not hold, its negation is learnt: all that is known is true of these values."""
    facts = Facts()
    for fact in known: facts.learn(truth(fact) if fact.says(values) else terms.negate(truth(fact)))
    assert meaning(values).truth(facts.simplify(truth(a))) == bool(a.says(values))
    assert meaning(values).integer(facts.choose(integer(b))) == b.says(values)
    copied = Facts(facts)
    copied.learn(truth(a) if a.says(values) else terms.negate(truth(a)))
    assert meaning(values).truth(copied.simplify(truth(a))) == bool(a.says(values))
    assert meaning(values).integer(facts.choose(integer(b))) == b.says(values), "what a copy learns the first does not"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(TRUTHS, INTEGERS, INTEGERS, VALUES)
def test_putting_terms_in_the_place_of_names(a: Formula, b: Formula, by: Formula, values: Values) -> None:
    put = {terms.name("a"): integer(by)}
    other = values | {"a": by.says(values)}
    assert meaning(values).truth(substitute(truth(a), put)) == bool(a.says(other))
    assert meaning(values).integer(substitute_integer(integer(b), put)) == b.says(other)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(TRUTHS, INTEGERS, VALUES)
def test_the_solver_is_told_the_same(a: Formula, b: Formula, values: Values) -> None:
    """With all names and reads given, the solver finds a formula true where it is, and no other value of an integer."""
    for wanted, expected in ((truth(a), bool(a.says(values))), (terms.equal(integer(b), b.says(values)), True)):
        solver, its = Solver(20.0), meaning(values)
        for term in _leaves(wanted): solver.suppose(terms.equal(term, its.integer(term)))
        solver.suppose(wanted)
        assert solver.consistent() == (REFUTED if expected else PROVED)


def _leaves(a: Integer | Truth) -> list[Term]:
    """Names and reads in a formula."""
    seen: dict[Term, None] = {}
    todo: list[object] = [a]
    while todo:
        part = todo.pop()
        if not isinstance(part, Term) or part in seen: continue
        seen[part] = None
        todo.extend(terms.parts_of(part))
    return [term for term in seen if term.op in (terms.NAME, terms.READ)]


@given(VALUES)
def test_virtual_pages_in_digits(values: Values) -> None:
    page = terms.add(terms.name("a"), terms.name("b"), 3)
    v = meaning(values).integer(page)
    total = digits(page)
    assert isinstance(total, Term)
    found = {term: v >> shift if shift == 27 else v >> shift & 511 for term, shift in (
        (term, factor.bit_length() - 1) for term, factor in total.args[1:])}  # fmt: skip
    its = Meaning(lambda field, index: 0, {terms.name(its): n for its, n in values.items()} | found)
    assert its.integer(total) == v
    assert all(its.truth(fact) for fact in digit_facts(page))


@given(st.lists(st.integers(-2, 513), min_size=8, max_size=8))
def test_pages_of_the_same_number_have_the_same_indices(indices: list[int]) -> None:
    places = tuple(terms.name(f"place {i}") for i in range(8))
    first = indices[:4]
    for chosen in (indices, first * 2, [*first, first[0] + 1, first[1] - 512, *first[2:]]):
        its = Meaning(lambda field, index: 0, dict(zip(places, chosen, strict=True)))
        assert its.truth(unique(places[:4], places[4:]))
    assert its.integer(number(places[:4])) == sum(n << s for n, s in zip(first, (27, 18, 9, 0), strict=True))


def test_what_is_not_known_is_neither_true_nor_false() -> None:
    with pytest.raises(TypeError, match="is not known"):
        bool(terms.equal(terms.name("a"), 0))
