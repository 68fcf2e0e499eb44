"""What is particular to the compiled kernel: its containers, what is given to mypyc, and when the result is used."""

from __future__ import annotations

import ast
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

import kernel.compiled.storage as compiled_storage
import kernel.specs.threads as threads_specified
import kernel.storage as plain_storage
from kernel import compiled
from kernel.calls import System
from kernel.compiled import build
from kernel.compiled.rewrite import BASES, calls, invariants, journaled, objects, specifications
from kernel.compiled.storage import LISTED, PIECE
from kernel.journaled import TRANSITIONS
from kernel.objects import Page
from tests.kernel.pure import with_sources

STORAGES: Final = [plain_storage, compiled_storage]
IDS: Final = (-513, -512, -1, 0, 1, 2, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5, LISTED - 1, LISTED, LISTED + 1)
SMALL: Final = tuple(id for id in IDS if id < LISTED - 1)  # a list up to the limit itself would take 16 MiB


class Thing:
    """What a table holds here."""

    def __init__(self, id: int) -> None:
        self.id = id
        self.written: Written | None = None


class Written:
    """What says that it was written, and what it was."""

    def __init__(self, old: Thing) -> None:
        self.old = old


def answer(call: Callable[[], object]) -> object:
    """What a call returns, or which exception it raises."""
    try:
        return call()
    except KeyError:
        return KeyError


def row_calls(row: Any, rnd: random.Random) -> Iterator[object]:
    """Random calls of a row's methods, and what they return."""
    while True:
        index, value = rnd.choice(IDS), rnd.randrange(-3, 1000)
        match rnd.randrange(9):
            case 0 | 1 | 2: row[index] = value
            case 3: yield row[index]
            case 4: yield row.get(index), row.get(index, 5)
            case 5: yield row.pop(index, None), row.pop(index, 7)
            case 6: yield answer(lambda at=index: row.__delitem__(at))  # type: ignore[misc]
            case 7:
                yield index in row, len(row), sorted(row)
                yield sorted(row.items()), sorted(row.keys()), sorted(row.values())
            case 8:
                yield dict(row.items())
                if value < 50: row.clear()


def table_calls(table: Any, rnd: random.Random) -> Iterator[object]:
    """Random calls of a table's methods, and what they return: of objects, the ids."""
    while True:
        id = rnd.choice(SMALL)
        match rnd.randrange(9):
            case 0 | 1: table[id] = Thing(id)
            case 2:
                found = table[id]
                yield found.id
                assert table[id] is found is table.get(id)
            case 3: yield getattr(table.get(id), "id", None), table.get(id, 5) == 5
            case 4: yield getattr(table.pop(id, None), "id", None), table.pop(id, 7) == 7, table.get(id)
            case 5: yield answer(lambda at=id: table.__delitem__(at))  # type: ignore[misc]
            case 6: yield id in table, len(table), list(table), list(table.keys())
            case 7: yield [(key, value.id) for key, value in table.items()], [value.id for value in table.values()]
            case 8:
                if rnd.random() < 0.1: table.clear()
                yield len(table)


@pytest.mark.parametrize("seed", range(8))
def test_rows_answer_alike(seed: int) -> None:
    plain = row_calls(plain_storage.Row(), random.Random(seed))
    other = row_calls(compiled_storage.Row(), random.Random(seed))
    for _ in range(600): assert next(plain) == next(other)


@pytest.mark.parametrize("seed", range(8))
def test_tables_answer_alike(seed: int) -> None:
    plain = table_calls(plain_storage.Table(Thing), random.Random(seed))
    other = table_calls(compiled_storage.Table(Thing), random.Random(seed))
    for _ in range(600): assert next(plain) == next(other)


@pytest.mark.parametrize("storage", STORAGES)
def test_row_takes_the_items_of_another(storage: ModuleType) -> None:
    one, other = storage.Row(), storage.Row()
    one[1], one[2], other[2], other[3] = 10, 20, 30, 40
    one.update(other)
    assert dict(one.items()) == {1: 10, 2: 30, 3: 40}
    assert dict(other.items()) == {2: 30, 3: 40}


