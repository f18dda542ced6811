"""Training of many rows at once: tried, or known to work from an earlier run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sims.engine.kept_graphs import forget, is_noted, note, place_of
from sims.errors import SimulationError
from sims.world import World

__all__ = ["Batching"]


@dataclass(slots=True)
class Batching:
    """Batched training of a world's model.

    Parameters
    ----------
    holds : bool
        Whether it is pure tensor arithmetic over rows.
    """

    holds: bool
    _world: World
    _place: Path
    _is_tried: bool

    @classmethod
    def of(cls, world: World) -> Batching:
        """Try a world's model, unless an earlier run did.

        Trying loads what batching needs. Graphs that were kept do not, and are tried against single rows.
        """
        place, gradients = _place(world), world.trainer.gradients
        known = not (gradients.draws or gradients.changes_parameters) and is_noted(place)
        if known:
            vars(gradients)["vectorised"] = True  # the value of a cached property
        holds = world.trainer.traceable
        if holds and not known:
            note(place)
        return cls(holds, world, place, not known)

    @classmethod
    def is_known(cls, world: World) -> bool:
        """Whether an earlier run of this model and algorithm tried it, and so kept what it traced."""
        return is_noted(_place(world))

    def require(self) -> None:
        """Try now what was only known from an earlier run: before something is traced anew.

        Raises
        ------
        SimulationError
            If rows together come out otherwise than one by one, though they did not in that run.
        """
        if self._is_tried or not self.holds:
            return
        try:
            self._world.trainer.gradients.require_same()
        except Exception as error:
            forget(self._place)
            raise SimulationError(
                "rows of the model no longer train together as they did in an earlier run",
                got=f"{type(error).__name__}: {error}",
                remedy="Run it again: what was known of the model has been dropped.",
            ) from error
        self._is_tried = True


def _place(world: World) -> Path:
    scenario = world.scenario
    return place_of(("trains together", world.recipe, repr(scenario.algorithm), scenario.engine.rows))
