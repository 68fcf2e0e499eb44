"""Models of devices, made of options as people write them: ``nvme:memory=64M``, ``ixgbe:mode=fast``.

What is the same for all: ``faults``, as ``drivers.model.faults`` has them, with + between: ``faults=seed=3+late=0.01``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from aerostat.sizes import parse_size

if TYPE_CHECKING:
    from drivers.model.faults import Faults
    from hv.device import Device

T = TypeVar("T")
FLAGS: Final = {"yes": True, "no": False}


class Options:
    """The options of one device; each is asked for once, and ``end`` refuses those that nobody asked for."""

    def __init__(self, kind: str, given: Mapping[str, str]) -> None:
        self._kind, self._left, self._known = kind, dict(given), set[str]()

    def take(self, key: str, read: Callable[[str], T], default: T) -> T:
        """An option as ``read`` makes it of its text.  ValueError, with what is wrong."""
        self._known.add(key)
        text = self._left.pop(key, None)
        if text is None: return default
        try:
            return read(text)
        except (ValueError, KeyError) as error:
            raise ValueError(f"{self._kind}: {key}={text}: {error}") from None

    def flag(self, key: str) -> bool:
        """``yes`` or ``no``."""
        def read(text: str) -> bool:
            if text not in FLAGS: raise ValueError("write yes or no")
            return FLAGS[text]

        return self.take(key, read, False)

    def faults(self) -> Faults | None:
        from drivers.model.faults import Faults

        return self.take("faults", lambda text: Faults.parse(text.replace("+", ",")), None)

    def end(self) -> None:
        if self._left:
            raise ValueError(f"{self._kind}: there is no option {min(self._left)!r}: {', '.join(sorted(self._known))}")


def nvme(given: Mapping[str, str]) -> Device:
    """An NVMe controller (``drivers.nvme.model``) whose namespace is a ``file`` (with ``size``: made so long), or
    ``memory`` of a size, by default 64M.  ``block``: 512 or 4096; ``queues``, ``entries``, ``ready_ms``; ``fast=yes``:
    doorbells are polled memory."""
    from drivers.nvme.backing import in_file, in_memory
    from drivers.nvme.model import NvmeModel

    options = Options("nvme", given)
    memory, size = options.take("memory", parse_size, 64 << 20), options.take("size", parse_size, 0)
    file = options.take("file", str, "")
    block, queues = options.take("block", int, 512), options.take("queues", int, 16)
    entries, ready_ms = options.take("entries", int, 1024), options.take("ready_ms", float, 0.0)
    fast, faults = options.flag("fast"), options.faults()
    options.end()
    if size and not file: raise ValueError("nvme: size is that of a file: name one, or give memory=SIZE")
    if file and "memory" in given: raise ValueError("nvme: a namespace is in a file or in memory, not both")

    class OnBacking(NvmeModel):
        def close(self) -> None:
            super().close()
            backing.close()

    backing = in_file(file, size or None) if file else in_memory(memory)
    try:
        return OnBacking(
            backing, name=f"nvme model on {file or 'memory'}", block=block, queues=queues, entries=entries, fast=fast,
            ready_ms=ready_ms, faults=faults,
        )  # fmt: skip
    except BaseException:
        backing.close()
        raise


def ixgbe(given: Mapping[str, str]) -> Device:
    """An 82599 (``drivers.ixgbe.model``).  ``mode``: conformance (all registers trapped) or fast; ``mac``: as
    02:82:59:90:00:01; ``link_delay``: seconds until the link is up.  What its port is connected to
    (``drivers.ixgbe.wires.Connections``): ``tap``, ``interface``, ``record``, ``play``, ``generate``, ``times``,
    ``storm=yes``; nothing arrives without one of these."""
    from drivers.ixgbe.eeprom import parse_mac
    from drivers.ixgbe.model import Ixgbe, Mode
    from drivers.ixgbe.wires import Connections

    options = Options("ixgbe", given)
    mode = options.take("mode", Mode, Mode.TRAPPED)
    mac = options.take("mac", parse_mac, b"\x02\x82\x59\x90\x00\x01")
    delay, faults = options.take("link_delay", float, 0.0), options.faults()
    connections = Connections(
        tap=options.take("tap", str, ""), interface=options.take("interface", str, ""),
        record=options.take("record", str, ""), play=options.take("play", str, ""),
        generate=options.take("generate", int, 0), times=options.take("times", int, 0), storm=options.flag("storm"),
    )  # fmt: skip
    options.end()
    made = Ixgbe(mode, mac=mac, link_delay=delay, faults=faults)
    try:
        connections.make(made)
    except BaseException:
        made.close()
        raise
    made.start()
    return made


MODELS: Final[dict[str, Callable[[Mapping[str, str]], Device]]] = {"nvme": nvme, "ixgbe": ixgbe}

__all__ = ["MODELS", "Options", "ixgbe", "nvme"]
