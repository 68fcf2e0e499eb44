"""Handles pass from process to process: with messages, and to a child before it starts.

A handle to an endpoint is copied, with some of its rights, if it has GRANT; one to a device or a domain moves: it is
never in two processes.
"""

from __future__ import annotations

from abi.errors import EBUSY, EINVAL, ENOSPC, EPERM, ESRCH, OK
from kernel.device import may_pass, pass_on
from kernel.endpoint import may_grant, name_endpoint, rights_within
from kernel.handles import handle_available, handle_value, object_of
from kernel.objects import DEVICE, DOMAIN, ENDPOINT, NEW, PROCESS, RUNNING, Kernel


def passing_refusal(k: Kernel, s: int, slot: int, generation: int, rights: int, d: int) -> int:
    """OK if process s can pass to process d, which has room, the handle it names, an endpoint's with these rights; else
    -ESRCH, -EPERM, or what ``may_pass`` says."""
    o = object_of(k, s, slot, generation)
    if o == 0: return -ESRCH
    kind = k.page[o].kind
    if kind == ENDPOINT:
        held = k.process[s].handle_rights[slot]
        if not may_grant(held) or not rights_within(rights, held): return -EPERM
        return OK
    if kind != DEVICE and kind != DOMAIN: return -ESRCH
    if rights != 0: return -EPERM
    return may_pass(k, o, d)


def pass_handle(k: Kernel, s: int, slot: int, rights: int, d: int) -> int:
    """Passes the handle of process s in ``slot`` to process d, which has room for it.  Returns d's slot."""
    S = k.process[s]
    o = S.handle_object[slot]
    if k.page[o].kind == ENDPOINT: return name_endpoint(k, d, o, rights, S.handle_badge[slot])
    return pass_on(k, s, slot, d)


def handle_give(
    k: Kernel, t: int, child: int, child_generation: int, slot: int, generation: int, rights: int
) -> int:
    """Running thread t gives a child process that has not started the handle it names, an endpoint's with these rights.
    Returns the child's handle; -EINVAL: t does not run; -ESRCH: not a handle of a process, or not one that passes;
    -EBUSY: the child has started, or as ``may_pass`` says; -EPERM: the handle may not be passed on, or no or more
    rights; -ENOSPC: the child has no free handle; -ENOMEM: its container cannot be charged for a device or domain."""
    T = k.thread[t]
    if T.state != RUNNING: return -EINVAL
    s = T.process
    d = object_of(k, s, child, child_generation)
    if d == 0: return -ESRCH
    if k.page[d].kind != PROCESS: return -ESRCH
    if k.process[d].state != NEW: return -EBUSY
    refusal = passing_refusal(k, s, slot, generation, rights, d)
    if refusal != OK: return refusal
    if not handle_available(k, d): return -ENOSPC
    return handle_value(k, d, pass_handle(k, s, slot, rights, d))
