"""False rows made of a node's own: flipped, noisy, constant, or moved a little in every round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from gossipfl.algorithms.declaration import Parameter
from gossipfl.attacks.base import SameToAll, Senders

__all__ = ["Constant", "LittlePerStep", "Noise", "ScaledNoise", "SignFlip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignFlip(SameToAll):
    """The node's own row with its sign flipped, and scaled.

    Li, Xu, Chen, Giannakis & Ling, "RSA: Byzantine-robust stochastic aggregation methods for distributed learning
    from heterogeneous datasets", AAAI 2019.
    """

    name = "sign_flip"
    paper = "Li et al., AAAI 2019"
    rule = "−s x_j"

    scale: Annotated[float, Parameter("s: factor of the flipped row", gt=0)] = 1.0

    def send(self, senders: Senders) -> Tensor:
        """Flip."""
        return -self.scale * senders.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise(SameToAll):
    """The node's own row with Gaussian noise of one deviation."""

    name = "noise"
    rule = "x_j + N(0, σ² I)"

    deviation: Annotated[float, Parameter("σ: standard deviation on each number", gt=0)] = 1.0

    def send(self, senders: Senders) -> Tensor:
        """Add noise."""
        return senders.rows + self.deviation * senders.normals()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledNoise(SameToAll):
    """The node's own row with Gaussian noise in proportion to its size."""

    name = "scaled_noise"
    rule = "x_j + s rms(x_j) N(0, I)"

    scale: Annotated[
        float, Parameter("s: deviation of the noise over the root mean square of the row", gt=0)
    ] = 1.0

    def send(self, senders: Senders) -> Tensor:
        """Add noise."""
        return senders.rows + self.scale * senders.scales * senders.normals()


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant(SameToAll):
    """One number in all places."""

    name = "constant"
    rule = "(c, …, c)"

    value: Annotated[float, Parameter("c")] = 100.0

    def send(self, senders: Senders) -> Tensor:
        """Fill the rows."""
        return torch.full_like(senders.rows, self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class LittlePerStep(SameToAll):
    """The node's own row moved by a small share of its norm, always in one direction that all hostile nodes share.

    Its own row follows its neighbours, so the network drifts by a little in every round, and no single message is
    far from the others.
    """

    name = "little_per_step"
    rule = "x_j + δ ‖x_j‖ u"

    move: Annotated[float, Parameter("δ: length of the move over the norm of the row", gt=0)] = 0.05

    def send(self, senders: Senders) -> Tensor:
        """Move along the common direction."""
        norms = senders.rows.norm(dim=1, keepdim=True)
        return torch.addcmul(senders.rows, norms, senders.common_direction(), value=self.move)