@pytest.mark.parametrize("storage", STORAGES)
def test_old_row_is_the_live_one_where_nothing_was_written(storage: ModuleType) -> None:
    live = storage.Row()
    live[1], live[2] = 10, 20
    old = storage.OldRow(live)
    old[2], old[3] = 5, 0
    live[3] = 30
    assert [old[n] for n in range(5)] == [0, 10, 5, 0, 0]
    live[1] = 11
    assert old[1] == 11
    assert [live[n] for n in range(4)] == [0, 11, 20, 30]


@pytest.mark.parametrize("id", [LISTED, LISTED + PIECE, 1 << 60, -1, -PIECE])
def test_id_that_no_page_has_is_not_in_the_list(id: int) -> None:
    """The list would be as long as the id."""
    table: Any = compiled_storage.Table(Thing)
    thing = table[id]
    assert thing.id == id
    assert table._pieces == []
    assert table[id] is thing
    assert table.pop(id) is thing
    assert table.get(id) is None


def test_list_has_pieces_where_there_are_objects() -> None:
    table: Any = compiled_storage.Table(Thing)
    for id in (3 * PIECE, 4 * PIECE - 1): table[id] = Thing(id)
    assert [len(piece) for piece in table._pieces] == [0, 0, 0, PIECE]
    assert table._pieces[3][0] is table[3 * PIECE]
    assert table._pieces[3][PIECE - 1] is table[4 * PIECE - 1]
    assert table.pop(3 * PIECE).id == 3 * PIECE
    assert table._pieces[3][0] is None
    table.clear()
    assert table._pieces == []


def test_all_that_a_system_call_goes_through_is_compiled() -> None:
    texts = dict(build.texts())
    here = Path(compiled.KERNEL)
    groups = {f"{package}.{path.stem}" for package in ("objects", "calls", "invariants", "specs")
              for path in (here / package).glob("[a-z]*.py")}  # fmt: skip
    assert set(texts) == {
        "storage", "evaluated", "written", "fields", "journal", "ledgers", "view", "consequences", "check", "audit",
        *groups, *(f"journaled.{name}" for name in TRANSITIONS),
    }  # fmt: skip

    def source(name: str) -> str:
        return here.joinpath(*name.split(".")).with_suffix(".py").read_text()

    assert texts["storage"] == source("compiled.storage")
    for name in ("check", "specs.frame"): assert texts[name] == source(name)
    assert texts["journaled.thread"] == journaled(source("thread"), "thread.py")
    for name, made in [("invariants.threads", invariants), ("calls.base", calls), ("objects.thread", objects)]:
        assert texts[name] == made(source(name), name)
    assert texts["specs.threads"] == specifications(source("specs.threads"), "threads.py", vars(threads_specified))
    for text in texts.values(): ast.parse(text)


def lines(text: str) -> list[str]:
    """The lines of a module that are not empty."""
    return [line for line in text.splitlines() if line]


DECORATED = ("@invariant('thread')\n@cache\ndef a(k):\n    return True\n\n@specification\ndef b():\n    pass\n\n"
             "@other\ndef c():\n    pass\n")  # fmt: skip
UNDECORATED = [
    "@cache", "def a(k):", "    return True", "invariant('thread')(a)", "def b():", "    pass", "specification(b)",
    "@other", "def c():", "    pass",
]  # fmt: skip


def test_registering_decorators_become_calls_and_others_stay() -> None:
    assert lines(invariants(DECORATED, "x.py")) == UNDECORATED
    assert lines(specifications(DECORATED, "x.py", {})) == UNDECORATED


def test_calls_take_the_journalled_transitions_and_their_classes_follow_each_other() -> None:
    text = calls("from a import b\nif TYPE_CHECKING:\n    from kernel import thread\nelse:\n"
                 "    from kernel.journaled import thread\nif x:\n    y = 1\nclass ThreadCalls(Endings):\n    pass\n"
                 "class System(ThreadCalls, DeviceCalls):\n    pass\nclass Item:\n    pass\n", "x.py")  # fmt: skip
    assert lines(text) == [
        "from a import b", "from kernel.calls.processes import ProcessCalls",
        "from kernel.calls.threads import ThreadCalls", "from kernel.journaled import thread", "if x:", "    y = 1",
        "class ThreadCalls(ProcessCalls):", "    pass", "class System(ThreadCalls):", "    pass", "class Item:",
        "    pass",
    ]  # fmt: skip


