"""Noise of scenarios: the accountant beside a short program that writes all rows down and solves them at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gossipfl.privacy.correlated import composed_epsilon
from sims.privacy.declared import declared_noise
from sims.privacy.report import report_of
from sims.privacy.rounds import round_run
from sims.privacy.value_noise import with_noise_on_values
from sims.privacy.views import known_to
from sims.scenario import parse_scenario
from sims.scenario.outgoing import outgoing_of
from sims.world.networks import round_network
from tests.sims.privacy.dense import Book, added

RATE = 0.1
SCENARIO = """
[population]
nodes = {nodes}
[topology]
name = "{topology}"
[algorithm]
{algorithm}
[training]
learning_rate = 0.1
{training}
[stop]
rounds = {rounds}
{more}
"""


def account(scenario, *, samples=20, noise=None, sensitivity=None):
    """The run of a scenario, its nodes with so many samples each."""
    counts = np.full(scenario.population.nodes, samples)
    run = round_run(
        scenario, round_network(scenario), samples=counts, private_start=False, outgoing=outgoing_of(scenario)
    )
    values = declared_noise(
        scenario.training,
        scenario.algorithm.of_rounds(),
        samples=counts,
        trains=True,
        is_alone=bool(run.noise.private.all()),
        noise=noise,
        sensitivity=sensitivity,
    )
    return with_noise_on_values(run, values), values


def scenario_of(nodes, topology, algorithm, rounds, *, training="", more=""):
    text = SCENARIO.format(
        nodes=nodes, topology=topology, algorithm=algorithm, rounds=rounds, training=training, more=more
    )
    return parse_scenario(text)


@st.composite
def cases(draw):
    """Settings of a scenario, and the same as plain numbers."""
    nodes = draw(st.integers(3, 6))
    case = {
        "nodes": nodes,
        "rounds": draw(st.integers(1, 5)),
        "topology": draw(st.sampled_from(["ring", "complete", "random_matching", "one_peer_exponential"])),
        "algorithm": draw(st.sampled_from(["d_psgd", "decor", "muffliato_sgd", "zip_dl"])),
        "edges": draw(st.sampled_from([0.0, 0.7, 20.0])),
        "deviation": draw(st.sampled_from([0.5, 3.0])),
        "outgoing": draw(st.sampled_from([0.0, 0.2])),
        "mixings": draw(st.integers(1, 2)),
        "private": draw(st.sampled_from(["none", "poisson", "cyclic"])),
        "bands": draw(st.integers(1, 3)),
        "momentum": draw(st.sampled_from([0.0, 0.5])),
        "observers": draw(st.sets(st.integers(0, nodes - 1), min_size=1, max_size=2)),
        "sees_all": draw(st.booleans()),
    }
    if case["algorithm"] in ("decor", "zip_dl") and case["topology"] != "complete":
        case["topology"] = "ring"  # links that go both ways, and for zip_dl two of them
    if case["algorithm"] in ("decor", "muffliato_sgd"):
        case |= {"private": "none", "momentum": 0.0}
    if case["algorithm"] == "zip_dl":
        case["outgoing"] = 0.0
    return case


def written(case):
    """The scenario."""
    name = case["algorithm"]
    lines = [f'name = "{name}"']
    if name in ("decor", "muffliato_sgd"):
        lines += ["clip = 0.5", f"deviation = {case['deviation']}"]
    if name == "decor":
        lines.append(f"edge_deviation = {case['edges']}\ncolluding = 0")
    if name == "muffliato_sgd":
        lines.append(f"mixings = {case['mixings']}")
    if name == "zip_dl":
        lines.append(f"deviation = {case['deviation']}")
    training = [f"momentum = {case['momentum']}", "batch_size = 5"]
    if case["private"] == "none":
        training.append("clip_norm = 0.5")
    else:
        bands = f", bands = {case['bands']}" if case["private"] == "cyclic" else ""
        training.append(
            f'privacy = {{ clip = 2.0, noise_multiplier = 1.5, sampling = "{case["private"]}"{bands} }}'
        )
    more = ""
    if case["outgoing"]:
        more = f'[[outgoing]]\nkind = "noise"\ndeviation = {case["outgoing"]}\n'
    return scenario_of(
        case["nodes"],
        case["topology"],
        "\n".join(lines),
        case["rounds"],
        training="\n".join(training),
        more=more,
    )


def by_hand(case, matrices, *, asked):
    """Every row that anybody receives; gradients without declared noise have noise of the deviation asked for."""
    n, name, book = case["nodes"], case["algorithm"], Book()
    held, speed = [{} for _ in range(n)], [{} for _ in range(n)]
    own = {"decor": case["deviation"], "muffliato_sgd": case["deviation"]}.get(name, asked)
    sensitivity = 1.0
    weights = [1.0]
    if case["private"] != "none":
        sensitivity, own = 2.0 / 5, 1.5 * 2.0 / 5
        bands = case["bands"] if case["private"] == "cyclic" else 1
        weights = [
            (-1) ** k * math.prod((0.5 - j) / (j + 1) for j in range(k)) for k in range(bands)
        ]  # (1 − x)^½
    for t, matrix in enumerate(matrices):
        trained = []
        for node in range(n):
            book.values[node, t] = sensitivity
            gradient = added((1.0, {(node, t): 1.0}))
            if own:
                book.normal(("own", node, t), node)
                parts = [(w * own, {("own", node, t - k): 1.0}) for k, w in enumerate(weights) if k <= t]
                gradient = added((1.0, gradient), *parts)
            for other in np.flatnonzero(matrix[node]) if name == "decor" else ():
                if other != node:
                    ends = (min(node, int(other)), max(node, int(other)))
                    sign = case["edges"] if node < other else -case["edges"]
                    gradient = added((1.0, gradient), (sign, book.normal(("edge", *ends, t), *ends)))
            speed[node] = added((case["momentum"], speed[node]), (1.0, gradient))
            trained.append(added((1.0, held[node]), (-RATE, speed[node])))
        held = trained
        if name == "zip_dl":
            held = _copies(case, book, held, matrix, t)
            continue
        for k in range(case["mixings"] if name == "muffliato_sgd" else 1):
            sent = held
            if case["outgoing"]:
                sent = [
                    added((1.0, row), (case["outgoing"], book.normal(("out", node, t, k), node)))
                    for node, row in enumerate(held)
                ]
            held = _mixed(book, sent, matrix)
    return book


def _mixed(book, sent, matrix):
    for node, other in zip(*np.nonzero(matrix), strict=True):
        if node != other:
            book.seen.append((int(node), sent[other]))
    return [added(*((w, sent[other]) for other, w in enumerate(row) if w)) for row in matrix]


def _copies(case, book, held, matrix, t):
    """Noise z of a node's copies: standard normals less their part along the receivers' weights."""
    copies = {}
    for node in range(len(held)):
        around = [int(other) for other in np.flatnonzero(matrix[node]) if other != node]
        weights = np.array([matrix[other, node] for other in around])
        flat = np.eye(len(around)) - np.outer(weights, weights) / (weights @ weights)
        normals = [book.normal(("copy", node, other, t), node) for other in around]
        for other, row in zip(around, flat * case["deviation"], strict=True):
            parts = list(zip(row.tolist(), normals, strict=True))
            copies[node, other] = added((1.0, held[node]), *parts)
            book.seen.append((other, copies[node, other]))
    return [
        added(
            (matrix[node, node], held[node]),
            *((w, copies[other, node]) for other, w in enumerate(matrix[node]) if w and other != node),
        )
        for node in range(len(held))
    ]


@given(cases())
@example(
    {
        **{
            "nodes": 4,
            "rounds": 2,
            "topology": "ring",
            "algorithm": "d_psgd",
            "edges": 0.0,
            "deviation": 0.5,
        },
        **{"outgoing": 0.0, "mixings": 1, "private": "none", "bands": 1, "momentum": 0.0, "observers": {0}},
        "sees_all": False,
    }
)
@settings(max_examples=60, deadline=None)
def test_all_noise_of_scenarios_is_accounted_for_as_by_hand(case):
    scenario = written(case)
    run, values = account(scenario)
    network = round_network(scenario).sequence
    apart = 4 if case["private"] == "cyclic" else None
    own = values.deviations[0] / values.sensitivities[0] if case["bands"] == 1 or not apart else 0.0
    book = by_hand(case, [network.matrix(t).toarray() for t in range(case["rounds"])], asked=own)

    def most(node, group):
        steps = [t for t in range(case["rounds"]) if apart is None or t % apart == group]
        return math.inf if own == 0 else len(steps) / own**2

    observers = sorted(case["observers"])
    expected = book.losses(
        observers,
        phase=lambda step: step % apart if apart else 0,
        most=most,
        sees_all=case["sees_all"] and run.noise is not None,
    )
    if run.noise is None:
        found = known_to(run, observers).losses / values.multiplier**2
    elif case["sees_all"]:
        found = known_to(run.overheard(), [*observers, run.nodes]).losses
    else:
        found = known_to(run, observers).losses
    for node, loss in expected.items():
        assert found[node] == pytest.approx(loss, rel=1e-6, abs=1e-10), (node, found, expected)


@pytest.mark.parametrize(
    ("topology", "edges", "per_round", "epsilon"),
    [
        ("complete", 32.0, 5.055857e-4, 10.796774),
        ("ring", 188.0, 4.656257e-4, 10.292830),
        ("ring", 0.0, 6.293228e-3, None),
    ],
)
def test_the_exact_loss_of_a_scenario_of_decor_is_the_published_one(topology, edges, per_round, epsilon):
    """To whoever sees all rows and knows none of the noise, which is what the paper's formula is for."""
    algorithm = f'name = "decor"\ndeviation = 17.8271\nedge_deviation = {edges}\ncolluding = 0'
    rounds = 3
    run, values = account(scenario_of(16, topology, algorithm, rounds))
    view = known_to(run.overheard(), [16])
    if run.noise is None:  # no shared noise: in units of what one noisy gradient gives away
        view = type(view)(losses=view.losses / values.multiplier**2, computed=view.computed)
    found = view.losses[:16].max() / 2 / rounds
    assert found == pytest.approx(
        per_round, rel=3e-7 if edges else 2e-5
    )  # the last one is of σ with all digits
    if epsilon is not None:
        assert composed_epsilon(found, steps=3500, delta=1e-5) == pytest.approx(epsilon, abs=2e-6)


