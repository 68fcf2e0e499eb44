"""Calls on devices and IOMMU domains."""

from __future__ import annotations

from typing import Final

from abi.calls.call import ADDRESS, LENGTH, Call, u64
from abi.errors import EBUSY, EEXIST, EFAULT, EINVAL, EIO, ENOMEM, ENOSPC, EPERM, ESRCH

_DOMAIN = u64("handle", "a handle of an IOMMU domain")
_DEVICE = u64("handle", "a handle of a device")

DEVICES: Final[tuple[Call, ...]] = (
    Call(
        0x1030,
        "domain_create",
        (),
        "a handle of the new domain",
        (
            (EBUSY, "the caller's container is ending"),
            (ENOSPC, "no free handle"),
            (ENOMEM, "no quota for the domain's page"),
        ),
        "Creates an IOMMU domain: the memory that devices attached to it can reach; none at first.",
    ),
    Call(
        0x1031,
        "domain_close",
        (_DOMAIN,),
        "0",
        ((ESRCH, "no such handle, or not a domain's"), (EBUSY, "it maps something, or a device is attached to it")),
        "Ends an empty IOMMU domain.",
    ),
    Call(
        0x1032,
        "domain_map",
        (
            _DOMAIN,
            ADDRESS,
            LENGTH,
            u64("iova", "where devices find it, a multiple of 4096 below 2^48"),
            u64("protection", "AERO_READ, or AERO_READ | AERO_WRITE"),
        ),
        "0",
        (
            (ESRCH, "no such handle, or not a domain's"),
            (EINVAL, "a range or iova that is not valid, a 2 MiB page cut or aligned otherwise, another protection"),
            (EFAULT, "a page of the range is not mapped, is a 1 GiB page, or registers"),
            (EPERM, "devices would be allowed more than the caller is"),
            (EEXIST, "something is mapped at iova"),
            (ENOSPC, "more than 64 pages and blocks, more than 65535 in the domain, or than the hardware takes"),
            (EIO, "the hardware of an attached device cannot map there"),
        ),
        "Lets the devices of a domain reach memory of the caller.  What is unmapped here stays until it is unmapped "
        "there too.",
    ),
    Call(
        0x1033,
        "domain_unmap",
        (_DOMAIN, u64("iova", "a multiple of 4096"), LENGTH),
        "0",
        (
            (ESRCH, "no such handle, or not a domain's"),
            (EINVAL, "not page aligned, empty, or the range cuts a 2 MiB page"),
            (EFAULT, "a page of the range is not mapped"),
            (ENOSPC, "more than 64 pages and blocks"),
        ),
        "Takes memory from the devices of a domain.",
    ),
    Call(
        0x1034,
        "device_attach",
        (_DEVICE, u64("domain", "a handle of a domain")),
        "0",
        (
            (ESRCH, "no such handles, or not a device's and a domain's"),
            (EBUSY, "the device is attached"),
            (ENOSPC, "the domain maps more than the hardware's IOMMU takes"),
            (EIO, "the hardware cannot map something where the domain does"),
        ),
        "Lets a device reach the memory of a domain.",
    ),
    Call(
        0x1035,
        "device_detach",
        (_DEVICE,),
        "0",
        ((ESRCH, "no such handle, or not a device's"), (EINVAL, "the device is not attached")),
        "Has a device reach no memory any more.",
    ),
    Call(
        0x1036,
        "interrupt_bind",
        (_DEVICE, u64("endpoint", "a handle of an endpoint that can receive; 0 for none any more")),
        "0",
        (
            (ESRCH, "no such handles, or not a device's and an endpoint's"),
            (EPERM, "the endpoint's handle lacks RECEIVE"),
            (EBUSY, "the device's interrupts are bound"),
        ),
        "Has the interrupts of a device signalled at an endpoint, where message_receive returns their number.",
    ),
    Call(
        0x1037,
        "device_map",
        (
            _DEVICE,
            u64("region", "the number of a region of registers (a BAR)"),
            u64("offset", "in it, a multiple of 4096"),
            ADDRESS,
            LENGTH,
            u64("protection", "AERO_READ, or AERO_READ | AERO_WRITE"),
        ),
        "0",
        (
            (ESRCH, "no such handle, or not a device's"),
            (EINVAL, "a range that is not valid, beyond the region, another protection"),
            (EEXIST, "something is mapped in the range"),
            (ENOMEM, "no quota for the pages, or for page tables"),
            (ENOSPC, "more than 64 pages, or 64 such mappings of the device"),
        ),
        "Maps registers of a device.  They are charged, shared, protected and unmapped as memory is, but are never "
        "executable, and are accessed 1, 2, 4 or 8 bytes at a time.  When the device passes on, is removed or its "
        "holder ends, loads give all ones and stores vanish.",
    ),
    Call(
        0x1038,
        "device_info",
        (_DEVICE, u64("what", "one of AERO_DEVICE_*")),
        "the number",
        (
            (ESRCH, "no such handle, or not a device's"),
            (EINVAL, "what is none of these, or a region or vector that there is not"),
        ),
        "Tells of a device: what it is, its regions of registers, its interrupts.",
    ),
    Call(
        0x1039,
        "device_reset",
        (_DEVICE,),
        "0",
        (
            (ESRCH, "no such handle, or not a device's"),
            (EBUSY, "it is being reset"),
            (EIO, "the hardware cannot be reset"),
        ),
        "Resets a device: its registers are as at power-on, nothing is in progress.  What it is attached to stays.",
    ),
)

__all__ = ["DEVICES"]
