"""Kinds of modules that people bring: small ones of each, with samples they take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint

from gossipfl.errors import InvalidTask
from gossipfl.tasks import Dataset, Task
from gossipfl.training import NodeData, Trainer, TrainingSettings

__all__ = ["KINDS", "Kind", "task_of"]

EACH = 6  # samples of a node
DOCUMENT = Path(__file__).parents[3] / "docs" / "modules.md"


@dataclass(frozen=True)
class Kind:
    """A kind of module.

    Parameters
    ----------
    family : str
    inputs : str
        Of `SAMPLES`.
    model : callable
    note : str
    """

    family: str
    inputs: str
    model: Callable[[], nn.Module]
    note: str = ""


class Call(nn.Module):
    """Modules and a function of them and the inputs."""

    def __init__(self, function: Callable[..., Tensor], **parts: nn.Module | nn.Parameter | Tensor) -> None:
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(self, inputs)


def mlp(*between: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(16, 8), *between, nn.Linear(8, 3))


def cnn(*between: nn.Module) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        *between,
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


def image(width: int, *features: nn.Module) -> nn.Module:
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(width, 3))


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


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).mT


def parametrised(square: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Linear(16, 8), square(nn.Linear(8, 8)), nn.Tanh(), nn.Linear(8, 3))


def symmetric(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", Symmetric())
    return layer


def residual() -> nn.Module:
    return Call(
        lambda m, x: m.head((x + m.b(functional.relu(m.a(x)))).mean((2, 3))),
        a=nn.Conv2d(1, 4, 3, padding=1),
        b=nn.Conv2d(4, 1, 3, padding=1),
        head=nn.Linear(1, 3),
    )


def autocast() -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return m.body(x).float()

    return Call(forward, body=mlp(nn.Tanh()))


def shared_layers() -> nn.Module:
    layer = nn.Linear(8, 8)
    return nn.Sequential(nn.Linear(16, 8), layer, nn.Tanh(), layer, nn.Linear(8, 3))


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


def branching() -> nn.Module:
    return Call(lambda m, x: m.a(x) if x.sum() > 0 else m.b(x), a=nn.Linear(16, 3), b=nn.Linear(16, 3))


class OwnFunction(torch.autograd.Function):
    """A straight-through sign."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.sign()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient


