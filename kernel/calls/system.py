"""All calls of a kernel together."""

from __future__ import annotations

from kernel.calls.containers import ContainerCalls
from kernel.calls.devices import DeviceCalls
from kernel.calls.processes import ProcessCalls
from kernel.calls.threads import ThreadCalls


class System(ThreadCalls, ProcessCalls, ContainerCalls, DeviceCalls):
    """The native system calls of a kernel, and what the host asks of it."""


__all__ = ["System"]
