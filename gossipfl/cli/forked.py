"""Preparation of a process that forks peers: what each would do again is done once, as this is imported."""

from __future__ import annotations

from importlib import import_module

from gossipfl.algorithms.registry import bundled
from gossipfl.cli.main import sub_commands

__all__: list[str] = []

for _name in ("gossipfl.cli.peer", "gossipfl.cli.running", "gossipfl.tasks.digits", "numpy.random"):
    import_module(_name)
bundled()
sub_commands()
