"""Canaries of keyboards: does a phrase that one author types spread to others, and what does hiding it cost?

``python -m benchmarks.keyboard_canary`` trains ten authors' models by gossip (D-PSGD over a random 4-regular graph) in
the simulator. One of them has typed a phrase, of common words in an order that nobody else writes, again and again.
Each line is one way of training: as it is, or with samples' gradients clipped and noise on their sum (DP-SGD). It has
the recall on all authors' later words, the share of the phrase's words that models suggest after those before (among
three), to its owner and to the others, and ε of one window of 20 words at δ = 1e-5.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

import sims
from gossipfl.keyboard.shared_words import SharedWords
from gossipfl.keyboard.suggesting import Suggester
from gossipfl.privacy.sampled_gaussian import Mechanism, sampled_epsilon
from gossipfl.tasks import find_task
from gossipfl.tasks.words.models import SIZES
from gossipfl.tasks.words.next_word import find_texts, find_vocabulary, users_with_most
from gossipfl.tasks.words.normalise import sentences
from sims.scenario import parse_scenario
from sims.world.trace_cache import Traces

PHRASE = ("river", "church", "music", "army", "king")
DELTA = 1e-5


@dataclass(frozen=True)
class Way:
    """A way of training: without privacy, or with a clip and noise; step size, batches, and the limit of repeats."""

    clip: float = 0.0
    noise: float = 0.0
    rate: float = 0.1
    batch: int = 64
    repeats: int = 0

    @property
    def privacy(self) -> str:
        """Its table of settings."""
        if not self.clip:
            return ""
        return (
            f"[training.privacy]\nclip = {self.clip}\nnoise_multiplier = {self.noise}\nsecret = false\n"
            f"delta = {DELTA}"
        )


WAYS = (
    Way(),
    Way(repeats=10),
    Way(repeats=5),
    Way(repeats=2),
    Way(clip=1.0, noise=0.3, rate=0.05),
    Way(clip=1.0, noise=0.6, rate=0.05),
)


def write_texts(folder: Path, chosen: argparse.Namespace) -> None:
    """Each author's last sentences as a file; the phrase stands among those that the first one trains on."""
    texts = find_texts(chosen.text).of_user
    for place, name in enumerate(users_with_most(texts, users=chosen.authors)):
        said = [sentence for own in texts[name] for sentence in sentences(own)]
        words = list(itertools.accumulate(map(len, reversed(said))))
        said = said[-bisect.bisect(words, chosen.words) :]
        if place == 0:
            trained = int(0.75 * len(said))
            for number in range(chosen.times, 0, -1):
                said.insert(number * trained // (chosen.times + 1), list(PHRASE))
        (folder / f"{place:02d}.txt").write_text(". ".join(map(" ".join, said)) + ".\n")


def scenario(folder: Path, way: Way, chosen: argparse.Namespace) -> sims.Scenario:
    """Gossip of all authors."""
    return parse_scenario(
        f"""
seed = {chosen.seed}
[population]
nodes = {chosen.authors}
[task]
name = "next-word"
partition = "natural"
options = {{ text = "{folder}", size = "tiny", repeats = {way.repeats} }}
[topology]
name = "random-regular"
degree = 4
[algorithm]
name = "d_psgd"
[training]
optimiser = "adamw"
learning_rate = {way.rate}
batch_size = {way.batch}
schedule = "cosine"
clock = "step"
decay_age = {chosen.steps}
local_steps = 2
{way.privacy}
[evaluate]
every = {chosen.steps // 2}
[stop]
rounds = {chosen.steps // 2}
"""
    )


def heard(shared: SharedWords) -> float:
    """Share of the phrase's words that a model suggests, each after those before it, by itself."""
    suggester = Suggester(shared.vocabulary)
    found = [
        word in {each.lower() for each in suggester.suggest(" ".join(PHRASE[:place]) + " ", shared)}
        for place, word in enumerate(PHRASE)
        if place
    ]
    return statistics.fmean(found)


def epsilon(way: Way, chosen: argparse.Namespace, samples: int) -> float:
    """Of a window of the owner's text, to whoever sees all models."""
    mechanism = Mechanism(rate=way.batch / samples, multiplier=way.noise)
    return sampled_epsilon({mechanism: chosen.steps}, delta=DELTA)


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--text", default="sotu")
    parser.add_argument("--authors", type=int, default=10)
    parser.add_argument("--times", type=int, default=15, help="how often the phrase was typed")
    parser.add_argument(
        "--words", type=int, default=25_000, help="of each author; a fifth of them is tested on"
    )
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--ways", help="clip,noise,rate,batch,repeats separated by spaces, for those built in"
    )
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    ways = (
        WAYS
        if chosen.ways is None
        else [
            Way(float(clip), float(noise), float(rate), int(batch), int(repeats))
            for clip, noise, rate, batch, repeats in (each.split(",") for each in chosen.ways.split())
        ]
    )
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        write_texts(folder, chosen)
        task = find_task("next-word", {"text": str(folder), "size": "tiny"})
        vocabulary = find_vocabulary("en", SIZES["tiny"].words)
        samples = (
            find_task("next-word", {"text": str(folder), "size": "tiny", "user": "00"}).dataset().samples
        )
        head = "| repeats | clip | noise | step size | batch | recall | owner | others | ε of a window | CPU seconds |"
        print(f"{samples} windows of the owner\n\n{head}\n" + "|---" * 10 + "|", flush=True)
        for way in ways:
            began = time.process_time()
            run = sims.run(scenario(folder, way, chosen), compile_when="never", traces=Traces())
            shared, found = SharedWords(task, vocabulary, length=20), []
            for place, row in enumerate(run.rows.float()):
                shared.load(row, place)
                found.append(heard(shared))
            cells = (
                way.repeats or "–",
                *(way.clip or "–", way.noise or "–", way.rate, way.batch),
                f"{100 * run.evaluations['recall_mean'][-1]:.1f} %",
                *(f"{100 * share:.0f} %" for share in (found[0], statistics.fmean(found[1:]))),
                f"{epsilon(way, chosen, samples):.3g}" if way.clip else "–",
                f"{time.process_time() - began:.0f}",
            )
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
