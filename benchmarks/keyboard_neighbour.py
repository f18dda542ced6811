"""Words that a neighbour reads off a keyboard's model: what training on a few windows of typed words gives away.

``python -m benchmarks.keyboard_neighbour`` trains a model on nine authors; each window of 20 words that the tenth has
typed is then trained on, from that model, as a keyboard does between two exchanges. A neighbour who sees the model
before and after takes the words whose bias has risen most for those that were typed, as many as there were: a
gradient raises the bias of a word that was to be foreseen, and lowers all others. Each line is one way of sending,
with the share of these guesses that were typed, beside those of somebody who sees nothing and names the most frequent
words; the mean over several owners' windows.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gossipfl.codecs import codec, exchange_keys
from gossipfl.codecs.draws import common_key
from gossipfl.outgoing import Clip, Draws, GaussianNoise, Pipeline
from gossipfl.settings import TrainingSettings
from gossipfl.settings.sample_privacy import SamplePrivacySettings
from gossipfl.tasks import find_task
from gossipfl.tasks.words.vocabulary import SPECIAL
from gossipfl.training import NodeData, Nodes, Trainer

CODEC = codec("int8")


@dataclass(frozen=True)
class Way:
    """A way of training and sending; with ``others``, only the mean with so many others' models is seen."""

    name: str
    pipeline: Pipeline = Pipeline()  # noqa: RUF009 - it is immutable
    privacy: SamplePrivacySettings | None = None
    others: int = 0


def private(noise: float) -> SamplePrivacySettings:
    """DP-SGD with seeded noise."""
    return SamplePrivacySettings(clip=1.0, noise_multiplier=noise, secret=False)


WAYS = (
    Way("as it is"),
    Way("in 8 bits", Pipeline(codec=CODEC)),
    Way("the mean with 4 others, in 8 bits", Pipeline(codec=CODEC), others=4),
    Way("the mean with 19 others, in 8 bits", Pipeline(codec=CODEC), others=19),
    Way("gradients of windows clipped to 1, noise 0.6", privacy=private(0.6)),
    Way("gradients of windows clipped to 1, noise 2", privacy=private(2.0)),
    Way(
        "clipped to a norm of 8, noise of deviation 0.5 on each number",
        Pipeline(transformations=(Clip(8.0), GaussianNoise(0.5))),
    ),
)


def trained(task, data, parts, settings: TrainingSettings, rows: Tensor, steps: int) -> Tensor:
    """Rows after so many steps, each on its own part of the samples."""
    trainer = Trainer.of(task, NodeData.partitioned(data.train_inputs, data.train_targets, parts), settings)
    nodes = Nodes.start(rows, optimiser_state_size=trainer.optimiser_state_size)
    for _ in range(steps):
        nodes, _ = trainer.train(nodes, np.arange(len(rows)))
    return nodes.rows


def bias_of(task, rows: Tensor) -> Tensor:
    """The biases of the vocabulary's words, without the special ones, ``[B, words]``."""
    (bias,) = [entry for entry in task.layout.entries if entry.name == "bias"]
    return rows[:, bias.offset + len(SPECIAL) : bias.offset + bias.size]


def typed_words(data, part) -> set[int]:
    """Places of the words that were to be foreseen."""
    following = data.train_targets["following"][torch.as_tensor(part)]
    return {int(word) - len(SPECIAL) for word in following.flatten() if word >= len(SPECIAL)}


def guessed(rise: Tensor, typed: set[int]) -> float:
    """Share of the words that rose most, as many as were typed, that were."""
    best = torch.argsort(rise, descending=True)[: len(typed)].tolist()
    return len(typed & set(best)) / len(typed)


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--windows", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--owners", type=int, default=20)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--optimiser", default="adamw")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    task = find_task("next-word", {"text": "sotu", "users": 9, "size": "tiny"})
    others = task.dataset()
    own = TrainingSettings(optimiser=chosen.optimiser, learning_rate=chosen.rate, batch_size=16)
    begun = TrainingSettings(optimiser="adamw", learning_rate=0.03, batch_size=64)
    start = trained(task, others, [np.arange(others.samples)], begun, task.initial_row()[None], 300)
    tenth = find_task("next-word", {"text": "sotu", "user": 9, "size": "tiny"}).dataset()
    head = [f"{count} window{'s' * (count > 1)}" for count in chosen.windows]
    print(f"| what the neighbour sees | {' | '.join(head)} |\n" + "|---" * (1 + len(head)) + "|", flush=True)
    ways = [*WAYS, Way("nothing: the most frequent words")]
    for way in ways:
        cells = []
        for count in chosen.windows:
            random = np.random.default_rng(count)
            parts = [
                random.choice(tenth.samples, count, replace=False)
                for _ in range(chosen.owners * (1 + way.others))
            ]
            rows = start.repeat(len(parts), 1)
            settings = own.model_copy(update={"privacy": way.privacy})
            if way is not ways[-1]:
                after = trained(task, tenth, parts, settings, rows, chosen.steps)
                place = {"seed": 0, "round_number": 0, "exchange": 0}
                keys = exchange_keys(torch.arange(len(parts)), **place)
                sent = way.pipeline.decoded(after, Draws(keys=keys, common=common_key(**place)))
                seen = sent.reshape(chosen.owners, 1 + way.others, -1).mean(dim=1)
                rises = bias_of(task, seen) - bias_of(task, start)
            else:
                rises = -torch.arange(bias_of(task, start).shape[1]).expand(chosen.owners, -1)
            owners = parts[:: 1 + way.others]
            shares = [
                guessed(rise, typed_words(tenth, part)) for rise, part in zip(rises, owners, strict=True)
            ]
            cells.append(f"{100 * statistics.fmean(shares):.0f} %")
        print(f"| {way.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
