"""Sizes of batches in programmes: those of the nodes, or a few to which they are padded."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gossipfl.training.padding import require_padding
from sims.world import World

__all__ = ["FEW", "BatchSizes"]

logger = logging.getLogger(__name__)

Ints = NDArray[np.int64]

FEW = 4
"""Sizes of batches that are worth a programme each."""
_SMALLEST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSizes:
    """How many samples a node's batch has in a programme.

    Parameters
    ----------
    of : ndarray
        Of each node, int64 ``[N]``.
    padded : ndarray
        Whether some of them may count for nothing, bool ``[N]``.
    """

    of: Ints
    padded: NDArray[np.bool_]

    @classmethod
    def of_world(cls, world: World) -> BatchSizes:
        """Sizes of a world: what has too few samples is padded to powers of two, if that saves programmes.

        And if it changes nothing: a log says why not.
        """
        whole = world.scenario.training.batch_size
        own = np.minimum(world.trainer.data.counts, whole).astype(np.int64)
        everybody = np.unique(np.minimum(world.sample_counts, whole))
        as_they_are = cls(of=own, padded=np.zeros(len(own), dtype=np.bool_))
        if len(everybody) <= FEW:
            return as_they_are
        try:
            require_padding(world.task, world.trainer.gradients, world.samples)
        except Exception as error:  # whatever it is: batches as they are have been tried
            logger.warning(
                "%s: batches of %d sizes are not padded, and make a programme each: %s",
                world.task.name,
                len(everybody),
                (str(error).splitlines() or [type(error).__name__])[0],
            )
            return as_they_are
        powers = 1 << np.ceil(np.log2(np.maximum(own, _SMALLEST))).astype(np.int64)
        return cls(of=np.minimum(powers, whole), padded=own < whole)

    @classmethod
    def alike(cls, nodes: int, size: int = 1) -> BatchSizes:
        """The same for so many nodes."""
        return cls(of=np.full(nodes, size, dtype=np.int64), padded=np.zeros(nodes, dtype=np.bool_))

    @property
    def groups(self) -> tuple[list[tuple[int, bool]], Ints]:
        """The sizes there are, with whether they are padded, and which of these each node has."""
        found, of_node = np.unique(2 * self.of + self.padded, return_inverse=True)
        return [(int(each) // 2, bool(each % 2)) for each in found], of_node.astype(np.int64)
