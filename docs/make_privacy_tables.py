"""Table of attacks in docs/privacy-attacks.md: ``python docs/make_privacy_tables.py`` (some minutes)."""

from __future__ import annotations

import math

from make_algorithm_tables import DOCS, placed

import sims
from sims.privacy.attacks.report import attack_report
from sims.scenario import load_scenario

BY = "docs/make_privacy_tables.py"
RUNS = 8
ROUNDS = (
    "population.nodes=16",
    "topology={name='ring'}",
    "algorithm={name='d_psgd'}",
    "training.learning_rate=0.3",
    "training.batch_size=16",
    "stop.rounds=40",
)
PRIVATE = "training.privacy={{clip=1.0, noise_multiplier={noise}}}"
CASES = {
    "16 nodes in rounds": ROUNDS,
    "… batches of 4": (*ROUNDS, "training.batch_size=4"),
    "… noise 1 on rows of norm 2": (
        *ROUNDS,
        "outgoing=[{kind='clip',norm=2.0},{kind='noise',deviation=1.0}]",
    ),
    "… private training, noise .5": (*ROUNDS, PRIVATE.format(noise=0.5)),
    "… private training, noise 2": (*ROUNDS, PRIVATE.format(noise=2.0)),
}
HEADS = (
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


def line(name: str, overrides: tuple[str, ...]) -> str:
    """One line of the table."""
    scenario = load_scenario("digits", overrides=[*overrides, "evaluate.every=20"])
    report = attack_report(scenario, runs=RUNS)
    accuracy = float(sims.run(scenario).evaluations["accuracy_mean"][-1])
    best = max(report.membership.values(), key=lambda each: each.auc)
    rate = best.true_rates[0.01]
    inverted = [f"{each.recognised:.0%} ({each.psnr:.0f} dB)" for each in report.inversion.values()] or [
        "–",
        "–",
    ]
    cells = (
        name,
        f"{accuracy:.1%}",
        f"{report.claim.epsilon:.3g}" if math.isfinite(report.claim.epsilon) else "∞",
        f"{report.proven:.2f}",
        f"{best.auc:.3f}",
        f"{best.advantage:.3f}",
        f"{rate.value:.1%} ({rate.low:.1%}–{rate.high:.1%})",
        *(f"{each.top1.value:.0%}" for each in report.links.values()),
        *inverted,
    )
    return f"| {' | '.join(cells)} |"


def rows() -> list[str]:
    """Lines of the table."""
    lines = [f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
    for name, overrides in CASES.items():
        lines.append(line(name, overrides))
        print(lines[-1], flush=True)
    return lines


if __name__ == "__main__":
    page = DOCS / "privacy-attacks.md"
    page.write_text(placed(page.read_text("utf-8"), "attacks", "\n".join(rows()), by=BY), "utf-8")
