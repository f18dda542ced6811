"""Claims about consensus."""

from __future__ import annotations

from sims.papers.claim import Claim, Figure, Gate, Quick, at_rounds, rounds_below

__all__ = ["BASE_GRAPHS", "BIAS_CORRECTION", "CHOCO_GOSSIP"]

_BASE_TABLE: dict[str, tuple[float, ...]] = {
    "ring": (0.2933, 0.1946, 0.1534, 0.1116, 0.0682),
    "torus 5×5": (0.16, 0.0576, 0.0256, 6.40e-3, 2.48e-4),
    "static exponential": (0.1267, 0.0233, 4.88e-3, 2.47e-4, 1.92e-7),
    "one-peer exponential": (0.46, 0.21, 0.085, 4.92e-3, 1.29e-4),
    "base, k = 1": (0.48, 0.24, 0.12, 0.0328, 0.0),
    "base, k = 4": (0.16, 0.0, 0.0, 0.0, 0.0),
}
_UNTIL = {
    "ring": 267,
    "torus 5×5": 19,
    "static exponential": 9,
    "one-peer exponential": 19,
    "base, k = 1": 9,
    "base, k = 4": 2,
}

BASE_GRAPHS = Claim(
    name="base-graphs",
    title="Consensus of 25 nodes over base graphs and others (consensus distance, starting at 24/25)",
    paper='Takezawa et al., "Beyond exponential graph: communication-efficient topologies for decentralized '
    'learning via finite-time convergence", NeurIPS 2023',
    remark="The figures are ‖W_t…W_1 − J‖²_F / n, computed from the matrices; ours are measured in the simulator "
    "on 20,000 standard normal numbers a node, whose mean square distance, per number, has that expectation.",
    figures=at_rounds(
        "consensus_distance", _BASE_TABLE, (1, 2, 3, 5, 10), tolerance=1e-12, share=0.03, scale=1 / 20_000
    )
    + tuple(
        Figure(
            variant=variant,
            what="rounds to 10⁻⁶",
            measure=rounds_below("consensus_distance", 1e-6 / 0.96),
            published=value,
            tolerance=max(1.0, 0.01 * value),
            last_round=min(value, 20) if value < 100 else value,
        )
        for variant, value in _UNTIL.items()
    ),
    gates=(
        Gate(
            statement="base graphs agree exactly after 9 rounds (k = 1) and 2 rounds (k = 4), the others never",
            holds=lambda f: (
                f["base, k = 1", "round 10"] < 1e-25
                and f["base, k = 4", "round 2"] < 1e-25
                and f["one-peer exponential", "round 10"] > 1e-5
            ),
        ),
    ),
    quick=Quick(rounds=20, seeds=(0,), slack=1.0),
)

_CHOCO_ROUNDS = {
    "exact gossip": (51, 160, 0.0),
    "qsgd, 256 levels, γ = 1": (51, 160, 0.02),
    "sign, γ = 0.3": (181, 644, 0.15),
    "top 1 %, γ = 0.046": (1138, 3485, 0.05),
}

CHOCO_GOSSIP = Claim(
    name="choco-gossip",
    title="CHOCO-Gossip on a ring of 25 (rounds until the consensus distance has fallen by a factor)",
    paper='Koloskova, Stich & Jaggi, "Decentralized stochastic optimization and gossip algorithms with compressed '
    'communication", ICML 2019',
    remark="2,000 standard normal numbers a node, Metropolis–Hastings weights; an independent implementation's "
    "figures of the paper's set-up. As in the paper, fine quantisation costs no rounds, and coarse compression "
    "with a small step size converges linearly all the same. With signs the rounds to 10⁻⁴ depend on the start: a "
    "few lines of NumPy gave 644, 749, 897, 641 and 615 for five; the first is the published figure.",
    figures=tuple(
        Figure(
            variant=variant,
            what=f"below {label}",
            measure=rounds_below("consensus_distance", fraction),
            published=value,
            tolerance=max(1.0, share * value),
            last_round=value + 10,
        )
        for variant, (first, second, share) in _CHOCO_ROUNDS.items()
        for label, fraction, value in (("10⁻²", 1e-2, first), ("10⁻⁴", 1e-4, second))
    ),
    gates=(),
    quick=Quick(
        rounds=200,
        seeds=(0,),
        variants=("exact gossip", "qsgd, 256 levels, γ = 1", "sign, γ = 0.3"),
        slack=1.0,
    ),
)

BIAS_CORRECTION = Claim(
    name="bias-correction",
    title="Heterogeneous quadratics with full gradients (consensus distance; square error)",
    paper='Yuan, Ying, Zhao & Sayed, "Exact diffusion for distributed optimization and learning", IEEE Trans. '
    'Signal Processing 67(3), 2019; Tang et al., "D²: decentralized training over decentralized data", ICML 2018; '
    'Nedić, Olshevsky & Shi, "Achieving geometric convergence for distributed optimization over time-varying '
    'graphs", SIAM J. Optimization 27(4), 2017; Vogels et al., "RelaySum for decentralized deep learning on '
    'heterogeneous data", NeurIPS 2021',
    remark="Nodes of a ring of 16 with minima −7.5 … 7.5. D-PSGD stops where its closed form says; the corrected "
    "methods and RelaySGD reach the optimum to machine precision; D² does not converge where the mixing matrix "
    "has an eigenvalue below −1/3.",
    figures=(
        *at_rounds(
            "consensus_distance",
            {"D-PSGD, η = 0.1": (5.897387,), "D-PSGD, η = 0.01": (0.331913,)},
            (4000,),
            what="consensus distance",
            tolerance=1e-5,
        ),
        *at_rounds(
            "error_mean",
            dict.fromkeys(("exact diffusion", "D²", "gradient tracking", "RelaySGD, chain"), (0.0,)),
            (4000,),
            what="square error",
            tolerance=1e-20,
        ),
        *at_rounds("consensus_distance", {"D², 4×4 torus": (None,)}, (500,), what="consensus distance"),
    ),
    gates=(
        Gate(
            statement="D² diverges on the 4×4 torus",
            holds=lambda f: not f["D², 4×4 torus", "consensus distance"] < 1e6,
        ),
    ),
    quick=Quick(rounds=4000, seeds=(0,), slack=1.0),
)
