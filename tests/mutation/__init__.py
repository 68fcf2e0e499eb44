"""``make mutate``: whether tests and checks notice small changes of the kernel's source, as cosmic-ray makes them."""
