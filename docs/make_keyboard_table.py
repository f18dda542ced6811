"""Tables of next-word models in docs/keyboard.md: ``python docs/make_keyboard_table.py --text sotu``."""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from keyboard_training import (
    METHODS,
    Corpus,
    Plan,
    Scores,
    User,
    counted,
    held,
    loaded,
    neural,
    scored,
    scores_of,
    trained,
)
from make_algorithm_tables import DOCS, placed
from scipy.stats import t as student

from gossipfl.keyboard.own_words import OwnWords
from gossipfl.keyboard.personal import Shares
from gossipfl.keyboard.personal import chosen as chosen_mixture
from gossipfl.keyboard.shared_words import SharedWords
from gossipfl.tasks import Task
from gossipfl.tasks.words.ngrams import KneserNey
from gossipfl.tasks.words.normalise import lowered
from gossipfl.tasks.words.samples import Windows
from gossipfl.tasks.words.vocabulary import SPECIAL

BY = "docs/make_keyboard_table.py"
BEGAN = time.monotonic()
ORDERS = {"unigram": 1, "bigram": 2, "trigram": 3}
DEFAULT = ("gossip", "pooled", "alone", "FedAvg")
WITH_PERSONAL = ("gossip", "pooled")

Stage = tuple[str, dict[str, Any]]  # what is done, and with what


def stages(chosen: argparse.Namespace) -> Iterator[list[Stage]]:
    """Stages that may be done side by side, one list after another."""
    tried: list[Stage] = [
        ("tried", {"method": name, "rate": METHODS[name].rates[place]})
        for place in (2, 1, 3, 0, 4)[: chosen.trials]
        for name in chosen.methods
    ]
    grams: list[Stage] = [("n-gram", {"of": "pooled", "order": name}) for name in ORDERS]
    yield [*tried, *grams, ("n-gram", {"of": "each", "order": "trigram"})]
    if not chosen.only_tried:
        yield [
            ("final", {"method": name, "rate": best_rate(chosen, name), "seed": seed})
            for seed in range(chosen.seeds)
            for name in chosen.methods
        ]
    if not chosen.only_tried and not chosen.only_shared:
        yield [
            ("personal", {"method": name, "rate": best_rate(chosen, name), "seed": seed, "user": user})
            for seed in range(chosen.seeds)
            for name in chosen.methods
            for user in range(chosen.users)
            if name in WITH_PERSONAL
        ]


def best_rate(chosen: argparse.Namespace, name: str) -> float | None:
    """Step size of the least loss on held-out training samples, in as many steps."""
    losses = {}
    for rate in METHODS[name].rates:
        found = kept(chosen, ("tried", {"method": name, "rate": rate}))
        if found is not None:
            losses[rate] = found["held out"][1]
    return min(losses, key=lambda rate: losses[rate], default=None)


def done(chosen: argparse.Namespace, corpus: Corpus, stage: Stage) -> dict[str, Any]:
    """Do one stage."""
    torch.set_num_threads(1)
    kind, of = stage
    users, plan = corpus.users, Plan(chosen.steps, chosen.batch, chosen.device)
    later = [user.later for user in users]
    if kind == "n-gram":
        order, words = ORDERS[of["order"]], len(corpus.vocabulary)
        together = Windows(
            *(np.concatenate([getattr(user.past, part) for user in users]) for part in ("words", "following"))
        )
        common = KneserNey.of(together, words=words, order=order) if of["of"] == "pooled" else None
        found = [
            scored(
                (common or KneserNey.of(user.past, words=words, order=order)).of_windows(user.later),
                user.later,
            )
            for user in users
        ]
        return {"scores": found}
    if kind == "tried":
        outcome = trained(corpus, plan, of["method"], of["rate"], seed=0, held_out=True)
        task = corpus.task(0)
        by_held_out = scores_of(task, outcome.rows, [user.past.last(held(user.past)) for user in users])
        return {
            "held out": summed(by_held_out),
            "tested": summed(scores_of(task, outcome.rows, later)),
            "seconds": outcome.seconds,
            "tiers": outcome.tiers,
        }
    task = corpus.task(of["seed"])
    if kind == "personal":
        final = {key: of[key] for key in ("method", "rate", "seed")}
        row = np.load(file_of(chosen, ("final", final)).with_suffix(".npy"))[of["user"]]
        return {"scores": [personal(task, torch.from_numpy(row), users[of["user"]], corpus)]}
    outcome = trained(corpus, plan, of["method"], of["rate"], seed=of["seed"], held_out=False)
    if of["method"] in WITH_PERSONAL:
        rows = file_of(chosen, stage).with_suffix(".npy")
        rows.parent.mkdir(parents=True, exist_ok=True)
        np.save(rows, outcome.rows.numpy())
    return {
        "scores": scores_of(task, outcome.rows, later),
        "bytes": outcome.bytes,
        "seconds": outcome.seconds,
        "tiers": outcome.tiers,
    }


def summed(scores: Scores) -> tuple[float, float, float]:
    """Top-1 recall in percent, mean surprise and words, over all users' words."""
    words = sum(user[0] for user in scores)
    return 100 * sum(user[1] for user in scores) / words, sum(user[3] for user in scores) / words, words


