"""Theory against runs whose outcome is known exactly, and bounds against what they bound."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sims
from gossipfl.tasks import Dataset, Task
from sims.analysis import load_runs
from sims.analysis.measures.landscape import measure_landscape, quadratic_of
from sims.analysis.runs.network import edges_of, network_of, positions_of
from sims.analysis.runs.problem import problem_of
from sims.analysis.theory.averaging import expected_pair_average
from sims.analysis.theory.critical import critical_distance, effective_rate
from sims.analysis.theory.descent import resting_distance, spread_bound
from sims.analysis.theory.gathering import theory_of
from sims.scenario import parse_scenario
from tests.sims.worlds import Point
from topology import graphs, mixing, sequences, spectrum
from topology.spectrum import MixingRate

QUADRATIC = """
precision = "float64"
[population]
nodes = 16
[task]
name = "tests.sims.worlds:quadratic"
partition = "contiguous"
[topology]
name = "ring"
[algorithm]
name = "d_psgd"
[training]
learning_rate = 0.1
[evaluate]
every = 50
[stop]
rounds = 600
"""


def scattered(*, nodes: int = 16, each: int = 4, apart: float = 2.0) -> Task:
    """``½ (x − b)²`` with four samples a node, at the node's centre ± ``apart`` and ± 0."""
    centres = torch.arange(nodes) - (nodes - 1) / 2
    offsets = apart * torch.tensor([-1.0, -1.0, 1.0, 1.0])[:each]
    targets = (centres[:, None] + offsets).reshape(-1, 1)
    zero = torch.zeros(1, 1)
    return Task(
        name="scattered",
        model=Point,
        data=lambda: Dataset(
            train_inputs=torch.zeros(len(targets), 1),
            train_targets=targets,
            test_inputs=zero,
            test_targets=zero,
        ),
        loss=lambda outputs, targets: 0.5 * ((outputs - targets) ** 2).mean(),
        metrics={"error": lambda outputs, targets: (outputs - targets).abs().mean()},
    )


def run_of(directory, text, *overrides):
    sims.run(parse_scenario(text, overrides=overrides), out=directory, compile_when="never")
    return load_runs([directory])[0]


def theory_beside(run):
    problem = problem_of(run)
    network = network_of(run, problem)
    return theory_of(run, network, problem)


@pytest.mark.parametrize("order", ["adapt-then-combine", "combine-then-adapt", "both-at-once"])
def test_the_fixed_point_of_quadratics_is_met_exactly(tmp_path, order):
    run = run_of(tmp_path / "run", QUADRATIC, f"algorithm.order={order}")
    (line,) = [each for each in theory_beside(run).lines if each.kind == "exact"]
    assert run.last("consensus_distance") == pytest.approx(line.values[-1], rel=1e-9)
    if order == "adapt-then-combine":
        assert line.values[-1] == pytest.approx(5.897387, abs=1e-6)


def test_a_bound_on_quadratics_is_never_crossed(tmp_path):
    run = run_of(tmp_path / "run", QUADRATIC, "evaluate.every=5", "stop.rounds=100")
    (line,) = [each for each in theory_beside(run).lines if each.name.startswith("spread")]
    assert line.kind == "bound"
    assert (line.values >= run.column("consensus_distance") - 1e-12).all()


def test_noise_keeps_models_as_far_apart_as_predicted(tmp_path):
    name = "task.name=tests.sims.analysis.test_theory:scattered"
    options = ("training.batch_size=1", "evaluate.every=5", "stop.rounds=200", "topology.name=complete")
    run = run_of(tmp_path / "run", QUADRATIC, name, *options)
    theory = theory_beside(run)
    (line,) = [each for each in theory.lines if each.kind == "exact"]
    # W = J: everybody is at the mean after each round, whatever the noise.
    assert line.values[-1] == pytest.approx(0, abs=1e-12)
    assert run.last("consensus_distance") == pytest.approx(0, abs=1e-12)
    # Batches of one of samples at ± 2 have variance 4; a batch that comes after another of its epoch is drawn
    # without replacement, which the estimate knows.
    assert theory.landscape.noise == pytest.approx(4.0, rel=0.35)


@pytest.mark.parametrize("order", ["adapt-then-combine", "combine-then-adapt", "both-at-once"])
def test_resting_distance_under_noise_equals_a_long_recursion(order):
    n, eta, h, dimensions = 9, 0.2, 0.7, 400
    W = mixing.metropolis_hastings(graphs.ring(n))
    generator = np.random.default_rng(0)
    b = generator.standard_normal((n, dimensions))
    X, total, steps = np.zeros((n, dimensions)), 0.0, 600
    for step in range(steps):
        noise = generator.standard_normal((n, dimensions))
        if order == "adapt-then-combine":
            X = W @ (X - eta * (h * (X - b) + noise))
        elif order == "combine-then-adapt":
            mixed = W @ X
            X = mixed - eta * (h * (mixed - b) + noise)
        else:
            X = W @ X - eta * (h * (X - b) + noise)
        if step >= 100:
            total += spectrum.consensus_distance(X) / (steps - 100)
    predicted = resting_distance(sequences.static(W), eta, b, h, order=order, noise=1.0)
    assert total == pytest.approx(predicted, rel=0.02)


