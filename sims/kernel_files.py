"""Files of the functions that numba compiles, and of what these take from elsewhere."""

from __future__ import annotations

from pathlib import Path

import gossipfl

__all__ = ["kernel_files"]

_SIMS = Path(__file__).parent
_GOSSIPFL = Path(gossipfl.__file__).parent


def kernel_files() -> list[Path]:
    """What the simulator's kernels are compiled from, in the same order each time."""
    return [
        *sorted((_SIMS / "compiler").rglob("*.py")),
        _SIMS / "clock/fair_shares.py",
        *(_SIMS / "engine" / f"{name}.py" for name in ("batches", "blocks", "mixing", "prefetch", "table")),
        _SIMS / "sharding/supersteps.py",
        _GOSSIPFL / "algorithms/gossip/flow.py",
    ]