def personal(task: Task, row: torch.Tensor, user: User, corpus: Corpus) -> tuple[int, int, int, float]:
    """Scores of a device's personal model: chosen by the user's past, measured as the others."""
    vocabulary = corpus.vocabulary
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
    wanted = user.later.following[user.later.following >= 0] - len(SPECIAL)
    found = [
        counted(shares.mixed(each / each.sum(), sentence[:place], mixture)[None], wanted[k : k + 1])
        for k, (each, (sentence, place)) in enumerate(
            zip(by_model, islice(known, len(by_model)), strict=True)
        )
    ]
    words, one, three, surprise = (sum(part) for part in zip(*found, strict=True))
    return words, one, three, surprise


def file_of(chosen: argparse.Namespace, stage: Stage) -> Path:
    """Where the outcome of a stage is kept."""
    settings = ("text", "users", "size", "words", "most", "most_tested", "steps", "batch", "half")
    asked = {key: getattr(chosen, key) for key in settings}
    if stage[0] == "n-gram":
        asked = {key: value for key, value in asked.items() if key not in ("steps", "batch", "half", "size")}
    digest = sha256(json.dumps([asked, stage[1]], sort_keys=True).encode()).hexdigest()[:12]
    what = "-".join(str(part) for part in (stage[0], *stage[1].values()))
    return Path(chosen.kept) / chosen.text.replace("/", "_") / f"{what.replace('/', ':')}-{digest}.json"


def kept(chosen: argparse.Namespace, stage: Stage) -> dict[str, Any] | None:
    """What a stage came to, if it was done."""
    file = file_of(chosen, stage)
    found: dict[str, Any] | None = json.loads(file.read_text("utf-8")) if file.exists() else None
    return found


def do_all(chosen: argparse.Namespace, corpus: Callable[[], Corpus]) -> None:
    """Do what is not done yet, in several processes, and keep what each comes to."""
    for each in stages(chosen):
        missing = [stage for stage in each if kept(chosen, stage) is None]
        if not missing:
            continue
        global _AT_WORK  # noqa: PLW0603 - what forked processes begin with
        _AT_WORK = chosen, corpus()
        said(f"{chosen.text}: {len(missing)} stages")
        with multiprocessing.get_context("fork").Pool(chosen.processes, maxtasksperchild=None) as pool:
            for stage, failed in pool.imap_unordered(_keep, missing):
                said(f"{chosen.text} {stage[0]} {' '.join(map(str, stage[1].values()))}: {failed}")


_AT_WORK: tuple[argparse.Namespace, Corpus] | None = None


def _keep(stage: Stage) -> tuple[Stage, str]:
    assert _AT_WORK is not None
    chosen, corpus = _AT_WORK
    try:
        found = done(chosen, corpus, stage)
    except Exception as error:  # the others go on
        where = traceback.extract_tb(error.__traceback__)[-1]
        return stage, f"failed: {type(error).__name__}: {error} ({where.filename}:{where.lineno})"
    file = file_of(chosen, stage)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(found), "utf-8")
    part.replace(file)
    parts = (
        f"{name} {found[name][0]:.2f} ({found[name][1]:.4f})"
        for name in ("held out", "tested")
        if name in found
    )
    recall = f"{summed(found['scores'])[0]:.2f}" if "scores" in found else ""
    return stage, f"{' '.join(parts)}{recall} in {found.get('seconds', 0):.0f} s {found.get('tiers', '')}"


def rows_of(chosen: argparse.Namespace) -> dict[str, tuple[list[Scores], float, float | None]]:
    """Scores by seed, bytes and step size of each row of the table."""
    rows: dict[str, tuple[list[Scores], float, float | None]] = {}
    for name in ORDERS:
        for whose in ("pooled", "each"):
            found = kept(chosen, ("n-gram", {"of": whose, "order": name}))
            if found is not None:
                rows[f"{name}, {'pooled' if whose == 'pooled' else 'alone'}"] = ([found["scores"]], 0.0, None)
    for name in chosen.methods:
        rate = best_rate(chosen, name)
        made = [
            found
            for seed in range(chosen.seeds)
            if rate is not None
            and (found := kept(chosen, ("final", {"method": name, "rate": rate, "seed": seed})))
        ]
        if made and rate is not None:
            rows[name] = [each["scores"] for each in made], made[0]["bytes"], used_rate(chosen, name, rate)
            mixed = [found for seed in range(chosen.seeds) if (found := _personal(chosen, name, rate, seed))]
            if mixed:
                rows[f"{name} + personal"] = mixed, 0.0, None
    return rows


def only_tried(chosen: argparse.Namespace) -> Iterator[str]:
    """Rows of methods whose step sizes were tried, without the held-out samples, and no more was done."""
    for name in chosen.methods:
        rate = best_rate(chosen, name)
        final = ("final", {"method": name, "rate": rate, "seed": 0})
        tried = kept(chosen, ("tried", {"method": name, "rate": rate}))
        if tried is not None and rate is not None and kept(chosen, final) is None:
            recall, surprise, _ = tried["tested"]
            cells = f"{recall:.2f}", "", "", f"{math.exp(surprise):.1f}", "", "", "", ""
            step = f"{used_rate(chosen, name, rate):.3g}"
            yield f"| {name}, in trials | {' | '.join(cells)} | {step} |  |"


