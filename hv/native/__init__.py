"""The C part of the hypervisor: ``aerokvm.c``, compiled by ``python -m hv.native.build`` into ``hv._native``.

C is kept to what Python cannot do or what every exit pays for: ``KVM_RUN`` with the GIL released, the decoding of an
exit, the signals and timers that end a time slice.  Everything else is Python over ``ioctl``.
"""
