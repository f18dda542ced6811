"""An algorithm in one file outside the package: simulated, swept, run by real peers, and replayed."""

import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import sims
from gossipfl.algorithms import find_algorithm
from gossipfl.algorithms.registry import digest_of
from gossipfl.peer import Peer
from sims.engine import RoundEngine
from sims.scenario import load_scenario
from sims.sweeping.points import points_of, scenario_at
from sims.world import build_world
from sims.world.networks import round_network
from tests.gossipfl.algorithms.rounds_by_hand import (
    Network,
    after,
    quadratics,
    random_doubly_stochastic,
    start_at,
)
from tests.gossipfl.network.helpers import in_trio
from tests.gossipfl.peer.rounds.networks_of_rounds import members, settings_of
from tests.integration.peers import PeerProcess
from tests.integration.test_rounds import SEED, assert_replayed, run_all

EXAMPLES = Path(__file__).parents[2] / "examples"
ROUNDS = {"algorithm": "noloco:NoLoCo", "topology": "random-matching:3,seed=5", "stop_after": 8}
TRAINING = {"optimiser": "adamw", "learning_rate": 0.003, "local_steps": 5, "batch_size": 16, "seed": SEED}


def noloco():
    return find_algorithm("noloco:NoLoCo", directory=EXAMPLES)


def three_peers(directory, **rounds):
    """Settings of three peers, in whose homes the module stands beside peer.toml."""
    listen, roster = members(directory, 3)
    made = []
    for number in range(3):
        home = directory / f"peer-{number}"
        shutil.copy(EXAMPLES / "noloco.py", home)
        settings = settings_of(
            number,
            listen,
            roster,
            task="digits",
            options={"partition": "shards:2", "peers": 3, "seed": SEED},
            rounds={"seed": SEED, **ROUNDS, **rounds},
            training=TRAINING,
            evaluation={"period": 1000.0},
            checkpoint={"period": 1000.0},
        )
        made.append((home, settings))
    return made


def test_the_example_fits_in_sixty_lines():
    assert len((EXAMPLES / "noloco.py").read_text().splitlines()) <= 60


def test_the_page_on_extending_shows_the_example():
    text = (EXAMPLES / "noloco.py").read_text()
    page = (EXAMPLES.parent / "docs" / "extend.md").read_text()
    assert text[text.index("from dataclasses") :].rstrip() in page


def test_the_rule_is_that_of_the_paper():
    """Against NumPy, pair by pair, with gradients of quadratics in the place of AdamW."""
    local = quadratics(4, learning_rate=0.1, local_steps=3)
    first = torch.arange(12.0, dtype=torch.float64).reshape(4, 3)
    pairs = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]

    def matrix(t):
        W = torch.zeros(4, 4, dtype=torch.float64)
        for pair in pairs[t % 3]:
            W[torch.tensor(pair)[:, None], torch.tensor(pair)] = 0.5
        return W

    algorithm = noloco()(momentum=0.5, outer_rate=0.7, pull=0.4)
    found = after(algorithm, start_at(first), Network(matrix), local, count=5)
    slow, velocity, nodes = first.numpy().copy(), np.zeros((4, 3)), start_at(first)
    for t in range(5):
        before = torch.from_numpy(slow.copy())
        trained = local.update(
            type(nodes)(
                rows=before, ages=nodes.ages, steps=nodes.steps, optimiser_state=nodes.optimiser_state
            )
        )
        nodes, progress = trained, (trained.rows - before).numpy()
        for i, j in pairs[t % 3]:
            for node in (i, j):
                mean = (before.numpy()[i] + before.numpy()[j]) / 2
                outer = 0.7 * (progress[i] + progress[j]) / 2 + 0.4 * (mean - before.numpy()[node])
                velocity[node] = 0.5 * velocity[node] + outer
                slow[node] = before.numpy()[node] + velocity[node]
    assert np.abs(found.rows.numpy() - slow).max() < 1e-12


def test_an_example_that_takes_its_own_steps_is_that_of_the_paper():
    """DecentLaM, equation by equation: g̃ = (x − W(x − ηg))/η, m ← βm + g̃, x ← x − ηm."""
    W, local = random_doubly_stochastic(5, seed=3), quadratics(5, learning_rate=0.1)
    first = torch.linspace(-1, 1, 15, dtype=torch.float64).reshape(5, 3)
    declared = find_algorithm("decentlam:DecentLaM", directory=EXAMPLES)
    found = after(declared(momentum=0.8), start_at(first), Network.of(W), local, count=6)
    nodes, momentum = start_at(first), torch.zeros_like(first)
    for _ in range(6):
        older, gradients = local.gradient(nodes)
        tracked = (nodes.rows - W @ (nodes.rows - 0.1 * gradients)) / 0.1
        momentum = 0.8 * momentum + tracked
        nodes = replace(older, rows=nodes.rows - 0.1 * momentum)
    assert (found.rows - nodes.rows).abs().max() < 1e-12


def test_it_is_simulated_from_the_file_beside_it():
    result = sims.run(
        EXAMPLES / "noloco.toml", overrides=["stop.rounds=10", "evaluate.every=10"], compile_when="never"
    )
    assert result.scenario.algorithm.name == "noloco:NoLoCo"
    first, last = (result.evaluations["accuracy_mean"][place] for place in (0, -1))
    assert last > first + 0.05


def test_its_parameters_are_keys_of_sweeps():
    sweep = sims.load_sweep(EXAMPLES / "noloco-sweep.toml")
    scenarios = [scenario_at(sweep, point, seed=1) for point in points_of(sweep)]
    found = [each.algorithm.build() for each in scenarios if ":" in each.algorithm.name]
    assert [each.momentum for each in found] == [0.0, 0.5, 0.9]


@in_trio
async def test_three_peers_end_where_the_simulation_ends_and_are_replayed(tmp_path):
    peers = [Peer(home, settings=settings) for home, settings in three_peers(tmp_path)]
    await run_all(peers)
    rows = torch.cat([peer._incarnation.learner.state.nodes.rows for peer in peers])
    overrides = [
        "population.nodes=3",
        "task.options={seed=5}",
        "topology.seed=5",
        "seed=5",
        "training.seed=5",
    ]
    scenario = load_scenario(EXAMPLES / "noloco.toml", overrides=overrides)
    engine = RoundEngine(build_world(scenario), round_network(scenario), compile_when="never")
    for _ in range(8):
        engine.run_round()
    engine.close()
    assert (rows - engine.rows()).abs().max() < 1e-5
    assert_replayed([peer.home.directory for peer in peers])


@pytest.mark.slow
def test_processes_find_the_module_beside_their_settings(tmp_path):
    made = three_peers(tmp_path)
    with ExitStack() as stack:
        peers = [stack.enter_context(PeerProcess(*each)).start("--plain") for each in made]
        for peer in peers:
            assert peer.process.wait(timeout=120) == 0, peer.err
    assert_replayed([home for home, _ in made])


def test_what_peers_agree_on_covers_parameters_and_the_text_of_the_module(tmp_path):
    file = tmp_path / "agreed_rule.py"
    file.write_text((EXAMPLES / "noloco.py").read_text())
    declared = find_algorithm("agreed_rule:NoLoCo", directory=tmp_path)
    digest = digest_of(declared(), "agreed_rule:NoLoCo")
    assert digest_of(declared(), "agreed_rule:NoLoCo") == digest
    assert digest_of(declared(momentum=0.4), "agreed_rule:NoLoCo") != digest
    file.write_text(file.read_text().replace("self.momentum *", "0.9 *"))
    assert digest_of(declared(), "agreed_rule:NoLoCo") != digest
