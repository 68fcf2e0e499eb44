"""What the host sets up in a machine before programs run: containers, endpoints, handles to these, pagers, timers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from abi.errors import EINVAL, ENOMEM, ENOSPC, OK
from hv.failures import OutOfMemory

if TYPE_CHECKING:
    from hv.machine import Machine


class Container:
    """A container of the host's making, below another one.  Hold the big lock; ``kill`` takes it itself."""

    def __init__(self, machine: Machine, name: str, id: int) -> None:
        self.machine = machine
        self.name = name
        self.id = id
        self.gone = False
        """It has ended, or is ending."""

    def kill(self) -> None:
        """Ends it with all that is in it, and waits until its quota is back at its parent (within a system call that
        is served in Python, it does not wait).  No effect if it has ended."""
        machine = self.machine
        with machine.lock:
            if self.gone or machine.stopping: return
            self.gone = True
            machine.system.close_container(self.id)
            if not machine.running: machine.system.operations.drain()  # no core does it
            while not machine.lock.in_core() and not machine.stopping and machine.containers.get(self.id) is self:
                machine.lock.wait()
            machine.raise_failure()


class Endpoint:
    """An endpoint of the host's making.  It comes to be, charged to its container, with the first handle to it that a
    program is given, and goes with the last."""

    def __init__(self, container: int) -> None:
        self.container = container
        self.id = 0
        self.gone = False


class Handle(NamedTuple):
    """What a program gets of an endpoint: rights (a sum of ``kernel.objects`` SEND, RECEIVE, GRANT) and a badge, under
    the name of an environment variable."""

    variable: str
    endpoint: Endpoint
    rights: int
    badge: int = 0


def device_variable(name: str) -> str:
    """The environment variable by which a program learns its handle to the device of this name."""
    return "AERO_DEVICE_" + name.upper().replace("-", "_")


def create_container(
    machine: Machine, name: str, parent: int, pages: int, blocks: int, giants: int = 0, cores: int = 0
) -> Container:
    """A container below another one (its id), with a quota and cores taken from that.  Hold the big lock.  Raises
    OutOfMemory and, for a parent that is none or ending, a negative quota, or a tree too deep, ValueError."""
    n = machine.system.spawn_container(parent, pages, blocks, giants, cores)
    if n == -ENOMEM: raise OutOfMemory(f"no memory or cores for container {name}: its parent has less than that left")
    if n == -ENOSPC: raise ValueError(f"container {name} is too deep below others")
    if n < 0: raise ValueError(f"container {name} cannot be created there")
    made = machine.containers[n] = Container(machine, name, n)
    return made


def hand_out(machine: Machine, s: int, handles: Sequence[Handle]) -> list[bytes]:
    """Gives process s, which has not started, these handles.  Returns the environment strings that tell it of them.
    Hold the big lock.  Raises OutOfMemory, and ValueError for what cannot be given."""
    told = []
    for variable, endpoint, rights, badge in handles:
        if endpoint.gone: raise ValueError(f"the endpoint of {variable} went with the last handle to it")
        if endpoint.id: value = machine.system.assign(s, endpoint.id, rights, badge)
        else: value = machine.system.spawn_endpoint(s, endpoint.container, rights, badge)
        if value == -ENOMEM: raise OutOfMemory(f"no memory for the endpoint of {variable}")
        if value == -EINVAL: raise ValueError(f"{variable}: no such container, rights or badge")
        if value < 0: raise ValueError(f"{variable}: the program holds too many handles")
        if not endpoint.id:
            endpoint.id = machine.kernel.process[s].handle_object[value % 65536]
            machine.endpoints[endpoint.id] = endpoint
        told.append(f"{variable}={value}".encode())
    return told


def set_pager(machine: Machine, s: int, endpoint: Endpoint, badge: int) -> None:
    """Has page faults of process s, which has not started, sent to an endpoint that some program has a handle to.  Hold
    the big lock.  Raises ValueError where that cannot be."""
    if machine.system.assign_pager(s, endpoint.id, badge) != OK:
        raise ValueError("nobody has a handle to that endpoint, or the process has started or has a pager")


def start_timer(machine: Machine, endpoint: Endpoint, period: int) -> None:
    """Has a timer expire at an endpoint each ``period`` nanoseconds, at least 1,000,000, from now on: until the
    endpoint is gone, or a program sets its timer.  Hold the big lock.  Raises ValueError where no program has a handle
    to it, or it has a timer."""
    if machine.system.assign_timer(endpoint.id) != OK:
        raise ValueError("nobody has a handle to that endpoint, or it has a timer")
    machine.messages.set_timer(endpoint.id, period)


__all__ = [
    "Container", "Endpoint", "Handle", "create_container", "device_variable", "hand_out", "set_pager", "start_timer",
]  # fmt: skip
