"""The transitions again, with each store preceded by a record of what it overwrites.

``kernel.journaled.thread`` is the source of ``kernel.thread``, unedited, compiled with one addition: before
``X.field = v`` it runs ``k.log((X, "field", X.field))``, and before ``X.row[i] = v``
``k.log((X, "row", i, X.row[i]))``.  Doing it to the source costs 60 to 80 ns a store; a ``__setattr__`` that does the
same costs 300.  The kernel's style makes it exact: a transition takes the state as ``k`` and stores only to a field,
or to an item of a row field, of an object bound to a plain name; anything else is refused here with its line.

What the journal then tells, nothing else has to: which bytes of the page tables to write and which translations to
drop (``hv.effects``), which invariants can have broken (``kernel.check``), and what the state was before.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

TRANSITIONS: Final = ("page_allocator", "page_table", "scheduler", "handles", "thread", "process")
"""The modules of ``kernel`` that hold transitions."""


class NotJournalable(SyntaxError):
    """A store that the journal could not record: not of the forms ``X.field = v`` and ``X.row[i] = v``."""


class _Journal(ast.NodeTransformer):
    """Puts a ``k.log(...)`` before each store, and redirects imports between transition modules to their twins."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        package, _, module = (node.module or "").partition(".")
        if package == "kernel" and module in TRANSITIONS:
            node.module = f"kernel.journaled.{module}"
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST | list[ast.stmt]:
        if all(isinstance(target, ast.Name) for target in node.targets): return node
        if len(node.targets) != 1: raise self._refusal(node)
        return self._logged(node, node.targets[0])

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST | list[ast.stmt]:
        return node if isinstance(node.target, ast.Name) else self._logged(node, node.target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if isinstance(node.target, ast.Name): return node
        raise self._refusal(node)

    def visit_Delete(self, node: ast.Delete) -> ast.AST:
        raise self._refusal(node)

    def _logged(self, store: ast.stmt, target: ast.expr) -> list[ast.stmt]:
        row = target.value if isinstance(target, ast.Subscript) else target
        if not (isinstance(row, ast.Attribute) and isinstance(row.value, ast.Name)): raise self._refusal(store)
        parts: list[ast.expr] = [ast.Name(row.value.id, ast.Load()), ast.Constant(row.attr)]
        if isinstance(target, ast.Subscript): parts.append(target.slice)
        old = ast.parse(ast.unparse(target), mode="eval").body
        log = ast.Attribute(ast.Name("k", ast.Load()), "log", ast.Load())
        call = ast.Expr(ast.Call(log, [ast.Tuple([*parts, old], ast.Load())], []))
        return [ast.fix_missing_locations(ast.copy_location(call, store)), store]

    @staticmethod
    def _refusal(node: ast.stmt) -> NotJournalable:
        return NotJournalable(f"line {node.lineno}: `{ast.unparse(node)}` is not of the form X.field = v or X.row[i] = v")


def journaled_source(source: str, path: str) -> ast.Module:
    """The syntax tree of a transition module with its stores logged.  Raises NotJournalable, naming the line."""
    tree = _Journal().visit(ast.parse(source, path))
    assert isinstance(tree, ast.Module)
    return ast.fix_missing_locations(tree)


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles a transition module's source with its stores logged; the result is cached beside the ordinary one."""

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        cache = Path(importlib.util.cache_from_source(path, optimization="journaled"))
        stat, mine = Path(path).stat(), Path(__file__).stat()
        stamp = b"".join(part.to_bytes(8, "little") for part in (stat.st_mtime_ns, stat.st_size, mine.st_mtime_ns))
        import marshal

        try:
            cached = cache.read_bytes()
            if cached[:24] == stamp:
                code = marshal.loads(cached[24:])
                assert isinstance(code, CodeType)
                return code
        except (OSError, ValueError, EOFError, TypeError):
            pass
        made = compile(journaled_source(Path(path).read_text(), path), path, "exec", dont_inherit=True)
        if not sys.dont_write_bytecode:
            try:
                cache.parent.mkdir(exist_ok=True)
                self.set_data(str(cache), stamp + marshal.dumps(made))
            except OSError:
                pass  # a read-only installation works, only slower to start
        return made


class _Finder(MetaPathFinder):
    """Finds ``kernel.journaled.X`` in the source file of ``kernel.X``."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, module = fullname.rpartition(".")
        if package != __name__ or module not in TRANSITIONS: return None
        source = str(Path(__file__).resolve().parent.parent / f"{module}.py")
        return importlib.util.spec_from_file_location(fullname, source, loader=_Loader(fullname, source))


if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
    sys.meta_path.insert(0, _Finder())
