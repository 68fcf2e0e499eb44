"""The processor's side of page tables: its walk, in bit-vectors, and that the kernel's tables are what it can walk."""
