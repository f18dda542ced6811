"""Table of next-word models in docs/keyboard.md: ``python docs/make_keyboard_table.py`` (minutes a corpus)."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from make_algorithm_tables import DOCS, placed
from scipy.stats import t as student

import sims
from gossipfl.keyboard.own_words import OwnWords
from gossipfl.keyboard.personal import Shares
from gossipfl.keyboard.personal import chosen as chosen_mixture
from gossipfl.keyboard.shared_words import SharedWords
from gossipfl.rows import load_row
from gossipfl.settings import TrainingSettings
from gossipfl.tasks import Task, find_task
from gossipfl.tasks.words.models import SIZES
from gossipfl.tasks.words.next_word import find_texts, find_vocabulary, own_windows
from gossipfl.tasks.words.ngrams import KneserNey, ranks
from gossipfl.tasks.words.normalise import lowered, sentences
from gossipfl.tasks.words.samples import Windows, parted
from gossipfl.tasks.words.vocabulary import SPECIAL, Vocabulary
from gossipfl.training import NodeData, Nodes, Trainer
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
    options = ", ".join(f"{key} = {json.dumps(value)}" for key, value in task_options(chosen).items())
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
learning_rate = {rate * stretched(chosen, name)}
clip_norm = 1.0
batch_size = {chosen.batch}
schedule = "cosine"
clock = "step"
decay_age = {steps}
local_steps = {every}
[evaluate]
every = {max(1, steps // every)}
nodes = 1
samples = 300
{"validation = 0.1" if validate else ""}
[stop]
rounds = {max(1, steps // every)}
"""
    )


def stretched(chosen: argparse.Namespace, name: str) -> float:
    """Factor of AdamW's step size: √n where each of n nodes takes steps of its own, and the mean of models counts.

    AdamW divides gradients by the root of their mean square. Where that is noise for the most part, the mean of n
    gradients has a root that is √n times as small, and so a step that is √n times as long as the mean of n steps.
    """
    return math.sqrt(chosen.users) if name in ("FedAvg", "gossip") else 1.0


def task_options(chosen: argparse.Namespace) -> dict[str, Any]:
    """Options of the task that all have in common."""
    return {
        "text": chosen.text,
        "users": chosen.users,
        "size": chosen.size,
        "words": chosen.words,
        "most": chosen.most,
        "most_tested": chosen.most_tested,
        "half": chosen.half,
        "seed": chosen.seed,
    }


def scored(probabilities: Any, windows: Windows) -> tuple[int, int, int, float]:
    """Scores of one user, at the places where a word counts."""
    return scores_of(probabilities, windows.following[windows.following >= 0])


def scores_of(probabilities: Any, wanted: Any) -> tuple[int, int, int, float]:
    """Words, hits among one and three suggestions, and the sum of −ln p."""
    rank = ranks(probabilities, wanted)
    own = probabilities[np.arange(len(wanted)), wanted]
    return len(wanted), int((rank < 1).sum()), int((rank < 3).sum()), float(-np.log(own + 1e-30).sum())


def best_rate(chosen: argparse.Namespace, name: str) -> float:
    """Step size of the least loss on held-out training samples, a quarter as long: the same trials for all."""
    if len(chosen.rates) == 1:
        return chosen.rates[0]
    losses = {}
    for rate in chosen.rates:
        tried = sims.run(scenario(chosen, name, rate, validate=True), compile_when="never", traces=TRACES)
        losses[rate] = tried.evaluations["loss_mean"][-1]
    return min(losses, key=lambda rate: losses[rate])


@dataclass(frozen=True)
class User:
    """One user's samples, and sentences as they were written: of the past, and those tested on."""

    past: Windows
    later: Windows
    past_sentences: list[list[str]]
    later_sentences: list[list[str]]


def users_of(chosen: argparse.Namespace, vocabulary: Vocabulary) -> list[User]:
    """Users of the task, in the order of their nodes."""
    windows = own_windows(
        chosen.text,
        vocabulary,
        users=chosen.users,
        most=chosen.most or None,
        most_tested=chosen.most_tested or None,
    )
    texts = find_texts(chosen.text).of_user
    found = []
    for name, (past, later) in windows.items():
        said = [sentence for text in texts[name] for sentence in sentences(text)]
        cut = len(parted([vocabulary.encoded(each) for each in said], 0.2)[0])
        found.append(User(past, later, said[:cut], said[cut:]))
    return found


