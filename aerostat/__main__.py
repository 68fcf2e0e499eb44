"""``python -m aerostat``: the command line."""

from __future__ import annotations

from aerostat.cli import command

command()
