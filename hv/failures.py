"""What can be wrong with a machine, and not with a program in it."""

from __future__ import annotations


class MachineFailed(Exception):
    """The machine cannot go on: an error of aerostat itself, not of a program.  The cause is attached."""


class OutOfMemory(Exception):
    """A program could not be loaded, or a container or endpoint made, within the memory that there is for it."""


__all__ = ["MachineFailed", "OutOfMemory"]
