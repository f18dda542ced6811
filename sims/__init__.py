"""Many peers without a network: the simulator.

``sims.run(scenario)`` simulates a scenario, ``sims.sweep(sweep)`` one at many points; ``sims.load_scenario(file)``
and ``sims.load_sweep(file)`` read them, and ``sims.load_run(directory)`` what a run recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossipfl.caches import keep_compilers_caches
from sims.kernel_files import kernel_files
from topology.lazy import lazy_attributes

if TYPE_CHECKING:
    from sims.running import Progress, Recorded, Result, load_run, run
    from sims.scenario import Scenario, load_scenario, parse_scenario
    from sims.sweeping import Sweep, SweepProgress, SweepResult, load_sweep, parse_sweep, sweep
    from sims.tracking import Callback

keep_compilers_caches(kernel_files())  # before any module imports numba

__all__ = [
    "Callback",
    "Progress",
    "Recorded",
    "Result",
    "Scenario",
    "Sweep",
    "SweepProgress",
    "SweepResult",
    "load_run",
    "load_scenario",
    "load_sweep",
    "parse_scenario",
    "parse_sweep",
    "run",
    "sweep",
]

# The command line must load without torch and numba.
__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        **dict.fromkeys(("Progress", "Recorded", "Result", "load_run", "run"), "sims.running"),
        "Callback": "sims.tracking",
        **dict.fromkeys(("Scenario", "load_scenario", "parse_scenario"), "sims.scenario"),
        **dict.fromkeys(
            ("Sweep", "SweepProgress", "SweepResult", "load_sweep", "parse_sweep", "sweep"), "sims.sweeping"
        ),
    },
)
