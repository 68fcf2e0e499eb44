"""The specifications: what each transition returns, what it changes, and that it changes nothing else.

A specification has the transition's name and arguments, and besides the state before (``old``), the state after
(``new``), the result, and a frame ``f`` in which it names every field that may have changed.  It shares no code with
the transitions and speaks of abstract maps, quotas and objects; the concrete tables and the allocator's stacks may
change wherever they do, as the invariants tie them to what is said here.

Source: Atmosphere, section 4.3 (specifications of system calls, with what did not change).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kernel.objects import Kernel
from kernel.specs.frame import NOTHING, Frame

State = Kernel
"""A Kernel, or the view of what it was (kernel.view.OldKernel)."""
Specification = Callable[..., bool]

SPECIFICATIONS: Final[dict[str, Specification]] = {}


def specification(function: Specification) -> Specification:
    """Registers a specification under its name, which is its transition's."""
    assert function.__name__ not in SPECIFICATIONS, function.__name__
    SPECIFICATIONS[function.__name__] = function
    return function


from kernel.specs import (  # noqa: E402  (they register themselves)
    address_spaces,
    containers,
    devices,
    endpoints,
    hosting,
    messages,
    placement,
    processes,
    quotas,
    scheduling,
    sharing,
    threads,
)

__all__ = [
    "NOTHING", "SPECIFICATIONS", "Frame", "Specification", "State", "address_spaces", "containers", "devices",
    "endpoints", "hosting", "messages", "placement", "processes", "quotas", "scheduling", "sharing", "specification",
    "threads",
]  # fmt: skip
