"""Calls on containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from abi.errors import ENOMEM, OK
from kernel.calls.endings import Endings
from kernel.calls.operations import Operation
from kernel.objects import CONTAINER

if TYPE_CHECKING:
    from kernel import container, handles, process
else:
    from kernel.journaled import container, handles, process

LARGEST_QUOTA: Final = 1 << 40
"""More pages than any machine has: beyond, a quota is refused without looking."""


class ContainerCalls(Endings):
    """container_create, container_kill, process_create_in; and what the host asks of a container."""

    def container_create(self, t: int, pages: int, blocks: int, giants: int) -> int:
        k = self.k
        c = k.process[k.thread[t].process].container
        C = k.container[c]
        if max(pages, blocks, giants) > LARGEST_QUOTA: return -ENOMEM
        while C.blocks < blocks and self.more_blocks(c): pass
        while C.pages < pages + 1 and self.more_pages(c): pass
        return self.step(container.container_create, t, pages, blocks, giants)

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
        if c != 0 and k.page[c].kind == CONTAINER: self.fund_pages(c, 2)
        return self.step(process.process_create_in, t, handle % 65536, handle >> 16)
