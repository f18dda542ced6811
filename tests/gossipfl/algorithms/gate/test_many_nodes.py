"""Gatekeepers of many nodes at once, beside each one alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.algorithms.gate import Arrival, Claim, Gatekeeper, admit_together
from gossipfl.settings.gate import GateSettings

SETTINGS = GateSettings(offences=2, quarantine=20.0)


def histories(seed, *, nodes, size, messages):
    """Messages that nodes receive, one at a time each: plausible ones and lies, newcomers and repetitions."""
    random = np.random.default_rng(seed)
    noise = torch.Generator().manual_seed(seed)
    base = torch.randn(1, size, generator=noise)
    repeated = base + 0.7 * torch.randn(1, size, generator=noise)
    own = base + 0.1 * torch.randn(nodes, size, generator=noise)
    for number in range(messages):
        who = np.flatnonzero(random.random(nodes) < 0.7)
        own = own + 0.02 * torch.randn(nodes, size, generator=noise)
        received = base + 0.2 * torch.randn(nodes, size, generator=noise)
        claims = []
        for node in range(nodes):
            sender, age = int(random.integers(6)), int(random.integers(2 * number + 1))
            if sender == 5:
                kind, age = random.integers(7), int(random.choice([0, age + 3 * number, 2**40]))
                noisy = torch.randn(size, generator=noise)
                lies = (-own[node], 1e6 * noisy, noisy, repeated[0], own[node], 0 * noisy, noisy / 0)
                received[node] = lies[kind]
            claims.append(
                {
                    "sender": sender,
                    "own_age": number,
                    "age": age,
                    "now": 0.7 * number,
                    "version": (1, int(random.integers(number + 1))),
                    "is_answer": bool(random.random() < 0.5),
                    "neighbours": int(random.integers(5)),
                }
            )
        yield who, claims, own, received


def losses(rows, nodes):
    """Made-up losses, each of one node's row alone."""
    found = [2.0 + float(row[:3].double().sum()) * (node % 3) for row, node in zip(rows, nodes, strict=True)]
    return found, [2.3] * len(found)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([3, 40, 700]), st.booleans())
def test_many_nodes_at_once_decide_as_each_does_alone(seed, size, with_losses):
    nodes = 7
    together = [Gatekeeper(SETTINGS) for _ in range(nodes)]
    alone = [Gatekeeper(SETTINGS) for _ in range(nodes)]
    for who, claims, own, received in histories(seed, nodes=nodes, size=size, messages=40):
        came = admit_together(
            [together[node] for node in who],
            [Claim(**claims[node]) for node in who],
            own=own[who],
            received=received[who],
            losses=(lambda rows, places, who=who: losses(rows, who[list(places)])) if with_losses else None,
        )
        expected = [
            alone[node].admit(
                Arrival(
                    **claims[node],
                    own=own[node : node + 1],
                    received=received[node : node + 1],
                    losses=(lambda row, node=node: tuple(each[0] for each in losses(row, [node])))
                    if with_losses
                    else None,
                )
            )
            for node in who
        ]
        for one, other in zip(came, expected, strict=True):
            assert (one.reason, one.age, one.is_surplus) == (other.reason, other.age, other.is_surplus)
            assert (one.share, one.distance) == pytest.approx(
                (other.share, other.distance), rel=1e-12, nan_ok=True
            )


def test_the_histories_hold_most_reasons():
    seen = set()
    keeper = Gatekeeper(SETTINGS)
    for seed in range(6):
        for _, claims, own, received in histories(seed, nodes=1, size=40, messages=60):
            arrival = Arrival(**claims[0], own=own, received=received, losses=lambda row: (2.0, 2.3))
            seen.add(keeper.admit(arrival).reason)
        keeper = Gatekeeper(SETTINGS)
    assert seen >= {
        "plausible",
        "far",
        "share",
        "echo",
        "first",
        "opposed",
        "norm",
        "not_finite",
        "quarantined",
    }
