"""Label flip: hostile nodes train on false labels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gossipfl.attacks.base import Poisoned

__all__ = ["LabelFlip"]


@dataclass(frozen=True, slots=True)
class LabelFlip(Poisoned):
    """Class y becomes C − 1 − y in hostile nodes' samples, and they train as the honest do.

    Fang, Cao, Jia & Gong, "Local model poisoning attacks to Byzantine-robust federated learning", USENIX Security
    2020.
    """

    name = "label_flip"
    paper = "Fang et al., USENIX Security 2020"
    rule = "trained on y ↦ C − 1 − y"

    def poison(self, labels: Tensor, *, classes: int) -> Tensor:
        """Flip."""
        return classes - 1 - labels