def test_a_neighbour_knows_more_than_the_published_formula_of_decor_says():
    """It knows its own link's noise, so with all rows the exact loss is above; without them it is below."""
    algorithm = 'name = "decor"\ndeviation = 17.8271\nedge_deviation = 188.0\ncolluding = 0'
    run, _ = account(scenario_of(16, "ring", algorithm, 3))
    published = 2 * 3 * 4.656257e-4
    neighbour = known_to(run.overheard(), [0, 16]).losses
    assert neighbour[1] == pytest.approx(neighbour[15])
    assert neighbour[1] > 1.3 * published
    assert neighbour[8] > published  # a path of the ring's links is left, and it is shorter
    assert known_to(run, [0]).losses[1:].max() < published
    report = report_of(run, noise=None, delta=1e-5, coalitions=[2], sees_all=True)
    assert report.coalitions[0].largest * 3 > neighbour[1]
    assert report.overheard == pytest.approx(published, rel=3e-7)


def test_noise_that_cancels_over_copies_hides_from_one_neighbour_and_not_from_all():
    scenario = scenario_of(4, "ring", 'name = "zip_dl"\ndeviation = 3.0', 1, training="clip_norm = 0.5")
    run, _ = account(scenario)
    assert math.isfinite(known_to(run, [1]).losses[0])
    both = known_to(run, [1, 3])
    assert both.losses[0] == math.inf
    assert both.computed[0]
    assert both.losses[2] == math.inf


def test_nodes_that_nothing_reaches_lose_nothing():
    scenario = scenario_of(
        6, "ring", 'name = "d_psgd"', 1, training="clip_norm = 0.5",
        more='[[outgoing]]\nkind = "noise"\ndeviation = 1.0\n',
    )  # fmt: skip
    run, _ = account(scenario)
    losses = known_to(run, [0]).losses
    assert losses[0] == math.inf  # it knows its own
    assert losses[[2, 3, 4]].tolist() == [0, 0, 0]
    assert losses[1] == pytest.approx(RATE**2)  # 2C · η / σ
