"""Methods by which users' next-word models learn in docs/keyboard.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gossipfl.privacy.sampled_gaussian import Mechanism, sampled_epsilon

__all__ = ["CLIP", "DELTA", "METHODS", "WITH_PERSONAL", "Method", "noise_for"]

CLIP, DELTA = 0.5, 1e-5
WITH_PERSONAL = ("gossip", "pooled")


@dataclass(frozen=True)
class Method:
    """How users' models learn.

    Parameters
    ----------
    algorithm : str
        The table of a scenario; none where nobody hears of others.
    topology : str
        The same, unless all send to a server; with the degree left open.
    training, further : str
        The optimiser, and further tables of the scenario.
    clipped : bool
        Whether the norm of a batch's gradient is at most 1.
    every : int
        Steps between exchanges.
    around : float
        The step size to begin the search with, before it is stretched.
    stretched : bool
        Whether they are √n times as large: AdamW divides gradients by the root of their mean square. Where that
        is noise for the most part, the mean of n gradients has a root that is √n times as small, and so a step
        that is √n times as long as the mean of n steps.
    epsilon : float, optional
        ε of DP-SGD for each window of text, at `DELTA`.
    steps, batch : int, optional
        The most steps, and the size of batches, where they are other ones than those of all.
    """

    algorithm: str = ""
    topology: str = 'name = "complete"'
    training: str = 'optimiser = "adamw"'
    further: str = ""
    clipped: bool = True
    every: int = 1
    around: float = 0.01
    stretched: bool = False
    epsilon: float | None = None
    steps: int | None = None
    batch: int | None = None


_GRAPH = 'name = "random-regular"\ndegree = {degree}'
_APART = Method('name = "d_psgd"', _GRAPH, stretched=True)
_GOSSIP = Method('name = "d_adam"', _GRAPH, training='optimiser = "sgd"', stretched=True)
_IN_8_BITS = '[[outgoing]]\nkind = "codec"\nname = "int8"'


def _thinned(share: float, *, every: int) -> Method:
    """A share of the models in 8 bits, and of the second moments in 16, each of which is mixed more rarely."""
    algorithm = f'name = "d_adam"\nmoments_every = {every}\nmoments_codec = "bfloat16"'
    mask = f'[[outgoing]]\nkind = "mask"\nshare = {share}\n'
    return replace(_GOSSIP, algorithm=algorithm, further=mask + _IN_8_BITS)


def _private(epsilon: float) -> Method:
    return replace(_GOSSIP, epsilon=epsilon, steps=400, batch=128, around=0.016, clipped=False)


METHODS: Mapping[str, Method] = {
    "gossip": _GOSSIP,
    "pooled": Method('name = "pooled_sgd"'),
    "alone": Method(around=0.00125),
    "FedAvg": Method(
        'name = "fedavg"\nepochs = 0\nfraction = 1.0',
        training='optimiser = "sgd"',
        every=4,
        around=8.0,
    ),
    "gossip, moments apart": _APART,
    "gossip, one neighbour": replace(_GOSSIP, topology='name = "base"\nk = 1'),
    "gossip, 1/50 of the bytes": _thinned(0.063, every=8),
    "gossip, ε = 8": _private(8),
    "gossip, ε = 2": _private(2),
}


def noise_for(epsilon: float, *, rate: float, steps: int) -> float:
    """The least noise multiplier, to four digits, with which steps at a sampling rate have this ε at `DELTA`."""

    def fits(multiplier: float) -> bool:
        return sampled_epsilon({Mechanism(rate, multiplier): steps}, delta=DELTA) <= epsilon

    low, high = 0.1, 1.0
    while not fits(high):
        low, high = high, 2 * high
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return float(f"{high:.5g}")
