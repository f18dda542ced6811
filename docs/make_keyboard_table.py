"""Tables of next-word models in docs/keyboard.md: ``python docs/make_keyboard_table.py --text sotu``."""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from keyboard_methods import METHODS
from keyboard_stages import ORDERS, Stage, best_rate, is_at_edge, keep, kept, missing, summed
from keyboard_training import Corpus, Scores, loaded
from make_algorithm_tables import DOCS, placed
from scipy.stats import t as student
from side_by_side import Places, done_side_by_side

BY = "docs/make_keyboard_table.py"
BEGAN = time.monotonic()
DEFAULT = ("gossip", "pooled", "alone", "FedAvg", "gossip, ε = 8")


def do_all(chosen: argparse.Namespace, corpus: Corpus) -> None:
    """Do what is not done yet, and keep what each stage comes to."""
    users = len(corpus.users)

    def ready() -> Iterator[Stage]:
        return missing(chosen, users)

    places = Places(chosen.processes, chosen.streams, chosen.device, chosen.memory)
    for stage, said_of in done_side_by_side(ready, lambda stage: keep(chosen, corpus, stage), places):
        said(f"{chosen.text} {stage[0]} {' '.join(map(str, stage[1].values()))}: {said_of}")


def rows_of(chosen: argparse.Namespace) -> dict[str, tuple[list[Scores], float, str]]:
    """Scores by seed, bytes and step size of each row of the table."""
    rows: dict[str, tuple[list[Scores], float, str]] = {}
    for name in ORDERS:
        for whose in ("pooled", "each"):
            found = kept(chosen, ("n-gram", {"of": whose, "order": name}))
            if found is not None:
                rows[f"{name}, {'pooled' if whose == 'pooled' else 'alone'}"] = ([found["scores"]], 0.0, "")
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
            mixed = [own for seed in range(chosen.seeds) if (own := _personal(chosen, name, rate, seed))]
            if mixed:
                rows[f"{name} + personal"] = mixed, 0.0, ""
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
            step = used_rate(chosen, name, rate)
            yield f"| {name}, in trials | {' | '.join(cells)} | {step} |  |"


def used_rate(chosen: argparse.Namespace, name: str, rate: float) -> str:
    """The step size in use, and whether a smaller or larger one might be better."""
    used = rate * (math.sqrt(users_of(chosen)) if METHODS[name].stretched else 1.0)
    return f"{used:.3g}{', at the edge' if is_at_edge(chosen, name) else ''}"


def users_of(chosen: argparse.Namespace) -> int:
    """How many users there are."""
    found = kept(chosen, ("n-gram", {"of": "pooled", "order": "unigram"}))
    return len(found["scores"]) if found else chosen.users


def _personal(chosen: argparse.Namespace, name: str, rate: float, seed: int) -> Scores | None:
    """Scores of all users' personal models, if all are there."""
    of = {"method": name, "rate": rate, "seed": seed}
    found = [kept(chosen, ("personal", {**of, "user": user})) for user in range(users_of(chosen))]
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
            f"{rate} | {f'{sent / 1e6:.{0 if sent >= 1e8 else 1}f}' if sent else ''} |"
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
    parser.add_argument("--trials", type=int, default=5, choices=range(3, 16), help="step sizes to try")
    parser.add_argument("--warm-up", type=float, default=0.1, help="share of the steps in which they grow")
    parser.add_argument("--half", action="store_true", help="train with scores in bfloat16")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda")
    parser.add_argument("--ratio", type=float, default=4.0, help="between the first step sizes tried")
    parser.add_argument("--processes", type=int, default=1, help="trainings at a time")
    parser.add_argument("--streams", type=int, default=1, help="on a card: how many in each process")
    parser.add_argument(
        "--memory", type=float, help="GiB of the card for all of them; by default all there is"
    )
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
    if not chosen.only_table:
        do_all(chosen, loaded(options))
    if chosen.only_tried:
        return
    made = "\n".join(lines(chosen))
    print(made)
    page, name = DOCS / "keyboard.md", Path(chosen.text).name
    if not chosen.show and f"<!-- {name}: made by {BY} -->" in page.read_text("utf-8"):
        page.write_text(placed(page.read_text("utf-8"), name, made, by=BY), "utf-8")


if __name__ == "__main__":
    main()
