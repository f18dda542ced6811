"""Claims about robust rules."""

from __future__ import annotations

from sims.papers.claim import Claim, Gate, Quick, at_rounds

__all__ = ["DUMBBELL"]

_WHAT = "accuracy"
_LEARN = {"gossip average": (72.5,), "clipped gossip, τ = 1": (72.0,)}
_LEARN_NOTHING = dict.fromkeys(("geometric median", "trimmed mean, b = 1", "UBAR"), (49.0,))

DUMBBELL = Claim(
    name="dumbbell",
    title="Two cliques with half the digits each, joined by one link, nobody hostile (accuracy, %)",
    paper='He, Karimireddy & Jaggi, "Byzantine-robust decentralized learning via ClippedGossip", 2022',
    remark="Digits in place of MNIST, a perceptron, and the mean accuracy of the nodes on all digits; the "
    "published numbers are means of the accuracies of the two cliques' averages. Rules that drop what is far "
    "learn nothing of the other clique; clipping does.",
    figures=at_rounds(
        "accuracy_mean", {**_LEARN, **_LEARN_NOTHING}, (1000,), what=_WHAT, scale=100, tolerance=6.0
    ),
    gates=(
        Gate(
            statement="averaging and clipping learn the digits of the other clique",
            holds=lambda f: all(f[variant, _WHAT] > 62 for variant in _LEARN if (variant, _WHAT) in f),
        ),
        Gate(
            statement="geometric median, trimmed mean and UBAR learn nothing of them",
            holds=lambda f: all(
                f[variant, _WHAT] < 52 for variant in _LEARN_NOTHING if (variant, _WHAT) in f
            ),
        ),
    ),
    quick=Quick(
        rounds=1000, seeds=(0,), variants=("gossip average", "clipped gossip, τ = 1", "trimmed mean, b = 1")
    ),
)
