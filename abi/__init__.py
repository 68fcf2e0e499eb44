"""What user programs and the kernel agree on: system calls, errors, the memory layout, ELF images, the first stack."""
