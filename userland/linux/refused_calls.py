"""System calls that are known and refused to every program: the network, and what only an administrator may do."""

from __future__ import annotations

from userland.linux.errors import EACCES, EPERM
from userland.linux.task import Task


def _privileged(task: Task) -> int:
    return -EPERM


def sys_socket(task: Task) -> int:
    # The network is denied.
    return -EACCES


sys_socketpair = sys_socket
sys_perf_event_open = sys_socket
sys_chroot = sys_mount = sys_umount2 = sys_pivot_root = _privileged
sys_swapon = sys_swapoff = sys_reboot = sys_sethostname = sys_setdomainname = _privileged
sys_ptrace = sys_bpf = sys_init_module = sys_delete_module = sys_acct = _privileged
sys_iopl = sys_ioperm = sys_vhangup = sys_kexec_load = _privileged