@settings(deadline=None, max_examples=40)
@given(st.integers(3, 9), st.floats(0.01, 0.5), st.booleans(), st.integers(0, 1000))
def test_spread_bound_holds_for_any_gradients_of_that_spread(n, eta, adapts_first, seed):
    generator = np.random.default_rng(seed)
    W = mixing.metropolis_hastings(graphs.ring(n)).toarray()
    rate = spectrum.mixing_rate(sequences.static(W))
    X = generator.standard_normal((n, 3))
    start = spectrum.consensus_distance(X)
    rounds = np.arange(0.0, 21.0, 4.0)
    bound = spread_bound(
        rounds, np.full(6, eta), rate, disagreement=2.5, noise=0.0, start=start, adapts_first=adapts_first
    )
    measured = [start]
    for t in range(1, 21):
        G = generator.standard_normal((n, 3))
        G *= math.sqrt(2.5 / spectrum.consensus_distance(G))
        X = W @ (X - eta * G) if adapts_first else W @ X - eta * G
        if t % 4 == 0:
            measured.append(spectrum.consensus_distance(X))
    assert (bound >= np.array(measured) - 1e-9).all()


def test_spread_bound_over_periods_of_a_sequence():
    n, eta = 8, 0.1
    sequence = sequences.one_peer_exponential(n)
    rate = spectrum.mixing_rate(sequence)
    assert (rate.p, rate.rounds) == (1.0, 3)
    generator = np.random.default_rng(0)
    X = generator.standard_normal((n, 2))
    rounds = np.arange(0.0, 31.0, 3.0)
    start = spectrum.consensus_distance(X)
    bound = spread_bound(
        rounds, np.full(11, eta), rate, disagreement=1.0, noise=0.0, start=start, adapts_first=True
    )
    for t in range(30):
        G = generator.standard_normal((n, 2))
        G /= math.sqrt(spectrum.consensus_distance(G))
        X = sequence.matrix(t) @ (X - eta * G)
        if t % 3 == 2:
            assert spectrum.consensus_distance(X) <= bound[(t + 1) // 3] + 1e-12


def test_landscape_of_quadratics(tmp_path):
    run = run_of(tmp_path / "run", QUADRATIC, "stop.rounds=50")
    problem = problem_of(run)
    found = measure_landscape(problem, run.rows)
    b = np.arange(16) - 7.5
    mean = run.rows[:, 0].mean()
    assert found.smoothness == pytest.approx(1, abs=1e-9)
    assert found.stiffness == pytest.approx(1, abs=1e-9)
    assert found.noise == 0  # a batch is all that a node has
    assert found.heterogeneity == pytest.approx(b.var(), rel=1e-9)
    assert found.gradient == pytest.approx(mean**2, abs=1e-12)
    assert found.disagreement == pytest.approx((run.rows[:, 0] - b).var(), rel=1e-9)
    assert found.distance == pytest.approx(run.last("consensus_distance"), rel=1e-9)
    h, targets = quadratic_of(problem, torch.from_numpy(run.rows[3]))
    assert h == pytest.approx(1)
    np.testing.assert_allclose(targets[:, 0], b, atol=1e-9)


def test_what_is_no_quadratic_is_not_taken_for_one(two_algorithms):
    (run,) = load_runs([two_algorithms / "MU-1"])
    problem = problem_of(run)
    assert quadratic_of(problem, torch.from_numpy(run.rows[0])) is None


def test_smoothness_and_weight_decay_of_a_real_task(two_algorithms):
    (run,) = load_runs([two_algorithms / "MU-1"])
    problem = problem_of(run)
    found = measure_landscape(problem, run.rows)
    mean = torch.from_numpy(run.rows).mean(dim=0).double()
    inputs, targets = problem.data.inputs.double(), problem.data.targets

    def loss(row):
        return torch.nn.functional.cross_entropy(inputs @ row[:15].reshape(3, 5).T + row[15:], targets)

    hessian = torch.autograd.functional.hessian(loss, mean)
    assert found.smoothness == pytest.approx(float(torch.linalg.eigvalsh(hessian).max()), rel=1e-3)
    decayed = type(problem)(
        **{**vars(problem), "training": problem.training.model_copy(update={"weight_decay": 0.5})}
    )
    assert measure_landscape(decayed, run.rows).smoothness == pytest.approx(found.smoothness + 0.5, rel=1e-6)


def test_critical_distance_by_hand():
    # ησ²/(Ln) + ‖∇f‖²/(8L²) = 0.1·4/(2·10) + 8/(8·4)
    value = critical_distance(step=0.1, smoothness=2.0, noise=4.0, gradient=8.0, nodes=10)
    assert value == pytest.approx(0.02 + 0.25)


def test_effective_learning_rate(two_algorithms):
    (run,) = load_runs([two_algorithms / "MU-1"])
    changed = run.training.model_copy(update={"momentum": 0.9, "learning_rate": 0.3})
    found = effective_rate(type(run)(**{**vars(run), "training": changed}), run.rows.shape[1])
    assert found.step == pytest.approx(0.3)
    assert found.with_momentum == pytest.approx(3.0)
    assert found.relative == pytest.approx(3.0 / (run.rows.astype(float) ** 2).sum(axis=1).mean())


AVERAGING = """
precision = "float64"
[population]
nodes = 12
[task]
name = "sims.scenarios.averages:averages"
options = { nodes = 12 }
[topology]
name = "ring"
[algorithm]
name = "d_psgd"
[training]
enabled = false
[evaluate]
every = 1
[stop]
rounds = 70
"""


def test_exact_gossip_through_the_simulator_has_the_rate_of_the_spectrum(tmp_path):
    run = run_of(tmp_path / "run", AVERAGING)
    theory = theory_beside(run)
    modulus = spectrum.second_eigenvalue_modulus(mixing.metropolis_hastings(graphs.ring(12)))
    (figure,) = [each for each in theory.figures if "eigenvalue" in each.name]
    assert (figure.predicted, figure.kind) == (pytest.approx(modulus), "exact")
    assert figure.measured == pytest.approx(modulus, abs=1e-6)
    bound, expected = theory.lines
    assert bound.kind == "bound"
    assert (bound.values >= run.column("consensus_distance") * (1 - 1e-9)).all()
    assert expected.values[0] == pytest.approx(run.column("consensus_distance")[0])


def test_pairwise_averaging_on_the_complete_graph_is_asymptotic(tmp_path):
    scenario = AVERAGING.replace('"d_psgd"', '"gossip_learning"\nexchange = "push-pull"\nweighting = "plain"')
    scenario = (
        scenario.replace('name = "ring"', 'name = "complete"').replace("= 12", "= 300").replace("70", "12")
    )
    theory = theory_beside(run_of(tmp_path / "run", scenario))
    (figure,) = theory.figures
    assert figure.kind == "asymptotic"
    assert figure.predicted == pytest.approx(1 / (2 * math.sqrt(math.e)))
    assert figure.measured == pytest.approx(figure.predicted, rel=0.1)


def test_expected_pair_average_by_hand():
    complete = expected_pair_average(graphs.complete(6))
    assert spectrum.second_eigenvalue_modulus(complete) == pytest.approx(1 - 1 / 5)
    ring = expected_pair_average(graphs.ring(4)).toarray()
    # Each of the 4 edges is chosen with probability ¼ and then averages its ends.
    np.testing.assert_allclose(
        ring, np.eye(4) - (2 * np.eye(4) - np.roll(np.eye(4), 1, 0) - np.roll(np.eye(4), -1, 0)) / 8
    )


def test_networks_of_graphs_and_sequences(two_algorithms, tmp_path):
    (run,) = load_runs([two_algorithms / "MU-1"])
    ring = network_of(run)
    assert ring.sequence is None
    assert sorted(map(tuple, edges_of(ring).tolist())) == sorted([(i, i + 1) for i in range(23)] + [(0, 23)])
    assert positions_of(ring).shape == (24, 2)
    peers = type(run)(**{**vars(run), "topology": "one-peer-exponential:16"})
    changing = network_of(peers)
    assert (changing.n, changing.sequence.period) == (16, 4)
    assert len(edges_of(changing)) == 16
    assert edges_of(changing, 3).tolist() == [[i, i + 8] for i in range(8)]
    gone = run.scenario.model_copy(
        update={"topology": run.scenario.topology.model_copy(update={"name": "file"})}
    )
    assert network_of(type(run)(**{**vars(run), "scenario": gone})) is None


def test_rate_for_step_sizes_that_change():
    rate = MixingRate(p=0.5, rounds=1, kind="exact")
    rounds = np.array([0.0, 1.0, 2.0])
    found = spread_bound(
        rounds, np.array([0.2, 0.1, 0.0]), rate, disagreement=4.0, noise=1.0, start=0.0, adapts_first=True
    )
    first = 0.5 * (0.2 * 2) ** 2 + 0.5 * 0.04
    second = 0.5 * (math.sqrt(first) + 0.1 * 2) ** 2 + 0.5 * 0.01
    np.testing.assert_allclose(found, [0.0, first, second])
