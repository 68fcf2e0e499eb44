"""``/dev/kvm``: opening it, what it offers, and virtual machines with their memslots."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import struct
import threading
from types import TracebackType
from typing import Any, Final, Self

try:
    import hv._native as _native
except ImportError as missing:  # pragma: no cover - depends on the checkout
    raise ImportError("the native part is not built: run `python -m hv.native.build`") from missing

# The native part has no types of its own: what it gives stays inside the modules that import these two names.
ffi: Any = _native.ffi
lib: Any = _native.lib

DEVICE: Final = "/dev/kvm"
API_VERSION: Final = 12
CPUID_ENTRIES: Final = 256
PHYSICAL_WIDTH: Final = 39
"""Bits of the guest-physical map's addresses (abi.layout): no host's may have fewer."""

# What there is no way around: memory regions, MMU notifiers (they make the vCPU drop translations), xsave, kicks.
NEEDED: Final = (
    ("KVM_CAP_USER_MEMORY", "2.6.27"),
    ("KVM_CAP_SYNC_MMU", "2.6.27"),
    ("KVM_CAP_XSAVE", "2.6.36"),
    ("KVM_CAP_XCRS", "2.6.36"),
    ("KVM_CAP_IMMEDIATE_EXIT", "4.13"),
)


class KvmUnavailable(Exception):
    """KVM cannot be used here.  ``reason`` says what was found, ``remedy`` what to do about it."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason = reason
        self.remedy = remedy


def check(result: int, what: str) -> int:
    """The result of a native call; a negative one becomes the OSError that it stands for, naming ``what`` failed."""
    if result < 0:
        raise OSError(-result, f"{what}: {os.strerror(-result)}")
    return result


def ioctl(fd: int, request: str, argument: Any) -> int:
    """An ioctl by its name in ``linux/kvm.h``, its argument a cffi pointer, a writable buffer or a number."""
    number = getattr(lib, request)
    if isinstance(argument, int):
        return check(lib.aero_ioctl_value(fd, number, argument), request)
    if isinstance(argument, (bytearray, memoryview)):
        argument = ffi.from_buffer(argument)
    return check(lib.aero_ioctl(fd, number, argument), request)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise KvmUnavailable(
            f"there is no {path}",
            "load the module (`modprobe kvm_intel` or `modprobe kvm_amd`); if that fails, enable VT-x or AMD-V in the "
            "firmware, or nested virtualization where this is a virtual machine",
        ) from None
    except PermissionError:
        raise KvmUnavailable(
            f"no permission to open {path}",
            "add yourself to the group that owns it (`sudo usermod -aG kvm $USER`) and log in again",
        ) from None
    except OSError as error:
        remedy = "see `dmesg` for what the kvm module says"
        if error.errno in (errno.ENODEV, errno.ENXIO):
            remedy = "the kvm module is there but not the CPU's part of it: `modprobe kvm_intel` or `modprobe kvm_amd`"
        raise KvmUnavailable(f"{path} cannot be opened: {os.strerror(error.errno or 0)}", remedy) from None


