"""Reasons why a participant gains little: data unlike the others', few samples, or wrong labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gossipfl.tasks.samples import class_labels, leaves
from gossipfl.training import NodeData
from sims.contribution.cross_prediction import LabelNoise

__all__ = ["DataTraits", "reasons_of", "traits_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_DRAWS = 400
_UNLIKELY = 0.01
_FAR_LABELS = 0.2  # of the samples would need another class
_FAR_INPUTS = 0.5  # deviations, root mean square over inputs
_FEW = 0.5  # of the median number of samples
_NOISY = 0.1
_MOST_INPUTS = 256  # compared: evenly spaced ones of more

Distance = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataTraits:
    """What is known of the data of n participants.

    Parameters
    ----------
    samples : ndarray
        Number of each one's samples, int64 ``[n]``.
    label_distance : ndarray
        Total variation ½ Σ_c |p_i(c) − p_rest(c)| between classes of its samples and of all others', ``[n]``; NaN
        where targets are no classes.
    input_distance : ndarray
        Root mean square, over inputs, of the difference of means in units of the deviation over all, ``[n]``.
    unlikely : ndarray
        Whether one distance or the other is above those of 99 % of random draws of as many samples, bool ``[n]``.
    noise : LabelNoise
        What cross-prediction says of its labels.
    """

    samples: Ints
    label_distance: Floats
    input_distance: Floats
    unlikely: NDArray[np.bool_]
    noise: LabelNoise


def traits_of(data: NodeData, noise: LabelNoise, *, seed: int = 0) -> DataTraits:
    """Look at all participants' data, which real peers never show.

    Parameters
    ----------
    data : NodeData
    noise : LabelNoise
        What is known of their labels.
    seed : int
        Draws the samples that distances are compared with.
    """
    classes = class_labels(data.targets)
    generator = np.random.Generator(np.random.Philox(key=[seed, 5]))
    pool = np.unique(data.indices)
    inputs = _features(data)
    labels = None if classes is None else np.eye(int(classes.max()) + 1)[classes]
    distances = []
    for table in (labels, inputs):
        if table is None:
            distances.append((np.full(len(data.counts), np.nan), np.zeros(len(data.counts), dtype=np.bool_)))
            continue
        how = _total_variation if table is labels else _root_mean_square
        scaled = table if table is labels else _standardised(table, pool)
        distances.append(_distances(scaled, data, pool=pool, how=how, generator=generator))
    return DataTraits(
        samples=data.counts,
        label_distance=distances[0][0],
        input_distance=distances[1][0],
        unlikely=distances[0][1] | distances[1][1],
        noise=noise,
    )


def reasons_of(traits: DataTraits, i: int) -> list[str]:
    """Say what sets a participant's data apart; empty if nothing does."""
    said = []
    labels, inputs = traits.label_distance[i], traits.input_distance[i]
    if traits.unlikely[i] and labels > _FAR_LABELS:
        said.append(
            f"its classes differ from the others': {labels:.0%} of its samples would need another one"
        )
    if traits.unlikely[i] and inputs > _FAR_INPUTS:
        said.append(f"its inputs differ from the others' by {inputs:.2g} deviations")
    median = float(np.median(traits.samples))
    if traits.samples[i] < _FEW * median:
        said.append(f"it has few samples: {traits.samples[i]}, where the median is {median:g}")
    if traits.noise.looks_wrong(share=_NOISY)[i]:
        said.append(
            f"about {traits.noise.share[i]:.0%} of its labels look wrong to models that did not see them"
        )
    return said


def _features(data: NodeData) -> Floats | None:
    """Inputs as numbers ``[S, F]``; None if they are no real numbers in memory."""
    found = leaves(data.inputs)
    if not data.in_memory or not all(leaf.is_floating_point() for leaf in found):
        return None
    columns = [leaf.reshape(len(leaf), -1) for leaf in found]
    step = -(-sum(each.shape[1] for each in columns) // _MOST_INPUTS)
    return np.concatenate([each[:, ::step].double().numpy() for each in columns], axis=1)


def _standardised(table: Floats, pool: Ints) -> Floats:
    deviation = table[pool].std(axis=0)
    varying = deviation > 0
    scaled: Floats = (table[:, varying] - table[pool][:, varying].mean(axis=0)) / deviation[varying]
    return scaled


def _total_variation(mean: Floats, rest: Floats) -> Floats:
    distance: Floats = 0.5 * np.abs(mean - rest).sum(axis=-1)
    return distance


def _root_mean_square(mean: Floats, rest: Floats) -> Floats:
    distance: Floats = np.sqrt(np.square(mean - rest).mean(axis=-1))
    return distance


def _distances(
    table: Floats,
    data: NodeData,
    *,
    pool: Ints,
    how: Distance,
    generator: np.random.Generator,
) -> tuple[Floats, NDArray[np.bool_]]:
    """Distance of each part from all others, and whether random parts of its size are hardly ever as far."""
    indices, offsets = data.indices, data.offsets
    total = table[indices].sum(axis=0)
    distance, unlikely = [], []
    for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        size, rest = end - start, len(indices) - (end - start)
        own = table[indices[start:end]].sum(axis=0)
        distance.append(float(how(own / size, (total - own) / rest)))
        drawn = np.stack([table[generator.choice(pool, size)].sum(axis=0) for _ in range(_DRAWS)])
        random = how(drawn / size, (total - drawn) / rest)
        unlikely.append(bool(np.mean(random >= distance[-1]) < _UNLIKELY))
    return np.array(distance), np.array(unlikely)
