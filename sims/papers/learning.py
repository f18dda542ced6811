"""Claims about learning."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from sims.papers.claim import Claim, Gate, Quick, at_rounds

__all__ = ["EPIDEMIC_LEARNING", "GOSSIP_LEARNING", "QUASI_GLOBAL_MOMENTUM", "RELAY_SGD"]

Figures = Mapping[tuple[str, str], float]


def _ordered(what: str, *variants: str, slack: float = 0.0) -> Gate:
    """Make a gate: each variant's figure is at least the one before it, up to ``slack``."""

    def holds(figures: Figures) -> bool:
        values = [figures[variant, what] for variant in variants]
        return all(b >= a - slack for a, b in pairwise(values))

    return Gate(statement=f"{what}: {' ≤ '.join(variants)}", holds=holds)


EPIDEMIC_LEARNING = Claim(
    name="epidemic-pendigits",
    title="Epidemic learning against fixed graphs (mean accuracy of the nodes, %)",
    paper='de Vos et al., "Epidemic learning: boosting decentralized learning with randomized communication", '
    "NeurIPS 2023",
    remark="Pendigits in place of the paper's CIFAR-10, 96 nodes with two label shards each, a perceptron "
    "16-32-10, five local steps of batch 8, degree 7. The published column holds an independent implementation's "
    "figures of this set-up. Some depend on which fifth of the samples is for testing: random fifths give up to "
    "three points more.",
    figures=at_rounds(
        "accuracy_mean",
        {
            "ring": (43, 58, 66),
            "7-regular": (69, 84, 89),
            "static exponential": (71, 85, 90),
            "one-peer exponential": (48, 71, 81),
            "EL-Local": (72, 85, 90),
            "EL-Oracle": (73, 86, 90),
            "complete": (79, 87, 92),
        },
        (25, 100, 200),
        tolerance=3.0,
        scale=100,
    ),
    gates=(
        _ordered("round 25", "ring", "one-peer exponential", "7-regular", "EL-Oracle", "complete"),
        Gate(
            statement="round 200: randomised graphs are no worse than fixed ones of the same degree",
            holds=lambda f: (
                min(f["EL-Local", "round 200"], f["EL-Oracle", "round 200"])
                >= f["7-regular", "round 200"] - 0.5
            ),
            quick=False,
        ),
    ),
    quick=Quick(
        rounds=25,
        seeds=(0,),
        variants=("ring", "one-peer exponential", "7-regular", "EL-Oracle", "complete"),
    ),
)

GOSSIP_LEARNING = Claim(
    name="spambase",
    title="Gossip learning on Spambase, one sample a node (mean 0-1 error over nodes)",
    paper='Ormándi, Hegedűs & Jelasity, "Gossip learning with linear models on fully distributed data", '
    "Concurrency and Computation 25(4), 2013, Fig. 1",
    remark="Read off the paper's curves. Merging walks reach sequential Pegasos (0.100 ± 0.019) by cycle 50; lone "
    "walks are far behind.",
    figures=at_rounds(
        "accuracy_mean",
        {"RW": (0.27, 0.21, 0.16), "MU": (0.165, 0.07, 0.075), "UM": (0.14, 0.08, 0.075)},
        (10, 50, 200),
        what="cycle {}",
        tolerance=0.05,
        complement=True,
    ),
    gates=(
        Gate(
            statement="by cycle 50 MU and UM err no more often than sequential Pegasos (0.119), RW far more",
            holds=lambda f: (
                max(f["MU", "cycle 50"], f["UM", "cycle 50"]) <= 0.119 and f["RW", "cycle 50"] > 0.15
            ),
        ),
    ),
    quick=Quick(rounds=50, seeds=(1,)),
)

QUASI_GLOBAL_MOMENTUM = Claim(
    name="quasi-global-momentum",
    title="Quasi-global momentum under heterogeneity (mean accuracy of the nodes, %)",
    paper='Lin et al., "Quasi-global momentum: accelerating decentralized deep learning on heterogeneous data", '
    "ICML 2021",
    remark="The paper trains residual networks on CIFAR-10; here a perceptron on Pendigits, so only the relation "
    "is compared: with nearly equal data, momentum of one's own is as good; with Dirichlet α = 0.1 it falls "
    "behind quasi-global momentum.",
    figures=at_rounds(
        "accuracy_mean",
        {
            f"{name}, α = {alpha}": (None, None)
            for alpha in ("10", "0.1")
            for name in ("DSGD", "DSGDm", "QG-DSGDm-N")
        },
        (50, 300),
        scale=100,
    ),
    gates=(
        Gate(
            statement="round 300: at α = 10 both kinds of momentum are within a point of one another",
            holds=lambda f: abs(f["DSGDm, α = 10", "round 300"] - f["QG-DSGDm-N, α = 10", "round 300"]) <= 1,
            quick=False,
        ),
        Gate(
            statement="round 300: at α = 0.1 quasi-global momentum is ahead by a point at least",
            holds=lambda f: f["QG-DSGDm-N, α = 0.1", "round 300"] >= f["DSGDm, α = 0.1", "round 300"] + 1,
            quick=False,
        ),
        Gate(
            statement="round 50: at α = 0.1 quasi-global momentum is ahead",
            holds=lambda f: f["QG-DSGDm-N, α = 0.1", "round 50"] > f["DSGDm, α = 0.1", "round 50"],
        ),
    ),
    quick=Quick(rounds=50, seeds=(1,), variants=("DSGDm, α = 0.1", "QG-DSGDm-N, α = 0.1")),
)

RELAY_SGD = Claim(
    name="relay-trees",
    title="RelaySGD on trees under heterogeneity (mean accuracy of the nodes, %)",
    paper='Vogels et al., "RelaySum for decentralized deep learning on heterogeneous data", NeurIPS 2021',
    remark="The paper trains on CIFAR-10; here a perceptron on Pendigits, 15 nodes with one class each, so only "
    "the relation is compared: where gossip averaging on the same tree falls far behind, relayed sums come "
    "close to pooled training.",
    figures=at_rounds(
        "accuracy_mean",
        {
            "D-PSGD, binary tree": (None, None),
            "D-PSGD, chain": (None, None),
            "RelaySGD, binary tree": (None, None),
            "RelaySGD, chain": (None, None),
            "pooled SGD": (None, None),
        },
        (100, 600),
        scale=100,
    ),
    gates=(
        Gate(
            statement="RelaySGD is ahead of D-PSGD by ten points on the same tree",
            holds=lambda f: (
                f["RelaySGD, binary tree", "round 100"] >= f["D-PSGD, binary tree", "round 100"] + 10
            ),
        ),
        Gate(
            statement="round 600: on a chain RelaySGD is ten points ahead of D-PSGD, and within six of pooled SGD",
            holds=lambda f: (
                f["RelaySGD, chain", "round 600"] >= f["D-PSGD, chain", "round 600"] + 10
                and f["RelaySGD, chain", "round 600"] >= f["pooled SGD", "round 600"] - 6
            ),
            quick=False,
        ),
    ),
    quick=Quick(rounds=100, seeds=(1,), variants=("D-PSGD, binary tree", "RelaySGD, binary tree")),
)
