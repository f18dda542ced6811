"""Energy: the processor time of a training step on one device."""

from __future__ import annotations

import time

import numpy as np
import torch

from gossipfl.training import Nodes
from sims.world import World

__all__ = ["seconds_of_a_step"]

_MEASURED = 9


def seconds_of_a_step(world: World) -> float:
    """Measure the processor time of one training step of one node, as a peer does it: the median of nine.

    Parameters
    ----------
    world : World

    Returns
    -------
    float
        Seconds on one core of this machine.
    """
    trainer, threads = world.trainer, torch.get_num_threads()
    nodes = Nodes.start(world.first_rows()[:1], optimiser_state_size=trainer.optimiser_state_size)
    taken = []
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            for _ in range(_MEASURED):
                before = time.process_time()
                nodes, _ = trainer.train(nodes, np.zeros(1, dtype=np.int64))
                taken.append(time.process_time() - before)
    finally:
        torch.set_num_threads(threads)
    return float(np.median(taken)) / trainer.settings.local_steps
