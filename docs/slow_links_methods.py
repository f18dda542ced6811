"""Methods, tasks, networks and settings of the tables in docs/slow-links.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ALONE",
    "DILOCO",
    "METHODS",
    "PLAIN_DILOCO",
    "RATES",
    "SETTINGS",
    "STEP_SECONDS",
    "WORLDS",
    "Method",
    "Setting",
    "next_rate",
]

STEP_SECONDS = 0.5
ALONE = "alone"
DILOCO, PLAIN_DILOCO = "DiLoCo, all-reduce", "DiLoCo, η = 1, β = 0, all-reduce"
RATES = (0.003, 0.001, 0.01)
"""Step sizes that all methods begin with; each then goes on from its best."""

_H = 20
_PAIRS, _ALL = "random_matching", {"average": "all-reduce"}


@dataclass(frozen=True)
class Method:
    """How nodes learn and what they send.

    Parameters
    ----------
    algorithm, topology : str
        Names; no topology where all average.
    parameters : mapping
        Of the algorithm.
    local : int
        Local steps of a round.
    for_speeds : bool
        Whether it is for nodes of different speeds alone.
    """

    algorithm: str
    topology: str
    parameters: Mapping[str, Any]
    local: int = _H
    for_speeds: bool = False

    @property
    def needs_all(self) -> bool:
        """Whether a round cannot be without any node."""
        return not self.topology


_PLAIN = {"momentum": 0.0, "outer_rate": 1.0}
_STREAMED = {"fragments": 4, "overlap": 2, "codec": "qsgd:7:128"}
METHODS: Mapping[str, Method] = {
    "all-reduce each step": Method("diloco", "", {**_ALL, "momentum": 0.0, "outer_rate": 1.0}, 1),
    DILOCO: Method("diloco", "", _ALL),
    PLAIN_DILOCO: Method("diloco", "", {**_ALL, **_PLAIN}),
    "D-PSGD, ring": Method("d_psgd", "ring", {}, 1),
    "SAPS, 10 %, pairs": Method("saps", _PAIRS, {"share": 0.1}, 1),
    "NoLoCo, pairs": Method("noloco", _PAIRS, {}),
    "GASLoC, γ = 0.3, η = 1, pairs": Method("gasloc", _PAIRS, {"momentum": 0.3, "outer_rate": 1.0}),
    "SparseLoCo, pull 1 %, pairs": Method("sparseloco", _PAIRS, {"pull": 0.01}),
    "streaming as DiLoCo, 4 bits, all-reduce": Method("streaming", "", {**_STREAMED, **_ALL}, _H // 4),
    "streaming as NoLoCo, 4 bits, pull 10 %, pairs": Method(
        "streaming", _PAIRS, {**_STREAMED, "momentum": 0.5, "nesterov": False, "pull": 0.1}, _H // 4
    ),
    "NoLoCo, η = 1, μ = 0, 60 % in 2 bits, pairs": Method(
        "noloco", _PAIRS, {**_PLAIN, "bits": 2, "share": 0.6, "reach": 2.0}
    ),
    "NoLoCo, η = 1, μ = 0, 60 % in 2 bits, base graph": Method(
        "noloco", "base", {**_PLAIN, "bits": 2, "share": 0.6, "reach": 2.0}
    ),  # pairs whose turns end in exact means
    "NoLoCo, η = 1, μ = 0, 50 % in 2 bits, H = 5, base graph": Method(
        "noloco", "base", {**_PLAIN, "bits": 2, "share": 0.5, "reach": 4.0}, _H // 4
    ),
    "NoLoCo, η = 1, μ = 0, 2 bits, H = 5, base graph": Method(
        "noloco", "base", {**_PLAIN, "bits": 2, "reach": 4.0}, _H // 4
    ),
    "NoLoCo, η = 1, μ = 0, 2 bits, H = 1, base graph": Method(
        "noloco", "base", {**_PLAIN, "bits": 2, "reach": 8.0}, 1
    ),
    "SparseLoCo, 25 of 4,096, α = 3, complete": Method(
        "sparseloco", "complete", {"codec": "chunk-top:25:4096", "decay": 1.0, "outer_rate": 3.0}
    ),
    ALONE: Method("saps", _PAIRS, {"share": 1e-9}),  # a single number is sent
    "DiLoCo, η = 1, β = 0, weights by steps, all-reduce": Method(
        "diloco", "", {**_ALL, **_PLAIN, "weighting": "steps"}, for_speeds=True
    ),
    "NoLoCo, weights by steps, pairs": Method("noloco", _PAIRS, {"weighting": "steps"}, for_speeds=True),
}
_WITHOUT_WEIGHTS = (PLAIN_DILOCO, "NoLoCo, pairs")
WORLDS: Mapping[str, Mapping[str, Any]] = {
    "1 Gbit/s": {"delay": {"seconds": 0.01}, "links": {"up": 1000, "down": 1000}},
    "100/20": {"delay": {"seconds": 0.03}, "links": {"up": 20, "down": 100}},
    "100/20, 10 % slow": {"delay": {"seconds": 0.03}, "links": {"up": 20, "down": 100, "slow": 0.1}},
    "14 cities": {
        "delay": {"kind": "matrix", "file": "cities14"},
        "links": {"file": "cities14", "up": 100, "down": 100},
    },
}


def schedule(steps: int) -> Mapping[str, Any]:
    """Step sizes of all methods: risen after 20 steps, held, and along the last fifth down to zero."""
    held = {"schedule": "wsd", "clock": "step", "warm_up": 20, "decay_share": 0.2}
    return {**held, "decay_age": steps, "final_fraction": 0.0}


@dataclass(frozen=True)
class Setting:
    """What is learned, by whom.

    Parameters
    ----------
    options : mapping
        Of the task in examples/authors.py.
    nodes : int
        As many authors.
    steps : int
        Steps of training.
    absent : float
        Probability with which a node sits out a round.
    speeds : float
        Standard deviation of the logarithm of nodes' speeds; a node does as many steps as it has time for.
    batch : int
        Windows of text of a step.
    tuned_in : str
        Name of the setting whose best step sizes are taken; it has its own if empty.
    constant : bool
        Whether step sizes are constant, in place of `schedule`.
    """

    options: Mapping[str, Any]
    nodes: int = 16
    steps: int = 400
    absent: float = 0.0
    speeds: float = 0.0
    batch: int = 4
    tuned_in: str = ""
    constant: bool = False

    @property
    def timed(self) -> bool:
        """Whether its seconds are of interest: nobody waits for absent nodes, and the slow do fewer steps."""
        return not self.absent and not self.speeds

    def tables(self, method: Method, *, rate: float, seed: int) -> dict[str, Any]:
        """The scenario of a run."""
        made: dict[str, Any] = {
            "seed": seed,
            "population": {"nodes": self.nodes},
            "task": {
                "name": "authors:task",
                "partition": "natural",
                "options": {**self.options, "authors": self.nodes, "seed": seed},
            },
            "algorithm": {"name": method.algorithm, **method.parameters},
            "training": {
                "optimiser": "adamw",
                "learning_rate": rate,
                "batch_size": self.batch,
                "local_steps": method.local,
                **({} if self.constant else schedule(self.steps)),
                "seed": seed,  # of batches; that of the scenario draws partners
            },
            "evaluate": {"every": self.steps // method.local, "samples": 400},
            "stop": {"rounds": self.steps // method.local},
            "output": {"rows": False},
        }
        if method.topology:
            made["topology"] = {"name": method.topology}
        if self.absent:
            made["churn"] = {"process": {"kind": "cycle", "offline": self.absent}}
        if self.speeds:
            made["network"] = {"period_sigma": self.speeds}
            made["training"]["by_speed"] = True
        return made

    def able(self) -> Iterator[str]:
        """Names of the methods that can be run so."""
        for name, each in METHODS.items():
            wanted = name in _WITHOUT_WEIGHTS if self.speeds else not (self.absent and each.needs_all)
            if (each.for_speeds and self.speeds) or (wanted and not each.for_speeds):
                yield name


_SHORT: Mapping[str, Any] = {"size": "0.1M", "length": 64}
_WORDS: Mapping[str, Any] = {"text": "sotu", "unit": "words", "size": "1.5M"}
SETTINGS: Mapping[str, Setting] = {
    "characters": Setting({}, batch=1),
    "characters, constant step sizes": Setting({}, constant=True),
    "characters, 20 % absent": Setting({}, batch=1, absent=0.2, tuned_in="characters"),
    "characters, speeds apart": Setting({}, batch=1, speeds=0.5),
    "characters, 64 nodes": Setting({}, batch=1, nodes=64, tuned_in="characters"),
    "short": Setting(_SHORT),
    "short, constant step sizes": Setting(_SHORT, constant=True),
    "short, 20 % absent": Setting(_SHORT, absent=0.2, tuned_in="short"),
    "short, speeds apart": Setting(_SHORT, speeds=0.5),
    "short, 64 nodes": Setting(_SHORT, nodes=64, tuned_in="short"),
    "words": Setting(_WORDS, batch=1, tuned_in="characters"),
    "words, 20 % absent": Setting(_WORDS, batch=1, absent=0.2, tuned_in="characters"),
    "words, speeds apart": Setting(_WORDS, batch=1, speeds=0.5),
    "words, 64 nodes": Setting(
        {**_WORDS, "text": "shakespeare"}, nodes=64, batch=1, tuned_in="characters"
    ),  # there are 45 presidencies
}


def next_rate(tried: Mapping[float, float]) -> float:
    """The step size to try next, by the losses of those tried.

    First `RATES`; then a factor of about three beyond the best, while that is at the edge; then the geometric mean
    of the best and the better of its neighbours, two digits.
    """
    for rate in RATES:
        if rate not in tried:
            return rate
    rates = sorted(tried)
    at = min(range(len(rates)), key=lambda each: tried[rates[each]])
    best = rates[at]
    if at == 0:
        return _half_a_decade(best, down=True)
    if at == len(rates) - 1:
        return _half_a_decade(best, down=False)
    other = min(rates[at - 1], rates[at + 1], key=lambda each: tried[each])
    return float(f"{(best * other) ** 0.5:.2g}")


def _half_a_decade(rate: float, *, down: bool) -> float:
    leads_one = f"{rate:e}".startswith("1.0")
    factor = (0.3 if leads_one else 1 / 3) if down else (3.0 if leads_one else 10 / 3)
    return float(f"{rate * factor:.1g}")
