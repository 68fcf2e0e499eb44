"""``python -m aerostat``: the command line."""

from __future__ import annotations

import sys

from aerostat.cli import main

sys.exit(main())
