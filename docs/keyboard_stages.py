"""Stages of the tables in docs/keyboard.md: what each needs, what it comes to, and where that is kept."""

from __future__ import annotations

import argparse
import json
import traceback
from collections.abc import Generator, Iterator
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from keyboard_methods import METHODS, WITH_PERSONAL
from keyboard_training import (
    Corpus,
    Plan,
    Scores,
    User,
    counted,
    held,
    neural,
    scored,
    scores_of,
    trained,
)

from gossipfl.keyboard.own_words import OwnWords
from gossipfl.keyboard.personal import Shares
from gossipfl.keyboard.personal import chosen as chosen_mixture
from gossipfl.keyboard.shared_words import SharedWords
from gossipfl.tasks import Task
from gossipfl.tasks.words.ngrams import KneserNey
from gossipfl.tasks.words.normalise import lowered
from gossipfl.tasks.words.samples import Windows
from gossipfl.tasks.words.vocabulary import SPECIAL
from sims.sweeping.search import GeometricSearch

__all__ = ["ORDERS", "best_rate", "is_at_edge", "keep", "kept", "missing", "summed"]

ORDERS = {"unigram": 1, "bigram": 2, "trigram": 3}

Stage = tuple[str, dict[str, Any]]  # what is done, and with what


def missing(chosen: argparse.Namespace, users: int) -> Iterator[Stage]:
    """Stages that may be done now and are not done, method after method, the last of each first."""
    grams: list[Stage] = [("n-gram", {"of": "pooled", "order": name}) for name in ORDERS]
    for stage in (*grams, ("n-gram", {"of": "each", "order": "trigram"})):
        if kept(chosen, stage) is None:
            yield stage
    for name in chosen.methods:
        wanted = _search(chosen, name)[2]
        of = {"method": name, "rate": None if wanted else best_rate(chosen, name)}
        finals: list[Stage] = [("final", {**of, "seed": seed}) for seed in range(chosen.seeds)]
        if wanted or chosen.only_tried:
            finals = []
        for stage in finals:
            if kept(chosen, stage) is None:
                yield stage
            elif name in WITH_PERSONAL and not chosen.only_shared:
                yield from (
                    each
                    for user in range(users)
                    if kept(chosen, each := ("personal", {**stage[1], "user": user})) is None
                )
        yield from (("tried", {"method": name, "rate": rate}) for rate in wanted)


def _search(chosen: argparse.Namespace, name: str) -> tuple[GeometricSearch, dict[float, float], list[float]]:
    """The search of a step size, the scores of the exponents tried so far, and the step sizes to try next.

    All that are tried at a time must have been tried before it goes on: which come next depends on no clock.
    """
    search = GeometricSearch(around=METHODS[name].around, ratio=chosen.ratio, budget=chosen.trials)
    scores: dict[float, float] = {}
    while wanted := search.wanted(scores):
        found = {
            exponent: outcome["held out"][1]
            for exponent in wanted
            if (outcome := kept(chosen, ("tried", {"method": name, "rate": search.value(exponent)})))
        }
        scores |= {exponent: -loss if np.isfinite(loss) else -np.inf for exponent, loss in found.items()}
        if left := [search.value(exponent) for exponent in wanted if exponent not in found]:
            return search, scores, left
    return search, scores, []


def best_rate(chosen: argparse.Namespace, name: str) -> float | None:
    """Step size of the least loss on held-out training samples, in as many steps."""
    search, scores, _ = _search(chosen, name)
    return search.value(search.best(scores)) if scores else None


def is_at_edge(chosen: argparse.Namespace, name: str) -> bool:
    """Whether the best step size is the smallest or largest that was tried."""
    search, scores, _ = _search(chosen, name)
    return search.best(scores) in (min(scores), max(scores))


def done(chosen: argparse.Namespace, corpus: Corpus, stage: Stage) -> Generator[None, None, dict[str, Any]]:
    """Do one stage, a bit at a time."""
    kind, of = stage
    users, plan = corpus.users, Plan(chosen.steps, chosen.batch, chosen.device, chosen.warm_up)
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
        outcome = yield from trained(corpus, plan, of["method"], of["rate"], seed=0, held_out=True)
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
    outcome = yield from trained(corpus, plan, of["method"], of["rate"], seed=of["seed"], held_out=False)
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
    settings = ["text", "users", "words", "most", "most_tested"]
    if stage[0] != "n-gram":
        settings += ["size", "steps", "batch", "half", "warm_up"]
    asked = {key: getattr(chosen, key) for key in settings}
    how = replace(METHODS[stage[1]["method"]], around=0) if "method" in stage[1] else None
    digest = sha256(json.dumps([asked, stage[1], repr(how)], sort_keys=True).encode()).hexdigest()[:12]
    what = "-".join(str(part) for part in (stage[0], *stage[1].values()))
    folder = Path(str(chosen.kept)) / str(chosen.text).replace("/", "_")
    return folder / f"{what.replace('/', ':')}-{digest}.json"


def kept(chosen: argparse.Namespace, stage: Stage) -> dict[str, Any] | None:
    """What a stage came to, if it was done."""
    file = file_of(chosen, stage)
    found: dict[str, Any] | None = json.loads(file.read_text("utf-8")) if file.exists() else None
    return found


def keep(chosen: argparse.Namespace, corpus: Corpus, stage: Stage) -> Generator[None, None, str]:
    """Do one stage, keep what it comes to, and return what there is to say of it."""
    try:
        found = yield from done(chosen, corpus, stage)
    except Exception as error:  # the others go on
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"failed: {type(error).__name__}: {error} ({where.filename}:{where.lineno})"
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
    return f"{' '.join(parts)}{recall} in {found.get('seconds', 0):.0f} s {found.get('tiers', '')}"