def neural(task: Task, row: torch.Tensor, windows: Windows) -> Any:
    """Probabilities at each place where a word counts."""
    module = task.build_module()
    load_row(module, task.layout, row)
    with torch.no_grad():
        hidden = module.hidden(torch.from_numpy(windows.words))[torch.from_numpy(windows.following >= 0)]
        return module.scores(hidden).softmax(dim=-1).numpy()


def personal(
    task: Task, row: torch.Tensor, user: User, vocabulary: Vocabulary
) -> tuple[int, int, int, float]:
    """Scores of a device's personal model: chosen by the user's past, measured as the others."""
    shared = SharedWords(task, vocabulary, length=20)
    shared.load(row, 0)
    mixture = chosen_mixture(shared, user.past_sentences)
    shares = Shares(OwnWords(user.past_sentences), vocabulary)
    places = ((sentence, place) for sentence in user.later_sentences for place in range(len(sentence)))
    known = (
        (sentence, place)
        for sentence, place in places
        if vocabulary.numbers.get(lowered(sentence[place]), 0) >= len(SPECIAL)
    )
    by_model = neural(task, row, user.later)[:, len(SPECIAL) :].astype(float)
    found = [
        shares.mixed(by_model[k] / by_model[k].sum(), sentence[:place], mixture)
        for k, (sentence, place) in enumerate(islice(known, len(by_model)))
    ]
    wanted = user.later.following[user.later.following >= 0] - len(SPECIAL)
    return scores_of(np.array(found), wanted)


def alone(
    task: Task, pasts: Sequence[Windows], chosen: argparse.Namespace, rate: float, steps: int
) -> torch.Tensor:
    """Models ``[users, D]`` of users who never hear of others, trained as the others are."""
    words, following = (
        torch.from_numpy(np.concatenate([getattr(past, part) for past in pasts]))
        for part in ("words", "following")
    )
    counts = [len(past) for past in pasts]
    owner = np.repeat(np.arange(len(pasts)), counts)
    data = NodeData.partitioned(
        {"words": words, "following": following},
        {"following": following, "user": torch.from_numpy(owner)},
        [np.flatnonzero(owner == user) for user in range(len(pasts))],
    )
    settings = TrainingSettings(
        optimiser="adamw",
        learning_rate=rate,
        clip_norm=1.0,
        batch_size=chosen.batch,
        schedule="cosine",
        clock="step",
        decay_age=steps,
        seed=chosen.seed,
    )
    trainer = Trainer.of(task, data, settings)
    nodes = Nodes.start(
        torch.stack([task.initial_row()] * len(pasts)), optimiser_state_size=trainer.optimiser_state_size
    )
    for _ in range(steps):
        nodes, _losses = trainer.train(nodes, np.arange(len(pasts)))
    return nodes.rows


