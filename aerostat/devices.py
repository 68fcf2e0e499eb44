"""``aerostat devices``, ``aerostat bind`` and ``aerostat unbind``: the host's PCI devices, and who drives them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from aerostat.statuses import FAILED, USAGE, complain
from hv.pci import (
    DEV,
    SYSFS,
    DeviceUnavailable,
    Function,
    bind,
    container_nodes,
    functions,
    iommufd_nodes,
    nodes,
    obstacle,
    refused,
    unbind,
)

CLASSES: Final = {
    0x0100: "SCSI storage", 0x0101: "IDE storage", 0x0106: "SATA storage", 0x0107: "SAS storage",
    0x0108: "NVMe storage", 0x0180: "storage", 0x0200: "Ethernet", 0x0280: "network", 0x0300: "display",
    0x0302: "3D display", 0x0403: "sound", 0x0600: "host bridge", 0x0601: "ISA bridge", 0x0604: "PCI bridge",
    0x0680: "bridge", 0x0780: "communication", 0x0880: "system", 0x0C03: "USB", 0x0C05: "SMBus",
    0x1200: "accelerator",
}  # fmt: skip
"""What the first two bytes of a class code mean (PCI Code and ID Assignment Specification), of what there is most."""
READY: Final = "ready: aerostat run --device {0}=NAME"


def _state(function: Function, sysfs: Path, dev: Path) -> str:
    """What stands between a device and a program, or how to give it to one."""
    found = obstacle(function, sysfs)
    if found: return found
    closed = refused(nodes(function, sysfs, dev))
    if closed: return f"no permission: sudo chown $USER {' '.join(map(str, closed))}"
    return READY.format(function.address)


def devices(*, as_json: bool, sysfs: Path = SYSFS, dev: Path = DEV) -> int:
    """Lists the host's PCI devices; returns the exit status."""
    found = functions(sysfs)
    if as_json:
        told = [asdict(f) | {"class_name": CLASSES.get(f.class_code >> 8, ""), "state": _state(f, sysfs, dev)}
                for f in found]  # fmt: skip
        print(json.dumps(told, indent=2))
        return 0
    rows = [("ADDRESS", "ID", "CLASS", "GROUP", "DRIVER", "TO PASS IT THROUGH")]
    for f in found:
        rows.append((
            f.address, f"{f.vendor_id:04x}:{f.device_id:04x}", CLASSES.get(f.class_code >> 8, f"{f.class_code:06x}"),
            str(f.group) if f.group >= 0 else "-", f.driver or "-", _state(f, sysfs, dev),
        ))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]).rstrip())
    return 0


def change_drivers(addresses: Sequence[str], *, to_vfio: bool, sysfs: Path = SYSFS, dev: Path = DEV) -> int:
    """``aerostat bind`` and ``unbind``; returns the exit status."""
    change: Callable[[str, Path], Function] = bind if to_vfio else unbind
    for address in addresses:
        try:
            function = change(address, sysfs)
        except ValueError as error:
            complain(str(error))
            return USAGE
        except DeviceUnavailable as error:
            complain(f"{error.reason}\n  {error.remedy}")
            return FAILED
        said = f"{function.address}: driven by {function.driver or 'nobody'}"
        if to_vfio and function.group >= 0:
            said += f", group {function.group}: {container_nodes(function, dev)[-1]}"
            by_iommufd = iommufd_nodes(function, sysfs, dev)
            if by_iommufd: said += f", by iommufd {' and '.join(map(str, by_iommufd))}"
        print(said)
    return 0


__all__ = ["CLASSES", "change_drivers", "devices"]
