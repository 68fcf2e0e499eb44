"""Specifications of the tree of containers."""

from __future__ import annotations

from abi import queries
from abi.errors import EBUSY, EINVAL, ENOMEM, ENOSPC, ESRCH
from kernel.objects import (
    ACTIVE,
    ALIVE,
    CLOSING,
    CONTAINER,
    DEPTH_LIMIT,
    DEVICE,
    ENDPOINT,
    FREE,
    MAPPED,
    MAPPED_BLOCK,
    MAPPED_GIANT,
)  # fmt: skip
from kernel.specs import Frame, State, specification
from kernel.specs.handles import handle_closed, handle_opened, handle_room, named
from kernel.specs.quotas import page_becomes

NEW_FIELDS = ("state", "parent", "depth", "path", "position", "pages", "blocks", "giants", "core", "cores_of")
CONTAINER_FIELDS = (*NEW_FIELDS, "holder", "holder_slot", "hosted", "born")


def container_added(
    old: State, new: State, f: Frame, c: int, n: int, pages: int, blocks: int, giants: int
) -> bool:
    """Container n is new, the last child of container c, with the quota that c gave; its path is c's and then c."""
    C, N, A = old.container[c], new.container[n], new.container[c]
    f.allocates()
    f.may("container", n, *NEW_FIELDS)
    f.may("container", c, "pages", "used_pages", "blocks", "giants", "child_count")
    f.may_item("container", c, "children", C.child_count)
    if not page_becomes(old, new, f, n, FREE, CONTAINER) or new.page[n].owner != c: return False
    if A.pages != C.pages - pages - 1 or A.used_pages != C.used_pages + 1 or A.blocks != C.blocks - blocks: return False
    if A.child_count != C.child_count + 1 or A.children[C.child_count] != n: return False
    if A.giants != C.giants - giants: return False
    if N.pages != pages or N.blocks != blocks or N.giants != giants or N.processes != 0 or N.born != 0: return False
    if N.used_pages != 0 or N.used_blocks != 0 or N.used_giants != 0: return False
    if N.core_count != 0: return False
    if N.state != ACTIVE or N.parent != c or N.depth != C.depth + 1 or N.path[C.depth] != c: return False
    return bool(N.cores_of == C.cores_of and N.core == C.core)


@specification
def container_create(
    old: State, new: State, f: Frame, result: int, t: int, pages: int, blocks: int, giants: int
) -> bool:
    """A new container below the caller's, which the caller's process holds."""
    s = old.thread[t].process
    c = old.process[s].container
    C = old.container[c]
    if pages < 0 or blocks < 0 or giants < 0: return result == -EINVAL
    if C.state != ACTIVE or old.process[s].state != ALIVE: return result == -EBUSY
    if C.depth >= DEPTH_LIMIT or not handle_room(old, s): return result == -ENOSPC
    if C.pages < pages + 1 or C.blocks < blocks or C.giants < giants: return result == -ENOMEM
    n = new.process[s].handle_object[result % 65536]
    f.may("container", n, "holder", "holder_slot")
    if new.container[n].holder != s or new.container[n].holder_slot != result % 65536: return False
    if not container_added(old, new, f, c, n, pages, blocks, giants): return False
    return result > 0 and handle_opened(old, new, f, s, result, n)


@specification
def container_query(
    old: State, new: State, f: Frame, result: int, t: int, slot: int, generation: int, what: int
) -> bool:  # fmt: skip
    """The number asked for, and nothing has changed."""
    s = old.thread[t].process
    c = old.process[s].container if slot == 0 and generation == 0 else named(old, s, slot, generation)
    if c == 0 or old.page[c].kind != CONTAINER: return result == -ESRCH
    C = old.container[c]
    numbers = {
        queries.PAGES_LEFT: C.pages, queries.PAGES_USED: C.used_pages,
        queries.BLOCKS_LEFT: C.blocks, queries.BLOCKS_USED: C.used_blocks,
        queries.GIANTS_LEFT: C.giants, queries.GIANTS_USED: C.used_giants,
        queries.CORES: old.container[C.cores_of].core_count, queries.CORES_OWNED: C.core_count,
        queries.DEPTH: C.depth, queries.PROCESSES: C.processes, queries.CONTAINERS: C.child_count,
    }  # fmt: skip
    if what not in numbers: return result == -EINVAL
    return bool(result == numbers[what])