class Counter(nn.Module):
    """Divides by how often it has been called."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.calls = mlp(nn.ReLU()), 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        return self.body(inputs) / self.calls


KINDS: dict[str, Kind] = {
    "linear": Kind("dense", "vector", lambda: nn.Linear(16, 3)),
    "perceptron, ReLU": Kind("dense", "vector", lambda: mlp(nn.ReLU())),
    "perceptron, GELU": Kind("dense", "vector", lambda: mlp(nn.GELU())),
    "perceptron, SiLU": Kind("dense", "vector", lambda: mlp(nn.SiLU())),
    "perceptron, Softplus, Hardswish": Kind("dense", "vector", lambda: mlp(nn.Softplus(), nn.Hardswish())),
    "PReLU": Kind("dense", "vector", lambda: mlp(nn.PReLU(8))),
    "GLU": Kind("dense", "vector", lambda: nn.Sequential(nn.Linear(16, 8), nn.GLU(), nn.Linear(4, 3))),
    "Bilinear": Kind(
        "dense", "vector", lambda: Call(lambda m, x: m.b(x[:, :8], x[:, 8:]), b=nn.Bilinear(8, 8, 3))
    ),
    "tied layers": Kind("dense", "vector", shared_layers),
    "frozen layer": Kind(
        "dense",
        "vector",
        lambda: nn.Sequential(nn.Linear(16, 8).requires_grad_(requires_grad=False), nn.Linear(8, 3)),
    ),
    "own autograd.Function": Kind(
        "dense",
        "vector",
        lambda: Call(lambda m, x: m.b(OwnFunction.apply(m.a(x))), a=nn.Linear(16, 8), b=nn.Linear(8, 3)),
        "its forward takes ctx",
    ),
    "branch on the data": Kind("dense", "vector", branching, "x.sum() > 0 is asked of every batch"),
    "convolution": Kind("convolutional", "image", cnn),
    "BatchNorm2d": Kind("convolutional", "image", lambda: cnn(nn.BatchNorm2d(4))),
    "BatchNorm2d, cumulative": Kind("convolutional", "image", lambda: cnn(nn.BatchNorm2d(4, momentum=None))),
    "GroupNorm": Kind("convolutional", "image", lambda: cnn(nn.GroupNorm(2, 4))),
    "InstanceNorm2d": Kind("convolutional", "image", lambda: cnn(nn.InstanceNorm2d(4, affine=True))),
    "InstanceNorm2d, running": Kind(
        "convolutional", "image", lambda: cnn(nn.InstanceNorm2d(4, track_running_stats=True))
    ),
    "LayerNorm of images": Kind("convolutional", "image", lambda: cnn(nn.LayerNorm([4, 8, 8]))),
    "LocalResponseNorm": Kind("convolutional", "image", lambda: cnn(nn.LocalResponseNorm(2))),
    "depthwise convolution": Kind(
        "convolutional", "image", lambda: cnn(nn.Conv2d(4, 4, 3, groups=4, padding=1))
    ),
    "dilated, strided convolution": Kind(
        "convolutional", "image", lambda: image(9 * 4, nn.Conv2d(1, 4, 2, stride=2, dilation=2))
    ),
    "transposed convolution": Kind(
        "convolutional", "image", lambda: image(16 * 16 * 2, nn.ConvTranspose2d(1, 2, 2, stride=2))
    ),
    "Conv1d": Kind("convolutional", "signal", lambda: image(40, nn.Conv1d(2, 4, 3), nn.ReLU())),
    "ConvTranspose1d": Kind(
        "convolutional", "signal", lambda: image(72, nn.ConvTranspose1d(2, 3, 2, stride=2))
    ),
    "Conv3d": Kind("convolutional", "volume", lambda: image(16, nn.Conv3d(1, 2, 3), nn.ReLU())),
    "max pooling": Kind(
        "convolutional", "image", lambda: image(36, nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.ReLU())
    ),
    "average pooling": Kind(
        "convolutional", "image", lambda: image(36, nn.Conv2d(1, 4, 3), nn.AvgPool2d(2), nn.ReLU())
    ),
    "PixelShuffle": Kind(
        "convolutional", "image", lambda: image(256, nn.Conv2d(1, 4, 1), nn.PixelShuffle(2))
    ),
    "Upsample": Kind(
        "convolutional",
        "image",
        lambda: image(256, nn.Conv2d(1, 1, 1), nn.Upsample(scale_factor=2, mode="bilinear")),
    ),
    "ReflectionPad2d": Kind(
        "convolutional", "image", lambda: image(144, nn.ReflectionPad2d(2), nn.Conv2d(1, 1, 1))
    ),
    "Unfold": Kind("convolutional", "image", lambda: image(4 * 49, nn.Unfold(2))),
    "residual block": Kind("convolutional", "image", residual),
    "LayerNorm": Kind("norms", "vector", lambda: mlp(nn.LayerNorm(8))),
    "RMSNorm": Kind("norms", "vector", lambda: mlp(nn.RMSNorm(8))),
    "BatchNorm1d": Kind("norms", "vector", lambda: mlp(nn.BatchNorm1d(8), nn.ReLU())),
    "BatchNorm1d, no statistics": Kind(
        "norms", "vector", lambda: mlp(nn.BatchNorm1d(8, track_running_stats=False))
    ),
    "weight_norm": Kind("parametrised", "vector", lambda: parametrised(parametrizations.weight_norm)),
    "weight_norm, old": Kind("parametrised", "vector", lambda: parametrised(weight_norm)),
    "spectral_norm": Kind("parametrised", "vector", lambda: parametrised(parametrizations.spectral_norm)),
    "spectral_norm, old": Kind("parametrised", "vector", lambda: parametrised(spectral_norm)),
    "orthogonal": Kind("parametrised", "vector", lambda: parametrised(parametrizations.orthogonal)),
    "own parametrisation": Kind("parametrised", "vector", lambda: parametrised(symmetric)),
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


def _samples(inputs: str, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    if inputs == "tokens":
        return torch.randint(0, 11, (count, 6), generator=generator)
    shape = {
        "vector": (16,),
        "image": (1, 8, 8),
        "sequence": (6, 8),
        "signal": (2, 12),
        "volume": (1, 4, 4, 4),
    }
    return torch.randn(count, *shape[inputs], generator=generator)


def task_of(kind: str, nodes: int = 3) -> Task:
    """Task of a kind of module, with `EACH` samples a node, in order."""

    def data() -> Dataset:
        count = EACH * nodes
        inputs = _samples(KINDS[kind].inputs, count)
        targets = torch.arange(count) % 3
        return Dataset(
            train_inputs=inputs, train_targets=targets, test_inputs=inputs[:4], test_targets=targets[:4]
        )

    return Task(name=f"zoo/{kind}", model=KINDS[kind].model, data=data)


def how(kind: str) -> str:
    """How a kind is trained, as the document says it."""
    task = task_of(kind, 1)
    data = task.data()
    try:
        whole = NodeData.of_one_node(data.train_inputs, data.train_targets)
        trainer = Trainer.of(task, whole, TrainingSettings(batch_size=EACH))
    except InvalidTask:
        return "refused"
    return "together" if trainer.gradients.vectorised else "one by one"


def document() -> str:
    """The table in the documentation."""
    lines = [
        "# Modules",
        "",
        "Whatever a module computes in torch it computes here, or it is refused by name. Each of these is held to",
        "`torch.optim` for five steps of SGD and of AdamW, in a trainer and in the simulator's traced programmes",
        "(`tests/gossipfl/training/test_as_torch.py`). *Together*: a simulation trains many models at once.",
        "*One by one*: each goes through the module alone, with the same numbers, more slowly. A peer has one",
        "model, and always runs the module itself.",
        "",
        "This table is made by `python -m tests.gossipfl.training.zoo`.",
        "",
        "| family | module | trained | |",
        "|---|---|---|---|",
    ]
    lines += [f"| {kind.family} | {name} | {how(name)} | {kind.note} |" for name, kind in KINDS.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
