"""What the evaluation on terms makes of Python: the same as Python, or it refuses."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from abi import errors
from kernel import scheduler
from kernel.prove import results, source
from kernel.prove.evaluator import REFUSED, Evaluation, NotUnderstood, Unjoined
from kernel.prove.meaning import Meaning
from kernel.prove.source import Function, Unclear
from kernel.prove.state import State
from kernel.prove.steps import Step, transitions
from kernel.prove.terms import Integer, Truth, name

MODULE = "kernel.scheduler"
"""Where the functions of these tests would be."""
A, B = name("a"), name("b")


def function(body: str) -> Function:
    """A function of a and b."""
    tree = ast.parse(f"def f(a, b):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n").body[0]
    assert isinstance(tree, ast.FunctionDef)
    return Function(MODULE, "f", tree)


def evaluated(body: str) -> Any:
    """What a function returns, on terms."""
    return Evaluation(State()).call(function(body), A, B)


def runs(body: str) -> Callable[[int, int], Any]:
    """The function, as it runs."""
    variables = dict(vars(scheduler))
    exec(ast.unparse(function(body).tree), variables)
    found: Callable[[int, int], Any] = variables["f"]
    return found


@pytest.mark.parametrize("body", [
    "return len([x for x in (a, b) if x > 0])",
    "return len({a, b})",
    "return len({x // 2 for x in (a, b, 1)})",
    "if [x for x in (a, b) if x > 0]: return 1\nreturn 2",
    "if not {x for x in (a, b) if x > 1}: return 1\nreturn 2",
    "n = 0\nfor x in {a, b, 1}: n += x\nreturn n",
    "n = 0\nfor x in {y for y in (a, b, 2) if y != 0}: n += 1\nreturn n",
    "return a in [x for x in (b, 2) if x > 0]",
    "return a in {b, 1}",
    "return any(x > 1 for x in (a, b)) and all(x < 2 for x in (a, b) if x >= 0)",
    "return 5 if (a, b) == (1, 2) else 6",
    "return a & 3",
    "if a > 0:\n    if b > 0: return 1\n    n = 3\nelse: n = 4\nreturn n + a",
    "n = None\nif a > 0: n = 2\nreturn 1 if a <= 0 else 3",
    "for x in (1, 2):\n    if a == x: continue\n    b = b + x\nreturn b",
    "return {0: 3, 1: 4}[1 if a > 0 else 0]",
    "return min(a, b) + 2 * max(a, 1)",
    "def_ = a if a > b else b\nreturn def_ - (a > b)",
])
def test_it_means_what_python_does(body: str) -> None:
    said, run = evaluated(body), runs(body)
    for a, b in product(range(-2, 4), repeat=2):
        its = Meaning(lambda field, index: 0, {A: a, B: b})
        assert value(its, said) == run(a, b), (a, b)


def value(its: Meaning, said: Integer | Truth) -> int:
    """What a term is, be it an integer or a truth."""
    try:
        return its.integer(said)
    except AssertionError:
        return its.truth(said)


@pytest.mark.parametrize(("body", "why"), [
    ("if a > 0: n = 1\nreturn n", "is not the same kind of thing on all ways"),
    ("if a > 0: n = 1\nelse: n = None\nreturn n + 1", "is not the same kind of thing on all ways"),
    ("for x in [y for y in (a, b) if y > 0]: n = x\nreturn n", "is not the same kind of thing on all ways"),
    ("for x in (1, 2):\n    if a == x: continue\n    n = x\nreturn n", "is not the same kind of thing on all ways"),
    ("n = READY\nREADY = 3\nreturn n", "is not bound yet"),
    ("if a is RUNNING: return 1\nreturn 2", "is not evaluated"),
    ("if a is not b: return 1\nreturn 2", "is not evaluated"),
    ("for x in (1, 2): a = a + x\nelse: a = 0\nreturn a", "after a loop"),
    ("for x in (1, 2):\n    if a == x: break\nreturn a", "is not evaluated"),
    ("while a > 0: a = a - 1\nreturn a", "is not evaluated"),
    ("return (a, 0) < (b, 1)", "is not evaluated"),
    ("return (a, 0) == (b, 1, 2)", "is not evaluated"),
    ("return a & -2", "is not evaluated"),
    ("return a | b", "is not evaluated"),
    ("return {1: 2, 2: 3}[a]", "need not be there"),
    ("return (4, 5)[a]", "is not evaluated"),
    ("return abs(a)", "knows no abs"),
    ("return len(a)", "the length of"),
    ("return page_of(a)", "knows no page_of"),
    ("return (1, 2) - (1,)", "is no integer"),
    ("return handled(a, b, 1)", "knows no handled"),
    ("try: return a\nexcept ValueError: return b", "is not evaluated"),
    ("return (lambda x: x)(a)", "is not evaluated"),
    ("if (n := a) > 0: return n\nreturn 0", "is not evaluated"),
    ("return a / 2", "is not evaluated"),
    ("return a // b", "is not evaluated"),
    ("return f'{a}'", "is not evaluated"),
    ("global READY\nREADY = a\nreturn 0", "is not evaluated"),
    ("return min(b=a, a=b)", "is not evaluated"),
    ("return Kernel(a)", "calls what is not evaluated"),
])
def test_what_is_not_known_is_refused(body: str, why: str) -> None:
    with pytest.raises(REFUSED, match=why): evaluated(body)


def test_a_way_that_returns_nothing_is_not_taken_to_return_what_another_does() -> None:
    assert isinstance(evaluated("if a > 0: return 7\nif b > 0: return 8"), Unjoined)
    assert isinstance(evaluated("if a > 0: return 7\nreturn None"), Unjoined)
    assert evaluated("if a > 0: b = 7") is None


def test_arguments_that_a_function_does_not_take_are_refused() -> None:
    with pytest.raises(NotUnderstood, match="too many"):
        Evaluation(State()).call(function("return a"), A, B, 1)


def test_ledgers_are_counted_in_by_their_rules_alone() -> None:
    """Else a transition could, where it writes nothing else, unseen."""
    tree = ast.parse(ast.unparse(transitions()["schedule"].tree).replace(
        "if t == 0:", "L = k.ledger\n    if t == 0:\n        L.free_pages += 1")).body[0]
    assert isinstance(tree, ast.FunctionDef)
    with pytest.raises(NotUnderstood, match="free_pages"): Step(Function(MODULE, "schedule", tree))


def planted(monkeypatch: pytest.MonkeyPatch, right: str, wrong: str) -> source.Module:
    """The module with a text replaced."""
    text = source.module(MODULE).text
    assert right in text
    monkeypatch.setitem(source._PLANTED, MODULE, text.replace(right, wrong, 1))
    made, found = source.Module(MODULE), source.module
    monkeypatch.setattr(source, "module", lambda name: made if name == MODULE else found(name))
    return made


@pytest.mark.parametrize("wrong", [
    "enqueue = print\n\n\ndef dequeue(", "from kernel.thread import new_thread as enqueue\n\n\ndef dequeue(",
    "if READY:\n    def enqueue(k: Kernel, t: int) -> None: ...\n\n\ndef dequeue(",
    "for enqueue in (): ...\n\n\ndef dequeue(", "class enqueue: ...\n\n\ndef dequeue(",
])
def test_a_function_whose_name_is_bound_again_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    results.of_name.cache_clear()
    before = results.of_name(MODULE, "enqueue")
    made = planted(monkeypatch, "def dequeue(", wrong)
    for asked in (made.meaning, made.defined):
        with pytest.raises(Unclear, match="binds enqueue 2 times"): asked("enqueue")
    assert made.meaning("dequeue").name == "dequeue"
    results.of_name.cache_clear()
    assert results.of_name(MODULE, "enqueue") != before, "what was proved before would be believed"
    results.of_name.cache_clear()


def test_a_decorated_function_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = planted(monkeypatch, "def enqueue(", "@staticmethod\ndef enqueue(")
    with pytest.raises(Unclear, match="@staticmethod"): made.meaning("enqueue")


def test_a_builtin_that_a_module_has_its_own_of(monkeypatch: pytest.MonkeyPatch) -> None:
    results.of_name.cache_clear()
    before = results.of_name(MODULE, "min")
    planted(monkeypatch, "def dequeue(", "def min(a: int, b: int) -> int:\n    return a + b\n\n\ndef dequeue(")
    said = evaluated("return min(a, b)")
    assert Meaning(lambda field, index: 0, {A: 2, B: 3}).integer(said) == 5
    assert (MODULE, "min") in source.CONSULTED
    results.of_name.cache_clear()
    assert results.of_name(MODULE, "min") != before
    results.of_name.cache_clear()


def test_constants_are_what_they_are_when_the_kernel_runs() -> None:
    assert evaluated("return -EINVAL") == -errors.EINVAL
