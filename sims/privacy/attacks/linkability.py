"""Linkability: to which node's data a model belongs that somebody sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sims.privacy.attacks.auditing import Rate, rate_of
from sims.privacy.attacks.membership import Observations
from sims.privacy.errors import NotAccountable
from sims.world import World

__all__ = ["LinkFindings", "linked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFindings:
    """How often the sender of a model was found.

    Parameters
    ----------
    models, candidates : int
    top1 : Rate
        Share of the models that were assigned to their senders.
    chance : float
    """

    models: int
    candidates: int
    top1: Rate
    chance: float


def linked(
    observed: Observations, *, nodes: Sequence[int], trained_on: bool, confidence: float = 0.95
) -> LinkFindings:
    """Assign each model to the node on whose data it does best, compared with the other models.

    Parameters
    ----------
    observed : Observations
    nodes : sequence of int
        Senders, each with its data a candidate.
    trained_on : bool
        Whether the attacker knows samples that were trained on, or others of the same nodes.
    confidence : float

    References
    ----------
    Linkability as Pasquini et al. ("On the (in)security of peer-to-peer decentralized machine learning", IEEE S&P
    2023) and later works on decentralised learning have it: a received model against the participants' data.
    """
    found = total = 0
    for run, included in zip(observed.runs, observed.included, strict=True):
        losses = _losses(run.rows[max(run.rows)], run.world, observed, included == trained_on, nodes)
        losses -= losses.mean(axis=0)  # some data are harder for every model
        found += int((losses.argmin(axis=1) == np.arange(len(nodes))).sum())
        total += len(nodes)
    return LinkFindings(
        models=total,
        candidates=len(nodes),
        top1=rate_of(found, total, confidence=confidence),
        chance=1 / len(nodes),
    )


def _losses(
    rows: Tensor, world: World, observed: Observations, known: NDArray[np.bool_], nodes: Sequence[int]
) -> NDArray[np.float64]:
    """Mean loss of each model on what the attacker knows of each node's data, ``[models, candidates]``."""
    models, samples = rows[torch.tensor(nodes)], observed.samples
    columns = []
    for node in nodes:
        own = samples[known & (observed.owners == node)]
        if not len(own):
            raise NotAccountable(f"no sample of node {node} is known", remedy="Use more samples a node.")
        columns.append(world.task.evaluate(models, *world.trainer.data.at(own))["loss"].double().numpy())
    return np.stack(columns, axis=1)
