"""A small transformer in the simulator, beside a hand-written loop of the same with `torch.func.vmap`.

Two layers of width 64, 200 nodes, the next character of a role's lines (Caldas et al., LEAF, 2018: one node a role of
Shakespeare's plays). The text is read from a file if there is one, and made up else: speed does not depend on it.

    python -m benchmarks.transformer --text ../shared/data/shakespeare.txt
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional

from gossipfl.tasks import Dataset, Task
from gossipfl.training import Nodes
from sims.engine.engine import Phases
from sims.engine.local import BlockTraining
from sims.scenario import parse_scenario
from sims.world import build_world

LENGTH, WIDTH, HEADS, LAYERS, EACH = 16, 64, 4, 2, 8


class Transformer(nn.Module):
    """Causal blocks, norm first; the embedding is the decoder's weight."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, WIDTH)
        self.place = nn.Parameter(0.02 * torch.randn(LENGTH, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(LENGTH))
        self.decoder = nn.Linear(WIDTH, characters, bias=False)
        self.decoder.weight = self.embedding.weight
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores ``[S, characters, length]`` of the next characters."""
        hidden = self.blocks(self.embedding(tokens) + self.place, mask=self.mask, is_causal=True)
        return self.decoder(hidden).mT


def task(text: str = "", nodes: int = 200) -> Task:
    """Next characters of windows of a text, `EACH` of them a node in order."""

    def data() -> Dataset:
        words = Path(text).read_text(encoding="utf-8") if text and Path(text).is_file() else ""
        if not words:
            words = "".join(chr(97 + k) for k in np.random.default_rng(0).integers(0, 26, 200_000))
        alphabet = {character: number % 80 for number, character in enumerate(sorted(set(words)))}
        codes = torch.tensor([alphabet[c] for c in words[: nodes * EACH * LENGTH + 1]])
        inputs = codes[:-1].unfold(0, LENGTH, LENGTH).contiguous()
        targets = codes[1:].unfold(0, LENGTH, LENGTH).contiguous()
        return Dataset(
            train_inputs=inputs, train_targets=targets, test_inputs=inputs[:8], test_targets=targets[:8]
        )

    return Task(name="transformer", model=lambda: Transformer(80), data=data)


def by_hand(
    module: nn.Module, rows: int, steps: int, inputs: Tensor, targets: Tensor, *, block: int
) -> float:
    """Seconds of a loop over blocks of nodes: vmap of the gradient, and a step of plain SGD."""
    parameters = {name: p.detach().expand(rows, *p.shape).clone() for name, p in module.named_parameters()}
    buffers = dict(module.named_buffers())

    def loss_of(own: dict[str, Tensor], tokens: Tensor, expected: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(module, {**own, **buffers}, (tokens,)), expected)

    batched = vmap(grad_and_value(loss_of))
    started = time.perf_counter()
    for _ in range(steps):
        for first in range(0, rows, block):
            part = slice(first, first + block)
            gradients, _ = batched({n: p[part] for n, p in parameters.items()}, inputs[part], targets[part])
            for name, gradient in gradients.items():
                parameters[name][part].sub_(gradient, alpha=0.1)
    return time.perf_counter() - started


def main() -> None:
    """Print seconds a round of both, and their ratio, taking turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", default="../shared/data/shakespeare.txt")
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    chosen = parser.parse_args()
    scenario = parse_scenario(
        f"""
        [population]
        nodes = {chosen.nodes}
        [task]
        name = "benchmarks.transformer:task"
        partition = "contiguous"
        [task.options]
        text = "{chosen.text}"
        nodes = {chosen.nodes}
        [topology]
        name = "ring"
        [algorithm]
        name = "d_psgd"
        [training]
        batch_size = {EACH}
        [evaluate]
        samples = 8
        """
    )
    torch.set_num_threads(1)
    world = build_world(scenario)
    print("batched over rows:", world.trainer.gradients.vectorised)
    phases = Phases()
    local = BlockTraining(
        world, expected_rounds=0, threads=1, compile_when="never", device=torch.device("cpu"), phases=phases
    )
    rows = world.task.initial_row().repeat(chosen.nodes, 1)
    nodes = local.update(Nodes.start(rows, optimiser_state_size=0))
    print("tiers:", phases.tiers, "block:", local.blocks.block, "row:", rows.shape[1])
    data = world.trainer.data
    shape = (chosen.nodes, EACH, LENGTH)
    inputs, targets = data.inputs.reshape(shape), data.targets.reshape(shape)
    module = world.task.build_module().train()
    ours, theirs = [], []
    for _ in range(chosen.repeats):
        started = time.perf_counter()
        for _ in range(chosen.rounds):
            nodes = local.update(nodes)
        ours.append(time.perf_counter() - started)
        each = [by_hand(module, chosen.nodes, chosen.rounds, inputs, targets, block=b) for b in (8, 50)]
        theirs.append(min(each))
    print(f"ours {min(ours):.2f} s, by hand {min(theirs):.2f} s, ratio {min(ours) / min(theirs):.2f}")


if __name__ == "__main__":
    main()
