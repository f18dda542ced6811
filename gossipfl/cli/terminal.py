"""Detection of a terminal that can be drawn on."""

from __future__ import annotations

import os
import sys

__all__ = ["may_draw"]


def may_draw() -> bool:
    """Whether standard output is a terminal, and this process is in its foreground.

    What was started with ``&`` shares the terminal with whoever types there, and redraws nothing.
    """
    if not sys.stdout.isatty():
        return False
    try:
        return os.tcgetpgrp(sys.stdout.fileno()) == os.getpgrp()
    except OSError:  # a terminal, but not the one this process belongs to
        return True
