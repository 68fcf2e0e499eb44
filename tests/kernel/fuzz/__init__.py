"""Random system calls from random threads on the kernel alone: drawn by hypothesis, shrunk by it, kept as cases."""
