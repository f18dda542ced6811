"""Attacks that hide in the variance of honest rows: ALIE, IPM and mimic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from scipy.stats import norm
from torch import Tensor

from gossipfl.algorithms.declaration import Parameter
from gossipfl.attacks.base import Aimed, Receivers
from gossipfl.attacks.search import most_harmful

__all__ = ["ALIE", "IPM", "Mimic", "alie_factor"]

_SURE = 1e-9
_TIE = 1e-4


def alie_factor(n: int, m: int) -> float:
    """ALIE's z for n nodes of which m are hostile.

    ``z = Φ⁻¹((n − m − s)/(n − m))`` with ``s = ⌊n/2 + 1⌋ − m`` supporters among the honest (Baruch et al. 2019);
    where the hostile are a majority and need none, z is about 6.

    Examples
    --------
    >>> round(alie_factor(50, 12), 4)
    0.336
    """
    good, supporters = n - m, math.floor(n / 2 + 1) - m
    share = (good - supporters) / good if good > 0 else 1.0
    return float(norm.ppf(min(max(share, _SURE), 1 - _SURE)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ALIE(Aimed):
    """A little is enough: the mean of the receiver's honest neighbours, moved by z standard deviations.

    The factor z follows from the numbers of nodes and of hostile nodes in the receiver's neighbourhood, itself
    included, or is the most harmful one. Baruch, Baruch & Goldberg, "A little is enough: circumventing defenses
    for distributed learning", NeurIPS 2019; between neighbours as in He, Karimireddy & Jaggi 2022.
    """

    name = "alie"
    paper = "Baruch, Baruch & Goldberg, NeurIPS 2019"
    rule = "μ − z σ over the receiver's honest neighbours"
    sees_everyone = False

    factor: Annotated[float | None, Parameter("z; by the paper's formula if unset", ge=0)] = None
    search: Annotated[bool, Parameter("search for the z that moves the receiver most, up to `at_most`")] = (
        False
    )
    at_most: Annotated[float, Parameter("largest z of the search", gt=0)] = 10.0

    def send_to(self, receivers: Receivers) -> Tensor:
        """Move the mean."""
        mean, deviation = receivers.mean_of_good(), receivers.deviation_of_good()
        if self.search:
            return most_harmful(receivers, start=mean, step=-deviation, at_most=self.at_most)
        if self.factor is not None:
            return (mean - self.factor * deviation)[:, None]
        sizes = (receivers.around.present.sum(dim=1) + 1).tolist()
        factors = [
            alie_factor(n, m) for n, m in zip(sizes, receivers.hostile.sum(dim=1).tolist(), strict=True)
        ]
        return (mean - torch.tensor(factors, dtype=mean.dtype, device=mean.device)[:, None] * deviation)[
            :, None
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class IPM(Aimed):
    """Inner product manipulation, "fall of empires": the honest neighbours' mean, turned around.

    Xie, Koyejo & Gupta, "Fall of empires: breaking Byzantine-tolerant SGD by inner product manipulation", UAI
    2019.
    """

    name = "ipm"
    paper = "Xie, Koyejo & Gupta, UAI 2019"
    rule = "−ε · mean of the receiver's honest neighbours"
    sees_everyone = False

    factor: Annotated[float, Parameter("ε", ge=0)] = 0.1
    search: Annotated[bool, Parameter("search for the ε that moves the receiver most, up to `at_most`")] = (
        False
    )
    at_most: Annotated[float, Parameter("largest ε of the search", gt=0)] = 10.0

    def send_to(self, receivers: Receivers) -> Tensor:
        """Turn the mean around."""
        mean = receivers.mean_of_good()
        if self.search:
            return most_harmful(receivers, start=torch.zeros_like(mean), step=-mean, at_most=self.at_most)
        return (-self.factor * mean)[:, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mimic(Aimed):
    """All hostile nodes copy one honest neighbour of the receiver, whose data then counts too much.

    Unless it is given, the neighbour is the one whose row lies farthest along the direction in which the honest
    neighbours' rows differ most. Karimireddy, He & Jaggi, "Byzantine-robust learning on heterogeneous datasets via
    bucketing", ICLR 2022.
    """

    name = "mimic"
    paper = "Karimireddy, He & Jaggi, ICLR 2022"
    rule = "x_v of one honest neighbour v"

    victim: Annotated[int | None, Parameter("number of the node that is copied", ge=0)] = None

    @property
    def needs_more_than_heard(self) -> str | None:
        """The victim's newest row, where it is given."""
        return None if self.victim is None else "the newest row of the victim that is given"

    def send_to(self, receivers: Receivers) -> Tensor:
        """Copy the victim."""
        if self.victim is not None:
            return receivers.everyone.rows[self.victim].expand(len(receivers.numbers), 1, -1)
        good, rows = receivers.good, receivers.around.rows
        centred = torch.where(good[..., None], rows - receivers.mean_of_good()[:, None], 0).double()
        places = torch.linalg.eigh(centred @ centred.mT).eigenvectors[..., -1].abs().masked_fill(~good, -1)
        farthest = places >= places.amax(dim=1, keepdim=True) - _TIE
        chosen = farthest.int().argmax(dim=1)  # the first of equals, whatever the rounding
        copied = rows[torch.arange(len(rows), device=rows.device), chosen]
        return torch.where(good.any(dim=1, keepdim=True), copied, receivers.around.own)[:, None]
