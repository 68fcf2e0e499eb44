"""Machines described by data: a file (docs/machine-files.md), or objects of ``aerostat.description.machine``."""
