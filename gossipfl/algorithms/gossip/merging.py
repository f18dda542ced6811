"""Pairwise averages of models, by age or plain, with or without a limit.

Ormándi, Hegedűs & Jelasity, "Gossip learning with linear models on fully distributed data", Concurrency and
Computation 25(4), 2013; age-weighted: Hegedűs, Danner & Jelasity, "Decentralized learning works: an empirical
comparison of gossip learning and federated learning", J. Parallel Distrib. Comput. 148, 2021; limited: Danner,
Hegedűs & Jelasity, "Improving gossip learning via limited model merging", ICCCI 2023.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Weighting", "merge"]

Weighting = Literal["age", "plain"]


def merge(
    own: Tensor,
    own_ages: Tensor,
    other: Tensor,
    other_ages: Tensor,
    *,
    weighting: Weighting,
    limit: int | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Average models pairwise.

    ``plain``: the mean (Ormándi et al. 2013, Algorithm 2). ``age``: weights proportional to age (Hegedűs et
    al. 2021, Algorithm 3); where both ages are 0, the mean. With a limit (Danner et al. 2023) only models whose
    ages differ by at most so much are averaged; of others the older is taken as it is, because the little that
    the younger one has learned would dilute it.

    Parameters
    ----------
    own, other : Tensor
        Shape ``[B, P]``, float32.
    own_ages, other_ages : Tensor
        Shape ``[B]``, int64.
    weighting : {'age', 'plain'}
    limit : int, optional
        Largest difference of ages at which models are averaged; any unless given.
    out : Tensor, optional
        Where to write the outcome, as one of the two may be.

    Returns
    -------
    Tensor
        Shape ``[B, P]``, a convex combination of the two.
    """
    if weighting == "plain" and limit is None:
        return torch.lerp(own, other, 0.5, out=out)
    # In double precision: in int64 the sum of two large ages would overflow.
    own_age, other_age = own_ages.double(), other_ages.double()
    if weighting == "plain":
        weight = torch.full_like(own_age, 0.5)
    else:
        total = own_age + other_age
        weight = torch.where(total > 0, other_age / total.clamp(min=1), 0.5)
    if limit is not None:
        older = other_age - own_age
        weight = torch.where(older > limit, 1.0, torch.where(older < -limit, 0.0, weight))
    return torch.lerp(own, other, weight.to(own.dtype)[:, None], out=out)
