"""Table of next-word models in docs/keyboard.md: ``python docs/make_keyboard_table.py`` (about ten minutes a corpus)."""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from make_algorithm_tables import DOCS, placed
from scipy.stats import t as student

import sims
from gossipfl.keyboard.personal import personalised, trained_on
from gossipfl.keyboard.suggesting import model_of_row, probabilities_of
from gossipfl.settings import TrainingSettings
from gossipfl.tasks import find_task
from gossipfl.tasks.words.ngrams import KneserNey, ranks
from gossipfl.tasks.words.next_word import find_vocabulary, own_windows
from gossipfl.tasks.words.samples import Windows
from sims.scenario import parse_scenario
from sims.world.trace_cache import Traces

BY = "docs/make_keyboard_table.py"
ALGORITHMS = {
    "pooled": 'name = "pooled_sgd"',
    "FedAvg": 'name = "fedavg"\nepochs = 0\nfraction = 1.0',
    "gossip": 'name = "d_psgd"',
}
TRACES = Traces()

Scores = list[tuple[int, int, int, float]]  # of each user: words, hits of one and of three, surprise


def scenario(chosen: argparse.Namespace, name: str, rate: float, *, validate: bool = False) -> Any:
    """One of the algorithms at a step size."""
    server = name != "gossip"
    steps = chosen.steps // 4 if validate else chosen.steps
    every = 4 if name == "FedAvg" else 1
    options = ", ".join(f"{key} = {value!r}".replace("'", '"') for key, value in task_options(chosen).items())
    return parse_scenario(
        f"""
seed = {chosen.seed}
[population]
nodes = {chosen.users}
[task]
name = "next-word"
partition = "natural"
options = {{ {options} }}
[topology]
name = "{"complete" if server else "random-regular"}"
{"" if server else f"degree = {min(4, chosen.users - 1)}"}
[algorithm]
{ALGORITHMS[name]}
[training]
optimiser = "adamw"
learning_rate = {rate}
batch_size = {chosen.batch}
schedule = "cosine"
clock = "step"
decay_age = {steps}
local_steps = {every}
[evaluate]
every = {steps // every}
nodes = 1
samples = 300
{"validation = 0.1" if validate else ""}
[stop]
rounds = {steps // every}
"""
    )


def task_options(chosen: argparse.Namespace) -> dict[str, Any]:
    """Options of the task that all have in common."""
    return {
        "text": chosen.text,
        "users": chosen.users,
        "size": chosen.size,
        "words": chosen.words,
        "most": chosen.most,
        "most_tested": chosen.most_tested,
        "seed": chosen.seed,
    }


def scored(probabilities: Any, windows: Windows) -> tuple[int, int, int, float]:
    """Words of one user, hits among one and three suggestions, and the sum of −ln p."""
    wanted = windows.following[windows.following >= 0]
    rank = ranks(probabilities, wanted)
    own = probabilities[np.arange(len(wanted)), wanted]
    return len(wanted), int((rank < 1).sum()), int((rank < 3).sum()), float(-np.log(own + 1e-30).sum())


def best_rate(chosen: argparse.Namespace, name: str) -> float:
    """Step size of the least loss on held-out training samples, a quarter as long: the same trials for all."""
    losses = {}
    for rate in chosen.rates:
        tried = sims.run(scenario(chosen, name, rate, validate=True), compile_when="never", traces=TRACES)
        losses[rate] = tried.evaluations["loss_mean"][-1]
    return min(losses, key=lambda rate: losses[rate])