def test_the_compiled_classes_of_calls_follow_each_other_as_the_bases_of_system_do() -> None:
    order = [c.__name__ for c in System.__mro__[:-1]]
    for derived, (_, base) in BASES.items(): assert order.index(base) == order.index(derived) + 1


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sources, as those that the compiled kernel is made of."""
    root = tmp_path / "root"
    for package in ("kernel", "abi"):
        shutil.copytree(Path(compiled.KERNEL).parent / package, root / package,
                        ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    monkeypatch.setattr(compiled, "KERNEL", str(root / "kernel"))
    monkeypatch.setattr(compiled, "FOLDER", str(root / "build" / "kernel"))
    monkeypatch.setattr(build, "KERNEL", root / "kernel")
    monkeypatch.delenv("AEROSTAT_PURE", raising=False)
    return root


def test_stamp_is_of_every_source(sources: Path) -> None:
    stamp = compiled.stamp()
    assert compiled.stamp() == stamp
    lines = stamp.splitlines()
    assert lines[0] == compiled.SUFFIX
    named = [line.split()[0] for line in lines[1:]]
    assert sorted(named) == sorted(str(path.relative_to(sources)) for path in sources.rglob("*.py"))
    for name in ("kernel/thread.py", "kernel/specs/frame.py", "abi/errors.py"):
        path = sources / name
        path.write_text(path.read_text() + "\n")
        assert compiled.stamp() != stamp
        stamp = compiled.stamp()
        os.utime(path, ns=(1, 1))
        assert compiled.stamp() != stamp
        stamp = compiled.stamp()
    (sources / "kernel" / "__pycache__").mkdir()
    (sources / "kernel" / "__pycache__" / "left.py").touch()
    (sources / "kernel" / "notes.txt").touch()
    assert compiled.stamp() == stamp


def test_result_is_used_only_while_it_is_current_and_wanted(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path: list[object] = []
    monkeypatch.setattr(sys, "meta_path", path)
    assert not compiled.current()
    assert not compiled.install()
    folder = Path(compiled.FOLDER)
    folder.mkdir(parents=True)
    (folder / compiled.STAMP).write_text(compiled.stamp())
    assert compiled.current()
    path.append(None)
    assert compiled.install()
    assert path == [compiled.Finder, None]
    monkeypatch.setenv("AEROSTAT_PURE", "1")
    assert not compiled.install()
    monkeypatch.setenv("AEROSTAT_PURE", "0")
    assert compiled.install()
    (sources / "kernel" / "thread.py").write_text("")
    assert not compiled.current()
    assert not compiled.install()


def test_finder_finds_modules_of_the_kernel_that_were_compiled(sources: Path) -> None:
    folder = Path(compiled.FOLDER) / "kernel" / "specs"
    folder.mkdir(parents=True)
    file = folder / f"frame{compiled.SUFFIX}"
    file.touch()
    library = folder.parent.parent / f"{compiled.LIBRARY}{compiled.SUFFIX}"
    library.touch()
    (folder.parent.parent / f"json{compiled.SUFFIX}").touch()
    find = compiled.Finder.find_spec
    found = find("kernel.specs.frame")
    assert found is not None
    assert (found.name, found.origin) == ("kernel.specs.frame", str(file))
    found = find(compiled.LIBRARY)
    assert found is not None
    assert found.origin == str(library)
    assert find("kernel.specs.threads") is None
    assert find("json") is None


def small(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Has one small module compiled instead of all."""
    monkeypatch.setattr(build, "texts", lambda: iter([("written", text)]))


def test_tree_that_is_compiled(sources: Path, tmp_path: Path) -> None:
    """All sources, some with other texts, and nothing of what was made of them or compiles them."""
    (sources / "abi" / "__pycache__").mkdir()
    (sources / "kernel" / "__pycache__").mkdir()
    (sources / "kernel" / "__pycache__" / "left.py").touch()
    tree = tmp_path / "tree"
    tree.mkdir()
    texts = {"evaluated": "A = 1\n", "specs.frame": "B = 2\n", "journaled.thread": "C = 3\n"}
    paths = ["kernel/evaluated.py", "kernel/specs/frame.py", "kernel/journaled/thread.py"]
    assert build.lay_out(tree, texts) == paths
    assert [(tree / path).read_text() for path in paths] == list(texts.values())
    there = {path.relative_to(tree) for path in tree.rglob("*.py")}
    compilers = {path.relative_to(sources) for path in (sources / "kernel" / "compiled").glob("[a-z]*.py")}
    wanted = {path.relative_to(sources) for path in sources.rglob("*.py") if path.parent.name != "__pycache__"}
    assert there == (wanted - compilers) | {Path("setup.py"), *map(Path, paths)}
    for path in there - {Path("setup.py"), *map(Path, paths)}:
        assert (tree / path).read_text() == (sources / path).read_text()
    compile((tree / "setup.py").read_text(), "setup.py", "exec")
    assert f"group_name={compiled.GROUP!r}" in (tree / "setup.py").read_text()


