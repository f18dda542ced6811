"""Local training of all nodes of a simulation, as algorithms call it."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.settings import TrainingSettings
from gossipfl.tasks.failures import training_failures_named
from gossipfl.training import Nodes
from sims.compiler.timeline.speeds import steps_of_round
from sims.engine.allocator import empty
from sims.engine.batching import Batching
from sims.engine.block_runner import BlockRunner, Work
from sims.engine.buffers import batches_of
from sims.engine.engine import Phases
from sims.engine.programme import Compile
from sims.world import World

__all__ = ["NUMBERS_AT_ONCE", "BlockTraining"]

NUMBERS_AT_ONCE = 1 << 21
"""Of rows that are trained together where they cannot be traced: noise of privacy takes several times as much."""

Ints = NDArray[np.int64]

_MOST_OPERATIONS = 1000  # of several steps traced as one: more take half a minute to compile, and gain little


class BlockTraining:
    """`gossipfl.algorithms.LocalTraining` of all nodes: traced or compiled where the module can be batched.

    Parameters
    ----------
    world : World
    expected_rounds : float
        Expected number of rounds of the run; decides whether compiling is worth it.
    threads : int
    compile_when : {'auto', 'always', 'never'}
    device : torch.device
    phases : Phases
        Time spent is added here.
    """

    def __init__(
        self,
        world: World,
        *,
        expected_rounds: float,
        threads: int,
        compile_when: Compile,
        device: torch.device,
        phases: Phases,
    ) -> None:
        self.world, self.phases = world, phases
        self.vectorised = Batching.of(world).holds
        self.blocks = BlockRunner(
            world,
            expected_rounds=expected_rounds,
            threads=threads if self.vectorised else 1,
            compile_when=compile_when,
            device=device,
            phases=phases,
        )
        self._works: dict[tuple[int, int], Work] = {}
        self._batch = batches_of(world.trainer.data)
        self._at_once: int | None = None
        self._everyone = np.arange(len(world.trainer.data.counts))
        self._steps_of_round = steps_of_round(world.scenario, world.trainer.data.numbers.tolist())
        self._samples = torch.from_numpy(world.trainer.data.counts.astype(np.int64)).to(device)

    @property
    def settings(self) -> TrainingSettings:
        """Settings of the training."""
        return self.world.scenario.training

    @property
    def samples(self) -> Tensor:
        """How many samples each node has, int64 ``[N]``."""
        return self._samples

    def update(self, nodes: Nodes, steps: Tensor | None = None) -> Nodes:
        """Do steps of stochastic gradient descent on all nodes; see `LocalTraining`."""
        if not self.world.scenario.training.enabled:
            return nodes
        self.world.trainer.require_fitting(nodes)
        started = time.perf_counter()
        counts = self._steps_of_round if steps is None else steps.cpu().numpy()
        stepped = self._stepped if self.vectorised else self._stepped_row_by_row
        with training_failures_named():
            after = stepped(nodes, counts)
        self.phases.execute += time.perf_counter() - started
        return after

    def gradient(self, nodes: Nodes) -> tuple[Nodes, Tensor]:
        """Evaluate the gradient of every node's next batch; see `LocalTraining`."""
        layout, rows = self.world.layout, nodes.rows
        if not self.world.scenario.training.enabled:
            return nodes, rows.new_zeros(len(nodes), layout.trainable_size)
        started = time.perf_counter()
        if self.vectorised:
            into = [rows.new_empty(len(nodes), layout.trainable_size)]
            if layout.size > layout.trainable_size:
                into.append(rows.new_empty(len(nodes), layout.size - layout.trainable_size))
            with training_failures_named():
                self.blocks.run(self._gradients, (rows.contiguous(),), tuple(into), nodes.steps.cpu().numpy())
            gradients = into[0]
            if len(into) > 1:
                rows = torch.cat([rows[:, : layout.trainable_size], into[1]], dim=1)
            after = replace(nodes, rows=rows, ages=nodes.ages + 1, steps=nodes.steps + 1)
        else:
            after, gradients = self.world.trainer.gradient(nodes, self._everyone)
        self.phases.execute += time.perf_counter() - started
        return after, gradients

    def losses_of(self, nodes: Nodes, rows: Tensor, whose: Tensor) -> Tensor:
        """Evaluate rows on the next batches of nodes; see `LocalTraining`."""
        started, owners = time.perf_counter(), whose.cpu().numpy()
        if self.vectorised:
            found = rows.new_empty(len(rows))
            with training_failures_named(), torch.no_grad():
                steps = nodes.steps.cpu().numpy()
                self.blocks.run(self._losses, (rows.contiguous(),), (found,), steps, whose=owners)
        else:
            found = self.world.trainer.losses(replace(nodes.select(whose), rows=rows), owners)
        self.phases.execute += time.perf_counter() - started
        return found

    def learning_rates(self, nodes: Nodes) -> Tensor:
        """Step sizes at the nodes' ages, shape ``[N, 1]``."""
        return self.world.trainer.learning_rates(nodes).to(nodes.rows.device)

    def close(self) -> None:
        """End the threads."""
        self.blocks.close()

    def _stepped(self, nodes: Nodes, counts: Ints) -> Nodes:
        """Train all nodes together if all do ``local_steps``, else step by step among ever fewer nodes."""
        device, together, drawn = nodes.rows.device, self.settings.local_steps, nodes.steps.cpu().numpy()
        before = tuple(
            tensor.contiguous()
            for tensor in (nodes.rows, nodes.ages, nodes.steps.to(device), nodes.optimiser_state)
        )
        # Elsewhere than on the CPU a step is one launch, and tracing many takes minutes.
        if (counts == together).all() and (device.type == "cpu" or together == 1):
            at_once = self._steps_at_once(together, before, drawn)
            state = tuple(_room(tensor) for tensor in before)
            self.blocks.run(self._training(at_once, together // at_once), before, state, drawn)
        else:
            state = tuple(tensor.clone() for tensor in before)
            work = self._training(1)
            for step in range(int(counts.max())):
                self.blocks.run(work, state, state, drawn + step, among=counts > step)
        rows, ages, _, optimiser_state = state
        # Counted where they are kept: on the CPU, by which batches are drawn, so the device is not waited for.
        steps = nodes.steps + torch.from_numpy(counts).to(nodes.steps.device)
        return replace(nodes, rows=rows, ages=ages, steps=steps, optimiser_state=optimiser_state)

    def _steps_at_once(self, together: int, state: tuple[Tensor, ...], drawn: Ints) -> int:
        """Steps that are traced as one: few, where a step of the model is hundreds of operations to compile."""
        if self._at_once is None:
            self._at_once = 1
            if together > 1:
                each = self.blocks.operations(self._training(1), state, drawn)
                fit = max(1, _MOST_OPERATIONS // max(1, each))
                self._at_once = max(k for k in range(1, min(fit, together) + 1) if together % k == 0)
        return self._at_once

    def _training(self, batches: int, repeats: int = 1) -> Work:
        if (batches, repeats) not in self._works:
            self._works[batches, repeats] = Work(
                name="training",
                batches=batches,
                recipe=self.world.recipe,
                function=self._steps_of_block,
                repeats=repeats,
            )
        return self._works[batches, repeats]

    @cached_property
    def _gradients(self) -> Work:
        recipe = self.world.gradient_recipe
        return Work(name="gradients", batches=1, recipe=recipe, function=self._gradients_of_block)

    @cached_property
    def _losses(self) -> Work:
        recipe = self.world.gradient_recipe
        return Work(name="losses", batches=1, recipe=recipe, function=self._losses_of_block)

    def _stepped_row_by_row(self, nodes: Nodes, counts: Ints) -> Nodes:
        rows, ages, steps, optimiser_state = (tensor.clone() for tensor in _state(nodes))
        after = replace(nodes, rows=rows, ages=ages, steps=steps, optimiser_state=optimiser_state)
        at_once = max(1, NUMBERS_AT_ONCE // self.world.layout.size)
        for count in np.unique(counts[counts > 0]):
            everyone = np.flatnonzero(counts == count)
            for start in range(0, len(everyone), at_once):
                members = everyone[start : start + at_once]
                places = torch.from_numpy(members)
                trained, _ = self.world.trainer.train(nodes.select(places), members, steps=int(count))
                for of_all, of_these in zip(_state(after), _state(trained), strict=True):
                    of_all[places.to(of_all.device)] = of_these
        return after

    def _steps_of_block(
        self, rows: Tensor, ages: Tensor, steps: Tensor, optimiser_state: Tensor, *leaves: Tensor
    ) -> tuple[Tensor, ...]:
        before = Nodes(rows=rows, ages=ages, steps=steps, optimiser_state=optimiser_state)
        after = before
        for step in range(leaves[0].shape[1]):
            after = self.world.trainer.step_on(after, *self._batch(leaves, step))[0]
        return tuple(
            one.clone() if one is other else one
            for one, other in zip(_state(after), _state(before), strict=True)
        )

    def _losses_of_block(self, rows: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
        return (self.world.trainer.gradients.together(rows, *self._batch(leaves, 0)).losses,)

    def _gradients_of_block(self, rows: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
        none = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
        nodes = Nodes(rows=rows, ages=none, steps=none, optimiser_state=rows.new_zeros(len(rows), 0))
        after, gradients = self.world.trainer.gradient_on(nodes, *self._batch(leaves, 0))
        untrained = after.rows[:, self.world.layout.trainable_size :]
        return (gradients, untrained.clone()) if untrained.shape[1] else (gradients,)


def _room(tensor: Tensor) -> Tensor:
    """Room for a tensor's numbers, which will all be written."""
    if tensor.device.type == "cpu":
        return empty(*tensor.shape, dtype=tensor.dtype)
    return torch.empty_like(tensor)


def _state(nodes: Nodes) -> tuple[Tensor, ...]:
    """The tensors that training changes."""
    return nodes.rows, nodes.ages, nodes.steps, nodes.optimiser_state
