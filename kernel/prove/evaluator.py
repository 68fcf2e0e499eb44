"""Runs the kernel's functions on terms: transitions, specifications, invariants and ledger rules, from their sources.

Both branches of an ``if`` whose condition is not known are run, each under its condition, and what they leave is
joined: a variable by a choice, a write by its condition.  A function has one outcome, not one for each way through it;
the solver decides between ways, and only where it has to.  What a branch knows (its condition) settles most later ones.

Only what the kernel's style uses is understood; anything else raises NotUnderstood with its place.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, Protocol

from kernel import ledgers
from kernel.prove import source
from kernel.prove.contracts import CONTRACTS, INSIDE, INSIDE_LEDGERS
from kernel.prove.source import CONSULTED, Function
from kernel.prove.stages import STAGES
from kernel.prove.state import BLANK, FIELDS, LEDGERS, NOW, NUMBERS, ROWS, TABLES, TOTALS, State
from kernel.prove.terms import (
    ZERO,
    Facts,
    Integer,
    Term,
    Truth,
    add,
    all_of,
    any_of,
    at_most,
    choice,
    differ,
    either,
    equal,
    less,
    multiply,
    name,
    negate,
    quotient,
    remainder,
    subtract,
)  # fmt: skip

DEEPEST: Final = 40
"""Calls within calls; the kernel's functions do not call themselves."""


class Oracle(Protocol):
    """Who knows which ways the invariants leave open (kernel.prove.oracle)."""

    def decide(self, conditions: tuple[Truth, ...], condition: Term, definitions: list[Truth]) -> Truth:
        """True or False if that is what the condition must be where the others hold, else the condition."""


class NotUnderstood(Exception):
    """A construct that the evaluation on terms does not know."""


REFUSED: Final = (NotUnderstood, NotImplementedError, LookupError, RecursionError, TypeError, ValueError)
"""What an evaluation raises where it does not know what Python would do."""


@dataclass(frozen=True, slots=True)
class View:
    """The kernel as it was at a moment."""

    moment: int


@dataclass(frozen=True, slots=True)
class TableView:
    """A table of the kernel."""

    table: str
    moment: int


@dataclass(frozen=True, slots=True)
class ObjectView:
    """An object."""

    table: str
    id: Integer
    moment: int


@dataclass(frozen=True, slots=True)
class RowView:
    """A row of an object."""

    of: ObjectView
    row: str