def used_rate(chosen: argparse.Namespace, name: str, rate: float) -> float:
    """The step size in use."""
    return rate * (math.sqrt(chosen.users) if METHODS[name].stretched else 1.0)


def _personal(chosen: argparse.Namespace, name: str, rate: float, seed: int) -> Scores | None:
    """Scores of all users' personal models, if all are there."""
    of = {"method": name, "rate": rate, "seed": seed}
    found = [kept(chosen, ("personal", {**of, "user": user})) for user in range(chosen.users)]
    return [each["scores"][0] for each in found if each is not None] if all(found) else None


def lines(chosen: argparse.Namespace) -> list[str]:
    """Rows of the table: shares of all users' words, and means over users beside gossip and pooled training."""
    written = [
        "| model | top-1 | of seeds | top-3 | perplexity | mean over users | beside gossip | beside pooled | "
        "worst tenth | step size | MB a user |",
        "|---" * 11 + "|",
    ]
    rows = rows_of(chosen)
    recalls = {
        label: [
            statistics.fmean(100 * scores[user][1] / scores[user][0] for scores in by_seed)
            for user in range(len(by_seed[0]))
        ]
        for label, (by_seed, _, _) in rows.items()
    }
    for label, (by_seed, sent, rate) in rows.items():
        ones = [summed(scores)[0] for scores in by_seed]
        words = sum(user[0] for user in by_seed[0])
        threes = statistics.fmean(100 * sum(user[2] for user in scores) / words for scores in by_seed)
        perplexity = math.exp(statistics.fmean(summed(scores)[1] for scores in by_seed))
        each = recalls[label]
        tenth = statistics.fmean(sorted(each)[: math.ceil(len(each) / 10)])
        gossip, pooled = (
            interval([a - b for a, b in zip(each, recalls[other], strict=True)])
            if other in recalls and label != other
            else ""
            for other in ("gossip", "pooled")
        )
        spread = f"{min(ones):.2f} … {max(ones):.2f}" if len(ones) > 1 else ""
        written.append(
            f"| {label} | {statistics.fmean(ones):.2f} | {spread} | {threes:.2f} | {perplexity:.1f} | "
            f"{statistics.fmean(each):.2f} | {gossip} | {pooled} | {tenth:.2f} | "
            f"{'' if rate is None else f'{rate:.3g}'} | {f'{sent / 1e6:.0f}' if sent else ''} |"
        )
    return [*written, *only_tried(chosen)]


def interval(differences: Sequence[float]) -> str:
    """Mean of paired differences, with its 95 % interval by Student's t."""
    mean, n = statistics.fmean(differences), len(differences)
    half = float(student.ppf(0.975, n - 1)) * statistics.stdev(differences) / math.sqrt(n)
    return f"{mean:+.2f} ± {half:.2f}"


def said(what: str) -> None:
    """Print how far it is."""
    print(f"{time.monotonic() - BEGAN:6.0f} s  {what}", flush=True)


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", default="sotu")
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", default="small")
    parser.add_argument("--words", type=int, default=2000)
    parser.add_argument("--most", type=int, default=0, help="samples of a user to train on; 0: all")
    parser.add_argument("--most-tested", type=int, default=200)
    parser.add_argument("--methods", nargs="*", default=list(DEFAULT), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=3, choices=range(1, 6), help="step sizes to try")
    parser.add_argument("--half", action="store_true", help="train with scores in bfloat16")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda")
    parser.add_argument("--processes", type=int, default=1, help="trainings at a time")
    parser.add_argument("--kept", default="keyboard-table", help="folder of what is done, where it goes on")
    parser.add_argument("--only-tried", action="store_true", help="try step sizes, and no more")
    parser.add_argument("--only-shared", action="store_true", help="make no personal models")
    parser.add_argument(
        "--only-table", action="store_true", help="make the table of what is kept, and no more"
    )
    parser.add_argument("--show", action="store_true", help="print, and leave the page as it is")
    return parser.parse_args(arguments)


def main() -> None:
    """Make the table of a corpus and place it in the page."""
    chosen = parsed()
    options = {
        key: getattr(chosen, key) for key in ("text", "users", "size", "words", "most", "most_tested", "half")
    }
    found: list[Corpus] = []

    def corpus() -> Corpus:
        if not found:
            found.append(loaded(options))
        return found[0]

    if not chosen.only_table:
        do_all(chosen, corpus)
    if chosen.only_tried:
        return
    made = "\n".join(lines(chosen))
    print(made)
    if not chosen.show:
        page = DOCS / "keyboard.md"
        page.write_text(placed(page.read_text("utf-8"), Path(chosen.text).name, made, by=BY), "utf-8")


if __name__ == "__main__":
    main()
