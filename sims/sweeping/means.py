"""The means of a sweep's runs: threads, device, compilation, callbacks. Nothing heavy is imported with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sims.engine.programme import Compile

__all__ = ["Means"]

_LIBRARIES = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA")


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What each run of a sweep has at its disposal.

    Parameters
    ----------
    threads : int
        Cores of a run.
    device : str
        Where models are kept, as for `sims.run`.
    compile_when : {'auto', 'always', 'never'}
    callbacks : tuple of str
        Names of those who hear of it.
    """

    threads: int = 1
    device: str = "cpu"
    compile_when: Compile = "never"
    callbacks: tuple[str, ...] = ()

    @property
    def is_card(self) -> bool:
        """Whether a run needs a GPU."""
        return self.device.startswith("cuda")

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that libraries read their number of threads from, when they are loaded."""
        return {f"{library}_NUM_THREADS": str(self.threads) for library in _LIBRARIES}