@dataclass(frozen=True, slots=True)
class LedgerView:
    """The ledgers."""

    moment: int


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A ledger by key."""

    ledger: str
    moment: int


class Sequence_(list[tuple[Truth, Any]]):
    """Values, each present under a condition."""


class _Frame:
    """One call: its variables, and what it has returned so far."""

    __slots__ = ("function", "variables", "depth", "returned", "skipped")

    def __init__(self, function: Function, variables: dict[str, Any], depth: int) -> None:
        self.function = function
        self.variables = variables
        self.depth = depth
        """How many conditions held when it was called."""
        self.returned: list[tuple[Truth, Any]] = []
        self.skipped: list[tuple[tuple[Truth, ...], dict[str, Any]]] = []
        """The conditions of those that go on with the next turn of a loop, and their variables."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """A call of a function that was taken at its contract: where, between which moments, what it required and what is
    known since."""

    function: str
    condition: Truth
    before: int
    after: int
    required: Truth
    known: Truth


@dataclass(frozen=True, slots=True)
class Passage:
    """A call of a stage (kernel.prove.stages): where, between which moments, and what it required."""

    function: str
    condition: Truth
    before: int
    after: int
    required: Truth


def _contract(function: Callable[..., Any]) -> Function:
    return source.function("kernel.prove.contracts", function.__name__)


def requirement(stage: Function) -> Function:
    """The function that says what a stage requires."""
    requires = STAGES[stage.module, stage.name]
    return source.function(requires.__module__, requires.__name__)


def is_truth(a: object) -> bool:
    """True for what holds or does not."""
    return isinstance(a, bool) or (isinstance(a, Term) and a.op >= ZERO)


def integer(a: Any) -> Integer:
    """A truth as 1 or 0; an integer as it is."""
    if isinstance(a, bool): return int(a)
    if isinstance(a, Term): return choice(a, 1, 0) if a.op >= ZERO else a
    if isinstance(a, int): return a
    raise NotUnderstood(f"{a!r} is no integer")


def truth(a: Any) -> Truth:
    """Whether Python takes a value as true."""
    if isinstance(a, bool): return a
    if isinstance(a, int): return a != 0
    if isinstance(a, Term): return a if a.op >= ZERO else differ(a, 0)
    if a is None: return False
    if isinstance(a, (ObjectView, RowView, LedgerView, LedgerRow)): return True
    if isinstance(a, Sequence_): return any_of([present for present, _ in a])
    if isinstance(a, (tuple, list, str, dict)): return len(a) > 0
    raise NotUnderstood(f"whether {a!r} is true")


def join(condition: Truth, a: Any, b: Any) -> Any:
    """What is a where the condition holds, and b elsewhere."""
    if a is b: return a
    if is_truth(a) and is_truth(b): return either(condition, a, b)
    if isinstance(a, (int, Term)) and isinstance(b, (int, Term)): return choice(condition, integer(a), integer(b))
    if isinstance(a, ObjectView) and isinstance(b, ObjectView) and (a.table, a.moment) == (b.table, b.moment):
        return ObjectView(a.table, choice(condition, a.id, b.id), a.moment)
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        return tuple(join(condition, x, y) for x, y in zip(a, b, strict=True))
    return a if a == b else Unjoined(a, b)


def _first_that_holds(ways: list[tuple[Truth, Any]], facts: Facts) -> Any:
    """The value of the way whose condition holds; one does, and no two do."""
    left = Facts(facts)
    conditions = []
    for condition, _ in ways[:-1]:
        # A way's condition says that it is none of those before it: that needs no saying once more.
        condition = left.simplify(condition)
        conditions.append(condition)
        left.learn(negate(condition))
    result = ways[-1][1]
    for condition, (_, value) in zip(reversed(conditions), reversed(ways[:-1]), strict=True):
        result = join(condition, value, result)
    return result


class Unjoined:
    """A variable that different ways left with values of different kinds, or one with none; nobody may use it."""

    def __init__(self, *values: object) -> None:
        self.values = values


UNBOUND: Final = Unjoined()
"""A variable that is not bound."""
COUNTING: Final = frozenset({"kernel.ledgers", "kernel.prove.contracts"})
"""The modules whose functions count in ledgers."""


class Evaluation:
    """Runs functions on one State."""

    def __init__(
        self, state: State, counting: bool = True, contracts: bool = False, oracle: Oracle | None = None,
        stages: bool = False,
    ) -> None:
        self.state = state
        self.conditions: tuple[Truth, ...] | None = ()
        """All that holds where evaluation is; None where it never comes to."""
        self.counting = counting
        """Whether writes are counted in the ledgers."""
        self.contracts = contracts
        """Whether the allocator is taken at its contracts."""
        self.agreements: list[Agreement] = []
        self.stages = stages
        """Whether it is noted what stages require."""
        self.passages: list[Passage] = []
        self._oracle = oracle
        self._depth = 0
        self._statements: dict[type[ast.stmt], Callable[[Any, _Frame], None]] = {
            ast.Return: self._return, ast.If: self._if, ast.Assign: self._assign, ast.AugAssign: self._augmented,
            ast.AnnAssign: self._annotated, ast.Expr: self._expression, ast.Assert: self._assert, ast.For: self._for,
            ast.Continue: self._continue, ast.Pass: lambda *_: None,
        }  # fmt: skip
        self._expressions: dict[type[ast.AST], Callable[[Any, _Frame], Any]] = {
            ast.Constant: lambda node, _: node.value, ast.Name: self._name, ast.Attribute: self._attribute,
            ast.Subscript: self._subscript, ast.Call: self._call, ast.BinOp: self._binary, ast.UnaryOp: self._unary,
            ast.BoolOp: self._boolean, ast.Compare: self._compare, ast.IfExp: self._conditional,
            ast.Tuple: self._tuple, ast.List: self._tuple, ast.Set: self._set, ast.Dict: self._dict,
            ast.Slice: self._slice, ast.SetComp: self._comprehension, ast.ListComp: self._comprehension,
            ast.GeneratorExp: self._comprehension,
        }  # fmt: skip

    # Where evaluation is.

    @property
    def condition(self) -> Truth:
        """All that holds where evaluation is, as one truth."""
        return False if self.conditions is None else all_of(self.conditions)

    def suppose(self, condition: Truth) -> None:
        """From here on evaluation is where this holds as well."""
        assert self.conditions is not None
        if condition is False:
            self.conditions = None
            return
        self.conditions = (*self.conditions, condition)
        facts = Facts(self.state.facts)
        facts.learn(condition)
        self.state.facts = facts

    # Calls.

    def call(self, function: Function, *arguments: Any) -> Any:
        """What a function returns for these arguments, and its writes."""
        CONSULTED.add((function.module, function.name))
        parameters = function.tree.args
        names = [argument.arg for argument in parameters.args]
        if parameters.posonlyargs or parameters.kwonlyargs or parameters.vararg or parameters.kwarg:
            raise NotUnderstood(f"{function.name}: its kind of parameters is not evaluated on terms")
        if len(arguments) > len(names): raise NotUnderstood(f"{function.name} is given too many arguments")
        variables = dict(zip(names, arguments, strict=False))
        if len(arguments) < len(names):
            defaults = parameters.defaults[len(arguments) - len(names):]
            for missing, default in zip(names[len(arguments):], defaults, strict=True):
                variables[missing] = ast.literal_eval(default)
        if self.conditions is None: return None
        conditions, facts = self.conditions, self.state.facts
        frame = _Frame(function, variables, len(conditions))
        self._depth += 1
        if self._depth > DEEPEST: raise NotUnderstood(f"{function.name} calls itself")
        self._block(function.tree.body, frame)
        self._depth -= 1
        if self.conditions is not None: frame.returned.append((True, None))
        self.conditions, self.state.facts = conditions, facts
        if not frame.returned: return None
        return _first_that_holds(frame.returned, facts)

    # Statements.

    def _block(self, statements: Sequence[ast.stmt], frame: _Frame) -> None:
        for statement in statements:
            if self.conditions is None: return
            handler = self._statements.get(type(statement))
            if handler is None: raise self._refusal(statement, frame)
            handler(statement, frame)

    def _refusal(self, node: ast.AST, frame: _Frame, why: str = "") -> NotUnderstood:
        line = getattr(node, "lineno", "?")
        where = f"{frame.function.module}.{frame.function.name}, line {line}"
        return NotUnderstood(f"{where}: `{ast.unparse(node)}` {why or 'is not evaluated on terms'}")

    def _return(self, node: ast.Return, frame: _Frame) -> None:
        value = None if node.value is None else self._value(node.value, frame)
        assert self.conditions is not None
        frame.returned.append((all_of(self.conditions[frame.depth:]), value))
        self.conditions = None

    def _if(self, node: ast.If, frame: _Frame) -> None:
        condition = self._truth(node.test, frame)
        if self._oracle is not None and isinstance(condition, Term) and self.conditions:
            condition = self._oracle.decide(self.conditions, condition, list(self.state.definitions()))
        if isinstance(condition, bool):
            self._block(node.body if condition else node.orelse, frame)
            return
        self._branch(
            condition, frame, lambda: self._block(node.body, frame), lambda: self._block(node.orelse, frame)
        )

    def _branch(self, condition: Truth, frame: _Frame, then: Callable[[], None], other: Callable[[], None]) -> None:
        """Runs both of these, each where the condition says so."""
        conditions, facts, variables = self.conditions, self.state.facts, frame.variables
        assert conditions is not None
        ends = []
        for holds, run in ((condition, then), (negate(condition), other)):
            self.conditions, self.state.facts = conditions, facts
            frame.variables = dict(variables)
            self.suppose(holds)
            run()
            ends.append((self.conditions, self.state.facts, frame.variables))
        (first, _, first_variables), (second, _, second_variables) = ends
        if first is None or second is None:
            self.conditions, self.state.facts, frame.variables = ends[1] if first is None else ends[0]
            return
        at = len(conditions)
        either_way = any_of((all_of(first[at:]), all_of(second[at:])))
        self.conditions, self.state.facts = conditions, facts
        if either_way is not True: self.suppose(either_way)
        frame.variables = {
            key: join(condition, first_variables.get(key, UNBOUND), second_variables.get(key, UNBOUND))
            for key in first_variables | second_variables
        }

    def _assign(self, node: ast.Assign, frame: _Frame) -> None:
        value = self._value(node.value, frame)
        for target in node.targets: self._store(target, value, frame)

    def _annotated(self, node: ast.AnnAssign, frame: _Frame) -> None:
        if node.value is not None: self._store(node.target, self._value(node.value, frame), frame)

    def _augmented(self, node: ast.AugAssign, frame: _Frame) -> None:
        by = integer(self._value(node.value, frame))
        target = node.target
        if not isinstance(node.op, (ast.Add, ast.Sub)): raise self._refusal(node, frame)
        if isinstance(target, ast.Name):
            frame.variables[target.id] = add(
                integer(self._value(target, frame)), by, 1 if isinstance(node.op, ast.Add) else -1
            )
            return
        if isinstance(node.op, ast.Sub): by = subtract(0, by)
        if frame.function.module not in COUNTING: raise self._refusal(node, frame)
        if isinstance(target, ast.Subscript):
            row = self._value(target.value, frame)
            if isinstance(row, LedgerRow):
                key = self.state.named(integer(self._value(target.slice, frame)), "key")
                self.state.count(self.condition, row.ledger, key, self.state.facts.choose(by))
                return
        if isinstance(target, ast.Attribute) and isinstance(self._value(target.value, frame), LedgerView):
            self.state.count(self.condition, target.attr, None, self.state.facts.choose(by))
            return
        raise self._refusal(node, frame)

    def _store(self, target: ast.expr, value: Any, frame: _Frame) -> None:
        if isinstance(target, ast.Name):
            frame.variables[target.id] = value
        elif isinstance(target, ast.Tuple):
            for part, item in zip(target.elts, value, strict=True): self._store(part, item, frame)
        elif isinstance(target, ast.Attribute):
            of = self._value(target.value, frame)
            if not isinstance(of, ObjectView): raise self._refusal(target, frame)
            self.write(of, target.attr, None, integer(value))
        elif isinstance(target, ast.Subscript):
            row = self._value(target.value, frame)
            if not isinstance(row, RowView): raise self._refusal(target, frame)
            index = self.state.named(integer(self._value(target.slice, frame)), "i")
            self.write(row.of, row.row, index, integer(value))
        else:
            raise self._refusal(target, frame)

    def write(self, of: ObjectView, field: str, index: Integer | None, value: Integer) -> None:
        """Writes a field, or an item of a row, where evaluation is, and counts it in the ledgers."""
        state = self.state
        key = f"{of.table}.{field}"
        if key not in FIELDS: raise NotUnderstood(f"{key} is written, and is no field")
        made = state.write(self.condition, key, of.id, index, state.facts.choose(value))
        if not self.counting: return
        for rows, rule in rules_of(of.table, field):
            live, old = ObjectView(of.table, of.id, made.moment), ObjectView(of.table, of.id, made.moment - 1)
            items = (index,) if rows else ()
            self.call(rule, LedgerView(made.moment), live, old, *items)

    def _expression(self, node: ast.Expr, frame: _Frame) -> None:
        if isinstance(node.value, ast.Constant): return
        self._value(node.value, frame)

    def _assert(self, node: ast.Assert, frame: _Frame) -> None:
        if self._truth(node.test, frame) is not True: raise self._refusal(node, frame, "is not known to hold")

    def _for(self, node: ast.For, frame: _Frame) -> None:
        if node.orelse: raise self._refusal(node.orelse[0], frame, "after a loop is not evaluated on terms")
        for present, item in self._items(self._value(node.iter, frame)):
            if self.conditions is None: return

            def turn(item: Any = item) -> None:
                skipped, frame.skipped = frame.skipped, []
                self._store(node.target, item, frame)
                before, facts = self.conditions, self.state.facts
                self._block(node.body, frame)
                if frame.skipped: self._after_skips(before, facts, frame)
                frame.skipped = skipped

            present = self.state.facts.simplify(present)
            if present is True: turn()
            elif present is not False: self._branch(present, frame, turn, lambda: None)

    def _after_skips(self, before: tuple[Truth, ...] | None, facts: Facts, frame: _Frame) -> None:
        """After a turn of a loop that some ways left early: what is known again is what was known before it, and what
        all ways have in common."""
        assert before is not None
        ends = [(all_of(skipped[len(before):]), variables) for skipped, variables in frame.skipped]
        if self.conditions is not None: ends.append((all_of(self.conditions[len(before):]), frame.variables))
        self.conditions, self.state.facts = before, facts
        joined = dict(ends[-1][1])
        for condition, variables in reversed(ends[:-1]):
            joined = {
                key: join(condition, variables.get(key, UNBOUND), joined.get(key, UNBOUND))
                for key in joined | variables
            }
        frame.variables = joined
        together = any_of([condition for condition, _ in ends])
        if together is not True: self.suppose(together)

    def _continue(self, node: ast.Continue, frame: _Frame) -> None:
        assert self.conditions is not None
        frame.skipped.append((self.conditions, frame.variables))
        self.conditions = None

    @staticmethod
    def _items(value: Any) -> list[tuple[Truth, Any]]:
        if isinstance(value, Sequence_): return value
        if isinstance(value, (tuple, list, range)): return [(True, item) for item in value]
        raise NotUnderstood(f"a loop over {value!r}")

    # Expressions.

    def _value(self, node: ast.expr, frame: _Frame) -> Any:
        handler = self._expressions.get(type(node))
        if handler is None: raise self._refusal(node, frame)
        value = handler(node, frame)
        if isinstance(value, Unjoined): raise self._refusal(node, frame, "is not the same kind of thing on all ways")
        return value

    def _truth(self, node: ast.expr, frame: _Frame) -> Truth:
        return self.state.facts.simplify(truth(self._value(node, frame)))

    def _name(self, node: ast.Name, frame: _Frame) -> Any:
        if node.id in frame.variables: return frame.variables[node.id]
        if node.id in frame.function.locals: raise self._refusal(node, frame, "is not bound yet")
        module = source.module(frame.function.module)
        if node.id in BUILTIN and not module.bound[node.id]:
            CONSULTED.add((module.name, node.id))
            return BUILTIN[node.id]
        return module.meaning(node.id)

    def _attribute(self, node: ast.Attribute, frame: _Frame) -> Any:
        of = self._value(node.value, frame)
        attribute = node.attr
        if isinstance(of, View):
            if attribute == "memory": return ObjectView("memory", 0, of.moment)
            if attribute in TABLES: return TableView(attribute, of.moment)
            if attribute == "ledger": return LedgerView(of.moment)
            if attribute in NUMBERS: return name(attribute)
            raise self._refusal(node, frame, "is not part of a kernel")
        if isinstance(of, ObjectView):
            if attribute == "id": return of.id
            key = f"{of.table}.{attribute}"
            if key in ROWS: return RowView(of, attribute)
            if key not in FIELDS: raise self._refusal(node, frame, f"is no field of a {of.table}")
            return self.state.read(key, self.state.named(of.id, of.table), of.moment)
        if isinstance(of, LedgerView):
            if attribute in TOTALS: return self.state.ledger(attribute, None, of.moment)
            if attribute not in LEDGERS: raise self._refusal(node, frame, "is no ledger")
            return LedgerRow(attribute, of.moment)
        if isinstance(of, ModuleType):
            return getattr(of, attribute)
        if isinstance(of, tuple) and attribute == "count":
            return lambda wanted: _added([choice(equal(integer(item), integer(wanted)), 1, 0) for item in of])
        if attribute in getattr(of, "EVALUATED", ()): return getattr(of, attribute)
        raise self._refusal(node, frame)

    def _subscript(self, node: ast.Subscript, frame: _Frame) -> Any:
        of = self._value(node.value, frame)
        index = self._value(node.slice, frame)
        if isinstance(of, TableView): return ObjectView(of.table, self.state.named(integer(index), of.table), of.moment)
        if isinstance(of, RowView):
            id = self.state.named(of.of.id, of.of.table)
            return self.state.item(f"{of.of.table}.{of.row}", id, self.state.named(integer(index), "i"), of.of.moment)
        if isinstance(of, LedgerRow):
            return self.state.ledger(of.ledger, self.state.named(integer(index), "key"), of.moment)
        if isinstance(of, dict) and isinstance(index, Term):
            if self.state.facts.simplify(any_of([equal(index, key) for key in of])) is not True:
                raise self._refusal(node, frame, "is looked up by what need not be there")
            return _first_that_holds([(equal(index, key), value) for key, value in of.items()], self.state.facts)
        if isinstance(of, (tuple, dict)) and not isinstance(index, Term): return of[index]
        raise self._refusal(node, frame)

    def _slice(self, node: ast.Slice, frame: _Frame) -> slice:
        parts = (node.lower, node.upper, node.step)
        return slice(*(None if part is None else self._value(part, frame) for part in parts))

    def _call(self, node: ast.Call, frame: _Frame) -> Any:
        called = self._value(node.func, frame)
        arguments: list[Any] = []
        for argument in node.args:
            if isinstance(argument, ast.Starred): arguments.extend(self._value(argument.value, frame))
            else: arguments.append(self._value(argument, frame))
        if node.keywords: raise self._refusal(node, frame)
        if isinstance(called, Function):
            if self.contracts and called.module == "kernel.page_allocator" and called.name in CONTRACTS:
                return self._agree(called.name, arguments[1:])
            if self.stages and (called.module, called.name) in STAGES: return self._pass(called, arguments[1:])
            if called.module == "kernel.objects.state":
                if called.name == "copy_row": return self._copy_row(*arguments)
                if called.name == "clear_row": return self._clear_row(*arguments)
            return self.call(called, *arguments)
        if not str(getattr(called, "__module__", "")).startswith("kernel.prove."):
            raise self._refusal(node, frame, "calls what is not evaluated on terms")
        return called(*arguments)

    def _agree(self, name_: str, arguments: list[Any]) -> Integer | None:
        """Takes a function at its contract."""
        contract, state = CONTRACTS[name_], self.state
        condition, before = self.condition, state.moment
        required = truth(self.call(_contract(contract.requires), View(NOW), *arguments))
        known: Truth = True
        page: Integer | None = None
        if contract.chosen is not None:
            page = name(f"page'{len(self.agreements) + 1}@{name_}")
            known = truth(self.call(_contract(contract.chosen), View(NOW), page))
            arguments = [*arguments, page]
        self.call(_contract(contract.effect), View(NOW), *arguments)
        after = state.anything(condition, INSIDE, INSIDE_LEDGERS)
        self.agreements.append(Agreement(name_, condition, before, after, required, known))
        return page

    def _pass(self, stage: Function, arguments: list[Any]) -> Any:
        """Runs a stage, and notes what it required."""
        condition, before = self.condition, self.state.moment
        required = truth(self.call(requirement(stage), View(NOW), *arguments))
        result = self.call(stage, View(NOW), *arguments)
        self.passages.append(Passage(stage.name, condition, before, self.state.moment, required))
        return result

    def _copy_row(self, k: View, target: ObjectView, row: str, origin: RowView) -> None:
        """Gives a row of ``target`` the items of another (kernel.objects.copy_row)."""
        state, moment, key = self.state, self.state.moment, f"{target.table}.{row}"
        other = f"{origin.of.table}.{origin.row}"

        def item(id: Integer, index: Integer) -> Integer:
            new = state.item(other, origin.of.id, index, moment)
            return choice(differ(new, 0), new, state.item(key, target.id, index, moment))

        assert not rules_of(target.table, row)
        state.write(self.condition, key, target.id, None, item)

    def _clear_row(self, k: View, target: ObjectView, row: str) -> None:
        """Makes a row of ``target`` blank (kernel.objects.clear_row)."""
        assert not rules_of(target.table, row)
        self.state.write(self.condition, f"{target.table}.{row}", target.id, None, lambda id, index: 0)

    def _binary(self, node: ast.BinOp, frame: _Frame) -> Any:
        left, right = self._value(node.left, frame), self._value(node.right, frame)
        if isinstance(left, tuple) and isinstance(right, tuple) and isinstance(node.op, ast.Add): return left + right
        a, b = integer(left), integer(right)
        op = type(node.op)
        if op is ast.Add: return add(a, b)
        if op is ast.Sub: return subtract(a, b)
        if op is ast.Mult: return multiply(a, b)
        if isinstance(b, int):
            if op is ast.FloorDiv: return quotient(a, b)
            if op is ast.Mod: return remainder(a, b)
            if op is ast.Pow and isinstance(a, int): return a**b
            if op is ast.LShift: return multiply(a, 1 << b)
            if op is ast.RShift: return quotient(a, 1 << b)
            if op is ast.BitAnd and b >= 0: return _bits(a, b)
            if op is ast.BitOr and isinstance(a, int): return a | b
        raise self._refusal(node, frame)

    def _unary(self, node: ast.UnaryOp, frame: _Frame) -> Any:
        value = self._value(node.operand, frame)
        if isinstance(node.op, ast.Not): return negate(truth(value))
        if isinstance(node.op, ast.USub): return subtract(0, integer(value))
        raise self._refusal(node, frame)

    def _boolean(self, node: ast.BoolOp, frame: _Frame) -> Any:
        """``and`` and ``or``: an operand is evaluated where those before it let Python come to it."""
        conjunction = isinstance(node.op, ast.And)
        conditions, facts = self.conditions, self.state.facts
        assert conditions is not None
        values: list[Any] = []
        for i, operand in enumerate(node.values):
            value = self._value(operand, frame)
            values.append(value)
            known = self.state.facts.simplify(truth(value))
            if isinstance(known, bool):
                if known is not conjunction: break
            elif i + 1 < len(node.values): self.suppose(known if conjunction else negate(known))
        self.conditions, self.state.facts = conditions, facts
        if all(is_truth(value) for value in values): return all_of(values) if conjunction else any_of(values)
        result = values[-1]
        for value in reversed(values[:-1]):
            holds = truth(value)
            result = join(holds, result, value) if conjunction else join(holds, value, result)
        return result

    def _compare(self, node: ast.Compare, frame: _Frame) -> Truth:
        left = self._value(node.left, frame)
        parts: list[Truth] = []
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = self._value(comparator, frame)
            parts.append(self._compared(op, left, right, node, frame))
            left = right
        return all_of(parts)

    def _compared(self, op: ast.cmpop, left: Any, right: Any, node: ast.AST, frame: _Frame) -> Truth:
        if isinstance(op, (ast.Is, ast.IsNot)):
            if left is not None and right is not None: raise self._refusal(node, frame)
            return (left is right) is isinstance(op, ast.Is)
        if isinstance(op, (ast.In, ast.NotIn)):
            keys = self._items(tuple(right) if isinstance(right, dict) else right)
            found = any_of([all_of((present, equal(integer(left), integer(key)))) for present, key in keys])
            return found if isinstance(op, ast.In) else negate(found)
        if isinstance(left, tuple) and isinstance(right, tuple):
            if not isinstance(op, (ast.Eq, ast.NotEq)) or len(left) != len(right): raise self._refusal(node, frame)
            same = all_of([self._compared(ast.Eq(), a, b, node, frame) for a, b in zip(left, right, strict=True)])
            return same if isinstance(op, ast.Eq) else negate(same)
        if is_truth(left) and is_truth(right) and isinstance(op, (ast.Eq, ast.NotEq)):
            same = either(left, right, negate(right))
            return same if isinstance(op, ast.Eq) else negate(same)
        a, b = integer(left), integer(right)
        if isinstance(op, ast.Eq): return equal(a, b)
        if isinstance(op, ast.NotEq): return differ(a, b)
        if isinstance(op, ast.Lt): return less(a, b)
        if isinstance(op, ast.LtE): return at_most(a, b)
        if isinstance(op, ast.Gt): return less(b, a)
        return at_most(b, a)

    def _conditional(self, node: ast.IfExp, frame: _Frame) -> Any:
        condition = self._truth(node.test, frame)
        if isinstance(condition, bool): return self._value(node.body if condition else node.orelse, frame)
        values: list[Any] = []
        self._branch(
            condition, frame,
            lambda: values.append(self._value(node.body, frame)),
            lambda: values.append(self._value(node.orelse, frame)),
        )  # fmt: skip
        return join(condition, values[0], values[1])

    def _set(self, node: ast.Set, frame: _Frame) -> Sequence_:
        return _distinct([(True, item) for item in self._tuple(node, frame)])

    def _tuple(self, node: ast.Tuple | ast.List | ast.Set, frame: _Frame) -> tuple[Any, ...]:
        items: list[Any] = []
        for element in node.elts:
            if isinstance(element, ast.Starred): items.extend(self._value(element.value, frame))
            else: items.append(self._value(element, frame))
        return tuple(items)

    def _dict(self, node: ast.Dict, frame: _Frame) -> dict[Any, Any]:
        made = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None: raise self._refusal(node, frame)
            made[self._value(key, frame)] = self._value(value, frame)
        return made

    def _comprehension(self, node: ast.SetComp | ast.ListComp | ast.GeneratorExp, frame: _Frame) -> Sequence_:
        if len(node.generators) != 1: raise self._refusal(node, frame)
        generator = node.generators[0]
        made = Sequence_()
        variables = frame.variables
        for present, item in self._items(self._value(generator.iter, frame)):
            frame.variables = dict(variables)
            self._store(generator.target, item, frame)
            condition = all_of([present, *(self._truth(test, frame) for test in generator.ifs)])
            made.append((condition, self._value(node.elt, frame)))
            frame.variables = variables
        return _distinct(made) if isinstance(node, ast.SetComp) else made


def _distinct(items: list[tuple[Truth, Any]]) -> Sequence_:
    """The members of a set: of items that are the same the first is present."""
    made = Sequence_()
    for present, item in items:
        again = [all_of((other, equal(integer(item), integer(earlier)))) for other, earlier in made]
        made.append((all_of((present, negate(any_of(again)))), item))
    return made


def _length(a: Any) -> Integer:
    if isinstance(a, Sequence_): return _added([choice(present, 1, 0) for present, _ in a])
    if isinstance(a, (tuple, dict, str)): return len(a)
    raise NotUnderstood(f"the length of {a!r}")


def _added(numbers: list[Integer]) -> Integer:
    total: Integer = 0
    for a in numbers: total = add(total, a)
    return total


def _bits(a: Integer, mask: int) -> Integer:
    """a & mask."""
    if isinstance(a, int): return a & mask
    # Rights and permissions are below 8: their values are told apart by comparing, which is easier than dividing.
    small = all_of((at_most(0, a), at_most(a, 7)))
    total: Integer = 0
    bit = 1
    while bit <= mask:
        if mask & bit:
            among_small = any_of([equal(a, value) for value in range(8) if value & bit])
            by_dividing = differ(remainder(quotient(a, bit), 2), 0)
            total = add(total, choice(either(small, among_small, by_dividing), 1, 0), bit)
        bit <<= 1
    return total


def rules_of(table: str, field: str) -> list[tuple[bool, Function]]:
    """The ledger rules that follow a field of a table, and whether they are about items of rows."""
    found = []
    for fields, rule in ledgers.RULES.get(table, ()):
        if field not in fields: continue
        function = source.function("kernel.ledgers", rule.__name__)
        found.append((len(function.parameters) == 4, function))
    return found


def _every(values: Any) -> Truth:
    return all_of([any_of((negate(present), truth(value))) for present, value in Evaluation._items(values)])


def _some(values: Any) -> Truth:
    return any_of([all_of((present, truth(value))) for present, value in Evaluation._items(values)])


def _least(a: Any, b: Any) -> Integer:
    return choice(at_most(integer(a), integer(b)), integer(a), integer(b))


def _greatest(a: Any, b: Any) -> Integer:
    return choice(at_most(integer(a), integer(b)), integer(b), integer(a))


BUILTIN: Final[dict[str, Any]] = {
    "bool": truth, "int": integer, "all": _every, "any": _some, "min": _least, "max": _greatest, "len": _length,
}  # fmt: skip
"""What builtin functions do on terms."""

__all__ = [
    "BLANK", "NOW", "REFUSED", "Evaluation", "LedgerView", "NotUnderstood", "ObjectView", "Passage", "View",
    "requirement",
]  # fmt: skip
