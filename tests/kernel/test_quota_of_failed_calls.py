"""A call that fails leaves the quota as it was, in its form too: what was split for the call is whole again."""

from __future__ import annotations

from typing import Final

import pytest

from abi.errors import ENOMEM, ENOSPC
from kernel.calls import Operation, System
from kernel.objects import DEPTH_LIMIT, HANDLES, SEND
from tests.kernel.scenarios.hosting import endpoint_of_another
from tests.kernel.world import World

LARGEST: Final = 1 << 40


class Caller:
    """A running thread of a container that has blocks or giants left, and not one page; with a container below it."""

    def __init__(self, blocks: int, giants: int = 0) -> None:
        self.w = w = World(blocks=1540 if giants else 9, level="full")
        self.k = k = w.k
        self.system = System(k, lambda *step: self.w.checker.step(*step), lambda *_: None)
        c = self.system.spawn_container(k.root, 4, blocks + 1, giants, 0)
        self.C = k.container[c]
        self.s = self.system.spawn(c)
        _, e = endpoint_of_another(w)
        self.handle = w.do("handle_assign", self.s, e, SEND, 0)
        self.t = w.run(self.system.start_thread(self.s))
        self.inner = self.called("container_create", 0, 1, 0, 0)
        assert self.inner > 0
        assert self.quota == (0, blocks, giants)

    @property
    def quota(self) -> tuple[int, int, int]:
        """Pages, blocks and giants that may still be allocated."""
        return self.C.pages, self.C.blocks, self.C.giants

    def called(self, name: str, *arguments: int) -> int:
        """What a call returns when all of it is done."""
        result = getattr(self.system, name)(self.t, *arguments)
        assert isinstance(result, int | Operation)
        return self.system.complete(result)

    def take_all_handles(self) -> None:
        """The process has none left."""
        with self.w.unchecked():
            while self.called("handle_copy", self.handle, SEND, 0) > 0: pass
        assert self.k.process[self.s].handle_count == HANDLES


WITHOUT_A_HANDLE = [
    ("endpoint_create", ()), ("domain_create", ()), ("thread_create", (0x400000, 0x500000, 0)), ("process_create", ()),
    ("container_create", (5, 1, 0, 0)), ("process_create_in", ("inner",)),
]  # fmt: skip


@pytest.mark.parametrize(("blocks", "giants"), [(2, 0), (0, 1)])
@pytest.mark.parametrize(("name", "arguments"), WITHOUT_A_HANDLE, ids=[name for name, _ in WITHOUT_A_HANDLE])
def test_no_handle_left(name: str, arguments: tuple[int | str, ...], blocks: int, giants: int) -> None:
    caller = Caller(blocks, giants)
    caller.take_all_handles()
    given = [caller.inner if value == "inner" else int(value) for value in arguments]
    inner = caller.k.container[caller.k.process[caller.s].handle_object[caller.inner % 65536]]
    assert caller.called(name, *given) == -ENOSPC
    assert caller.quota == (0, blocks, giants)
    assert (inner.pages, inner.blocks) == (0, 1)
    assert caller.called("handle_close", caller.handle) == 0
    assert caller.called(name, *given) > 0
    assert caller.quota != (0, blocks, giants) or (inner.pages, inner.blocks) != (0, 1)


@pytest.mark.parametrize(("blocks", "giants"), [(2, 0), (0, 1)])
@pytest.mark.parametrize("quota", [(1 << 20, 0, 0), (LARGEST, 0, 0), (LARGEST + 1, 0, 0), (0, 1 << 20, 0), (5, 0, 2)])
def test_more_quota_than_there_is(quota: tuple[int, int, int], blocks: int, giants: int) -> None:
    caller = Caller(blocks, giants)
    assert caller.called("container_create", *quota, 0) == -ENOMEM
    assert caller.quota == (0, blocks, giants)


@pytest.mark.parametrize(
    ("quota", "left"),
    [
        ((511, 2, 0), (0, 509, 0)), ((512, 511, 0), None), ((512, 510, 0), (511, 0, 0)), ((0, 0, 1), None),
        ((511, 511, 0), (0, 0, 0)), ((512 * 512 - 1, 0, 0), (0, 0, 0)), ((512 * 512, 0, 0), None),
    ],
)  # fmt: skip
def test_a_giant_is_split_for_exactly_what_it_covers(
    quota: tuple[int, int, int], left: tuple[int, int, int] | None
) -> None:
    caller = Caller(0, 1)
    result = caller.called("container_create", *quota, 0)
    assert (result > 0) == (left is not None)
    assert caller.quota == (left or (0, 0, 1))


def test_the_hosts_container_takes_no_more_than_there_is() -> None:
    caller = Caller(2)
    c = caller.C.id
    assert caller.system.spawn_container(c, 600, 1, 0, 0) == -ENOMEM
    assert caller.quota == (0, 2, 0)
    assert caller.system.spawn_container(c, 511, 1, 0, 0) > 0
    assert caller.quota == (0, 0, 0)


def test_the_hosts_container_too_deep() -> None:
    w = World(blocks=9)
    system, c = System(w.k, w.checker.step, lambda *_: None), w.k.root
    for depth in range(1, DEPTH_LIMIT + 1): c = system.spawn_container(c, DEPTH_LIMIT - depth, 1, 0, 0)
    C = w.k.container[c]
    assert (C.depth, C.pages, C.blocks) == (DEPTH_LIMIT, 0, 1)
    assert system.spawn_container(c, 3, 0, 0, 0) == -ENOSPC
    assert (C.pages, C.blocks) == (0, 1)
