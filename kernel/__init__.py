"""The microkernel: flat state, transitions, specs and invariants, each written once.

A transition is a plain function ``f(k, ...) -> int`` over the state ``k``: it validates every argument, returns
``-error`` before the first write or changes the state and returns a result, has no loop, and calls only other
transitions.  The same source is run on each exit (journalled, so that its writes are known), checked there against its
spec and the invariants, audited, and proved.  Nothing in here knows KVM, files, clocks or threads.
"""

from typing import Final

from kernel.compiled import install

COMPILED: Final = install()
"""The kernel that is imported is the compiled one (``kernel.compiled``)."""