@specification
def container_kill(old: State, new: State, f: Frame, result: int, t: int, slot: int, generation: int) -> bool:
    """The named container is ending."""
    c = named(old, old.thread[t].process, slot, generation)
    if c == 0 or old.page[c].kind != CONTAINER: return result == -ESRCH
    if old.container[c].state != ACTIVE: return result == -EBUSY
    f.may("container", c, "state")
    return bool(result == 0 and new.container[c].state == CLOSING)


@specification
def container_close(old: State, new: State, f: Frame, result: int, c: int) -> bool:
    """The container is ending."""
    if old.page[c].kind != CONTAINER or c == old.root: return result == -EINVAL
    if old.container[c].state != ACTIVE: return result == -EBUSY
    f.may("container", c, "state")
    return bool(result == 0 and new.container[c].state == CLOSING)


@specification
def container_end(old: State, new: State, f: Frame, result: int, c: int) -> bool:
    """A child of an ending container is ending."""
    C = old.container[c]
    if old.page[c].kind != CONTAINER or C.state != ACTIVE or c == old.root: return result == -EINVAL
    if old.container[C.parent].state != CLOSING: return result == -EINVAL
    f.may("container", c, "state")
    return bool(result == 0 and new.container[c].state == CLOSING)


@specification
def page_inherit(old: State, new: State, f: Frame, result: int, p: int) -> bool:
    """The page, mapped or named as before, is the parent's, who is charged for it out of nobody's quota."""
    P = old.page[p]
    c = P.owner
    if P.kind not in (MAPPED, MAPPED_BLOCK, MAPPED_GIANT, ENDPOINT, DEVICE): return result == -EINVAL
    if old.container[c].state != CLOSING or old.container[c].processes != 0: return result == -EINVAL
    a = old.container[c].parent
    f.may("page", p, "owner")
    if result != 0 or new.page[p].owner != a: return False
    B, A = old.container[c], old.container[a]
    if P.kind == MAPPED_BLOCK:
        f.may("block", P.block, "owner")
        f.may("container", c, "used_blocks")
        f.may("container", a, "used_blocks")
        return new.container[c].used_blocks == B.used_blocks - 1 and new.container[a].used_blocks == A.used_blocks + 1
    if P.kind == MAPPED_GIANT:
        f.may("block", P.block, "owner")
        f.may("giant", old.block[P.block].giant, "owner")
        f.may("container", c, "used_giants")
        f.may("container", a, "used_giants")
        return new.container[c].used_giants == B.used_giants - 1 and new.container[a].used_giants == A.used_giants + 1
    f.may("container", c, "used_pages")
    f.may("container", a, "used_pages")
    return new.container[c].used_pages == B.used_pages - 1 and new.container[a].used_pages == A.used_pages + 1


@specification
def container_finish(old: State, new: State, f: Frame, result: int, c: int) -> bool:
    """Nothing is left of the container; its parent has its quota, and the page it was."""
    C = old.container[c]
    if old.page[c].kind != CONTAINER or C.state != CLOSING: return result == -EINVAL
    if C.processes != 0 or C.child_count != 0 or C.core_count != 0: return result == -EBUSY
    if C.used_pages != 0 or C.used_blocks != 0 or C.used_giants != 0: return result == -EBUSY
    a = C.parent
    A = old.container[a]
    n = A.child_count - 1
    f.may("container", c, *CONTAINER_FIELDS)
    f.may("container", a, "child_count", "pages", "blocks", "giants", "used_pages")
    f.may_item("container", a, "children", n)
    f.may_item("container", a, "children", C.position)
    f.may("container", A.children[n], "position")
    f.allocates()
    if C.holder != 0 and not handle_closed(old, new, f, C.holder, C.holder_slot): return False
    if result != 0 or not page_becomes(old, new, f, c, CONTAINER, FREE): return False
    if new.container[a].child_count != n or new.container[a].blocks != A.blocks + C.blocks: return False
    if new.container[a].giants != A.giants + C.giants: return False
    return bool(new.container[a].pages == A.pages + C.pages + 1 and new.container[a].used_pages == A.used_pages - 1)

