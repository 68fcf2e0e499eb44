"""Cases of what moves threads between cores and queues."""

from __future__ import annotations

from kernel.objects import BLOCKED
from tests.kernel.scenarios import Arguments, case
from tests.kernel.scenarios.threads import joinable
from tests.kernel.world import World


@case("schedule")
def one_is_ready(w: World) -> Arguments:
    w.thread(w.process())
    return (0,)


@case("schedule")
def two_are_ready(w: World) -> Arguments:
    s = w.process()
    w.thread(s)
    w.thread(s)
    return (0,)


@case("schedule")
def nobody_is_ready(w: World) -> Arguments:
    return (1,)


@case("schedule", "EINVAL")
def core_that_is_not(w: World) -> Arguments:
    return (2,)


@case("schedule", "EINVAL")
def core_beyond_all(w: World) -> Arguments:
    return (70,)


@case("schedule", "EBUSY")
def core_runs_one(w: World) -> Arguments:
    w.running()
    return (0,)


@case("preempt")
def alone(w: World) -> Arguments:
    w.running()
    return (0,)


@case("preempt")
def others_wait(w: World) -> Arguments:
    w.running()
    w.thread(w.process())
    return (0,)


@case("preempt", "EINVAL")
def core_is_idle(w: World) -> Arguments:
    return (0,)


@case("preempt", "EINVAL")
def negative_core(w: World) -> Arguments:
    return (-1,)


@case("thread_yield")
def to_nobody(w: World) -> Arguments:
    return (w.running(),)


@case("thread_yield")
def to_another(w: World) -> Arguments:
    t = w.running()
    w.thread(w.process())
    return (t,)


@case("thread_yield", "EINVAL")
def ready_one(w: World) -> Arguments:
    return (w.thread(w.process()),)


@case("thread_block")
def running_one(w: World) -> Arguments:
    return (w.running(),)


@case("thread_block", "EINVAL")
def no_thread(w: World) -> Arguments:
    return (w.process(),)


@case("thread_wake")
def blocked_one(w: World) -> Arguments:
    t = w.running()
    w.do("thread_block", t)
    return (t,)


@case("thread_wake")
def behind_another(w: World) -> Arguments:
    t = w.running()
    w.do("thread_block", t)
    w.thread(w.process())
    return (t,)


@case("thread_wake", "EINVAL")
def not_blocked(w: World) -> Arguments:
    return (w.running(),)


@case("thread_wake", "EINVAL")
def waits_for_an_end(w: World) -> Arguments:
    t, _, slot, generation = joinable(w)
    w.do("thread_join", t, slot, generation)
    assert w.k.thread[t].state == BLOCKED
    return (t,)
