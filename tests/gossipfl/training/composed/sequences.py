"""Layers of sequences ``[L, F]``, and of tokens ``[L]``."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

from tests.gossipfl.training.composed.form import Makers, call, noise

__all__ = ["SEQUENCES", "TOKENS"]

VOCABULARY = 7


def _recurrent(kind, **options):
    def make(shape, random):
        several = {"num_layers": random.choice([1, 1, 2]), "bidirectional": random.random() < 0.3}
        return call(lambda m, x: m.r(x)[0], r=kind(shape[1], 4, batch_first=True, **several, **options))

    return make


def _last_state(shape, random):
    return call(lambda m, x: m.r(x)[1][-1], r=nn.GRU(shape[1], 4, batch_first=True))


def _packed(shape, random):
    def forward(m, x):
        lengths = torch.full((len(x),), x.shape[1])
        return m.r(pack_padded_sequence(x, lengths, batch_first=True))[1][0][-1]

    return call(forward, r=nn.LSTM(shape[1], 4, batch_first=True))


def _cell(shape, random):
    def forward(m, x):
        state = None
        for step in x.unbind(1):
            state = m.c(step, state)
        return state

    return call(forward, c=nn.GRUCell(shape[1], 5))


def _multihead(shape, random):
    if shape[1] % 2:
        return None
    weights, masked = random.random() < 0.5, random.random() < 0.5
    mask = torch.full((shape[0], shape[0]), -torch.inf).triu(1) if masked else None
    return call(
        lambda m, x: x + m.a(x, x, x, need_weights=weights, attn_mask=m.mask)[0],
        a=nn.MultiheadAttention(shape[1], 2, batch_first=True, bias=random.random() < 0.5),
        mask=mask,
    )


def _sdpa(shape, random):
    causal = random.random() < 0.5
    return call(
        lambda m, x: functional.scaled_dot_product_attention(m.q(x), m.k(x), x, is_causal=causal),
        q=nn.Linear(shape[1], 3),
        k=nn.Linear(shape[1], 3),
    )


def _block(shape, random):
    if shape[1] % 2:
        return None
    return nn.TransformerEncoderLayer(
        shape[1],
        2,
        6,
        dropout=random.choice([0.0, 0.0, 0.3]),
        batch_first=True,
        norm_first=random.random() < 0.5,
    )


def _decoder(shape, random):
    if shape[1] % 2:
        return None
    layer = nn.TransformerDecoderLayer(shape[1], 2, 6, dropout=0.0, batch_first=True)
    return call(lambda m, x: m.d(x, x), d=layer)


def _embedding(**options):
    return lambda shape, random: nn.Embedding(VOCABULARY, 4, **options)


SEQUENCES: Makers = {
    "linear": lambda s, r: nn.Linear(s[1], 4),
    "gru": _recurrent(nn.GRU),
    "lstm": _recurrent(nn.LSTM),
    "projected lstm": lambda s, r: call(
        lambda m, x: m.r(x)[0], r=nn.LSTM(s[1], 4, proj_size=2, batch_first=True)
    ),
    "rnn": _recurrent(nn.RNN),
    "relu rnn": _recurrent(nn.RNN, nonlinearity="relu"),
    "last state": _last_state,
    "packed": _packed,
    "cell": _cell,
    "multihead": _multihead,
    "sdpa": _sdpa,
    "block": _block,
    "decoder": _decoder,
    "convolution": lambda s, r: nn.Conv1d(s[0], 3, 2, padding=1),
    "transposed": lambda s, r: nn.ConvTranspose1d(s[0], 2, 2),
    "layer norm": lambda s, r: nn.LayerNorm(s[1]),
    "batch norm": lambda s, r: nn.BatchNorm1d(s[0]),
    "instance norm": lambda s, r: nn.InstanceNorm1d(s[0], affine=True) if s[1] > 1 else None,
    "positions": lambda s, r: call(lambda m, x: x + m.p, p=nn.Parameter(noise(*s))),
    "pooled": lambda s, r: nn.MaxPool1d(2) if s[1] > 1 else None,
    "adaptive": lambda s, r: nn.AdaptiveAvgPool1d(2),
    "mixed": lambda s, r: call(lambda m, x: m.w.softmax(-1) @ x, w=nn.Parameter(noise(3, s[0]))),
    "gram": lambda s, r: call(lambda m, x: x @ x.mT / x.shape[-1]),
    "mean": lambda s, r: call(lambda m, x: x.mean(1)),
    "last": lambda s, r: call(lambda m, x: x[:, -1]),
    "largest": lambda s, r: call(lambda m, x: x.amax(1)),
    "flat": lambda s, r: nn.Flatten(),
    "turned": lambda s, r: call(lambda m, x: x.mT),
}
TOKENS: Makers = {
    "embedding": _embedding(),
    "padded": _embedding(padding_idx=1),
    "bounded": _embedding(max_norm=0.7),
    "by frequency": _embedding(scale_grad_by_freq=True),
    "sparse": _embedding(sparse=True),
    "frozen": lambda s, r: nn.Embedding.from_pretrained(noise(VOCABULARY, 4)),
    "bag": lambda s, r: nn.EmbeddingBag(VOCABULARY, 4, mode=r.choice(["sum", "mean", "max"])),
    "sparse bag": lambda s, r: nn.EmbeddingBag(VOCABULARY, 4, mode="sum", sparse=True),
    "one hot": lambda s, r: call(lambda m, x: functional.one_hot(x, VOCABULARY).float()),
    "by index": lambda s, r: call(lambda m, x: m.table[x], table=nn.Parameter(noise(VOCABULARY, 4))),
    "scatter": lambda s, r: call(
        lambda m, x: torch.zeros(len(x), VOCABULARY).scatter_add_(1, x, torch.ones(x.shape))
    ),
}
