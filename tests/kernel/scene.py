"""A small sound state with something of everything: mappings, shared ones, blocks, giants, threads in every state,
handles open and closed, endpoints with threads in their queues, a full block, a partial one, blocks that came back, and
the same of giants."""

from __future__ import annotations

from kernel.objects import BLOCK_FREE, GIANT_FREE, SEND, SHARE
from tests.kernel.world import World, indices, page_at

V = page_at(1, 2, 3, 4)
"""Where process ``s`` of the scene maps a page that process ``d`` shares."""
OTHER = page_at(1, 2, 3, 5)
"""Where it maps a page of its own."""
BLOCK = page_at(1, 2, 4, 0)
"""Where it maps a block that process d shares."""
GIANT = page_at(2, 3, 0, 0)
"""Where it maps a giant that process d shares."""


IOVA = 512 * 30 + 9
"""Where devices find the page at V."""


class Scene:
    """The state, built by transitions alone, and names for what is in it."""

    def __init__(self) -> None:
        self.w = w = World(blocks=5 * 512 - 1, cores=4, level="off")
        self.k = k = w.k
        self.root_container = w.root
        self.s, self.d = w.process(), w.process()
        self.S = k.process[self.s]
        self.empty = w.process()
        """A process that never started and maps nothing."""
        self._memory(w)
        self._threads(w)
        self._messages(w)
        self.ended = w.process()
        w.end(self.ended, 5)
        self.queue = [w.thread(self.d, 2) for _ in range(4)]
        """Ready on core 2 in this order; core 0 runs ``running``, core 3 has nothing."""
        self._giants(w)
        self._allocator(w)
        self.used_blocks = [b for b in self.used_blocks if k.block[b].kind == BLOCK_FREE]
        assert len(self.used_blocks) == k.giant[1].listed >= 2

    def _memory(self, w: World) -> None:
        k = w.k
        self.shared = w.map(self.s, V)
        self.own = w.map(self.s, OTHER, 3)
        self.block_page = w.map_block(self.s, BLOCK)
        w.do("share_page", self.s, *indices(V), self.d, *indices(V), 5)
        w.do("share_block", self.s, *indices(BLOCK)[:3], self.d, *indices(BLOCK)[:3], 1)
        self.x4 = self.S.root
        self.x3 = k.table[self.x4].entry[1]
        self.x2 = k.table[self.x3].entry[2]
        self.x1 = k.table[self.x2].entry[3]

    def _threads(self, w: World) -> None:
        self.running = w.run(w.thread(self.s, 0))
        self.joined, self.joined_slot, generation = w.created_thread(self.running, 1)
        self.child, self.child_slot, child_generation = w.child(self.running)
        self.dead, self.dead_slot, _ = w.created_thread(self.running)
        self.blocked, self.blocked_slot, _ = w.created_thread(self.running)
        w.do("thread_exit", w.run(self.dead), 7)
        w.do("thread_block", w.run(self.blocked))
        self.joiner = w.run(w.thread(self.s, 1))
        w.do("thread_join", self.joiner, self.joined_slot, generation)
        self.waiter = w.run(w.thread(self.s, 1))
        w.do("process_wait", self.waiter, self.child_slot, child_generation)
        self.sleeper = w.run(w.thread(self.s, 1))
        """Blocked, waits for nothing, and has no handle."""
        w.do("thread_block", self.sleeper)
        w.run(self.running)

    def _messages(self, w: World) -> None:
        self.quiet, self.quiet_slot, _ = w.endpoint(self.running)
        """An endpoint with an empty queue."""
        self.inbox, self.inbox_slot, inbox_generation = w.endpoint(self.running)
        inbox = (self.inbox_slot, inbox_generation)
        badged = w.copied(self.running, *inbox, SEND, 3)
        others = [w.run(w.thread(self.s, 1)) for _ in range(1)]
        w.do("message_receive", others[0], *inbox, 1, 0)
        self.server = w.run(w.thread(self.s, 1))
        """Owes ``caller`` a reply, and is blocked for something else."""
        self.caller = w.run(w.thread(self.s, 2))
        w.do("message_cancel", others[0], -1)
        w.do("message_call", self.caller, *inbox, 1, 0, 0, 0, 0, 0)
        w.do("message_receive", self.server, *inbox, 1, 0)
        w.do("thread_block", self.server)
        w.do("thread_exit", w.run(others[0]), 0)
        self.senders = [w.run(w.thread(self.s, 1)) for _ in range(1)]
        w.do("message_send", self.senders[0], *badged, 1, SHARE, V, 1, 1, 0)
        for _ in range(2):
            self.senders.append(w.run(w.thread(self.s, 1)))
            w.do("message_call", self.senders[-1], *badged, 1, 0, 0, 0, 0, 0)
        self.outbox, self.outbox_slot, outbox_generation = w.endpoint(self.running)
        """Where ``receivers`` wait; ``inbox`` is where ``senders`` do."""
        self.receivers = [w.run(w.thread(self.s, 1)) for _ in range(1)]
        w.do("message_accept", self.receivers[0], V, 2, 1)
        w.do("message_receive", self.receivers[0], self.outbox_slot, outbox_generation, 1, 0)
        self.receivers.append(w.run(w.thread(self.s, 1)))
        w.do("message_receive", self.receivers[1], self.outbox_slot, outbox_generation, 1, 0)
        w.do("pager_set", self.running, self.s, *badged)
        self._devices(w)
        # Two handles that are closed again.
        for slot, generation in [w.copied(self.running, *inbox, SEND) for _ in range(2)]:
            w.do("handle_close", self.running, slot, generation)

    def _devices(self, w: World) -> None:
        k = w.k
        self.device, self.spare_device = (w.do("device_add", k.root) for _ in range(2))
        """One attached to ``domain``, its interrupts bound; one that nobody holds."""
        handle = w.do("device_open", self.device, self.s)
        domain = w.do("domain_create", self.running)
        self.domain = self.S.handle_object[domain % 65536]
        there = (domain % 65536, domain // 65536)
        w.do("domain_map", self.running, *there, *indices(V), IOVA, 3)
        w.do("domain_map", self.running, *there, *indices(BLOCK), 512 * 40, 1)
        w.do("device_attach", self.running, handle % 65536, handle // 65536, *there)
        generation = self.S.handle_generation[self.quiet_slot]
        w.do("interrupt_bind", self.running, handle % 65536, handle // 65536, self.quiet_slot, generation)

    def _allocator(self, w: World) -> None:
        k = w.k
        w.do("quota_split", k.root)
        full, v = w.process(), page_at(9, 0, 0)
        w.map(full, v)
        while k.memory.free_pages:
            v += 1
            w.map(full, v)
        self.full_block = k.page[k.process[full].map_page[v]].block
        for i in range(8):
            w.map(full, v + 1 + i)
        self.free_pages = [k.process[full].map_page[v + i] for i in (7, 4, 6)]
        for i in (7, 4, 6):
            w.do("unmap_page", full, *indices(v + i))
        self.partial_block = k.page[self.free_pages[0]].block
        assert all(k.page[p].block == self.partial_block != self.full_block for p in self.free_pages)

    def _giants(self, w: World) -> None:
        """Giant 0 is full, 1 partial, 2 whole, 3 free again, 4 was never used."""
        k, hog, v = w.k, w.process(), page_at(10, 0, 0)
        while k.giant[0].position:
            w.map_block(hog, v)
            v += 512
        w.do("giant_split", k.root)
        used = [w.map_block(hog, v + 512 * i) // 512 for i in range(6)]
        self.block_in_use = used[0]
        """A whole block of giant 1."""
        for i in (1, 3, 5, 4, 2):
            w.do("unmap_block", hog, *indices(v + 512 * i)[:3])
        self.used_blocks = used[1:]
        """Free again, on the stack of giant 1."""
        self.giant_page = w.map_giant(self.s, GIANT)
        w.do("share_giant", self.s, *indices(GIANT)[:2], self.d, *indices(GIANT)[:2], 1)
        w.map_giant(hog, page_at(11, 0, 0))
        w.do("unmap_giant", hog, 11, 0)
        assert (k.giant[3].kind, k.memory.fresh, k.memory.giants) == (GIANT_FREE, 4, 4)
