"""The test files that run in the lab, in one place."""

__all__ = ["BATCHES"]

BATCHES: dict[str, tuple[str, ...]] = {
    "hypervisor": ("tests/lab/inside/test_host_kind.py",),
}
"""Batch name -> test files, relative to the repository.

A batch is one QEMU run and has four minutes. Python is about 13 times slower there than outside: split a batch before
it needs more than half of that, because a busy host halves the speed again.
"""
