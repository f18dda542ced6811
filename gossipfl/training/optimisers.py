"""Optimisers of local training, on rows: SGD and AdamW as torch.optim defines them.

An optimiser has no state of its own: it reads and returns `Nodes.optimiser_state`, one row a node. Zeros are where
every optimiser begins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from gossipfl.errors import SettingError
from gossipfl.settings import TrainingSettings

__all__ = ["SGD", "AdamW", "Optimiser", "Reached", "optimiser_of"]


class Reached(NamedTuple):
    """Which parameters the loss of a batch depends on; torch.optim leaves the others, and their state, alone.

    Parameters
    ----------
    tensors : Tensor
        Of each parameter tensor, bool ``[B, T]``.
    widths : tuple of int
        How many numbers each has.
    everything : bool
        Whether all are known to be reached.
    """

    tensors: Tensor
    widths: tuple[int, ...]
    everything: bool = False

    def spread(self, of_tensors: Tensor) -> Tensor:
        """Values of tensors ``[B, T]`` at each of their numbers ``[B, P]``."""
        rows = len(of_tensors)
        return torch.cat([of_tensors[:, k : k + 1].expand(rows, w) for k, w in enumerate(self.widths)], dim=1)

    @property
    def places(self) -> Tensor:
        """The same of each number: bool ``[B, P]``."""
        return self.spread(self.tensors)


class Optimiser(Protocol):
    """A rule that turns gradients into steps."""

    def state_size(self, trainable_size: int) -> int:
        """Width of a node's state, for so many trainable parameters."""
        ...

    def step(
        self,
        trainable: Tensor,
        gradients: Tensor,
        state: Tensor,
        *,
        rates: Tensor,
        reached: Reached | None = None,
        spend: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Take a step against gradients.

        Parameters
        ----------
        trainable, gradients : Tensor
            Shape ``[B, P]``.
        state : Tensor
            Shape ``[B, state_size(P)]``; left as it is.
        rates : Tensor
            Step sizes, shape ``[B, 1]``.
        reached : Reached, optional
            What has a gradient; everything unless given.
        spend : bool
            Whether the gradients' memory may be used for the outcome: models may be large.

        Returns
        -------
        trainable, state : Tensor
            After the step.
        """
        ...


@dataclass(frozen=True, slots=True)
class SGD:
    """Gradient descent: ``v ← g + momentum · v``, ``x ← x − η v``.

    The heavy ball (Polyak, "Some methods of speeding up the convergence of iteration methods", USSR Comput. Math.
    Math. Phys. 4(5), 1964): for a constant η it is x⁺ = x − η g + momentum · (x − x⁻). Nesterov's form, as in
    `torch.optim.SGD`, steps along ``g + momentum · v``.

    Parameters
    ----------
    momentum : float
        In [0, 1); without it there is no state.
    nesterov : bool
    """

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        _require_within("momentum", self.momentum, below=1)
        if self.nesterov and not self.momentum:
            raise SettingError("nesterov needs a momentum", expected="above 0", got=self.momentum)

    def state_size(self, trainable_size: int) -> int:
        """Width of a node's state: the velocities, or nothing."""
        return trainable_size if self.momentum else 0

    def step(
        self,
        trainable: Tensor,
        gradients: Tensor,
        state: Tensor,
        *,
        rates: Tensor,
        reached: Reached | None = None,
        spend: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Take a step against gradients; see `Optimiser.step`."""
        direction = gradients
        before = state
        if self.momentum:
            state = direction = gradients.add(state, alpha=self.momentum)
            if self.nesterov:
                direction = gradients.add(state, alpha=self.momentum)
        if spend:
            stepped = torch.addcmul(trainable, rates, direction, value=-1, out=gradients)
        else:
            stepped = torch.addcmul(trainable, rates, direction, value=-1)
        if reached is None or reached.everything:
            return stepped, state
        places = reached.places
        return torch.where(places, stepped, trainable), torch.where(
            places, state, before
        ) if self.momentum else state


@dataclass(frozen=True, slots=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter, ICLR 2019, Algorithm 2), as `torch.optim.AdamW`.

    The state holds the two moments and, last, how many steps they have seen, of each parameter tensor:
    ``[m | v | t]``.

    Parameters
    ----------
    beta1, beta2 : float
        Decay of the first and of the second moment, in [0, 1).
    epsilon : float
    weight_decay : float
        Share of a parameter that a step of size 1 takes off it.
    tensors : int
        How many parameter tensors there are.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    tensors: int = 1

    def __post_init__(self) -> None:
        _require_within("beta1", self.beta1, below=1)
        _require_within("beta2", self.beta2, below=1)
        _require_within("epsilon", self.epsilon)
        _require_within("weight_decay", self.weight_decay)

    def state_size(self, trainable_size: int) -> int:
        """Width of a node's state: two moments, and a counter for each tensor."""
        return 2 * trainable_size + self.tensors

    def step(
        self,
        trainable: Tensor,
        gradients: Tensor,
        state: Tensor,
        *,
        rates: Tensor,
        reached: Reached | None = None,
        spend: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Take a step against gradients; see `Optimiser.step`."""
        width = trainable.shape[1]
        first = torch.lerp(state[:, :width], gradients, 1 - self.beta1)
        second = torch.addcmul(
            state[:, width : 2 * width] * self.beta2, gradients, gradients, value=1 - self.beta2
        )
        counts = state[:, 2 * width :] + 1
        # In double precision: 1 − β₂ᵗ is small at first, and its error would be that of the step.
        t = counts.double() if reached is not None else counts.amax(dim=1, keepdim=True).double()
        sizes = (rates.double() / (1 - self.beta1**t)).to(trainable.dtype)
        root2 = torch.sqrt(1 - self.beta2**t).to(trainable.dtype)
        if reached is not None:
            sizes, root2 = reached.spread(sizes), reached.spread(root2)
        denominator = second.sqrt() / root2 + self.epsilon
        decayed = trainable * (1 - rates * self.weight_decay) if self.weight_decay else trainable
        stepped = torch.addcmul(decayed, sizes, first / denominator, value=-1)
        after = torch.cat([first, second, counts], dim=1)
        if reached is None:
            return stepped, after
        places = reached.places
        kept = torch.cat([places, places, reached.tensors], dim=1)
        return torch.where(places, stepped, trainable), torch.where(kept, after, state)


def _require_within(name: str, value: Any, *, below: float = math.inf) -> None:  # noqa: ANN401
    if not isinstance(value, Real) or not 0 <= float(value) < below:
        raise SettingError(f"{name} is out of range", expected=f"a number in [0, {below:g})", got=repr(value))


def optimiser_of(settings: TrainingSettings, *, tensors: int = 1) -> Optimiser:
    """Give the optimiser that the settings of training name, for a model of so many parameter tensors."""
    if settings.optimiser == "adamw":
        return AdamW(
            beta1=settings.beta1,
            beta2=settings.beta2,
            epsilon=settings.epsilon,
            weight_decay=settings.weight_decay,
            tensors=tensors,
        )
    return SGD(momentum=settings.momentum, nesterov=settings.nesterov)