def table(chosen: argparse.Namespace) -> list[str]:
    """Lines of the table of one corpus."""
    task = find_task("next-word", task_options(chosen))
    vocabulary = find_vocabulary("en", len(model_of_row(task, task.initial_row()).bias))
    windows = own_windows(
        chosen.text,
        vocabulary,
        users=chosen.users,
        most=chosen.most or None,
        most_tested=chosen.most_tested or None,
    )
    users = list(windows.values())
    together = Windows(
        np.concatenate([past.words for past, _ in users]), np.concatenate([past.following for past, _ in users])
    )
    found: dict[str, Scores] = {}
    for label, order in (("unigram", 1), ("bigram", 2), ("trigram", 3)):
        model = KneserNey.of(together, words=len(vocabulary), order=order)
        found[f"{label}, pooled"] = [scored(model.of_windows(later), later) for _, later in users]
    own = [KneserNey.of(past, words=len(vocabulary), order=3) for past, _ in users]
    found["trigram, alone"] = [
        scored(model.of_windows(later), later) for model, (_, later) in zip(own, users, strict=True)
    ]

    def settings(rate: float, steps: int) -> TrainingSettings:
        return TrainingSettings(
            optimiser="adamw", learning_rate=rate, batch_size=chosen.batch, schedule="cosine", clock="step",
            decay_age=steps, seed=chosen.seed,
        )

    def neural(rows: Sequence[torch.Tensor]) -> Scores:
        return [
            scored(probabilities_of(model_of_row(task, row), later), later)
            for row, (_, later) in zip(rows, users, strict=True)
        ]

    rates: dict[str, float] = {}
    losses = dict.fromkeys(chosen.rates, 0.0)
    for rate in chosen.rates:
        for past, _ in users:
            cut = round(0.9 * len(past))
            (row,) = trained_on(
                task, task.initial_row(), past.first(cut), settings(rate, chosen.steps // 4), steps=(chosen.steps // 4,)
            )
            losses[rate] += scored(probabilities_of(model_of_row(task, row), past.last(len(past) - cut)), past.last(len(past) - cut))[3]
    rates["alone"] = min(losses, key=lambda rate: losses[rate])
    alone = [
        trained_on(task, task.initial_row(), past, settings(rates["alone"], chosen.steps), steps=(chosen.steps,))[0]
        for past, _ in users
    ]
    found["alone"] = neural(alone)
    said(f"alone {rates}")
    rows: dict[str, torch.Tensor] = {}
    for name in ALGORITHMS:
        rates[name] = best_rate(chosen, name)
        result = sims.run(scenario(chosen, name, rates[name]), compile_when="never", traces=TRACES)
        rows[name] = result.rows.float()
        found[name] = neural([rows[name][user] for user in range(len(users))])
        said(f"{name} {rates[name]}")
    tuning = settings(chosen.rates[0] / 3, chosen.steps).model_copy(update={"schedule": "constant"})
    for name in ("gossip", "pooled"):
        personal = [
            personalised(task, row, past, tuning) for row, (past, _) in zip(rows[name], users, strict=True)
        ]
        found[f"{name} + personal"] = [
            scored(model.probabilities(task, later), later) for model, (_, later) in zip(personal, users, strict=True)
        ]
        said(f"{name} personal {[(each.share, each.steps) for each in personal]}")
    return lines(found, rates)


def lines(found: dict[str, Scores], rates: dict[str, float]) -> list[str]:
    """Rows of the table: shares of all users' words, and means over users beside gossip."""
    head = "| model | top-1 | top-3 | perplexity | mean over users | beside gossip | worst tenth | step size |"
    written = [head, "|---" * 8 + "|"]
    gossip = [100 * user[1] / user[0] for user in found["gossip"]]
    for label, users in found.items():
        words = sum(user[0] for user in users)
        one, three = (100 * sum(user[k] for user in users) / words for k in (1, 2))
        each = [100 * user[1] / user[0] for user in users]
        perplexity = math.exp(sum(user[3] for user in users) / words)
        differences = [a - b for a, b in zip(each, gossip, strict=True)]
        tenth = statistics.fmean(sorted(each)[: math.ceil(len(each) / 10)])
        beside = "" if label == "gossip" else interval(differences)
        rate = rates.get(label, "")
        written.append(
            f"| {label} | {one:.2f} | {three:.2f} | {perplexity:.0f} | {statistics.fmean(each):.2f} | {beside} | "
            f"{tenth:.2f} | {rate} |"
        )
    return written


def interval(differences: Sequence[float]) -> str:
    """Mean of paired differences, with its 95 % interval by Student's t."""
    mean, n = statistics.fmean(differences), len(differences)
    half = float(student.ppf(0.975, n - 1)) * statistics.stdev(differences) / math.sqrt(n)
    return f"{mean:+.2f} ± {half:.2f}"


BEGAN = time.monotonic()


def said(what: str) -> None:
    """Print how far it is."""
    print(f"{time.monotonic() - BEGAN:6.0f} s  {what}", flush=True)


def main() -> None:
    """Make the table of a corpus and place it in the page."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", default="bible")
    parser.add_argument("--users", type=int, default=10)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", default="small")
    parser.add_argument("--words", type=int, default=0)
    parser.add_argument("--most", type=int, default=0)
    parser.add_argument("--most-tested", type=int, default=100)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.003, 0.01])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="print, and leave the page as it is")
    chosen = parser.parse_args()
    made = table(chosen)
    print("\n".join(made))
    if not chosen.show:
        page = DOCS / "keyboard.md"
        page.write_text(placed(page.read_text("utf-8"), chosen.text, "\n".join(made), by=BY), "utf-8")


if __name__ == "__main__":
    main()
