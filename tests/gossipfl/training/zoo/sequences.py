"""Recurrent layers, attention and embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.gossipfl.training.zoo.form import Call, Kind

__all__ = ["KINDS"]


def recurrent(layer: nn.Module, width: int) -> nn.Module:
    return Call(lambda m, x: m.head(m.layer(x)[0][:, -1]), layer=layer, head=nn.Linear(width, 3))


def cell(layer: nn.Module) -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        state = None
        for step in x.unbind(1):
            state = m.layer(step, state)
        return m.head(state[0] if isinstance(state, tuple) else state)

    return Call(forward, layer=layer, head=nn.Linear(5, 3))


def causal(length: int = 6) -> Tensor:
    return torch.full((length, length), -torch.inf).triu(1)


def self_attention(m: nn.Module, x: Tensor) -> Tensor:
    return m.head((m.q(x) @ x.mT).mean(1))


def multihead(**options: bool) -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return m.head(m.attention(x, x, x, attn_mask=m.mask, **options)[0].mean(1))

    return Call(
        forward, attention=nn.MultiheadAttention(8, 2, batch_first=True), mask=causal(), head=nn.Linear(8, 3)
    )


def sdpa(*, is_causal: bool, mask: Tensor | None = None) -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        q, k, v = m.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal)
        return m.head(found.transpose(1, 2).flatten(2).mean(1))

    return Call(forward, qkv=nn.Linear(8, 24), head=nn.Linear(8, 3))


def encoder(*, dropout: float = 0.0, norm_first: bool = False, activation: str = "gelu") -> nn.Module:
    layer = nn.TransformerEncoderLayer(
        8, 2, 16, dropout=dropout, activation=activation, batch_first=True, norm_first=norm_first
    )
    return Call(
        lambda m, x: m.head(m.layers(x, mask=m.mask).mean(1)),
        layers=nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        mask=causal(),
        head=nn.Linear(8, 3),
    )


class TiedTransformer(nn.Module):
    """Two causal blocks over tokens; the embedding is the decoder's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.place = nn.Parameter(0.1 * torch.randn(6, 8))
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {"n1": nn.LayerNorm(8), "qkv": nn.Linear(8, 24), "out": nn.Linear(8, 8), "n2": nn.LayerNorm(8),
                 "up": nn.Linear(8, 16), "down": nn.Linear(16, 8)}
            )
            for _ in range(2)
        )  # fmt: skip
        self.decoder = nn.Linear(8, 11, bias=False)
        self.decoder.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) + self.place
        for block in self.blocks:
            q, k, v = block["qkv"](block["n1"](x)).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
            found = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + block["out"](found.transpose(1, 2).flatten(2))
            x = x + block["down"](functional.gelu(block["up"](block["n2"](x))))
        return self.decoder(x).mean(1)[:, :3]


def decoder_layer() -> nn.Module:
    layer = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return Call(lambda m, x: m.head(m.layer(x, x[:, :3]).mean(1)), layer=layer, head=nn.Linear(8, 3))


def embedding(module: nn.Module) -> nn.Module:
    return Call(lambda m, x: m.head(m.embedding(x).mean(1)), embedding=module, head=nn.Linear(8, 3))


def bag(mode: str) -> nn.Module:
    return nn.Sequential(nn.EmbeddingBag(11, 8, mode=mode), nn.Linear(8, 3))


KINDS: dict[str, Kind] = {
    "GRU": Kind("recurrent", "sequence", lambda: recurrent(nn.GRU(8, 5, batch_first=True), 5)),
    "LSTM": Kind("recurrent", "sequence", lambda: recurrent(nn.LSTM(8, 5, batch_first=True), 5)),
    "LSTM, two layers, bidirectional": Kind(
        "recurrent", "sequence", lambda: recurrent(nn.LSTM(8, 5, 2, batch_first=True, bidirectional=True), 10)
    ),
    "LSTM, projected": Kind(
        "recurrent", "sequence", lambda: recurrent(nn.LSTM(8, 5, proj_size=3, batch_first=True), 3)
    ),
    "RNN, tanh": Kind("recurrent", "sequence", lambda: recurrent(nn.RNN(8, 5, batch_first=True), 5)),
    "RNN, ReLU": Kind(
        "recurrent", "sequence", lambda: recurrent(nn.RNN(8, 5, nonlinearity="relu", batch_first=True), 5)
    ),
    "GRUCell": Kind("recurrent", "sequence", lambda: cell(nn.GRUCell(8, 5))),
    "LSTMCell": Kind("recurrent", "sequence", lambda: cell(nn.LSTMCell(8, 5))),
    "self-attention by hand": Kind(
        "attention", "sequence", lambda: Call(self_attention, q=nn.Linear(8, 8), head=nn.Linear(6, 3))
    ),
    "MultiheadAttention": Kind("attention", "sequence", multihead),
    "MultiheadAttention, no weights": Kind("attention", "sequence", lambda: multihead(need_weights=False)),
    "scaled_dot_product_attention": Kind("attention", "sequence", lambda: sdpa(is_causal=False)),
    "scaled_dot_product_attention, causal": Kind("attention", "sequence", lambda: sdpa(is_causal=True)),
    "scaled_dot_product_attention, mask": Kind(
        "attention", "sequence", lambda: sdpa(is_causal=False, mask=torch.ones(6, 6).tril().bool())
    ),
    "TransformerEncoder": Kind("attention", "sequence", encoder),
    "TransformerEncoder, norm first, ReLU": Kind(
        "attention", "sequence", lambda: encoder(norm_first=True, activation="relu")
    ),
    "TransformerDecoderLayer": Kind("attention", "sequence", decoder_layer),
    "transformer, tied embedding": Kind("attention", "tokens", TiedTransformer),
    "Embedding": Kind("embeddings", "tokens", lambda: embedding(nn.Embedding(11, 8))),
    "Embedding, padding_idx": Kind(
        "embeddings", "tokens", lambda: embedding(nn.Embedding(11, 8, padding_idx=0))
    ),
    "Embedding, max_norm": Kind("embeddings", "tokens", lambda: embedding(nn.Embedding(11, 8, max_norm=0.5))),
    "Embedding, scale_grad_by_freq": Kind(
        "embeddings", "tokens", lambda: embedding(nn.Embedding(11, 8, scale_grad_by_freq=True))
    ),
    "Embedding, sparse": Kind(
        "embeddings",
        "tokens",
        lambda: embedding(nn.Embedding(11, 8, sparse=True)),
        "its gradient is made dense",
    ),
    "EmbeddingBag, mean": Kind("embeddings", "tokens", lambda: bag("mean")),
    "EmbeddingBag, max": Kind("embeddings", "tokens", lambda: bag("max")),
}
