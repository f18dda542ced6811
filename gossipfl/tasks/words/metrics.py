"""Loss and metrics of suggested words: recall on known words, perplexity, and recall by user.

Outputs are those of `gossipfl.tasks.words.models.NextWord` with ``following``; targets are
``{"following": [n, length], "user": [n]}``, users numbered from 0. Only words of the vocabulary count: where
``following`` is negative, the word was unknown, a number, a link, or a sentence began.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["perplexity", "recall", "surprise", "user_recall", "worst_recall"]

Outputs = Mapping[str, Tensor]


def surprise(outputs: Outputs, targets: Outputs) -> Tensor:
    """Mean −ln p over the words that count; 0 if none does."""
    if "mean" in outputs:
        return outputs["mean"]
    counted = (targets["following"] >= 0).to(outputs["surprise"].dtype)
    total = (outputs["surprise"] * counted).sum()
    return total / counted.sum().clamp(min=1)


def perplexity(outputs: Outputs, targets: Outputs) -> Tensor:
    """Exponential of the mean −ln p."""
    return surprise(outputs, targets).exp()


def recall(outputs: Outputs, targets: Outputs, *, suggestions: int = 1) -> Tensor:
    """Share of words that are among the first suggestions (Hard et al. 2018, Section 4.1)."""
    counted = targets["following"] >= 0
    hits = counted & (outputs["rank"] < suggestions)
    return hits.sum().float() / counted.sum().clamp(min=1)


def user_recall(outputs: Outputs, targets: Outputs) -> Tensor:
    """Mean over users of each one's own top-1 recall; users without words that count are left out."""
    own, present = _recall_of_users(outputs, targets)
    return (own * present).sum() / present.sum().clamp(min=1)


def worst_recall(outputs: Outputs, targets: Outputs) -> Tensor:
    """Mean top-1 recall of the tenth of users with the lowest, at least of one."""
    own, present = _recall_of_users(outputs, targets)
    ascending = torch.where(present, own, torch.inf).sort().values
    tenth = torch.ceil(present.sum() / 10)
    among = (torch.arange(len(own), device=own.device) < tenth) & ascending.isfinite()
    return torch.where(among, ascending, 0.0).sum() / tenth.clamp(min=1)


def _recall_of_users(outputs: Outputs, targets: Outputs) -> tuple[Tensor, Tensor]:
    """Top-1 recall of each user, and whether any of their words counts, ``[n]`` both: users are below n."""
    counted = targets["following"] >= 0
    hits = counted & (outputs["rank"] < 1)
    nothing = torch.zeros(len(counted), device=counted.device)
    words = nothing.index_add(0, targets["user"], counted.sum(dim=1).float())
    found = nothing.index_add(0, targets["user"], hits.sum(dim=1).float())
    return found / words.clamp(min=1), words > 0
