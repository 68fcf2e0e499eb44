"""The lab: a machine in a machine, whose /dev/kvm is of the other kind (SVM, nested paging, LSTAR entered at CPL 0).

QEMU emulates an AMD processor in software, an ordinary Debian kernel offers /dev/kvm in it, and pytest runs named
test files of this project there with the interpreter and the packages of this environment.

    files.py     which test files run there, one batch a QEMU run
    kernel.py    a kernel package, Debian's or Ubuntu's, -> a bootable kernel and the modules needed, in load order
    cpio.py      the archive format the kernel unpacks its first file system from
    image.py     what is in that file system: interpreter, packages, repository, busybox, modules, `init`
    init         the first process in it
    hardware.py  a disk and a network card behind an IOMMU, for batches that ask for them
    outside.py   what the host sees of what tests did with these
    lab.py       start QEMU, follow it, end it, and read the results
    inside/      tests that only make sense in the lab

The kernel is Debian's, but for the batch "iommufd", which needs one that has it: Ubuntu's, pinned in kernel.py.

What an emulated processor does not do, so that tests which need it belong in files that are not named for the lab:

- It raises neither #AC for unaligned accesses nor #XM for unmasked SSE exceptions.
- Its translation buffer is empty after every entry into a guest: stale translations cannot be seen.
- `int3` and `int n` do nothing, without a sign, if delivering them meets a page of the gate (descriptor table, stack,
  stub) that the nested page tables do not map yet. Any other exception on that vCPU beforehand maps them, for which
  hv.vcpu rehearses one.

Tests here see AEROSTAT_LAB=1 in their environment. One that waits for a guest for ever is ended after two minutes.
"""