def test_build_compiles_what_has_changed(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mypyc")
    if shutil.which(os.environ.get("CC", "gcc")) is None: pytest.skip("no C compiler")
    target = Path(compiled.FOLDER)
    small(monkeypatch, "def double(x: int) -> int:\n    return x * 2\n")
    assert build.build()
    assert compiled.current()
    assert (target / "kernel" / f"written{compiled.SUFFIX}").exists()
    assert sorted(path.name for path in target.parent.iterdir()) == ["kernel"]
    program = "from kernel import written; print(written.double(21), type(written.double).__name__)"
    environment = {**os.environ, "PYTHONPATH": str(sources)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=sources, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout == "42 builtin_function_or_method\n"
    path = sources / "kernel" / "thread.py"
    path.write_text(path.read_text() + "# more\n")
    assert not compiled.current()
    digest = (target / build.DIGEST).read_text()
    assert not build.build(), "what is compiled has not changed"
    assert compiled.current()
    assert not build.build()
    small(monkeypatch, "def double(x: int) -> int:\n    return x + x\n")
    assert not build.build(), "the stamp is current"
    assert build.build(force=True)
    assert (target / build.DIGEST).read_text() != digest
    small(monkeypatch, "def double(x: int) -> str:\n    return x\n")
    with pytest.raises(RuntimeError, match=r"does not compile.*\n(.*\n)*.*Incompatible return value"):
        build.build(force=True)
    assert compiled.current(), "what was there stays"
    assert sorted(path.name for path in target.parent.iterdir()) == ["kernel"]


def test_constants_of_the_abi_are_part_of_what_is_compiled() -> None:
    """The compiler writes their values into the code that uses them."""
    found = dict(build.constants(dict(build.texts())))
    assert {"abi.errors", "abi.layout"} <= set(found)
    assert "PAGE_SIZE" in found["abi.layout"]
    assert build.constants({"m": "from abi.errors import OK\nfrom kernel.objects import FREE\n"}) == [
        ("abi.errors", found["abi.errors"])
    ]


def test_build_without_a_compiler_says_so(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mypyc")
    small(monkeypatch, "X = 1\n")
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(FileNotFoundError, match="the C compiler no-such-compiler is not there"):
        build.build()
    assert not Path(compiled.FOLDER).exists()
    monkeypatch.setattr(sys, "argv", ["build"])
    assert build.main() == 0, "the kernel runs without"
    monkeypatch.setenv("AEROSTAT_PURE", "1")
    assert build.main() == 0


def test_pages_are_kept_in_tables_of_either_kind() -> None:
    for storage in STORAGES:
        table: Any = storage.Table(Page)
        assert table[5].id == 5
        assert isinstance(table[5], Page)


@with_sources
def test_code_of_a_function_that_may_be_compiled() -> None:
    """Of what Python runs it is at hand; of what is compiled, it is that of its source."""
    from kernel.invariants.threads import core_queue
    from kernel.specs.handles import allows

    class Compiled:
        """What a compiled function is to who asks."""

        def __init__(self, module: object, name: object) -> None:
            self.__module__, self.__name__ = module, name  # type: ignore[assignment]

    for function in (core_queue, allows):
        code = compiled.code_of(function)
        made = compiled.code_of(Compiled(function.__module__, function.__name__))
        assert code is not None
        assert made is not None
        assert code is function.__code__
        assert (made.co_name, made.co_names, made.co_consts) == (code.co_name, code.co_names, code.co_consts)
        assert compiled.code_of(Compiled(function.__module__, "none")) is None
    assert compiled.code_of(Compiled("json", "loads")) is None
    assert compiled.code_of(Compiled("kernels.specs", "allows")) is None
    assert compiled.code_of(Compiled(None, "allows")) is None
    assert compiled.code_of(7) is None
