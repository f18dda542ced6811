"""Gains, gifts and worth of real peers on this machine: alone, as recorded, and by simulated coalitions."""

import json

import numpy as np
import pytest
import trio
from typer.testing import CliRunner

from gossipfl.tasks import find_task
from sims.analysis import load_runs
from sims.analysis.measures.worth import world_of_run
from sims.analysis.runs.problem import problem_of
from sims.cli.analyze import app
from sims.contribution.game import LearningGame
from tests.gossipfl.network.helpers import until
from tests.gossipfl.peer.rounds.networks_of_rounds import peers_in_rounds
from tests.integration.peers import network_of
from tests.integration.test_rounds import run_all

PEERS, ROUNDS, STEPS = 4, 5, 2
QUICK = ["--pooled", "none", "--no-theory"]
MEASURED = {"evaluation": {"period": 1000.0, "merge_samples": 16}}
OPTIONS = {"partition": "quantity:1.0", "peers": PEERS, "seed": 5}
TRAINING = {"learning_rate": 0.1, "batch_size": 16, "seed": 5, "local_steps": STEPS}
ROUND_TABLES = {
    "task": "digits",
    "options": OPTIONS,
    "training": TRAINING,
    "rounds": {"seed": 5, "algorithm": "d_psgd", "topology": f"ring:{PEERS}", "stop_after": ROUNDS},
    **MEASURED,
}


def in_rounds(directory):
    trio.run(run_all, peers_in_rounds(directory, PEERS, **ROUND_TABLES))


def in_gossip(directory):
    async def learn():
        async with network_of(directory, 3, **MEASURED) as peers:
            await until(lambda: min(peer.status().event for peer in peers) >= 15)

    trio.run(learn)


@pytest.fixture(scope="module", params=[in_rounds, in_gossip])
def homes(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param.__name__)
    request.param(directory)
    return sorted(directory.glob("peer-*"))


def test_analyze_says_what_peers_gained_gave_and_are_worth(homes):
    result = CliRunner().invoke(app, [*map(str, homes), *QUICK, "--contributions", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert not any("left out" in note for note in found["notes"])
    each = found["participants"]
    assert len(each) == len(homes)
    for one in each:
        assert one["gain"] == pytest.approx(one["together"] - one["alone"])
        assert one["gain_low"] <= one["gain"] <= one["gain_high"]
        assert np.isfinite([one["gave"], one["left_out"], one["shapley"], one["gave_others"]]).all()
        assert bool(one["reasons"]) <= (one["gain"] < 0)
    assert any("as recorded" in sentence for sentence in found["findings"])
    (one,) = json.loads(CliRunner().invoke(app, [str(homes[2]), *QUICK, "--gains", "--json"]).stdout)[
        "participants"
    ]
    assert (one["alone"], one["together"]) == pytest.approx((each[2]["alone"], each[2]["together"]))
    if len(homes) == PEERS:
        assert {one["steps"] for one in each} == {ROUNDS * STEPS}


def test_coalitions_of_peers_are_simulated_on_their_own_samples(homes):
    (run,) = load_runs(homes, retrace=False)
    problem = problem_of(run)
    game = LearningGame(world_of_run(run, problem), metric="accuracy")
    assert game.world.trainer.data.counts.tolist() == [
        len(task.dataset().train_targets) for task in tasks(run)
    ]
    if len(homes) == PEERS:  # rounds, in which all together learn what the peers did
        assert np.abs(game.together.numpy() - run.rows).max() < 1e-5


def tasks(run):
    return [find_task(run.task, dict(options)) for options in run.task_options]
