"""Models of the next word: one embedding both of words read and of words suggested, and a body between them.

The body is a CIFG-LSTM with a projection, as in Hard et al., "Federated learning for mobile keyboard prediction",
arXiv:1811.03604, 2018, Section 3; a GRU; or a small causal transformer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from gossipfl.tasks.words.coupled_gates import coupled_gates
from gossipfl.tasks.words.cross_entropy import mean_surprise

__all__ = ["CELLS", "SIZES", "CoupledLSTM", "NextWord", "Size"]

_POSITIONS = 512  # whose scores of all words are held at once in an evaluation


@dataclass(frozen=True, slots=True)
class Size:
    """A preset of sizes.

    Parameters
    ----------
    words : int
        In the vocabulary, with the special ones.
    width : int
        Of the embedding.
    units : int
        Of the recurrent layer, or of the transformer's feed-forward layers.
    """

    words: int
    width: int
    units: int


SIZES: Mapping[str, Size] = {
    "tiny": Size(words=1_000, width=16, units=32),
    "small": Size(words=5_000, width=64, units=128),
    "paper": Size(words=10_000, width=96, units=670),
}
"""``paper`` has the 1.4 million parameters of Hard et al. 2018, Section 3."""


class CoupledLSTM(nn.Module):
    """LSTM whose input gate is one minus its forget gate, with a projection of its output (CIFG).

    Of Greff et al., "LSTM: a search space odyssey", 2017, the variant CIFG without peepholes, and the recurrent
    projection of Sak et al. 2014.

    Parameters
    ----------
    width : int
        Of inputs and, projected, of outputs.
    units : int
        Of the cell.
    """

    def __init__(self, width: int, units: int) -> None:
        super().__init__()
        self.units = units
        self.of_input = nn.Linear(width, 3 * units)
        self.of_state = nn.Linear(width, 3 * units, bias=False)
        self.projection = nn.Linear(units, width, bias=False)
        with torch.no_grad():
            self.of_input.bias.zero_()
            self.of_input.bias[:units] = 1.0  # at first it remembers

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs ``[n, length, width]`` of inputs of that shape."""
        return coupled_gates(self.of_input(inputs), self.of_state.weight, self.projection.weight)


class _GRU(nn.Module):
    """Gated recurrent unit (Cho et al. 2014), projected to the width of the embedding."""

    def __init__(self, width: int, units: int) -> None:
        super().__init__()
        self.recurrent = nn.GRU(width, units, batch_first=True)
        self.projection = nn.Linear(units, width, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs, _ = self.recurrent(inputs)
        projected: Tensor = self.projection(outputs)
        return projected


class _Transformer(nn.Module):
    """Two causal blocks, norm first, with learned positions: of at most so many words."""

    def __init__(self, width: int, units: int, *, heads: int = 4, layers: int = 2, longest: int = 64) -> None:
        super().__init__()
        self.place = nn.Parameter(0.02 * torch.randn(longest, width))
        layer = nn.TransformerEncoderLayer(
            width, heads, units, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(longest))

    def forward(self, inputs: Tensor) -> Tensor:
        length = inputs.shape[1]
        mask = self.get_buffer("mask")[:length, :length]
        hidden: Tensor = self.blocks(inputs + self.place[:length], mask=mask, is_causal=True)
        return hidden


CELLS: Mapping[str, Callable[[int, int], nn.Module]] = {
    "cifg": CoupledLSTM,
    "gru": _GRU,
    "transformer": _Transformer,
}


class NextWord(nn.Module):
    """Scores of the words that may follow, by one embedding for what is read and what is suggested.

    Parameters
    ----------
    size : Size
    cell : str
        One of `CELLS`.
    half : bool
        Whether training computes the scores of words, and their part of the gradient, in bfloat16.
    """

    def __init__(self, size: Size, cell: str = "cifg", *, half: bool = False) -> None:
        super().__init__()
        self.half_precision = half
        self.embedding = nn.Embedding(size.words, size.width)
        nn.init.normal_(self.embedding.weight, std=size.width**-0.5)
        self.body = CELLS[cell](size.width, size.units)
        self.bias = nn.Parameter(torch.zeros(size.words))

    def hidden(self, words: Tensor) -> Tensor:
        """What the body makes of words ``[n, length]``: ``[n, length, width]``."""
        hidden: Tensor = self.body(self.embedding(words))
        return hidden

    def scores(self, hidden: Tensor) -> Tensor:
        """Scores of all words, before a softmax, ``[..., words]`` for ``[..., width]``."""
        return functional.linear(hidden, self.embedding.weight, self.bias)

    def forward(self, words: Tensor, following: Tensor | None = None) -> Tensor | dict[str, Tensor]:
        """Scores of the next word, or how each word that followed was foreseen.

        Parameters
        ----------
        words : Tensor
            Shape ``[n, length]``, integers.
        following : Tensor, optional
            The words that followed, of the same shape, negative where there is none to suggest.

        Returns
        -------
        Tensor or dict of str to Tensor
            Scores ``[n, words]`` of the word after the last one. With ``following``, in training, ``"mean"``: the
            mean −ln p of those that count, a scalar. In evaluation ``"surprise"``, −ln p of each, and ``"rank"``,
            how many words were preferred to it, ``[n, length]`` both. The scores of all words at all positions
            are never held at once.
        """
        hidden = self.hidden(words)
        if following is None:
            return self.scores(hidden[:, -1])
        places = hidden.flatten(0, 1)
        if self.training:
            wanted = following.flatten()
            found = mean_surprise(places, self.embedding.weight, self.bias, wanted, half=self.half_precision)
            return {"mean": found}
        wanted = following.flatten().clamp(min=0)
        parts = [
            self._foreseen(*part)
            for part in zip(torch.split(places, _POSITIONS), torch.split(wanted, _POSITIONS), strict=True)
        ]
        surprise, rank = (torch.cat(found).reshape(words.shape) for found in zip(*parts, strict=True))
        return {"surprise": surprise, "rank": rank}

    def _foreseen(self, hidden: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """−ln p of the wanted words ``[k]``, and how many have higher scores, or equal ones and come before."""
        scores = self.scores(hidden)
        wanted = wanted[:, None].long()
        own = scores.gather(1, wanted)
        numbers = torch.arange(scores.shape[1], device=scores.device)
        preferred = (scores > own) | ((scores == own) & (numbers < wanted))
        rank = preferred.sum(dim=1)
        broken = ~own[:, 0].isfinite()  # NaN is preferred to nothing, and would count as foreseen
        return scores.logsumexp(dim=1) - own[:, 0], torch.where(broken, scores.shape[1], rank)
