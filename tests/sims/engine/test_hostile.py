"""Hostile nodes in simulated rounds: who is lied to, when, and what stays as it was."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from gossipfl.algorithms import Neighbourhood
from gossipfl.algorithms.rules import Combining
from gossipfl.attacks import Aimed, SameToAll
from sims.errors import InvalidScenario, NotSimulable
from sims.running.run import run as run_scenario
from sims.scenario import load_scenario, parse_scenario, to_toml
from sims.world import build_world
from sims.world.trace_cache import Traces

TRACES = Traces()

BASE = """
seed = 3
[population]
nodes = 12
[task]
name = "tests.sims.worlds:blobs"
[training]
batch_size = 4
learning_rate = 0.3
[stop]
rounds = {rounds}
[evaluate]
every = 1
per_node = true
[algorithm]
name = "{algorithm}"
{attack}
"""


def run(scenario, **more):
    return run_scenario(scenario, traces=TRACES, **more)


def scenario(attack="", *, algorithm="d_psgd", topology="ring", rounds=4):
    text = BASE.format(attack=attack, algorithm=algorithm, rounds=rounds)
    return parse_scenario(f'topology = "{topology}"\n{text}')


def attacked(name, *, nodes="[2, 7]", more=""):
    return f'[attack]\nname = "{name}"\nnodes = {nodes}\n{more}\n'


@dataclass(frozen=True)
class Honest(SameToAll):
    """Sends the truth."""

    def send(self, senders):
        return senders.rows


@dataclass(frozen=True)
class HonestToEach(Aimed):
    """Sends each receiver the truth."""

    def send_to(self, receivers):
        return receivers.around.rows


@dataclass(frozen=True)
class WeightedMean(Combining):
    """The mean of the mixing matrix, as a rule."""

    def combine(self, around):
        mixed = torch.einsum("bk,bkd->bd", around.weights, around.rows)
        return mixed + around.own_weights[:, None] * around.own


@dataclass(frozen=True)
class Broken(Aimed):
    """Fails."""

    def send_to(self, receivers):
        return receivers.around.rows[:, :, :1].expand(-1, -1, 2)


@dataclass(frozen=True)
class Short(SameToAll):
    """Sends half a row."""

    def send(self, senders):
        return senders.rows[:, :2]


@pytest.mark.parametrize("algorithm", ["d_psgd", "trimmed_mean", "choco", "gradient_tracking"])
@pytest.mark.parametrize("topology", ["ring", "complete"])
def test_nodes_that_are_called_hostile_and_send_the_truth_change_nothing(algorithm, topology):
    true = run(scenario(algorithm=algorithm, topology=topology)).rows
    for name in ("Honest", "HonestToEach"):
        told = run(scenario(attacked(f"{__name__}:{name}"), algorithm=algorithm, topology=topology)).rows
        assert told.equal(true)


@pytest.mark.parametrize("algorithm", ["d_psgd", "coordinate_median"])
def test_lies_reach_honest_neighbours_alone_and_spread_from_there(algorithm):
    true = run(scenario(algorithm=algorithm, rounds=1)).rows
    told = run(scenario(attacked("constant", more="value = 1e3"), algorithm=algorithm, rounds=1)).rows
    changed = (true != told).any(dim=1).nonzero().flatten().tolist()
    assert changed == [1, 3, 6, 8]
    beside = run(scenario(attacked("constant", nodes="[2, 3]"), algorithm=algorithm, rounds=1)).rows
    changed = (true != beside).any(dim=1).nonzero().flatten().tolist()
    assert changed == [1, 4]  # hostile nodes tell each other the truth


def test_an_attack_begins_in_its_round():
    true = run(scenario(rounds=3)).rows
    assert run(scenario(attacked("sign_flip", more="from_round = 3"), rounds=3)).rows.equal(true)
    assert not run(scenario(attacked("sign_flip", more="from_round = 2"), rounds=3)).rows.equal(true)


@pytest.mark.parametrize("name", ["alie", "dissensus", "spectral", "noise", "replay", "mimic"])
def test_the_mean_that_arrives_is_that_of_the_rows_that_were_sent(name):
    """Mixing by the matrix, and by a rule that is the weighted mean, are told the same lies."""
    by_matrix = run(scenario(attacked(name), topology="torus:3x4")).rows
    by_rule = run(scenario(attacked(name), algorithm=f"{__name__}:WeightedMean", topology="torus:3x4")).rows
    assert torch.allclose(by_matrix, by_rule, atol=1e-5)


def test_measures_are_over_the_honest():
    result = run(scenario(attacked("constant", more="value = 1e6"), rounds=1))
    assert set(result.nodes["node"].unique()) == set(range(12)) - {2, 7}
    rows = result.rows[[i for i in range(12) if i not in (2, 7)]].double()
    expected = float((rows - rows.mean(0)).square().sum(1).mean())
    assert result.evaluations["consensus_distance"][-1] == pytest.approx(expected, rel=1e-5)


def test_free_riders_do_not_train():
    world = scenario(attacked("echo", nodes="[0]"), algorithm="d_psgd", rounds=1)
    idle, all_train = run(world).rows, run(scenario(rounds=1)).rows
    assert not idle[0].equal(all_train[0])
    assert idle[3].equal(all_train[3])


def test_false_labels_are_in_the_data_of_hostile_nodes_alone():
    true, false = build_world(scenario()), build_world(scenario(attacked("label_flip")))
    for node in range(12):
        samples = [world.trainer.data.gather(np.array([node]), np.arange(4)[None]) for world in (true, false)]
        (inputs, labels), (same, changed) = samples
        assert inputs.equal(same)
        assert changed.equal(2 - labels if node in (2, 7) else labels)
    assert run(scenario(attacked("label_flip"), algorithm="relay_sgd", topology="path")).finished
    gossip = scenario(attacked("label_flip"), algorithm="gossip_learning")
    assert run(gossip).finished


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path):
    attack = attacked("replay", more="lag = 3")
    whole = run(scenario(attack, rounds=8)).rows
    calls = iter(range(100))
    first = run(scenario(attack, rounds=8), out=tmp_path / "run", interrupted=lambda: next(calls) >= 4)
    assert not first.finished
    resumed = run(None, out=tmp_path / "run", resume=True)
    assert resumed.finished
    assert resumed.rows.equal(whole)


@pytest.mark.parametrize(
    ("which", "hostile"),
    [
        ("nodes = [1, 4]", [1, 4]),
        ('count = 1\nplace = "highest_degree"', [0]),
        ("count = 0", []),
        ('count = 2\nplace = "last"', [10, 11]),
        ("share = 0.25", None),
    ],
)
def test_places(which, hostile):
    made = scenario(f'[attack]\nname = "noise"\n{which}', topology="star", algorithm="gts")
    mask = build_world(made).hostile
    if hostile is None:
        assert mask.sum() == 3
        assert (build_world(made).hostile == mask).all()
    else:
        assert np.flatnonzero(mask).tolist() == hostile
    assert build_world(parse_scenario(to_toml(made))).hostile.tolist() == mask.tolist()


@pytest.mark.parametrize(
    ("attack", "complaint"),
    [
        (
            '[attack]\nname = "alei"\ncount = 1',
            r"attack.name: there is no attack 'alei'.*Did you mean 'alie'",
        ),
        ('[attack]\nname = "alie"', "attack: one of nodes, count and share says who is hostile, got none"),
        ('[attack]\nname = "alie"\ncount = 1\nshare = 0.1', "got count and share"),
        ("[attack]\ncount = 1", "attack.name: required here: one of age_inflation, alie"),
        ('[attack]\nname = "alie"\ncount = 1\nfactor = -1', "attack.factor"),
        ('[attack]\nname = "alie"\ncount = 1\nfactr = 1', "attack.factr: unknown key 'factr'. Did you mean"),
        ('[attack]\nname = "alie"\ncount = 1\nscale = 1', "'scale' belongs to another attack"),
        ('[attack]\nname = "label_flip"\ncount = 1\nfrom_round = 2', "attack.from_round: .* from the start"),
        ('[attack]\nname = "alie"\nnodes = [1]\nplace = "lowest_degree"', "place is for count and share"),
    ],
)
def test_mistakes_in_the_table(attack, complaint):
    with pytest.raises(InvalidScenario, match=complaint):
        scenario(attack)


def test_a_new_name_leaves_who_is_hostile(tmp_path):
    file = tmp_path / "net.toml"
    file.write_text(to_toml(scenario(attacked("ipm", more="factor = 0.7"))))
    changed = load_scenario(file, overrides=["attack.name=alie"])
    assert (changed.attack.name, changed.attack.nodes) == ("alie", [2, 7])


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (lambda: scenario(attacked("noise", nodes="[12]")), "attack.nodes: there is no such node"),
        (lambda: scenario(attacked("noise", nodes="[0,1,2,3,4,5,6,7,8,9,10]")), "too few nodes are honest"),
        (lambda: scenario(attacked("noise"), algorithm="relay_sgd", topology="path"), "sends others"),
        (
            lambda: scenario(attacked("spectral"), algorithm="gossip_learning"),
            "links and rows of all nodes.*hear one model at a time",
        ),
        (
            lambda: scenario(
                attacked("ipm"), algorithm='gossip_learning"\nsharing = {kind = "partitioned", parts = 2}#'
            ),
            "whole models",
        ),
        (lambda: scenario(attacked("age_inflation")), "rows of rounds have none"),
        (lambda: scenario(attacked(f"{__name__}:Broken")), "Broken: send_to failed in round 0"),
        (lambda: scenario(attacked(f"{__name__}:Short")), "send must return a row for each hostile node"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(made, complaint):
    from gossipfl.errors import GossipflError

    with pytest.raises(GossipflError, match=complaint) as caught:
        run(made())
    assert (
        isinstance(caught.value, NotSimulable | InvalidScenario)
        or "failed" in complaint
        or "row" in complaint
    )


def test_sketchguard_sends_models_to_those_alone_who_accepted_their_sketches():
    """Eleven sketches and wishes a node, and models of nine honest neighbours, never those of two hostile ones."""
    sketched = scenario(
        attacked("constant", more="value = 1e3"), algorithm="sketchguard", topology="complete", rounds=3
    )
    guarded = sketched.model_copy(
        update={"algorithm": type(sketched.algorithm)(name="sketchguard", radius=5.0, width=4)}
    )
    result = run(guarded)
    size = build_world(guarded).layout.shared_size
    honest, hostile = 10, 2
    wanted = honest * (honest - 1) + hostile * 11
    assert result.evaluations["bytes"][-1] == 3 * 4 * (12 * 11 * (4 + 1) + wanted * size)
    balance = sketched.model_copy(update={"algorithm": type(sketched.algorithm)(name="balance", radius=5.0)})
    assert torch.allclose(run(balance).rows, result.rows, atol=1e-5)


@pytest.mark.parametrize("algorithm", ["ubar", "balance", "sketchguard"])
def test_choosing_rules_stand_constant_rows_where_the_mean_does_not(algorithm):
    lies = attacked("constant", more="value = 1e4")
    chosen = run(scenario(lies, algorithm=algorithm, topology="complete", rounds=5))
    mean = run(scenario(lies, topology="complete", rounds=5))
    honest = [i for i in range(12) if i not in (2, 7)]
    assert chosen.rows[honest].abs().max() < 10 < 1000 < mean.rows[honest].abs().max()


@dataclass(frozen=True)
class NoNumber(SameToAll):
    """Sends what peers refuse before they read it."""

    def send(self, senders):
        return senders.rows / 0


@pytest.mark.parametrize(
    "algorithm", ["gts", "cs_plus", "clipped_gossip", "geometric_median", "krum", "balance"]
)
def test_rows_that_are_not_finite_are_missing_as_in_peers(algorithm):
    """Where all hostile neighbours send such rows, the honest end as where these send nothing."""
    result = run(scenario(attacked(f"{__name__}:NoNumber"), algorithm=algorithm, topology="complete"))
    honest = [i for i in range(12) if i not in (2, 7)]
    assert result.rows[honest].isfinite().all()
    rows = torch.randn(2, 3, 5)
    around = Neighbourhood(
        nodes=torch.arange(2),
        own=torch.zeros(2, 5),
        own_weights=torch.full((2,), 0.4),
        rows=rows,
        weights=torch.full((2, 3), 0.2),
        present=torch.ones(2, 3, dtype=torch.bool),
    )
    rows[1, 2, 4] = torch.nan
    left = around.only(rows.isfinite().all(dim=2))
    assert left.present.tolist() == [[True] * 3, [True, True, False]]
    assert left.own_weights.tolist() == pytest.approx([0.4, 0.6])
    assert left.rows.isfinite().all()


def test_an_analysis_leaves_models_of_hostile_nodes_out(tmp_path):
    from sims.analysis.runs.simulated import read_simulated

    result = run(scenario(attacked("constant", more="value = 1e6"), rounds=2), out=tmp_path / "run")
    read = read_simulated(tmp_path / "run")
    honest = [i for i in range(12) if i not in (2, 7)]
    assert read.labels == tuple(map(str, honest))
    assert torch.from_numpy(read.rows).equal(result.rows[honest])
    assert any("2 nodes were hostile" in note for note in read.notes)
