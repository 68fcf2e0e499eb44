"""What all transitions that map something refuse alike: a process that has ended as the target, a permission that is
none.  What is shared or granted is there, so that nothing else is wrong."""

from __future__ import annotations

from tests.kernel.scenarios import Arguments, W, case
from tests.kernel.world import World, indices

LEVELS = {"page": 4, "block": 3}
GIANT_LEVELS = 2
NO_PERMISSION = 2
"""Writing without reading."""


def ended(w: World) -> int:
    """A process that has ended, of which its parent knows yet."""
    s = w.process()
    w.end(s)
    return s


def source(w: World, what: str) -> int:
    """A process that maps a page or block at W."""
    s = w.process()
    (w.map if what == "page" else w.map_block)(s, W)
    return s


def _mapping(what: str) -> None:
    places = indices(W)[: LEVELS[what]]

    @case(f"map_{what}", "EINVAL")
    def into_an_ended_process(w: World) -> Arguments:
        return (ended(w), *places, 7)

    @case(f"map_{what}", "EINVAL")
    def with_a_permission_that_is_none(w: World) -> Arguments:
        return (w.process(), *places, NO_PERMISSION)


def _passing(how: str, what: str) -> None:
    places = indices(W)[: LEVELS[what]]

    @case(f"{how}_{what}", "EINVAL")
    def to_an_ended_process(w: World) -> Arguments:
        s = source(w, what)
        return (s, *places, ended(w), *places, 5)

    @case(f"{how}_{what}", "EINVAL")
    def with_a_permission_that_is_none(w: World) -> Arguments:
        s = source(w, what)
        return (s, *places, w.process(), *places, NO_PERMISSION)


def _giants() -> None:
    places = indices(W)[:GIANT_LEVELS]

    @case("map_giant", "EINVAL", blocks=1540)
    def giant_into_an_ended_process(w: World) -> Arguments:
        return (ended(w), *places, 7)

    for how in ("share", "grant"):

        @case(f"{how}_giant", "EINVAL", blocks=1540)
        def giant_to_an_ended_process(w: World) -> Arguments:
            s = w.process()
            w.map_giant(s, W - W % 2**18)
            return (s, *places, ended(w), *places, 5)

        @case(f"{how}_giant", "EINVAL", blocks=1540)
        def giant_with_a_permission_that_is_none(w: World) -> Arguments:
            s = w.process()
            w.map_giant(s, W - W % 2**18)
            return (s, *places, w.process(), *places, NO_PERMISSION)


for _what in LEVELS:
    _mapping(_what)
    for _how in ("share", "grant"): _passing(_how, _what)
_giants()
