"""Graphs, experts, checkpointing and what changes or draws while it runs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tests.gossipfl.training.zoo.form import Call, Kind, cnn, mlp
from tests.gossipfl.training.zoo.sequences import encoder, recurrent

__all__ = ["KINDS"]


def graph_layer() -> nn.Module:
    links = torch.ones(6, 6).tril().bool() | torch.eye(6).bool()
    weights = links / links.sum(1, keepdim=True)
    return Call(
        lambda m, x: m.second(torch.relu(m.links @ m.first(m.links @ x))).mean(1),
        first=nn.Linear(8, 8),
        second=nn.Linear(8, 3),
        links=weights,
    )


def experts(*, hard: bool) -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        share = torch.softmax(m.gate(x), dim=-1)
        if hard:
            share = share * (share == share.amax(-1, keepdim=True))
        outputs = torch.stack([expert(x) for expert in m.experts], dim=1)
        return (share.unsqueeze(-1) * outputs).sum(1)

    return Call(forward, gate=nn.Linear(16, 3), experts=nn.ModuleList([nn.Linear(16, 3) for _ in range(3)]))


def routed() -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        chosen = m.gate(x).argmax(-1)
        outputs = torch.zeros(len(x), 3)
        for number, expert in enumerate(m.experts):
            mine = (chosen == number).nonzero().flatten()
            outputs = outputs.index_add(0, mine, expert(x[mine]))
        return outputs

    return Call(forward, gate=nn.Linear(16, 2), experts=nn.ModuleList([nn.Linear(16, 3) for _ in range(2)]))


def autocast() -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return m.body(x).float()

    return Call(forward, body=mlp(nn.Tanh()))


def checkpointed(*, reentrant: bool) -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return m.last(checkpoint(m.body, m.first(x), use_reentrant=reentrant))

    body = nn.Sequential(nn.Linear(8, 8), nn.Tanh())
    return Call(forward, first=nn.Linear(16, 8), body=body, last=nn.Linear(8, 3))


def clamped() -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        with torch.no_grad():
            m.body[0].weight.clamp_(-0.2, 0.2)
        return m.body(x)

    return Call(forward, body=mlp(nn.ReLU()))


def layer_drop() -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        x = m.first(x)
        return m.last(m.middle(x) if torch.rand(()) < 0.5 else x)

    return Call(forward, first=nn.Linear(16, 8), middle=nn.Linear(8, 8), last=nn.Linear(8, 3))


def adversarial_noise() -> nn.Module:
    return Call(lambda m, x: m.body(x + 0.1 * torch.randn_like(x)), body=mlp(nn.ReLU()))


class Counter(nn.Module):
    """Divides by how often it has been called."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.calls = mlp(nn.ReLU()), 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        return self.body(inputs) / self.calls


KINDS: dict[str, Kind] = {
    "graph convolution, dense": Kind("others", "sequence", graph_layer),
    "mixture of experts, soft": Kind("others", "vector", lambda: experts(hard=False)),
    "mixture of experts, top 1": Kind("others", "vector", lambda: experts(hard=True)),
    "mixture of experts, routed": Kind(
        "others", "vector", routed, "each expert has the samples that it is chosen for"
    ),
    "autocast, bfloat16": Kind("others", "vector", autocast),
    "checkpointing": Kind("others", "vector", lambda: checkpointed(reentrant=False)),
    "checkpointing, reentrant": Kind("others", "vector", lambda: checkpointed(reentrant=True)),
    "weights clamped in forward": Kind("others", "vector", clamped),
    "Dropout": Kind("random", "vector", lambda: mlp(nn.Dropout(0.5))),
    "Dropout2d": Kind("random", "image", lambda: cnn(nn.Dropout2d(0.5))),
    "AlphaDropout": Kind("random", "vector", lambda: mlp(nn.SELU(), nn.AlphaDropout(0.3))),
    "FeatureAlphaDropout": Kind("random", "image", lambda: cnn(nn.FeatureAlphaDropout(0.3))),
    "RReLU": Kind("random", "vector", lambda: mlp(nn.RReLU())),
    "GRU, dropout": Kind(
        "random", "sequence", lambda: recurrent(nn.GRU(8, 5, 2, dropout=0.3, batch_first=True), 5)
    ),
    "TransformerEncoder, dropout": Kind("random", "sequence", lambda: encoder(dropout=0.2)),
    "noise on the inputs": Kind("random", "vector", adversarial_noise),
    "layers dropped at random": Kind("random", "vector", layer_drop),
    "parameters in bfloat16": Kind("refused", "vector", lambda: mlp(nn.ReLU()).bfloat16(), "use autocast"),
    "parameters in float64": Kind(
        "refused", "vector", lambda: mlp(nn.ReLU()).double(), 'use precision = "float64" in a scenario'
    ),
    "a counter in an attribute": Kind("refused", "vector", Counter, "register it as a buffer"),
}
