"""For every transition the cases its specification distinguishes: each error it names, and each way to succeed.

``@case("map_page", "ENOMEM")`` marks a function that brings a world to where the call, with the arguments that the
function returns, ends so; ``OK`` stands for success.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from abi import errors
from tests.kernel.world import World, page_at

Arguments = tuple[int, ...]
Setting = Callable[[World], Arguments]

V = page_at(1, 2, 3, 4)
W = page_at(5, 6, 7, 0)


@dataclass(frozen=True)
class Case:
    """A call that ends in a certain way."""

    transition: str
    outcome: str
    setting: Setting
    blocks: int = 3
    cores: int = 2

    @property
    def name(self) -> str:
        return f"{self.transition}-{self.outcome}-{self.setting.__name__}"

    def build(self, level: str = "touched") -> tuple[World, Arguments]:
        """The world before the call, and the arguments of the call."""
        w = World(self.blocks, cores=self.cores, level=level)
        return w, self.setting(w)

    def ends_so(self, result: int) -> bool:
        """The call's result is this outcome."""
        return result >= 0 if self.outcome == "OK" else result == -int(getattr(errors, self.outcome))


CASES: list[Case] = []


def case(transition: str, outcome: str = "OK", blocks: int = 3, cores: int = 2) -> Callable[[Setting], Setting]:
    """Registers a setting in which the transition ends so."""

    def register(setting: Setting) -> Setting:
        CASES.append(Case(transition, outcome, setting, blocks, cores))
        return setting

    return register


from tests.kernel.scenarios import (  # noqa: E402  (they register)
    containers,
    devices,
    endpoints,
    giants,
    granting,
    hosting,
    mapping,
    messages,
    placement,
    processes,
    quotas,
    refusals,
    scheduling,
    sharing,
    threads,
)

__all__ = [
    "CASES", "V", "W", "Arguments", "Case", "Setting", "case", "containers", "devices", "endpoints", "giants",
    "granting", "hosting", "mapping", "messages", "placement", "processes", "quotas", "refusals", "scheduling",
    "sharing", "threads",
]  # fmt: skip
