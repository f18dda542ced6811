"""Events and rows that every message-driven algorithm has led to so far, flow by flow and sharing by sharing.

Whoever changes them on purpose says so in the changelog: runs with the same seed come out otherwise.
"""

import hashlib

import numpy as np
import pytest

from sims.compiler.operations import EMIT, ON_ANSWER, ON_CLOCK, ON_RECEIPT
from sims.compiler.timeline import Timeline
from sims.engine import Engine
from tests.sims.compiler.test_equality import FAILURES, VARIANTS
from tests.sims.worlds import SECOND, conditions, small, world_of

LETTERS = {EMIT: "E", ON_RECEIPT: "R", ON_ANSWER: "A", ON_CLOCK: "C"}
TIMELINES = {
    "RW, plain, push": "72360a22694322f6",
    "RW, plain, pull": "a3137e7e8c870465",
    "RW, plain, push-pull": "d46940d8d4bfce9c",
    "RW, age, push": "72360a22694322f6",
    "RW, age, pull": "a3137e7e8c870465",
    "RW, age, push-pull": "d46940d8d4bfce9c",
    "MU, plain, push": "72360a22694322f6",
    "MU, plain, pull": "a3137e7e8c870465",
    "MU, plain, push-pull": "d46940d8d4bfce9c",
    "MU, age, push": "72360a22694322f6",
    "MU, age, pull": "a3137e7e8c870465",
    "MU, age, push-pull": "d46940d8d4bfce9c",
    "UM, plain, push": "72360a22694322f6",
    "UM, plain, pull": "a3137e7e8c870465",
    "UM, plain, push-pull": "d46940d8d4bfce9c",
    "UM, age, push": "72360a22694322f6",
    "UM, age, pull": "a3137e7e8c870465",
    "UM, age, push-pull": "d46940d8d4bfce9c",
    "limited, age": "72360a22694322f6",
    "limited, plain, UM": "72360a22694322f6",
    "limited, partitioned": "e737b618a09e5b3f",
    "partitioned": "9252adb711da987f",
    "partitioned, plain": "8e1ccfbd6f1daf3b",
    "subsampled": "73cc58ccaf11adaf",
    "simple tokens": "9ab872aaf0fb90d5",
    "generalized tokens": "53650af7d441ca1f",
    "randomized tokens, limited": "2ce2595ebf2ef06c",
    "randomized tokens, partitioned": "f52b414b209ef8d3",
    "simple tokens, subsampled": "dda80239964ae9e9",
    "AD-PSGD": "d40ecbd70da8142b",
    "push-sum": "f53a6efb8489dc56",
    "push-sum, steps of models": "f53a6efb8489dc56",
}
#: Digest of ages, and mean and norm of all rows, after eight rounds.
ROWS = {
    ("algorithm.flow={kind='proactive'}", "algorithm.sharing={kind='whole'}"): (
        "f76c99de90f2cd8c",
        -0.042095476541564696,
        5.06370684190342,
    ),
    ("algorithm.flow={kind='proactive'}", "algorithm.sharing={kind='partitioned',parts=3}"): (
        "aea84f2496a16218",
        -0.03976576614330179,
        4.98335550819862,
    ),
    ("algorithm.flow={kind='proactive'}", "algorithm.sharing={kind='subsampled',parts=4}"): (
        "f76c99de90f2cd8c",
        -0.044189227100284674,
        4.9482102917106285,
    ),
    ("algorithm.flow={kind='simple',capacity=2}", "algorithm.sharing={kind='whole'}"): (
        "fe3db14dd7765a77",
        -0.042095476541564696,
        5.121701771215654,
    ),
    ("algorithm.flow={kind='simple',capacity=2}", "algorithm.sharing={kind='partitioned',parts=3}"): (
        "ff1d9318a358a56c",
        -0.046524173756549644,
        4.73418988358899,
    ),
    ("algorithm.flow={kind='simple',capacity=2}", "algorithm.sharing={kind='subsampled',parts=4}"): (
        "fe3db14dd7765a77",
        -0.03948565378253072,
        4.855372740287068,
    ),
    (
        "algorithm.flow={kind='generalized',capacity=3,reserve=2,useful='all'}",
        "algorithm.sharing={kind='whole'}",
    ): (
        "b499ccd00ea05d27",
        -0.042095476541564696,
        4.947016364858376,
    ),
    (
        "algorithm.flow={kind='generalized',capacity=3,reserve=2,useful='all'}",
        "algorithm.sharing={kind='partitioned',parts=3}",
    ): ("74e6cefa7844cdcd", -0.044200450641289496, 4.640255285332261),
    (
        "algorithm.flow={kind='generalized',capacity=3,reserve=2,useful='all'}",
        "algorithm.sharing={kind='subsampled',parts=4}",
    ): ("b499ccd00ea05d27", -0.04355956528419802, 4.760455634457038),
    (
        "algorithm.flow={kind='randomized',capacity=3,reserve=2,useful='all'}",
        "algorithm.sharing={kind='whole'}",
    ): (
        "5875129bd222a159",
        -0.042095476541564696,
        4.869870827496415,
    ),
    (
        "algorithm.flow={kind='randomized',capacity=3,reserve=2,useful='all'}",
        "algorithm.sharing={kind='partitioned',parts=3}",
    ): ("a04a26b1fc3ea691", -0.04536462430504886, 4.6150396532438975),
    (
        "algorithm.flow={kind='randomized',capacity=3,reserve=2,useful='all'}",
        "algorithm.sharing={kind='subsampled',parts=4}",
    ): ("5875129bd222a159", -0.03865984505674663, 4.768136348061088),
    ("algorithm.name=ad_psgd",): ("e518623b4c80f4dc", -0.042095476541564696, 4.628717216356896),
    ("algorithm.name=push_sum",): ("7e0f3a001d521b01", -0.04209547654156471, 7.25820504315657),
    ("algorithm.name=push_sum", "algorithm.steps_of=model"): (
        "7e0f3a001d521b01",
        -0.042095476541564696,
        5.645328281499181,
    ),
}


def digest(*parts):
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


@pytest.mark.parametrize("variant", TIMELINES)
def test_events_are_drawn_as_ever(variant):
    scenario = small(*VARIANTS[variant], *FAILURES, "training.step_seconds=0.4")
    (window,) = Timeline(conditions(scenario)).windows(20 * SECOND)
    takes_in = (window.kind == ON_RECEIPT) | (window.kind == ON_ANSWER)
    found = digest(
        "".join(LETTERS[int(kind)] for kind in window.kind).encode(),
        window.node.astype("<i4").tobytes(),
        np.where(takes_in, window.ref, 0).astype("<i8").tobytes(),
        np.where(takes_in, window.part, 0).astype("<i4").tobytes(),
        window.time.astype("<i8").tobytes(),
    )
    assert found == TIMELINES[variant]


@pytest.mark.parametrize("overrides", ROWS, ids=" ".join)
def test_rows_are_as_ever(overrides):
    scenario = small(*overrides, *FAILURES)
    world = world_of(scenario)
    timeline, engine = Timeline(conditions(scenario, world)), Engine(world, compile_when="never")
    for window in timeline.windows(8 * SECOND):
        timeline.kept(engine.execute(window))
    ages, mean, norm = ROWS[overrides]
    assert digest(engine.table.ages[:24].numpy().astype("<i8").tobytes()) == ages
    assert float(engine.rows().mean()) == pytest.approx(mean, rel=1e-9)
    assert float(engine.rows().norm()) == pytest.approx(norm, rel=1e-9)
