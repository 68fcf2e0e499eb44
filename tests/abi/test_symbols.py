"""Names of addresses: the nearest symbol that covers one."""

from __future__ import annotations

from abi.symbols import SymbolTable

TABLE = SymbolTable(
    [
        (0x1000, 0x100, b"main"),
        (0x1100, 0, b"label"),
        (0x1200, 0x10, b"small"),
        (0x2000, 0x1000, b"table"),
        (0x2008, 8, b"inner"),
        (0x4000, 0x20, b"_alias"),
        (0x4000, 0x20, b"name"),
        (0x5000, 4, b"na\xffme"),
    ]
)


def test_an_address_is_named_by_what_covers_it() -> None:
    assert TABLE.describe(0xFFF, 0) is None
    assert TABLE.describe(0x1000, 0) == "main"
    assert TABLE.describe(0x10FF, 0) == "main+0xff"
    assert TABLE.describe(0x11FF, 0) == "label+0xff"
    assert TABLE.describe(0x200C, 0) == "inner+0x4"
    assert TABLE.describe(0x2020, 0) == "table+0x20"
    assert TABLE.describe(0x4008, 0) == "name+0x8"
    assert TABLE.describe(0x5000, 0) == "na\N{REPLACEMENT CHARACTER}me"


def test_a_bias_is_added_and_taken_off() -> None:
    assert TABLE.address("small", 0x5555_0000) == 0x5555_1200
    assert TABLE.describe(0x5555_1204, 0x5555_0000) == "small+0x4"
    assert TABLE.address("nothing", 0) is None


def test_no_symbols() -> None:
    empty = SymbolTable([])
    assert len(empty) == 0
    assert empty.address("main", 0) is None
    assert empty.describe(0x1000, 0) is None