def best_alone(task: Task, users: Sequence[User], chosen: argparse.Namespace) -> tuple[float, int]:
    """Step size and steps of lone training, all or a quarter of them, by held-out training samples.

    Lone training learns its few samples by heart, so that it is often the better for fewer steps.
    """
    pasts = [user.past for user in users]
    held = [max(1, len(past) // 10) for past in pasts]
    earlier = [past.first(len(past) - last) for past, last in zip(pasts, held, strict=True)]
    later = [past.last(last) for past, last in zip(pasts, held, strict=True)]
    surprise = {}
    for steps in (max(1, chosen.steps // 4), chosen.steps):
        for rate in chosen.rates:
            rows = alone(task, earlier, chosen, rate, steps)
            surprise[rate, steps] = sum(
                scored(neural(task, *each), each[1])[3] for each in zip(rows, later, strict=True)
            )
    return min(surprise, key=lambda tried: surprise[tried])


def table(chosen: argparse.Namespace) -> list[str]:
    """Lines of the table of one corpus."""
    task = find_task("next-word", task_options(chosen))
    vocabulary = find_vocabulary("en", chosen.words or SIZES[chosen.size].words)
    users, words = users_of(chosen, vocabulary), len(vocabulary)
    chosen.users = len(users)  # a folder may have fewer
    together = Windows(
        *(np.concatenate([getattr(user.past, part) for user in users]) for part in ("words", "following"))
    )
    found: dict[str, Scores] = {}
    rates: dict[str, float] = {}
    for label, order in (("unigram", 1), ("bigram", 2), ("trigram", 3)):

        def pooled(order: int = order) -> Any:
            model = KneserNey.of(together, words=words, order=order)
            return [scored(model.of_windows(user.later), user.later) for user in users]

        found[f"{label}, pooled"] = kept(chosen, label, pooled)
    found["trigram, alone"] = kept(
        chosen,
        "trigram alone",
        lambda: [
            scored(KneserNey.of(user.past, words=words, order=3).of_windows(user.later), user.later)
            for user in users
        ],
    )
    for name in ("gossip", "pooled", "alone", "FedAvg"):

        def trained(name: str = name) -> Any:
            if name == "alone":
                rate, steps = best_alone(task, users, chosen)
                rows = alone(task, [user.past for user in users], chosen, rate, steps)
            else:
                rate = best_rate(chosen, name)
                rows = sims.run(
                    scenario(chosen, name, rate), compile_when="never", traces=TRACES
                ).rows.float()
            with_neural = [
                scored(neural(task, row, user.later), user.later)
                for row, user in zip(rows, users, strict=True)
            ]
            by_device = (
                [personal(task, row, user, vocabulary) for row, user in zip(rows, users, strict=True)]
                if name in ("gossip", "pooled")
                else None
            )
            return [rate * stretched(chosen, name), with_neural, by_device]

        rates[name], found[name], by_device = kept(chosen, name, trained)
        if by_device:
            found[f"{name} + personal"] = by_device
        print("\n".join(lines(found, rates)), flush=True)
    return lines(found, rates)


def kept(chosen: argparse.Namespace, what: str, made: Callable[[], Any]) -> Any:
    """What one method came to: read from ``--kept`` if it is there, else made and written."""
    asked = {key: value for key, value in vars(chosen).items() if key not in ("kept", "show")}
    digest = sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    file = Path(chosen.kept) / f"{digest}-{what.replace(' ', '-')}.json" if chosen.kept else None
    if file is not None and file.exists():
        return json.loads(file.read_text("utf-8"))
    result = made()
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(result), "utf-8")
        part.replace(file)
    said(what)
    return result


def lines(found: dict[str, Scores], rates: dict[str, float]) -> list[str]:
    """Rows of the table: shares of all users' words, and means over users beside gossip."""
    head = (
        "| model | top-1 | top-3 | perplexity | mean over users | beside gossip | beside pooled | worst tenth | "
        "step size |"
    )
    written = [head, "|---" * 9 + "|"]
    recalls = {label: [100 * user[1] / user[0] for user in users] for label, users in found.items()}
    for label, users in found.items():
        words = sum(user[0] for user in users)
        one, three = (100 * sum(user[k] for user in users) / words for k in (1, 2))
        each = recalls[label]
        perplexity = math.exp(sum(user[3] for user in users) / words)
        tenth = statistics.fmean(sorted(each)[: math.ceil(len(each) / 10)])
        gossip, pooled = (
            interval([a - b for a, b in zip(each, recalls[other], strict=True)])
            if other in recalls and label != other
            else ""
            for other in ("gossip", "pooled")
        )
        rate = f"{rates[label]:.3g}" if label in rates else ""
        written.append(
            f"| {label} | {one:.2f} | {three:.2f} | {perplexity:.0f} | {statistics.fmean(each):.2f} | "
            f"{gossip} | {pooled} | {tenth:.2f} | {rate} |"
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
    parser.add_argument("--half", action="store_true", help="train with scores in bfloat16")
    parser.add_argument("--kept", default="", help="folder of finished methods, from which it goes on")
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
