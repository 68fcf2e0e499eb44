"""Builds ``hv._native`` from ``aerokvm.c`` with cffi (API mode).

``python -m hv.native.build`` compiles when a source is newer than what is there; ``--force`` always does.  The shared
object lands beside the package, so that a checkout runs in place.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Any, Final

from cffi import FFI

from hv.native.extension import Extension

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent.parent
SOURCE: Final = HERE / "aerokvm.c"
TARGET: Final = HERE.parent / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"

NUMBERS: Final = (
    "KVM_GET_API_VERSION", "KVM_CREATE_VM", "KVM_CHECK_EXTENSION", "KVM_GET_VCPU_MMAP_SIZE",
    "KVM_GET_SUPPORTED_CPUID", "KVM_CREATE_VCPU", "KVM_SET_USER_MEMORY_REGION", "KVM_SET_CPUID2", "KVM_GET_REGS",
    "KVM_SET_REGS", "KVM_RUN", "KVM_GET_SREGS", "KVM_SET_SREGS", "KVM_SET_MSRS", "KVM_GET_MSRS", "KVM_GET_XSAVE",
    "KVM_SET_XSAVE", "KVM_SET_XCRS", "KVM_TRANSLATE", "KVM_MEM_READONLY", "KVM_CAP_USER_MEMORY", "KVM_CAP_NR_VCPUS",
    "KVM_CAP_NR_MEMSLOTS", "KVM_CAP_SYNC_MMU", "KVM_CAP_XSAVE", "KVM_CAP_XCRS", "KVM_CAP_MAX_VCPUS",
    "KVM_CAP_SYNC_REGS", "KVM_CAP_READONLY_MEM", "KVM_CAP_IMMEDIATE_EXIT", "MADV_DONTNEED", "MADV_DONTFORK",
    "MADV_HUGEPAGE", "PROT_READ", "PROT_WRITE", "PROT_EXEC", "MAP_PRIVATE", "MAP_ANONYMOUS", "MAP_FIXED",
    "MAP_NORESERVE", "MADV_POPULATE_WRITE",
    "VFIO_API_VERSION", "VFIO_TYPE1v2_IOMMU", "VFIO_GET_API_VERSION", "VFIO_CHECK_EXTENSION", "VFIO_SET_IOMMU",
    "VFIO_GROUP_GET_STATUS", "VFIO_GROUP_SET_CONTAINER", "VFIO_GROUP_GET_DEVICE_FD", "VFIO_GROUP_FLAGS_VIABLE",
    "VFIO_IOMMU_MAP_DMA", "VFIO_IOMMU_UNMAP_DMA", "VFIO_DMA_MAP_FLAG_READ", "VFIO_DMA_MAP_FLAG_WRITE",
    "VFIO_DEVICE_GET_INFO", "VFIO_DEVICE_FLAGS_RESET", "VFIO_DEVICE_FLAGS_PCI", "VFIO_DEVICE_GET_REGION_INFO",
    "VFIO_REGION_INFO_FLAG_MMAP", "VFIO_REGION_INFO_FLAG_CAPS", "VFIO_REGION_INFO_CAP_SPARSE_MMAP",
    "VFIO_DEVICE_GET_IRQ_INFO", "VFIO_IRQ_INFO_EVENTFD", "VFIO_DEVICE_SET_IRQS", "VFIO_IRQ_SET_DATA_NONE",
    "VFIO_IRQ_SET_DATA_EVENTFD", "VFIO_IRQ_SET_ACTION_TRIGGER", "VFIO_IRQ_SET_ACTION_UNMASK", "VFIO_DEVICE_RESET",
)
VFIO_INDICES: Final = (
    "VFIO_PCI_CONFIG_REGION_INDEX", "VFIO_PCI_INTX_IRQ_INDEX", "VFIO_PCI_MSI_IRQ_INDEX", "VFIO_PCI_MSIX_IRQ_INDEX",
    "VFIO_PCI_REQ_IRQ_INDEX",
)  # fmt: skip

DECLARATIONS: Final = """
enum { TRAP_SYSCALL, TRAP_FAULT, TRAP_PREEMPTED, TRAP_MMIO, TRAP_CRASHED, ... };

