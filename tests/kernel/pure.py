"""Tests that need the kernel's sources: they put something of their own in the place of a class or function, or ask of
one what only Python has.  Where the kernel is compiled, ``test_pure`` runs them with the sources."""

from __future__ import annotations

import pytest

import kernel

with_sources = pytest.mark.skipif(kernel.COMPILED, reason="done by test_pure, which has the kernel's sources run")

__all__ = ["with_sources"]
