"""The kinds of devices that a machine can have, by the words that name them.

``pci`` is a device of the host, passed through; each other kind is a model, in ``drivers``.  Without the hardware, or
an IOMMU, the same programs run on the models: the difference is what is named here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from hv.device import Device
from hv.pci import full_address

PCI: Final = "pci"
KINDS: Final = (PCI, "nvme", "ixgbe")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def open_kind(kind: str, options: Mapping[str, str]) -> Device:
    """A device of this kind.  Raises ValueError for no such kind, or options that are wrong; DeviceUnavailable
    (``hv.pci``) and OSError for what the host does not have."""
    if kind == PCI:
        from hv.vfio import VfioDevice

        if set(options) != {"address"}: raise ValueError("a pci device has an address, such as 0000:05:00.0")
        return VfioDevice(options["address"])
    if kind not in KINDS: raise ValueError(f"there is no kind of device {kind!r}: {', '.join(KINDS)}")
    from aerostat.modelled_devices import MODELS

    return MODELS[kind](options)


def parse(what: str) -> tuple[str, dict[str, str]]:
    """Kind and options of ``0000:05:00.0`` or ``KIND:KEY=VALUE,KEY=VALUE``.  ValueError for other words."""
    kind, _, rest = what.partition(":")
    if kind not in KINDS: return PCI, {"address": full_address(what)}
    if kind == PCI: return PCI, {"address": full_address(rest)}
    options: dict[str, str] = {}
    for word in filter(None, rest.split(",")):
        key, equals, value = word.partition("=")
        if not equals: raise ValueError(f"{word!r} of {what!r} is not KEY=VALUE")
        options[key] = value
    return kind, options


def open_named(what: str) -> Device:
    """The device that these words name (``parse``); errors as ``open_kind``."""
    return open_kind(*parse(what))


def split_name(argument: str) -> tuple[str, str]:
    """What ``--device`` says: the device, and the name that the program knows it by.  ValueError."""
    what, equals, name = argument.rpartition("=")
    if not equals or not what or _NAME.fullmatch(name) is None:
        raise ValueError(f"--device {argument}: write DEVICE=NAME, such as 0000:05:00.0=nvme0 or nvme:memory=64M=nvme0")
    parse(what)
    return what, name


__all__ = ["KINDS", "PCI", "open_kind", "open_named", "parse", "split_name"]
