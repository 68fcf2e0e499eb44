"""Invariants of endpoints: what names them, and their queues as the endpoint sees them.

Source: Atmosphere, section 4.1 (endpoints: reference counts against descriptors both ways, queues).
"""

from __future__ import annotations

from kernel.invariants import invariant
from kernel.objects import ENDED, ENDPOINT, PROCESS, THREAD, Kernel


@invariant("endpoint")
def endpoint_charge(k: Kernel, e: int) -> bool:
    """An endpoint has a ticket to give and no more than counts and flags beside; what is no endpoint is blank."""
    E = k.endpoint[e]
    if k.page[e].kind == ENDPOINT:
        if E.receiving < 0 or E.receiving > 1 or E.timer < 0 or E.timer > 1: return False
        return E.ticket >= 1 and E.signals >= 0
    if E.references != 0 or E.senders != 0 or E.receivers != 0 or E.signals != 0 or E.timer != 0: return False
    return E.head == 0 and E.tail == 0 and E.ticket == 0 and E.receiving == 0


@invariant("endpoint")
def endpoint_references(k: Kernel, e: int) -> bool:
    """An endpoint counts the handles that name it and the processes whose pager it is, those among them that can send,
    and those that can receive; without any, somebody is still in its queue."""
    assert k.ledger is not None
    E = k.endpoint[e]
    if E.references != k.ledger.namings[e]: return False
    if E.senders != k.ledger.senders[e] or E.receivers != k.ledger.receivers[e]: return False
    return k.page[e].kind != ENDPOINT or E.references >= 1 or E.head != 0


@invariant("endpoint")
def endpoint_queue(k: Kernel, e: int) -> bool:
    """An endpoint's queue has both ends or neither; they are threads that wait in it, with nobody beyond; where they
    wait to receive, there is no signal that nobody received."""
    E = k.endpoint[e]
    h = E.head
    z = E.tail
    if h == 0 or z == 0: return h == 0 and z == 0
    H = k.thread[h]
    Z = k.thread[z]
    if k.page[h].kind != THREAD or H.endpoint != e or H.previous != 0: return False
    if k.page[z].kind != THREAD or Z.endpoint != e or Z.next != 0: return False
    return E.receiving == 0 or E.signals == 0


@invariant("process.handle_object")
def handle_rights(k: Kernel, s: int, i: int) -> bool:
    """A handle to an endpoint has some right, and may have a badge; any other slot has neither."""
    S = k.process[s]
    if k.page[S.handle_object[i]].kind != ENDPOINT: return S.handle_rights[i] == 0 and S.handle_badge[i] == 0
    return S.handle_rights[i] >= 1 and S.handle_rights[i] <= 7 and S.handle_badge[i] >= 0


@invariant("process")
def process_pager(k: Kernel, s: int) -> bool:
    """A process that has not ended may have an endpoint as its pager."""
    S = k.process[s]
    if S.pager == 0: return S.pager_badge == 0
    if k.page[s].kind != PROCESS or S.state == ENDED: return False
    return k.page[S.pager].kind == ENDPOINT and S.pager_badge >= 0
