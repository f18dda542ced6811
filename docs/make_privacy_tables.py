"""Tables of docs/privacy-attacks.md: ``python docs/make_privacy_tables.py`` (some minutes of one core a line).

Measuring needs no dp-accounting: ``--measure FILE --part 0/4`` there, and ``--from FILE…`` where it is installed.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
from make_algorithm_tables import DOCS, placed
from scipy.stats import norm

import sims
from gossipfl.privacy import gaussian_guarantee
from gossipfl.privacy.gaussian import largest_shift
from sims.privacy.attacks.claims import Spent, claim_for, spent_in
from sims.privacy.attacks.linkability import linked
from sims.privacy.attacks.membership import likelihood_ratios, measured, observed_runs
from sims.privacy.attacks.report import inversions
from sims.privacy.attacks.sent_rows import setting_of
from sims.privacy.attacks.trials import trials_of_rows, trials_of_samples
from sims.privacy.published import muffliato_pairwise
from sims.privacy.sampling import PrivateTraining
from sims.privacy.sources import run_of_scenario
from sims.scenario import Scenario, load_scenario, parse_scenario
from sims.world import build_world

BY = "docs/make_privacy_tables.py"
DELTA, RUNS, NUMBERS, SAMPLES = 1e-5, 16, 50_000, 1_000
SIZE = 0.5  # so a coin moves a number by 1

# Mechanisms on canaries: what differs of the scenario, the noise on values, who watches, and whom.
ROWS = {
    "`muffliato`, plain, 4 links away": ("name = 'muffliato'\ndeviation = 1.0", 1.0, [0], 4),
    "`muffliato`, Chebyshev, 4 links away": ("name = 'muffliato'\ndeviation = 1.0\ngap = 0.1", 1.0, [0], 4),
    "`muffliato_sgd`, 2 mixings, a neighbour": (
        "name = 'muffliato_sgd'\nclip = 1e6\ndeviation = 4.0\nmixings = 2",
        4.0,
        [0],
        1,
    ),
    "`decor`, who sees all rows": (
        "name = 'decor'\nclip = 1e6\ndeviation = 1.0\nedge_deviation = 3.0",
        1.0,
        [],
        1,
    ),
    "`zip_dl`, a neighbour": ("name = 'zip_dl'\ndeviation = 3.0", 0.0, [0], 1),
    "noise on what leaves, a neighbour": ("name = 'd_psgd'", 0.0, [0], 1),
}
ON_CANARIES = """
precision = "float64"
[population]
nodes = {nodes}
[task]
name = "sims.privacy.attacks.canaries:{task}"
partition = "contiguous"
options = {{ nodes = {nodes}, numbers = {numbers}{size} }}
[topology]
name = "ring"
[algorithm]
{algorithm}
[training]
enabled = {trains}
learning_rate = 1.0
{training}
[stop]
rounds = {rounds}
{more}
"""
STEPS = {
    "DP-SGD, Poisson": "noise_multiplier = 1.0",
    "DP-SGD, cyclic": "noise_multiplier = 2.0, sampling = 'cyclic'",
    "DP-SGD, cyclic, 8 bands": "noise_multiplier = 2.0, sampling = 'cyclic', bands = 8",
}

# Models of digits.
ROUNDS = (
    "population.nodes=16",
    "topology={name='ring'}",
    "training.learning_rate=0.3",
    "training.batch_size=16",
    "stop.rounds=40",
    "evaluate.every=20",
)
PLAIN = (*ROUNDS, "algorithm={name='d_psgd'}")
PRIVATE = "training.privacy={{clip=1.0, noise_multiplier={noise}{more}}}"
OF_GRADIENTS = "algorithm={{name='{name}', clip=1.0, deviation={deviation}{more}}}"
CYCLIC = ", sampling='cyclic', bands={bands}"
MODELS = {
    "16 nodes in rounds": PLAIN,
    "… batches of 4": (*PLAIN, "training.batch_size=4"),
    "… noise 1 on rows of norm 2": (
        *PLAIN,
        "outgoing=[{kind='clip',norm=2.0},{kind='noise',deviation=1.0}]",
    ),
    "… DP-SGD, noise .5": (*PLAIN, PRIVATE.format(noise=0.5, more="")),
    "… DP-SGD, noise 2": (*PLAIN, PRIVATE.format(noise=2.0, more="")),
    "… cyclic, noise 2": (*PLAIN, PRIVATE.format(noise=2.0, more=CYCLIC.format(bands=1))),
    "… cyclic, noise 2, 8 bands": (*PLAIN, PRIVATE.format(noise=2.0, more=CYCLIC.format(bands=8))),
    "… `muffliato_sgd`, noise 1": (
        *ROUNDS,
        OF_GRADIENTS.format(name="muffliato_sgd", deviation=1.0, more=""),
    ),
    "… `decor`, noise 1 and 3": (
        *ROUNDS,
        OF_GRADIENTS.format(name="decor", deviation=1.0, more=", edge_deviation=3.0"),
    ),
}


def of_rows(name: str) -> dict[str, object]:
    """Trials of noise on canaries."""
    algorithm, deviation, observers, target = ROWS[name]
    starts = "'muffliato'" in algorithm
    leaves = "leaves" in name
    text = ON_CANARIES.format(
        nodes=16,
        numbers=NUMBERS,
        size=f", size = {SIZE}",
        task="coin_starts" if starts else "coin_rows",
        algorithm=algorithm,
        trains="false" if starts else "true",
        training="batch_size = 1",
        rounds=4 if starts else 1 if leaves else 3,
        more="[[outgoing]]\nkind = 'noise'\ndeviation = 1.0" if leaves else "",
    )
    scenario = parse_scenario(text)
    found = trials_of_rows(
        scenario,
        size=SIZE,
        deviation=deviation,
        observers=observers,
        target=target,
        sees_all=not observers,
    )
    published = None
    if starts:
        published = float(muffliato_pairwise(run_of_scenario(scenario), observers)[target]) / deviation**2
    return {
        "shift": found.shift,
        "published": published,
        "proven": found.proven(delta=DELTA),
        "advantage": asdict(found.advantage()),
    }


def of_samples(name: str) -> dict[str, object]:
    """Trials of private training on canaries."""
    scenario = sample_scenario(name)
    found = trials_of_samples(scenario)
    rate = scenario.training.batch_size / float(found.coins.reshape(8, -1).sum(axis=1).min())
    return {"rate": rate, "proven": found.proven(delta=DELTA), "advantage": asdict(found.advantage())}


def sample_scenario(name: str) -> Scenario:
    """The scenario of private training on canaries."""
    return parse_scenario(
        ON_CANARIES.format(
            nodes=8,
            numbers=SAMPLES,
            size="",
            task="coin_samples",
            algorithm="name = 'd_psgd'",
            trains="true",
            training=f"batch_size = {SAMPLES // 10}\nprivacy = {{ clip = 1.0, {STEPS[name]} }}",
            rounds=40,
            more="",
        ).replace('precision = "float64"', "")
    )


def of_models(name: str) -> dict[str, object]:
    """Attacks on models of digits."""
    scenario = load_scenario("digits", overrides=list(MODELS[name]))
    setting = setting_of(build_world(scenario))
    observed = observed_runs(setting, runs=RUNS)
    scores = [
        -observed.losses,
        likelihood_ratios(observed, online=False),
        likelihood_ratios(observed),
    ]
    found = [measured(observed, each, delta=DELTA) for each in scores]
    nodes = list(range(scenario.population.nodes))
    links = [linked(observed, nodes=nodes, trained_on=trained_on) for trained_on in (True, False)]
    best = max(found, key=lambda each: each.auc)
    return {
        "accuracy": float(sims.run(scenario).evaluations["accuracy_mean"][-1]),
        "spent": asdict(spent_in(observed.runs)),
        "proven": max(each.epsilon_of_one_run or 0.0 for each in found),
        "auc": best.auc,
        "advantage": best.advantage,
        "rate": asdict(best.true_rates[0.01]),
        "links": [each.top1.value for each in links],
        "inverted": [[each.recognised, each.psnr] for each in inversions(setting, 0, {}).values()],
    }


MEASURES = {"rows": (ROWS, of_rows), "samples": (STEPS, of_samples), "models": (MODELS, of_models)}


def variation(multiplier: float, rate: float, *, steps: int) -> float:
    """Total variation of so many Gaussian mechanisms on sampled batches: the largest advantage of any test."""
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant()
    one = PoissonSampledDpEvent(rate, GaussianDpEvent(multiplier))
    return float(accountant.compose(SelfComposedDpEvent(one, steps)).get_delta(0.0))


def trial_line(kind: str, name: str, found: dict) -> str:
    """One line of the table of canaries."""
    published = "–"
    if kind == "rows":
        claimed = gaussian_guarantee(found["shift"], delta=DELTA).epsilon
        allowed = f"{2 * norm.cdf(found['shift'] / 2) - 1:.3f}"
        if found["published"] is not None:
            published = f"{gaussian_guarantee(math.sqrt(found['published']), delta=DELTA).epsilon:.2f}"
    else:
        privacy = sample_scenario(name).training.privacy
        training = PrivateTraining(
            multiplier=privacy.noise_multiplier,
            rates=np.array([found["rate"]]),
            bands=privacy.bands if privacy.sampling == "cyclic" else 0,
        )
        claimed = training.worst(np.array([40]), delta=DELTA).epsilon
        total = (
            2 * norm.cdf(largest_shift(claimed, DELTA) / 2) - 1
            if training.bands
            else variation(privacy.noise_multiplier, found["rate"], steps=40)
        )
        allowed = f"{total:.3f}"
    if found["proven"] > claimed:
        raise SystemExit(f"{name}: ε ≥ {found['proven']} was proven, and {claimed} is claimed")
    rate = found["advantage"]
    advantage = f"{rate['value']:.3f} ({rate['low']:.3f}–{rate['high']:.3f})"
    return f"| {name} | {claimed:.2f} | {found['proven']:.2f} | {published} | {allowed} | {advantage} |"


def model_line(name: str, found: dict) -> str:
    """One line of the table of models."""
    scenario = load_scenario("digits", overrides=list(MODELS[name]))
    claim = claim_for(scenario, Spent(**found["spent"]), delta=DELTA)
    if found["proven"] > claim.epsilon:
        raise SystemExit(f"{name}: ε ≥ {found['proven']} was proven, and {claim.epsilon} is claimed")
    rate = found["rate"]
    cells = (
        name,
        f"{found['accuracy']:.1%}",
        f"{claim.epsilon:.3g}" if math.isfinite(claim.epsilon) else "∞",
        f"{found['proven']:.2f}",
        f"{found['auc']:.3f}",
        f"{found['advantage']:.3f}",
        f"{rate['value']:.1%} ({rate['low']:.1%}–{rate['high']:.1%})",
        *(f"{each:.0%}" for each in found["links"]),
        *([f"{seen:.0%} ({psnr:.0f} dB)" for seen, psnr in found["inverted"]] or ["–", "–"]),
    )
    return f"| {' | '.join(cells)} |"


def table(heads: tuple[str, ...], lines: Iterator[str]) -> str:
    """A table of lines."""
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *lines])


TRIAL_HEADS = (
    "mechanism, and who looks",
    "claimed ε",
    "proven ε ≥",
    "published ε",
    "advantage allowed",
    "advantage measured",
)
MODEL_HEADS = (
    "run",
    "accuracy",
    "claimed ε",
    "proven ε ≥",
    "AUC",
    "advantage",
    "TPR at 1 %",
    "linked",
    "linked, other data",
    "batch recognised, round 2",
    "… last round",
)


def main() -> None:
    """Measure what is asked for, and put it into the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", choices=list(MEASURES), default=list(MEASURES))
    parser.add_argument("--part", default="0/1", help="which part of all lines to measure, such as 0/4")
    parser.add_argument("--measure", type=Path, help="add what is measured to this file, and leave the page")
    parser.add_argument("--from", type=Path, nargs="*", dest="files", help="take what these files have")
    given = parser.parse_args()
    found: dict[tuple[str, str], dict] = {}
    if given.files:
        lines = [json.loads(line) for path in given.files for line in path.read_text("utf-8").splitlines()]
        found = {(each["kind"], each["name"]): each["found"] for each in lines}
    else:
        part, parts = map(int, given.part.split("/"))
        asked = [each for kind in given.only for each in product([kind], MEASURES[kind][0])]
        for kind, name in asked[part::parts]:
            found[kind, name] = MEASURES[kind][1](name)
            line = json.dumps({"kind": kind, "name": name, "found": found[kind, name]})
            print(line, flush=True)
            if given.measure:
                with given.measure.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
    if given.measure:
        return
    page = DOCS / "privacy-attacks.md"
    text = page.read_text("utf-8")
    if {"rows", "samples"} & set(given.only):
        trials = (
            trial_line(kind, name, found[kind, name])
            for kind in ("samples", "rows")
            for name in MEASURES[kind][0]
        )
        text = placed(text, "trials", table(TRIAL_HEADS, trials), by=BY)
    if "models" in given.only:
        models = (model_line(name, found["models", name]) for name in MODELS)
        text = placed(text, "attacks", table(MODEL_HEADS, models), by=BY)
    page.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
