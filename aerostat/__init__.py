"""aerostat: a kernel that lives outside the machine it governs.

    from aerostat import Machine

    with Machine(memory="256M") as m:
        print(m.spawn("./hello").wait())

Names are imported when first used, so that ``aerostat --help`` does not pay for a hypervisor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from abi.image import BadElf
    from abi.stack import ArgumentsTooLong
    from aerostat.description.assembly import DescribedMachine
    from aerostat.description.machine import (
        ContainerDescription,
        DeviceDescription,
        EndpointDescription,
        HandleDescription,
        MachineDescription,
        ProgramDescription,
    )
    from aerostat.description.problems import DescriptionError
    from aerostat.direct_device import DirectDevice, open_device
    from aerostat.invariants import invariant
    from aerostat.invariants.violation import Violation
    from aerostat.machine import Machine
    from aerostat.program import Program
    from hv.function_call import ProgramEnded
    from hv.kvm import KvmUnavailable
    from hv.machine import MachineFailed, OutOfMemory
    from hv.pci import DeviceUnavailable
    from hv.personality import UserFault
    from hv.report import Report
    from hv.thread import Thread
    from kernel.check import CheckFailed

__version__ = "0.1.0"

_HOMES = {
    "ArgumentsTooLong": "abi.stack",
    "BadElf": "abi.image",
    "CheckFailed": "kernel.check",
    "ContainerDescription": "aerostat.description.machine",
    "DescribedMachine": "aerostat.description.assembly",
    "DescriptionError": "aerostat.description.problems",
    "DeviceDescription": "aerostat.description.machine",
    "DeviceUnavailable": "hv.pci",
    "DirectDevice": "aerostat.direct_device",
    "EndpointDescription": "aerostat.description.machine",
    "HandleDescription": "aerostat.description.machine",
    "KvmUnavailable": "hv.kvm",
    "Machine": "aerostat.machine",
    "MachineDescription": "aerostat.description.machine",
    "MachineFailed": "hv.machine",
    "OutOfMemory": "hv.machine",
    "Program": "aerostat.program",
    "ProgramDescription": "aerostat.description.machine",
    "ProgramEnded": "hv.function_call",
    "Report": "hv.report",
    "Thread": "hv.thread",
    "UserFault": "hv.personality",
    "Violation": "aerostat.invariants.violation",
    "invariant": "aerostat.invariants",
    "open_device": "aerostat.direct_device",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None: raise AttributeError(f"module 'aerostat' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)


__all__ = [
    "ArgumentsTooLong", "BadElf", "CheckFailed", "ContainerDescription", "DescribedMachine", "DescriptionError",
    "DeviceDescription", "DeviceUnavailable", "DirectDevice", "EndpointDescription", "HandleDescription",
    "KvmUnavailable", "Machine", "MachineDescription", "MachineFailed", "OutOfMemory", "Program",
    "ProgramDescription", "ProgramEnded", "Report", "Thread", "UserFault", "Violation", "__version__", "invariant",
    "open_device",
]  # fmt: skip
