"""Rounds of cohorts: phones improve one shared model, and only noisy sums of their updates are ever seen.

DP-FedAvg (McMahan, Ramage, Talwar & Zhang, "Learning differentially private recurrent language models", ICLR 2018)
with the noise of the sum made by the phones themselves, and without a server: a cohort's phones have the same
model, train it, and average their updates exactly. `sims.fleet.promise` says what that promises, and to whom.

Between rounds a phone needs only the model that all share, so a simulation holds one row, and a block's updates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.codecs.draws import exchange_keys, normals
from gossipfl.outgoing import Clip, Draws
from gossipfl.tasks.samples import map_leaves
from gossipfl.training import Nodes
from sims.engine.blocks import block_size, card_block_size
from sims.engine.buffers import batch_buffer, batches_of, pool_of
from sims.engine.device import device_of
from sims.engine.programme import Compile, Programme
from sims.engine.workers import torch_threads
from sims.errors import NotSimulable
from sims.fleet.promise import Promise
from sims.world import World

__all__ = ["CohortSettings", "Cohorts", "Measured"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortSettings:
    """How cohorts learn.

    Parameters
    ----------
    cohort : int
        Phones in a round.
    passes : int
        How often each phone takes part; once in every pass, in an order drawn anew.
    clip : float
        S: largest Euclidean norm of a phone's update.
    rate : float
        Step along the mean update.
    momentum : float
        Of these steps.
    """

    cohort: int
    passes: int
    clip: float = 1.0
    rate: float = 1.0
    momentum: float = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The shared model after some rounds.

    Parameters
    ----------
    round, passes : int
        Rounds and whole passes done.
    metrics : dict of str to float
        Of the task, on its test samples.
    norm : float
        Mean norm of the updates of the last round, before clipping.
    clipped : float
        Share of these that were shortened.
    mean_norm : float
        Norm of the mean of the clipped updates, without noise.
    noise_norm : float
        Norm of the noise in it.
    """

    round: int
    passes: int
    metrics: dict[str, float]
    norm: float
    clipped: float
    mean_norm: float
    noise_norm: float


