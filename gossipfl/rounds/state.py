"""State of a member between two rounds: begun, at rest, given up, or in a digest."""

from __future__ import annotations

from dataclasses import replace

import torch
import xxhash
from torch import Tensor

from gossipfl.algorithms import RoundAlgorithm
from gossipfl.algorithms.author_calls import start_nodes
from gossipfl.codecs import is_finite
from gossipfl.errors import CorruptCheckpoint
from gossipfl.layout import Layout
from gossipfl.rounds.plan import RoundsPlan
from gossipfl.tasks import Task
from gossipfl.training import Nodes, has_diverged

__all__ = ["at_rest", "finite_or_before", "row_digest", "started"]


def started(nodes: Nodes, event: int, plan: RoundsPlan, task: Task) -> Nodes:
    """Give the algorithm's own rows to a member: new ones at a first start, those saved at a later one.

    Parameters
    ----------
    nodes : Nodes
        As they begin or were saved, ``B = 1``.
    event : int
        Number of the round to do next.
    plan : RoundsPlan
    task : Task

    Raises
    ------
    CorruptCheckpoint
        If the saved state is of another algorithm.
    """
    plain = replace(nodes, auxiliary={})
    begun = start_nodes(plan.algorithm, plain, shared_size=task.layout.shared_size, links=plan.links(0))
    if not event:
        return begun
    nodes = _narrowed(nodes, begun, task.layout)
    saved, needed = _described(nodes), _described(begun)
    if saved != needed:
        raise CorruptCheckpoint(
            f"the checkpoint is not one of {plan.name}",
            expected=f"beside the model: {', '.join(needed) or 'nothing'}",
            got=", ".join(saved) or "nothing",
            remedy="Use the settings it was made with, or another --home for the new algorithm.",
        )
    return nodes


def _narrowed(nodes: Nodes, begun: Nodes, layout: Layout) -> Nodes:
    """Saved nodes, whose rows of shared numbers have no more than these.

    In a file of rows that were shared as a whole they look like rows, and were read as such.
    """
    shared = layout.shared_size
    narrow: dict[str, Tensor] = {}
    for name, needed in begun.auxiliary.items():
        saved = nodes.auxiliary.get(name)
        if saved is not None and saved.shape != needed.shape:
            cut = saved[..., :shared] if saved.shape[-1:] == (layout.size,) else saved
            if cut.shape == needed.shape:
                narrow[name] = cut
    return replace(nodes, auxiliary={**nodes.auxiliary, **narrow}) if narrow else nodes


def _described(nodes: Nodes) -> list[str]:
    return sorted(f"{name} {list(tensor.shape)} {tensor.dtype}" for name, tensor in nodes.auxiliary.items())


def at_rest(nodes: Nodes) -> Nodes:
    """Nodes before a round in which they take over others' models: what their optimiser keeps led elsewhere."""
    return replace(nodes, optimiser_state=torch.zeros_like(nodes.optimiser_state))


def finite_or_before(after: Nodes, before: Nodes) -> tuple[Nodes, bool]:
    """Give up a round that produced NaN or an infinity; return whether it did.

    The nodes are then as before the round, but for the steps that they count: their next batches are others.
    """
    kept = [each for each in after.auxiliary.values() if each.is_floating_point()]
    if all(map(is_finite, kept)) and not has_diverged(after.rows, before.rows):
        return after, False
    return replace(before, steps=after.steps), True


def row_digest(nodes: Nodes) -> str:
    """xxh3_64 of a peer's row (``B = 1``) and its personal model, if any, little-endian, in hexadecimal."""
    digest = xxhash.xxh3_64()
    for row in (nodes.rows,) if nodes.models is nodes.rows else (nodes.rows, nodes.models):
        digest.update(row[0].numpy().astype("<f4", copy=False).tobytes())
    return digest.hexdigest()


def measures_of(algorithm: RoundAlgorithm, nodes: Nodes) -> dict[str, float]:
    """What an algorithm measured of a peer (``B = 1``) in its last round, by name."""
    return {
        name: float(nodes.auxiliary[name][0, 0]) for name in algorithm.measures if name in nodes.auxiliary
    }
