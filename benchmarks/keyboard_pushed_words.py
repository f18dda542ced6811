"""Words that hostile peers push into the suggestions of others: what reaches honest keyboards, without and with the gate.

``python -m benchmarks.keyboard_pushed_words`` lets twenty authors' models gossip in the simulator. Two of them send their
models with a larger bias of one word, so that whoever merges them is to be suggested it everywhere. Each line is one
rise of the bias, without a gate, with one, or with one that limits single numbers (``gate.peak``): the share of
contexts of the authors' later words in which an honest author's shared model suggests the word among three, and the
top-1 recall, by means over the honest, with the lowest and the highest share.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import sims
from gossipfl.attacks import SameToAll, Senders
from gossipfl.keyboard.shared_words import SharedWords
from gossipfl.tasks import find_task
from gossipfl.tasks.words.models import SIZES
from gossipfl.tasks.words.next_word import find_vocabulary
from gossipfl.tasks.words.vocabulary import SPECIAL
from sims.scenario import parse_scenario
from sims.world.trace_cache import Traces

WORD = "music"
GATES = {"off": "", "on": "[gate]", "peak": "[gate]\npeak = 3.0"}
CONTEXTS = 200
SUGGESTIONS = 3


@dataclass(frozen=True)
class Pushed(SameToAll):
    """The model that an honest node would send, with a larger number in one place, and perhaps a greater age."""

    at: int
    rise: float
    older: int = 0

    def send(self, senders: Senders) -> Tensor:
        rows = senders.rows.clone()
        rows[:, self.at] += self.rise
        return rows

    def claim(self, ages: Tensor) -> Tensor:
        return ages + self.older


def scenario(chosen: argparse.Namespace, at: int, rise: float, older: int, *, gate: str):
    """Gossip of all authors, of which some push."""
    attack = f"""
[attack]
name = "benchmarks.keyboard_pushed_words:Pushed"
count = {chosen.hostile}
place = "last"
at = {at}
rise = {rise}
older = {older}
"""
    return parse_scenario(
        f"""
seed = {chosen.seed}
[population]
nodes = {chosen.authors}
[task]
name = "next-word"
partition = "natural"
options = {{ text = "sotu", users = {chosen.authors}, size = "tiny", most = 500, most_tested = 50 }}
[topology]
name = "random-regular"
degree = 6
[algorithm]
name = "gossip_learning"
[training]
optimiser = "adamw"
learning_rate = 0.03
batch_size = 32
[evaluate]
every = {chosen.rounds}
[stop]
rounds = {chosen.rounds}
{gate}
{attack if rise else ""}
"""
    )


def contexts_of(task) -> list[tuple[int, ...]]:
    """Beginnings of windows of later words."""
    words = task.dataset().test_inputs["words"]
    chosen = np.random.default_rng(0)
    return [
        tuple(words[row, : chosen.integers(3, 12)].tolist())
        for row in chosen.choice(len(words), CONTEXTS, replace=False)
    ]


def main() -> None:
    """Print a line for each rise, without and with the gate."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--authors", type=int, default=20)
    parser.add_argument("--hostile", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rises", type=float, nargs="+", default=[0, 1, 2, 4, 8, 16])
    parser.add_argument("--gates", nargs="+", default=list(GATES), choices=GATES)
    parser.add_argument("--older", type=int, default=0, help="steps that hostile models claim to be older")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    options = {"text": "sotu", "users": chosen.authors, "size": "tiny", "most": 500, "most_tested": 50}
    task = find_task("next-word", options)
    vocabulary = find_vocabulary("en", SIZES["tiny"].words)
    word = vocabulary.numbers[WORD]
    (bias,) = [entry for entry in task.layout.entries if entry.name == "bias"]
    contexts = contexts_of(task)
    print(
        "| bias raised by | gate | suggested | lowest … highest | recall |\n" + "|---" * 5 + "|", flush=True
    )
    for rise in chosen.rises:
        for name in chosen.gates:
            made = scenario(chosen, bias.offset + word, rise, chosen.older, gate=GATES[name])
            done = sims.run(made, compile_when="never", traces=Traces())
            honest = done.rows.float()[: -chosen.hostile if rise else None]
            shared, shares = SharedWords(task, vocabulary, length=20), []
            for number, row in enumerate(honest):
                shared.load(row, number)
                found = shared.shares_of(contexts)
                own = found[:, word - len(SPECIAL)][:, None]
                shares.append(100 * float(((found > own).sum(axis=1) < SUGGESTIONS).mean()))
            recall = 100 * done.evaluations["recall_mean"][-1]
            print(
                f"| {rise:g} | {name} | {np.mean(shares):.1f} % | "
                f"{min(shares):.1f} … {max(shares):.1f} % | {recall:.1f} % |",
                flush=True,
            )


if __name__ == "__main__":
    main()
