"""A low-rank adapter of the shared model's head, and a bias: what a device learns of its owner's words for itself.

What the body makes of a context, h, becomes h + U D h with D of few rows, before the shared embedding turns it
into scores, and each word has a bias of its own (Hu et al., "LoRA: low-rank adaptation of large language models",
arXiv:2106.09685, 2021). It is fitted to the owner's text while the shared model stays as it is, always from the
same beginning and in the same order, so that what was forgotten has no part in it. It never leaves the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from gossipfl.tasks.words.models import NextWord
from gossipfl.tasks.words.samples import Windows

__all__ = ["Adapter", "fitted"]

_RANK: Final = 8
_PASSES: Final = 4
_LEAST_STEPS: Final = 100
_BATCH: Final = 128
_RATE: Final = 0.01
_DECAY: Final = 0.1
_MOST: Final = 6144
"""Words to fit to, the latest: what a pass costs is bounded, however much was typed."""
_AT_ONCE: Final = 256


@dataclass(frozen=True, eq=False)
class Adapter:
    """A change of a model's head.

    Parameters
    ----------
    down, up : Tensor
        Shapes ``[width, rank]`` and ``[rank, width]``.
    bias : Tensor
        Shape ``[words]``.
    """

    down: Tensor
    up: Tensor
    bias: Tensor

    def scores(self, module: NextWord, hidden: Tensor) -> Tensor:
        """Scores of all words ``[n, words]`` for what the body made of contexts, ``[n, width]``."""
        return module.scores(torch.addmm(hidden, hidden @ self.down, self.up)) + self.bias


def fitted(module: NextWord, windows: Windows) -> Adapter:
    """Fit an adapter to a text; the model is left as it is.

    Parameters
    ----------
    module : NextWord
    windows : Windows
        Of the owner's text, the earliest first.
    """
    hidden, wanted = _contexts(module, windows)
    generator = torch.Generator().manual_seed(0)
    width, words = module.embedding.weight.shape[1], len(module.bias)
    down = 0.1 * torch.randn(width, _RANK, generator=generator)
    parts = [
        down.requires_grad_(),
        torch.zeros(_RANK, width, requires_grad=True),
        torch.zeros(words, requires_grad=True),
    ]
    optimiser = torch.optim.AdamW(parts, lr=_RATE, weight_decay=_DECAY)
    embedding, bias = module.embedding.weight.detach(), module.bias.detach()
    with torch.enable_grad():
        for _ in range(max(_PASSES, -(-_LEAST_STEPS * _BATCH // len(wanted)))):
            for chosen in torch.split(torch.randperm(len(wanted), generator=generator), _BATCH):
                own = hidden[chosen]
                moved = torch.addmm(own, own @ parts[0], parts[1])
                loss = functional.cross_entropy(
                    functional.linear(moved, embedding, bias + parts[2]), wanted[chosen]
                )
                gradients = torch.autograd.grad(loss, parts)
                for part, gradient in zip(parts, gradients, strict=True):
                    part.grad = gradient
                optimiser.step()
    return Adapter(*(part.detach() for part in parts))


def _contexts(module: NextWord, windows: Windows) -> tuple[Tensor, Tensor]:
    """What the body makes of the contexts of the last known words ``[k, width]``, and these words ``[k]``."""
    words, following = torch.from_numpy(windows.words), torch.from_numpy(windows.following)
    with torch.no_grad():
        hidden = torch.cat([module.hidden(part) for part in torch.split(words, _AT_ONCE)]).flatten(0, 1)
    wanted = following.flatten()
    known = (wanted >= 0).nonzero()[:, 0][-_MOST:]
    return hidden[known], wanted[known]
