"""Wrong labels, found by cross-prediction: labels beside those of models that never saw the sample."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor

from gossipfl.tasks import Task
from gossipfl.tasks.samples import Weighted, class_labels, map_leaves
from gossipfl.training import NodeData, Trainer
from sims.contribution.alone import trained_alone

__all__ = ["LabelNoise", "label_noise"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FOLDS = 5
_MOST_STEPS = 2000
_PURPOSE = 9
_SAMPLES_AT_ONCE = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelNoise:
    """What cross-prediction says of the labels of n participants.

    Parameters
    ----------
    share : ndarray
        Estimated share of wrong labels, ``[n]``, from 0 to 1; NaN where unknown.
    p_value : ndarray
        Probability of so many disagreements, or more, if its labels were as good as the others' of the same
        classes, ``[n]``; 1 where unknown.
    """

    share: Floats
    p_value: Floats

    def looks_wrong(self, *, share: float, error: float = 0.01) -> NDArray[np.bool_]:
        """Whose labels look wrong: a larger share than this, and not by chance, bool ``[n]``.

        Parameters
        ----------
        share : float
        error : float
            Probability that any of n participants with sound labels is named (Bonferroni's correction).
        """
        return (self.share > share) & (self.p_value < error / len(self.share))

    @classmethod
    def unknown(cls, n: int) -> LabelNoise:
        """Nothing about n participants."""
        return cls(share=np.full(n, np.nan), p_value=np.ones(n))


def label_noise(task: Task, trainer: Trainer, first: Tensor, *, steps: float, seed: int = 0) -> LabelNoise:
    """Estimate the share of each participant's labels that are wrong.

    All participants' samples are dealt into five folds, and the labels of each are predicted by a model that was
    trained on the other four (Northcutt et al. 2021). Its error on a participant's samples, e, is compared with
    its error e₀ on the others' of the same classes, as their labels say: a share r of labels replaced by any other
    class raises it to e = r + (1 − r)·e₀ where the model is right about the rest, so r = (e − e₀)/(1 − e₀), cut to
    0 … 1. Who has other classes than others, or other inputs, is no suspect: the models learned from its own
    samples, too. Classes that nobody else has are left out.

    Parameters
    ----------
    task : Task
    trainer : Trainer
        Of all participants' samples, in memory.
    first : Tensor
        Row before training, ``[1, D]``.
    steps : float
        That participants did on average: the models learn for about as many epochs, at most 2,000 steps.
    seed : int
        Deals the samples.

    Returns
    -------
    LabelNoise
        Unknown where targets are no classes, accuracy is not measured, or participants are fewer than three.

    References
    ----------
    Northcutt, Jiang & Chuang, "Confident learning: Estimating uncertainty in dataset labels", JAIR 70, 2021.
    """
    data, n = trainer.data, len(trainer.data.counts)
    classes = class_labels(data.targets)
    pool = np.unique(data.indices)
    if classes is None or "accuracy" not in task.metrics or n < 3 or len(pool) < _FOLDS:
        return LabelNoise.unknown(n)
    wrong = np.zeros(int(pool.max()) + 1)
    going = min(_MOST_STEPS, max(1, round(steps * n * (_FOLDS - 1) / _FOLDS)))
    wrong[pool] = _disagreements(task, trainer, first, pool, steps=going, seed=seed)
    share, p_value = np.full(n, np.nan), np.ones(n)
    for i in range(n):
        own = data.indices[data.offsets[i] : data.offsets[i + 1]]
        others = np.setdiff1d(pool, own)
        found = usual = variance = counted = 0.0
        for label in np.unique(classes[own]).tolist():
            mine, theirs = own[classes[own] == label], others[classes[others] == label]
            if not len(theirs):
                continue
            expected = (wrong[theirs].sum() + 0.5) / (len(theirs) + 1)  # never quite 0 or 1
            found += wrong[mine].sum()
            usual += len(mine) * expected
            variance += len(mine) * expected * (1 - expected) * (1 + len(mine) / len(theirs))
            counted += len(mine)
        if counted:
            share[i] = np.clip((found - usual) / (counted - usual), 0.0, 1.0)
            p_value[i] = norm.sf((found - 0.5 - usual) / np.sqrt(variance))
    return LabelNoise(share=share, p_value=p_value)


def _disagreements(
    task: Task, trainer: Trainer, first: Tensor, pool: Ints, *, steps: int, seed: int
) -> Floats:
    """Whether a model that did not see a sample predicts another label, of each sample of the pool: 0 or 1."""
    data = trainer.data
    generator = np.random.Generator(np.random.Philox(key=[seed, _PURPOSE]))
    fold = generator.permutation(len(pool)) % _FOLDS
    parts = [pool[fold != each] for each in range(_FOLDS)]
    folds = replace(trainer, data=NodeData.partitioned(data.inputs, data.targets, parts))
    rows = trained_alone(folds, first, np.full(_FOLDS, steps))
    found = np.empty(len(pool))
    for each in range(_FOLDS):
        places = np.flatnonzero(fold == each)
        for start in range(0, len(places), _SAMPLES_AT_ONCE):
            some = places[start : start + _SAMPLES_AT_ONCE]
            inputs, targets = data.at(pool[some])
            targets = targets.targets if isinstance(targets, Weighted) else targets
            one_each = [map_leaves(lambda leaf: leaf[:, None], tree) for tree in (inputs, targets)]
            row = rows[each][None].expand(len(some), -1)
            with torch.no_grad():
                right = task.evaluate_each(row, *one_each)["accuracy"]
            found[some] = 1.0 - right.double().cpu().numpy()
    return found
