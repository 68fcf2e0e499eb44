"""Keep one VM with one vCPU open for as long as the lab runs; create the file named as argument when they are there.

Linux patches its own code when the first VM is created and the last one closed (the scheduler's preempt_notifier_key,
KVM's kvm_has_noapic_vcpu). QEMU 7.2 now and then loses such a patch when another emulated processor translates that
code in the same moment: that processor then traps on a stale int3 for ever. Of VMs created and closed one after
another, roughly one in a hundred hung the lab; none of 4500 did with one kept open. For the same reason the lab starts
with one processor and gets the others only then.
"""

import fcntl
import os
import signal
import sys

KVM_CREATE_VM = 0xAE01
KVM_CREATE_VCPU = 0xAE41

kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
vm = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
vcpu = fcntl.ioctl(vm, KVM_CREATE_VCPU, 0)
os.close(os.open(sys.argv[1], os.O_CREAT))
signal.pause()
