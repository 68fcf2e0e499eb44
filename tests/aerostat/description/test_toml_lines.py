"""The line of each value of a TOML text."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aerostat.description.toml_lines import Path, line_numbers

DOCUMENT = '''\
# a comment with [a.table] = "in it"
top = 1
"quoted key" = 'a # no comment'
a.b.c = [1, 2,
  3, # a comment, with ] and }
  [ "x]", """]
"""" ], { d = [4,
  5], "e.f" = 5, g.h = 6 } ]

[table]
text = """
[not.a.table]
key = 2 \\""" """
literal = \'\'\'
it's = 2\'\'\'\'
date = 1979-05-27T07:32:00Z
[ table . 'sub table' ]
empty = []
inline = {}

[[array]]
x = 1
[array.inner]
y = 2
[[array.deep]]
z = 1
[[array]]
x = 3
[[array.deep]]
z = 2
[[array.deep]]
z = 3
'''

LINES: dict[Path, int] = {
    ("top",): 2, ("quoted key",): 3, ("a",): 4, ("a", "b"): 4, ("a", "b", "c"): 4, ("a", "b", "c", 0): 4,
    ("a", "b", "c", 1): 4, ("a", "b", "c", 2): 5, ("a", "b", "c", 3): 6, ("a", "b", "c", 3, 0): 6,
    ("a", "b", "c", 3, 1): 6, ("a", "b", "c", 4): 7, ("a", "b", "c", 4, "d"): 7,
    ("a", "b", "c", 4, "d", 0): 7, ("a", "b", "c", 4, "d", 1): 8, ("a", "b", "c", 4, "e.f"): 8,
    ("a", "b", "c", 4, "g"): 8, ("a", "b", "c", 4, "g", "h"): 8,
    ("table",): 10, ("table", "text"): 11, ("table", "literal"): 14, ("table", "date"): 16,
    ("table", "sub table"): 17, ("table", "sub table", "empty"): 18, ("table", "sub table", "inline"): 19,
    ("array",): 21, ("array", 0): 21, ("array", 0, "x"): 22, ("array", 0, "inner"): 23, ("array", 0, "inner", "y"): 24,
    ("array", 0, "deep"): 25, ("array", 0, "deep", 0): 25, ("array", 0, "deep", 0, "z"): 26,
    ("array", 1): 27, ("array", 1, "x"): 28, ("array", 1, "deep"): 29, ("array", 1, "deep", 0): 29,
    ("array", 1, "deep", 0, "z"): 30, ("array", 1, "deep", 1): 31, ("array", 1, "deep", 1, "z"): 32,
}  # fmt: skip


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """All paths in what tomllib makes of a text."""
    if path: yield path
    if isinstance(value, dict):
        for key, item in value.items(): yield from paths(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value): yield from paths(item, (*path, i))


def test_each_value_is_on_the_line_it_begins_on() -> None:
    assert set(paths(tomllib.loads(DOCUMENT))) == set(LINES)
    assert line_numbers(DOCUMENT) == LINES


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing", "a=1", "a=1 # end", "[a]", "[a] # end\n"])
def test_short_texts(text: str) -> None:
    assert set(line_numbers(text)) == set(paths(tomllib.loads(text)))


KEYS = st.sampled_from(["a", "b-1", '"c d"', "'e.f'", '"\\"#"', "a.b", "'x' . y"])
SCALARS = st.sampled_from(
    ["1", "-0.5", "true", '"]"', "'}'", '"\\\\"', '"""a\n[b]\n"""', "'''c = 1\n'''", "07:32:00", '"""\\""""""', '""']
)
GAPS = st.sampled_from(["", " ", "\n", " # ] }\n", "\n\n\t"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(st.tuples(GAPS, inner, GAPS), max_size=3).map(
            lambda items: "[" + ",".join(map("".join, items)) + "]"
        ),
        st.lists(st.tuples(KEYS, inner), max_size=3).map(
            lambda items: "{" + ", ".join(f"{key} = {value}" for key, value in items) + "}"
        ),
    ),
    max_leaves=6,
)
TABLES = st.one_of(KEYS.map(lambda key: f"[{key}]"), KEYS.map(lambda key: f"[[{key}]] # array"))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(st.tuples(KEYS, VALUES).map(" = ".join), TABLES, st.just("")), max_size=8))
def test_any_valid_text_has_a_line_for_each_value_and_no_other(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    found = line_numbers(text)
    assert set(found) == set(paths(document))
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())