class Kvm:
    """The host's KVM.

    Raises KvmUnavailable when the device is missing, not permitted, not KVM, or too old.  Everything it hands out has
    to be closed before or with it; the descriptors are not inherited by child processes.
    """

    def __init__(self, path: str = DEVICE) -> None:
        self.fd = _open(path)
        self._cpuid: bytes | None = None
        try:
            self._require()
        except BaseException:
            self.close()
            raise
        self.run_size = ioctl(self.fd, "KVM_GET_VCPU_MMAP_SIZE", 0)
        self.sync_regs = bool(self.capability(lib.KVM_CAP_SYNC_REGS) & 1)
        """Whether general registers travel with KVM_RUN; without, each exit costs two more ioctls."""
        self.max_vcpus: int = self.capability(lib.KVM_CAP_MAX_VCPUS) or self.capability(lib.KVM_CAP_NR_VCPUS) or 4
        self.max_memslots: int = self.capability(lib.KVM_CAP_NR_MEMSLOTS) or 32
        check(lib.aero_install_kick_signal(), "sigaction")

    def _require(self) -> None:
        try:
            version = ioctl(self.fd, "KVM_GET_API_VERSION", 0)
        except OSError:
            raise KvmUnavailable("the device is not KVM's", f"name KVM's device, usually {DEVICE}") from None
        if version != API_VERSION:
            raise KvmUnavailable(f"KVM speaks API version {version}, not {API_VERSION}", "use a newer Linux kernel")
        for name, since in NEEDED:
            if not self.capability(getattr(lib, name)):
                raise KvmUnavailable(f"KVM lacks {name}", f"use Linux {since} or newer")
        if self.physical_width < PHYSICAL_WIDTH:
            raise KvmUnavailable(
                f"the processor's physical addresses have {self.physical_width} bits, fewer than {PHYSICAL_WIDTH}",
                "use another host; where this is a virtual machine, give it a CPU model with more (host-phys-bits=on)",
            )

    def capability(self, number: int) -> int:
        """What KVM_CHECK_EXTENSION says: 0 for absent, else 1 or a number with a meaning of its own."""
        return ioctl(self.fd, "KVM_CHECK_EXTENSION", number)

    def cpuid(self) -> bytes:
        """A ``struct kvm_cpuid2``: what a vCPU here can have, all of it.  The same for every vCPU."""
        if self._cpuid is None:
            table = bytearray(8 + 40 * CPUID_ENTRIES)
            struct.pack_into("<I", table, 0, CPUID_ENTRIES)
            ioctl(self.fd, "KVM_GET_SUPPORTED_CPUID", table)
            self._cpuid = bytes(table[: 8 + 40 * struct.unpack_from("<I", table)[0]])
        return self._cpuid

    @property
    def physical_width(self) -> int:
        """Bits of a vCPU's physical addresses, MAXPHYADDR (SDM vol. 3, section 4.1.4: CPUID 80000008H, EAX bits 7:0;
        36 where a processor does not say)."""
        return self.cpuid_leaf(0x8000_0008)[0] & 0xFF or 36

    @property
    def giant_pages(self) -> bool:
        """A vCPU here knows page-table entries that map 1 GiB (SDM vol. 2, CPUID 80000001H: EDX bit 26)."""
        return bool(self.cpuid_leaf(0x8000_0001)[3] & 1 << 26)

    def cpuid_leaf(self, function: int, index: int = 0) -> tuple[int, int, int, int]:
        """eax, ebx, ecx, edx of one leaf of ``cpuid``; zeros when it is not there."""
        for leaf, subleaf, _, eax, ebx, ecx, edx, *_ in struct.iter_unpack("<10I", self.cpuid()[8:]):
            if leaf == function and subleaf == index:
                return eax, ebx, ecx, edx
        return 0, 0, 0, 0

    def vm(self) -> Vm:
        """A new virtual machine without memory or vCPUs.  Raises OSError."""
        return Vm(self)

    def close(self) -> None:
        """Closes the device; may be called again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


class Vm:
    """One virtual machine.  KVM frees it when its vCPUs are closed as well."""

    def __init__(self, kvm: Kvm) -> None:
        self.fd = -1
        self.kvm = kvm
        self.fd = ioctl(kvm.fd, "KVM_CREATE_VM", 0)
        self._slots = itertools.count()
        self._lock = threading.Lock()

    def new_slot(self) -> int:
        """A memslot number not used before in this machine."""
        with self._lock:
            slot = next(self._slots)
        if slot >= self.kvm.max_memslots:
            raise OSError(errno.ENOSPC, f"KVM here has {self.kvm.max_memslots} memslots a machine")
        return slot

    def set_memslot(self, slot: int, gpa: int, size: int, host_address: int, *, readonly: bool = False) -> None:
        """Backs ``size`` bytes of guest-physical memory at ``gpa`` by the host memory at ``host_address``; all three
        are multiples of 4096.  Size 0 deletes the slot.  Raises OSError (EEXIST: the range overlaps another slot)."""
        region = ffi.new("struct kvm_userspace_memory_region *")
        region.slot = slot
        region.flags = lib.KVM_MEM_READONLY if readonly else 0
        region.guest_phys_addr = gpa
        region.memory_size = size
        region.userspace_addr = host_address
        ioctl(self.fd, "KVM_SET_USER_MEMORY_REGION", region)

    def create_vcpu(self, index: int) -> int:
        """The file descriptor of a new vCPU, 0 <= index < ``kvm.max_vcpus``; an index is good once a machine."""
        return ioctl(self.fd, "KVM_CREATE_VCPU", index)

    def close(self) -> None:
        """Closes the machine; may be called again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()
