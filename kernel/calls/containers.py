"""Calls on containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from abi.errors import ENOMEM, OK
from abi.layout import BLOCK_PAGES, GIANT_BLOCKS
from kernel.calls.endings import Endings
from kernel.calls.operations import Operation, Steps
from kernel.objects import CONTAINER

if TYPE_CHECKING:
    from kernel import container, handles, hosting, placement, process
else:
    from kernel.journaled import container, handles, hosting, placement, process

LARGEST_QUOTA: Final = 1 << 40
"""More pages than any machine has: beyond, a quota is refused without looking."""


class ContainerCalls(Endings):
    """container_create, container_kill, container_query, process_create_in; and what the host asks of a container."""

    def container_create(self, t: int, pages: int, blocks: int, giants: int, cores: int) -> int | Operation:
        c = self.k.process[self.k.thread[t].process].container
        if max(pages, blocks, giants) > LARGEST_QUOTA or 0 < cores >= self.k.container[c].core_count: return -ENOMEM
        if cores != 0: return Operation(self._create_with_cores, t, pages, blocks, giants, cores)
        return self._creation_error(t, pages, blocks, giants) or self.step(
            container.container_create, t, pages, blocks, giants
        )

    def _create_with_cores(self, this: Operation, t: int, pages: int, blocks: int, giants: int, cores: int) -> Steps:
        """Moves threads from the cores that are to be given until none is left there; then creates the container and
        gives them to it at once.  Till then nothing has changed but where threads run."""
        k = self.k
        s = k.thread[t].process
        c = k.process[s].container
        while True:
            if cores >= k.container[c].core_count: return -ENOMEM
            refused = self._creation_error(t, pages, blocks, giants)
            if refused: return refused
            if not self.clear_cores(c, cores): break
            yield None
        handle = self.step(container.container_create, t, pages, blocks, giants)
        self.give_cores(handles.object_of(k, s, handle % 65536, handle >> 16), cores)
        return handle

    def _split_for(self, c: int, pages: int, blocks: int, giants: int) -> None:
        """Splits giants and blocks of container c's quota for a child's, if it has enough for that; else nothing."""
        C = self.k.container[c]
        split_blocks = max(0, -(-(pages + 1 - C.pages) // BLOCK_PAGES))
        split_giants = max(0, -(-(blocks + split_blocks - C.blocks) // GIANT_BLOCKS))
        if giants + split_giants > C.giants: return
        while C.blocks < blocks and self.more_blocks(c): pass
        while C.pages < pages + 1 and self.more_pages(c): pass

    def _creation_error(self, t: int, pages: int, blocks: int, giants: int) -> int:
        """Why thread t cannot create a container with this quota, 0 if it can.  Of its container's quota, as much is
        split as that needs; nothing if it cannot."""
        k = self.k
        if container.creation_error(k, t, 0, 0, 0) in (OK, -ENOMEM):
            self._split_for(k.process[k.thread[t].process].container, pages, blocks, giants)
        return container.creation_error(k, t, pages, blocks, giants)

    def give_cores(self, n: int, cores: int) -> None:
        """Gives the new container n cores of its parent's, which have been cleared."""
        for _ in range(cores):
            result = self.step(placement.core_give, n)
            assert result == OK, result

    def spawn_container(self, c: int, pages: int, blocks: int, giants: int, cores: int) -> int:
        """A container of the host below container c.  Its id, -EINVAL, -ENOSPC or -ENOMEM."""
        if max(pages, blocks, giants) > LARGEST_QUOTA or 0 < cores >= self.k.container[c].core_count: return -ENOMEM
        C = self.k.container[c]
        had_blocks, had_giants = C.blocks, C.giants
        self._split_for(c, pages, blocks, giants)
        n = self.step(hosting.container_spawn, c, pages, blocks, giants)
        if n < 0: self.merge_back(c, had_blocks, had_giants)
        if n > 0:
            while self.clear_cores(c, cores): pass
            self.give_cores(n, cores)
        return n

    def clear_cores(self, c: int, count: int) -> bool:
        """Moves a thread from the last so many cores of container c to one of the others.  False if there is none."""
        C = self.k.container[c]
        left = C.core_count - count
        for i in range(left, C.core_count):
            R = self.k.core[C.cores[i]]
            if R.placed_count == 0: continue
            self.step(placement.thread_move, R.placed[R.placed_count - 1], R.placed_count % left)
            return True
        return False

    def container_query(self, t: int, handle: int, what: int) -> int:
        return self.step(container.container_query, t, handle % 65536, handle >> 16, what)

    def container_kill(self, t: int, handle: int) -> int | Operation:
        k = self.k
        c = handles.object_of(k, k.thread[t].process, handle % 65536, handle >> 16)
        result = self.step(container.container_kill, t, handle % 65536, handle >> 16)
        return self.end_container(c) if result == OK else result

    def close_container(self, c: int) -> int:
        """Begins to end container c with all below it.  0; -EINVAL: no container, or the root; -EBUSY: it is ending
        already."""
        result = self.step(container.container_close, c)
        if result == OK: self.operations.adopt(self.end_container(c))
        return result

    def process_create_in(self, t: int, handle: int) -> int:
        k = self.k
        c = handles.object_of(k, k.thread[t].process, handle % 65536, handle >> 16)
        if c == 0 or k.page[c].kind != CONTAINER:
            return self.step(process.process_create_in, t, handle % 65536, handle >> 16)
        return self.funded(c, 2, process.process_create_in, t, handle % 65536, handle >> 16)