class Cohorts:
    """A shared model, and the phones that improve it.

    Parameters
    ----------
    world : World
        Phones with equally many samples in a batch; its algorithm, network and churn are not used.
    settings : CohortSettings
    promise : Promise
    device : str
    compile_when : {'auto', 'always', 'never'}

    Raises
    ------
    NotSimulable
        If training cannot be batched over phones, batches differ in size, or no cohort is full.
    """

    def __init__(
        self,
        world: World,
        settings: CohortSettings,
        promise: Promise,
        *,
        device: str = "cpu",
        compile_when: Compile = "never",
    ) -> None:
        self.world, self.settings, self.promise = world, settings, promise
        self.device, self._compile_when = device_of(device), compile_when
        self._require_fitting()
        trainer, n = world.trainer, world.scenario.population.nodes
        row_bytes = 4 * world.layout.size
        chosen = block_size if self.device.type == "cpu" else card_block_size
        self.block = chosen(row_bytes=row_bytes, nodes=5 * settings.cohort)
        self.row = world.first_rows()[:1].to(self.device)
        self.velocity = torch.zeros_like(self.row)
        self.steps, self.round = np.zeros(n, dtype=np.int64), 0
        size = int(min(trainer.data.counts.min(), trainer.settings.batch_size))
        self._local = trainer.settings.local_steps
        pool = pool_of(trainer.data, self.device)
        self._buffer = batch_buffer(pool, rows=self.block, local_steps=self._local, size=size)
        self._batch = batches_of(trainer.data)
        self._programme: Programme | None = None

    @property
    def rounds(self) -> int:
        """Rounds of all passes; phones that fill no cohort at the end of a pass sit it out."""
        return self.settings.passes * self._per_pass

    @property
    def _per_pass(self) -> int:
        return self.world.scenario.population.nodes // self.settings.cohort

    def run(self, *, every: int, on_round: Callable[[int], None] = lambda done: None) -> Iterator[Measured]:
        """Do all rounds; measure the model after every ``every``-th and the last."""
        with torch.no_grad(), torch_threads():
            while self.round < self.rounds:
                facts = self._do_round()
                on_round(self.round)
                if self.round % every == 0 or self.round == self.rounds:
                    yield Measured(
                        round=self.round,
                        passes=self.round // self._per_pass,
                        metrics=self._metrics(),
                        **facts,
                    )

    def cohort_of(self, round_number: int) -> Ints:
        """The phones of a round: every phone at most once in a pass."""
        n, size = self.world.scenario.population.nodes, self.settings.cohort
        in_pass, place = divmod(round_number, self._per_pass)
        seed = [self.world.scenario.seed, in_pass]
        order = np.random.Generator(np.random.Philox(key=seed)).permutation(n)
        return np.sort(order[place * size : (place + 1) * size]).astype(np.int64)

    def _do_round(self) -> dict[str, float]:
        settings, members = self.settings, self.cohort_of(self.round)
        total = torch.zeros_like(self.row, dtype=torch.float64)
        norms = []
        for start in range(0, len(members), self.block):
            part = members[start : start + self.block]
            updates, lengths = self._updates(part)
            total += updates.sum(dim=0, keepdim=True, dtype=torch.float64)
            norms.append(lengths)
        self.steps[members] += self._local
        mean = (total / len(members)).to(self.row.dtype)
        noise = self._noise() if np.isfinite(self.promise.epsilon) else torch.zeros_like(mean)
        self.velocity = settings.momentum * self.velocity + mean + noise
        self.row = self.row + settings.rate * self.velocity
        self.round += 1
        found = torch.cat(norms)
        return {
            "norm": float(found.mean()),
            "clipped": float((found > settings.clip).double().mean()),
            "mean_norm": float(mean.norm()),
            "noise_norm": float(noise.norm()),
        }

    def _noise(self) -> Tensor:
        """The noises of all phones of a cohort, in their mean: they add up to one normal."""
        seed = self.world.scenario.seed
        keys = exchange_keys(torch.zeros(1, dtype=torch.int64), seed=seed, round_number=self.round)
        drawn = normals(keys, self.row.shape[1]).to(self.device)
        deviation = self.promise.of_mean(self.settings.cohort) * self.settings.clip
        return (drawn * deviation).to(self.row.dtype)

    def _updates(self, members: Ints) -> tuple[Tensor, Tensor]:
        """Clipped updates ``[b, D]`` of these phones, and norms before clipping."""
        padded = np.full(self.block, len(self.steps), dtype=np.int64)
        padded[: len(members)] = members
        none = np.zeros_like(padded)
        self._buffer.gather(self.world.trainer, padded, none, self.steps)
        batches = self._buffer.on(self.device)
        ages = torch.tensor([self.round * self._local], device=self.device)
        if self._programme is None:
            self._programme = Programme(
                self._trained,
                (self.row, ages, *batches),
                growing=(),
                calls=self.rounds * self.settings.cohort / self.block,
                compile_when=self._compile_when,
                threads=1,
                name=f"{self.world.task.name}: {self.block} updates of one model",
            )
        updates, norms = self._programme(0, self.row, ages, *batches)
        return updates[: len(members)], norms[: len(members)].clone()  # the next call may write there

    def _trained(self, row: Tensor, ages: Tensor, *leaves: Tensor) -> tuple[Tensor, Tensor]:
        trainer, size = self.world.trainer, len(leaves[0])
        nodes = Nodes(
            rows=row.expand(size, -1).clone(),
            ages=ages.expand(size),
            steps=ages.expand(size),
            optimiser_state=row.new_zeros(size, trainer.optimiser_state_size),
        )
        for step in range(leaves[0].shape[1]):
            nodes = trainer.step_on(nodes, *self._batch(leaves, step))[0]
        updates = nodes.rows - row
        keys = torch.zeros(size, dtype=torch.int64, device=row.device)
        clipped = Clip(self.settings.clip).apply(updates, Draws(keys=keys))
        return clipped, torch.linalg.vector_norm(updates, dim=1)

    def _metrics(self) -> dict[str, float]:
        world = self.world
        samples = map_leaves(lambda leaf: leaf.to(self.device), (world.test_inputs, world.test_targets))
        return {name: float(value[0]) for name, value in world.task.evaluate(self.row, *samples).items()}

    def _require_fitting(self) -> None:
        data, training = self.world.trainer.data, self.world.scenario.training
        sizes = np.unique(np.minimum(data.counts, training.batch_size))
        n = self.world.scenario.population.nodes
        if not self.world.trainer.traceable or len(sizes) > 1:
            raise NotSimulable(
                "cohorts are of phones whose training goes in blocks",
                expected="a module that can be batched, and batches of one size",
                got=f"batches of {', '.join(map(str, sizes[:8]))}",
            )
        if not 1 <= self.settings.cohort <= n or self.promise.takes_part != self.settings.passes:
            raise NotSimulable(
                "a cohort is some of the phones, and the promise is for as many updates as there are passes",
                expected=f"cohort within 1 … {n}, takes_part = {self.settings.passes}",
                got=f"cohort = {self.settings.cohort}, takes_part = {self.promise.takes_part}",
            )
        if self.promise.summed > self.settings.cohort:
            raise NotSimulable(
                "a sum has more phones than a cohort",
                expected=f"at most {self.settings.cohort}",
                got=self.promise.summed,
            )