struct kvm_regs {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags;
};
struct kvm_segment {
    uint64_t base; uint32_t limit; uint16_t selector; uint8_t type;
    uint8_t present, dpl, db, s, l, g, avl, unusable; ...;
};
struct kvm_dtable { uint64_t base; uint16_t limit; ...; };
struct kvm_sregs {
    struct kvm_segment cs, ds, es, fs, gs, ss, tr, ldt;
    struct kvm_dtable gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, cr8, efer, apic_base;
    ...;
};
struct kvm_userspace_memory_region {
    uint32_t slot, flags; uint64_t guest_phys_addr, memory_size, userspace_addr;
};
struct kvm_translation {
    uint64_t linear_address, physical_address; uint8_t valid, writeable, usermode; ...;
};
struct aero_gate {
    uint64_t user_end, gate, sysret, stubs, iret; uint16_t gate_port, stub_port; int lstar_cpl;
};
struct aero_vcpu {
    struct kvm_regs regs;
    uint64_t vector, error_code, fault_address;
    uint64_t mmio_address, mmio_data;
    uint32_t mmio_length, mmio_is_write;
    uint16_t ds, es, fs, gs;
    char crash_reason[...];
    ...;
};
struct vfio_group_status { uint32_t argsz, flags; };
struct vfio_iommu_type1_dma_map { uint32_t argsz, flags; uint64_t vaddr, iova, size; };
struct vfio_iommu_type1_dma_unmap { uint32_t argsz, flags; uint64_t iova, size; ...; };
struct vfio_device_info { uint32_t argsz, flags, num_regions, num_irqs; ...; };
struct vfio_region_info { uint32_t argsz, flags, index, cap_offset; uint64_t size, offset; };
struct vfio_info_cap_header { uint16_t id, version; uint32_t next; };
struct vfio_region_sparse_mmap_area { uint64_t offset, size; };
struct vfio_region_info_cap_sparse_mmap {
    struct vfio_info_cap_header header; uint32_t nr_areas; ...; struct vfio_region_sparse_mmap_area areas[];
};
struct vfio_irq_info { uint32_t argsz, flags, index, count; };
struct vfio_irq_set { uint32_t argsz, flags, index, start, count; ...; };
void aero_touch(void *address, size_t length);
struct aero_hold { uint64_t count, total, longest; int64_t cores_out; ...; };
void aero_hold_begins(void);
void aero_hold_ends(struct aero_hold *h);
void aero_hold_by_core(struct aero_hold *h);
void aero_cores_out(struct aero_hold *h, int64_t more);
int aero_install_kick_signal(void);
int aero_ioctl(int fd, unsigned long request, void *argument);
int aero_ioctl_value(int fd, unsigned long request, unsigned long value);
int aero_open(struct aero_vcpu *v, int fd, size_t run_size, int sync, const struct aero_gate *gate,
              void *stack_top, uint64_t stack_top_guest);
void aero_close(struct aero_vcpu *v);
void aero_settle(struct aero_vcpu *v);
void aero_settled_in_program(struct aero_vcpu *v);
int aero_run(struct aero_vcpu *v);
void aero_deliver(const struct kvm_regs *said, struct kvm_regs *to, uint64_t badge, uint64_t item, uint64_t object);
void aero_kick(struct aero_vcpu *v);
int aero_is_running(struct aero_vcpu *v);
int aero_slice_start(uint64_t nanoseconds);
int aero_slice_is_over(void);
void aero_slice_stop(void);
int64_t aero_raw_exit_loop(struct aero_vcpu *v, uint64_t n);
int aero_replay(struct aero_vcpu *v, uint64_t number, uint64_t n, uint64_t last);
int madvise(void *address, size_t length, int advice);
void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset);
int mincore(void *address, size_t length, unsigned char *pages);
int mprotect(void *address, size_t length, int protection);
"""


def describe() -> Any:
    """The cffi builder, also for setuptools' ``cffi_modules``."""
    builder = FFI()
    indices = f"enum {{ {', '.join(VFIO_INDICES)}, ... }};\n"
    builder.cdef("".join(f"#define {name} ...\n" for name in NUMBERS) + indices + DECLARATIONS)
    builder.set_source(
        "hv._native", '#line 1 "aerokvm.c"\n' + SOURCE.read_text(), extra_compile_args=["-O2", "-Wall", "-Wextra"]
    )
    return builder


EXTENSION: Final = Extension(TARGET, describe, lambda: (SOURCE, Path(__file__)))
is_current, build = EXTENSION.is_current, EXTENSION.build

if __name__ == "__main__": EXTENSION.main(ROOT)
