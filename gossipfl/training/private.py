"""Private gradients: each sample's clipped, and noise on their sum (DP-SGD)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from gossipfl.errors import InvalidTask
from gossipfl.settings import SamplePrivacySettings
from gossipfl.tasks import Task
from gossipfl.tasks.samples import map_leaves, placed
from gossipfl.training.batches import draw_seeds
from gossipfl.training.data import NodeData
from gossipfl.training.differentiated import Differentiated
from gossipfl.training.gradient import RowGradients
from gossipfl.training.nodes import Nodes
from gossipfl.training.step_draws import StepDraws

__all__ = [
    "SAMPLE_NUMBERS_AT_ONCE",
    "private_gradients",
    "require_separable",
    "require_unchanged",
    "sampling_rates",
]

SAMPLE_NUMBERS_AT_ONCE = 2**22
"""Of samples' gradients, on a CPU."""

_NUMBERS_AT_A_TIME_ELSEWHERE = 2**28


def sampling_rates(counts: NDArray[np.int64], batch_size: int) -> NDArray[np.float64]:
    """Probability of each sample of nodes with so many samples, ``[B]``, to be in a batch."""
    rates: NDArray[np.float64] = np.minimum(batch_size / counts, 1.0)
    return rates


def private_gradients(
    nodes: Nodes,
    owners: NDArray[np.int64],
    *,
    gradients: RowGradients,
    data: NodeData,
    draws: StepDraws,
    privacy: SamplePrivacySettings,
    batch_size: int,
    seed: int,
) -> Differentiated:
    """Differentiate nodes' losses on sampled batches: ``(Σ clip(∇ℓ_s) + σC·N(0, I)) / expected batch``.

    Every sample goes through the module as a batch of its own, so its gradient depends on no other sample,
    whatever the module does with batches; all of them go through it together where rows do.

    Parameters
    ----------
    nodes : Nodes
        B nodes.
    owners : ndarray
        Whose samples each trains on, int64 ``[B]``.
    gradients : RowGradients
    data : NodeData
    draws : StepDraws
    privacy : SamplePrivacySettings
    batch_size : int
        Expected number of samples of a batch; all of a node that has fewer.
    seed : int
        Of whatever the module itself draws at random.

    Returns
    -------
    Differentiated
        The losses are means over the sampled samples, and 0 where there are none.

    References
    ----------
    Abadi et al., "Deep learning with differential privacy", CCS 2016, algorithm 1.
    """
    counts, numbers, steps = data.counts[owners], data.numbers[owners], nodes.steps.cpu().numpy()
    rates = sampling_rates(counts, batch_size)
    drawn = draws.next(numbers, steps, rates=rates)
    batches = drawn.sampled(counts, rates)
    whose = np.repeat(np.arange(len(nodes)), [len(batch) for batch in batches])
    positions = np.concatenate(batches) if batches else whose
    rows, width = nodes.rows, nodes.rows.shape[1]
    sums = rows.new_zeros(len(nodes), gradients.trainable_size)
    losses = rows.new_zeros(len(nodes))
    on_cpu = rows.device.type == "cpu"
    at_a_time = max(1, (SAMPLE_NUMBERS_AT_ONCE if on_cpu else _NUMBERS_AT_A_TIME_ELSEWHERE) // width)
    for start in range(0, len(whose), at_a_time):
        part = slice(start, start + at_a_time)
        of_row = torch.from_numpy(whose[part]).to(rows.device)
        found = _of_samples(
            rows, owners, whose[part], positions[part], gradients=gradients, data=data, seed=seed
        )
        norms = torch.linalg.vector_norm(found.gradients, dim=1, keepdim=True)
        clipped = found.gradients * (privacy.clip / (norms + 1e-6)).clamp(max=1)
        sums.index_add_(0, of_row, clipped)  # in order, so that it does not matter what is computed together
        losses.index_add_(0, of_row, found.losses)
    noise = drawn.noise(sums.shape[1], device=rows.device).mul_(privacy.noise_multiplier * privacy.clip)
    expected = torch.from_numpy(rates * counts)[:, None].to(rows.device)
    sums = ((sums.to(torch.float64) + noise) / expected).to(rows)
    sizes = torch.tensor([max(1, len(batch)) for batch in batches]).to(losses)
    trained = gradients.trainable_size
    return Differentiated(losses / sizes, sums, rows[:, trained:], rows[:, :trained])


def _of_samples(
    rows: Tensor,
    owners: NDArray[np.int64],
    whose: NDArray[np.int64],
    positions: NDArray[np.int64],
    *,
    gradients: RowGradients,
    data: NodeData,
    seed: int,
) -> Differentiated:
    """Differentiate samples one by one: M samples, each at the row that it is of."""
    samples = data.at(data.indices[data.offsets[owners[whose]] + positions])
    inputs, targets = placed(map_leaves(lambda leaf: leaf.unsqueeze(1), samples), rows.device)
    seeds = (
        draw_seeds(seed=seed, nodes=data.numbers[owners[whose]], steps=positions) if gradients.draws else []
    )
    return gradients(rows.index_select(0, torch.from_numpy(whose).to(rows.device)), inputs, targets, seeds)


def require_separable(task: Task) -> None:
    """Require a task that treats each sample by itself.

    Raises
    ------
    InvalidTask
        If its module normalises over batches, or keeps statistics of them, which is named; or if batches are
        transformed.
    """
    if task.transform is not None:
        raise InvalidTask(
            f"task {task.name!r} changes batches at random, and training is private",
            expected="samples as they are: a transform of batches may mix them",
            remedy="Leave out transform, or [training.privacy].",
        )
    for name, part in task.module_on_device().named_modules():
        tracks = isinstance(part, _InstanceNorm) and part.track_running_stats
        if isinstance(part, _BatchNorm) or tracks:
            raise InvalidTask(
                f"the module's {name or 'outermost part'} is a {type(part).__name__}, and training is private",
                expected="parts that treat each sample by itself: what is computed over a batch tells of all its "
                "samples, whatever is clipped",
                got=type(part).__name__,
                remedy="Put nn.GroupNorm or nn.LayerNorm in its place, or leave out [training.privacy].",
            )


def require_unchanged(gradients: RowGradients) -> None:
    """Require that nothing but clipped gradients of samples enters the model.

    Raises
    ------
    InvalidTask
        If a pass changes parameters or buffers; it names them.
    """
    changed = gradients.changed
    if changed or gradients.changes_parameters:
        raise InvalidTask(
            "the module changes what it is made of while it runs, and training is private",
            expected="parameters and buffers that only training changes: no noise is added to other changes",
            got=", ".join(sorted(changed)) or "parameters",
            remedy="Compute without them, or leave out [training.privacy].",
        )
