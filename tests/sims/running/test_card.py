"""Everything that runs on a card, on one whose tensors only claim to be elsewhere, beside the CPU."""

from functools import partial
from unittest.mock import patch

import pytest
import torch

import sims
from gossipfl.algorithms import algorithm_names
from gossipfl.attacks import attack_names
from sims.errors import NotSimulable, SimulationError
from sims.fleet import Cohorts, CohortSettings, Promise
from sims.scenario import Scenario, parse_scenario
from sims.sharding.crew import Threads
from sims.sharding.start import sharded
from sims.world import build_world
from tests.fake_card import OnCard, fake_card
from tests.fake_graphs import GRAPHS, fake_graphs

TOPOLOGY = {
    "relay_sgd": '[topology]\nname = "path"',
    "d_cliques": '[topology]\nname = "d-cliques"\nclasses = 3\nclique_size = 4',
    "fedavg": "",
    "pooled_sgd": "",
    "epidemic_learning": "",
}
SETTINGS = {"epidemic_learning": "degree = 3"}
TEXT = """
seed = 3
[population]
nodes = 12
[task]
name = "tests.sims.worlds:blobs"
options = {{ model = "{model}" }}
{topology}
[algorithm]
name = "{name}"
{settings}
[training]
batch_size = 4
learning_rate = 0.3
[evaluate]
every = 2
[stop]
rounds = 3
{more}
"""


def scenario_of(name: str, more: str = "", *overrides: str, model: str = "mlp") -> Scenario:
    topology = TOPOLOGY.get(name, '[topology]\nname = "random-regular"\ndegree = 4')
    text = TEXT.format(name=name, topology=topology, settings=SETTINGS.get(name, ""), more=more, model=model)
    return parse_scenario(text, overrides=overrides)


def on_both(
    name: str, more: str = "", *overrides: str, model: str = "mlp"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows after a few rounds on the CPU, and on the card."""
    scenario = scenario_of(name, more, *overrides, model=model)
    here = sims.run(scenario, compile_when="never").rows
    # A card's tensors can be traced, and these cannot.
    with (
        fake_card(),
        patch("torch.fx.experimental.proxy_tensor.make_fx", side_effect=RuntimeError("not on this card")),
    ):
        there = sims.run(scenario, compile_when="never", device="meta").rows
    assert isinstance(there, OnCard)
    return here, there.held


@pytest.mark.parametrize("name", algorithm_names())
def test_every_algorithm_computes_the_same_on_a_card(name):
    here, there = on_both(name)
    torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["d_psgd", "gossip_learning"])
def test_what_is_frozen_is_taken_to_a_card(name):
    here, there = on_both(name, model="frozen and batchnorm")
    torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-5)


OUTGOING = {
    "a codec": '[[outgoing]]\nkind = "codec"\nname = "int8"',
    "noise": '[[outgoing]]\nkind = "noise"\ndeviation = 0.1',
    "a mask": '[[outgoing]]\nkind = "mask"\nshare = 0.1',
}
OTHERS = [
    *(("d_psgd", label, more) for label, more in OUTGOING.items()),
    *(("gossip_learning", label, more) for label, more in OUTGOING.items() if label != "a mask"),
    ("d_psgd", "DP-SGD", "[training.privacy]\nclip = 1.0\nnoise_multiplier = 1.0"),
]


@pytest.mark.parametrize(
    ("name", "more"), [(n, m) for n, _, m in OTHERS], ids=[f"{n}, {w}" for n, w, _ in OTHERS]
)
def test_what_leaves_a_node_is_the_same_on_a_card(name, more):
    here, there = on_both(name, more)
    torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-4)


QUICK = ("alie", "little_per_step", "label_flip")


@pytest.mark.parametrize(
    "attack",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in attack_names()],
)
def test_attacks_are_the_same_on_a_card(attack):
    tried = 0
    for name in ("d_psgd", "gossip_learning"):
        try:
            here, there = on_both(name, f'[attack]\nname = "{attack}"\nshare = 0.2')
        except NotSimulable:
            continue
        tried += 1
        torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-5)
    assert tried


def test_a_tensor_left_on_the_processor_is_found():
    with fake_card(), pytest.raises(RuntimeError, match="meta and cpu"):
        torch.ones(3, device="meta") + torch.ones(3)


def test_masked_sums_stay_on_the_processor():
    with pytest.raises(SimulationError, match="masked_sums are computed on the CPU"):
        on_both("d_psgd", "[masked_sums]")


RUNS = {
    "rows in 8 bits": ("gossip_learning", "[engine]\nrows = 'int8'"),
    "rows in 16 bits, to nearest": ("push_sum", "[engine]\nrows = 'int16'\nrounding = 'nearest'"),
    "a gate": ("gossip_learning", "[gate]"),
    "messages lost and late": (
        "gossip_learning",
        "[network]\nloss = 0.2\ndelay = { kind = 'lognormal', median = 0.8, sigma = 0.5 }",
    ),
    "nodes that come and go": ("gossip_learning", "[churn]\nprocess = { kind = 'cycle', offline = 0.5 }"),
    "rounds in real time": (
        "d_psgd",
        "[network]\nloss = 0.2\ndeadline = 1.0\ndelay = { kind = 'lognormal', median = 0.8, sigma = 0.5 }",
    ),
    "rounds with absences": ("gradient_tracking", "[churn]\nprocess = { kind = 'cycle', offline = 0.5 }"),
}


@pytest.mark.parametrize("what", RUNS)
def test_runs_of_other_kinds_are_the_same_on_a_card(what):
    name, more = RUNS[what]
    here, there = on_both(name, more)
    # Decisions of a gate, and roundings, follow the last digits, which differ between eager and traced functions.
    roughly = "bits" in what or "gate" in what
    torch.testing.assert_close(there, here, rtol=1e-3, atol=0.02 if roughly else 1e-5)


@pytest.mark.parametrize("name", ["d_psgd", "gossip_learning"])
def test_a_run_is_resumed_on_a_card(name, tmp_path):
    here, _ = on_both(name)
    scenario = scenario_of(name)
    asked = iter(range(9))
    with (
        fake_card(),
        patch("torch.fx.experimental.proxy_tensor.make_fx", side_effect=RuntimeError("not on this card")),
    ):
        more = {"compile_when": "never", "device": "meta", "out": tmp_path / "run"}
        begun = sims.run(scenario, **more, interrupted=lambda: next(asked) == 1)
        there = sims.run(None, **more, resume=True).rows
    assert not begun.finished
    torch.testing.assert_close(there.held, here, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("d_psgd", "training.local_steps=3"),
        ("gossip_learning", "training.local_steps=3"),
        ("gossip_learning", "task.partition=quantity:0.6"),
        ("d_psgd", "training={optimiser='adamw',batch_size=4}"),
    ],
)
def test_training_of_other_kinds_is_the_same_on_a_card(name, settings):
    here, there = on_both(name, "", settings)
    torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["d_psgd", "gossip_learning", "ad_psgd"])
def test_what_is_captured_gives_the_same_on_a_card(name):
    """Results lie where the next call writes, and arguments where the graph reads."""
    scenario = scenario_of(name)
    here = sims.run(scenario, compile_when="never").rows
    with fake_card(), fake_graphs(traced=False):
        there = sims.run(scenario, compile_when="never", device="meta").rows
    assert max(graph.replays for graph in GRAPHS) >= 3
    torch.testing.assert_close(there.held, here, rtol=1e-4, atol=1e-5)


def test_cohorts_are_the_same_on_a_card():
    settings, promise = (
        CohortSettings(cohort=4, passes=1, clip=0.3),
        Promise(epsilon=4.0, delta=1e-3, takes_part=1, summed=2),
    )
    world = build_world(scenario_of("gossip_learning"))
    here = Cohorts(world, settings, promise)
    expected = list(here.run(every=1))
    with (
        fake_card(),
        patch("torch.fx.experimental.proxy_tensor.make_fx", side_effect=RuntimeError("not on this card")),
    ):
        there = Cohorts(world, settings, promise, device="meta")
        found = list(there.run(every=1))
    torch.testing.assert_close(there.row.held, here.row, rtol=1e-4, atol=1e-5)
    assert [each.metrics["accuracy"] for each in found] == [each.metrics["accuracy"] for each in expected]


class OnCards(Threads):
    """Shards in threads, each of which has a card."""

    def _make(self, number):
        with fake_card():
            super()._make(number)

    def _call(self, *given):
        with fake_card():
            return super()._call(*given)


@pytest.mark.parametrize("name", ["d_psgd", "gossip_learning"])
def test_shards_on_cards_equal_one_processor(name):
    scenario = scenario_of(name)
    here = sims.run(scenario, compile_when="never").rows
    with (
        fake_card(),
        patch("torch.fx.experimental.proxy_tensor.make_fx", side_effect=RuntimeError("not on this card")),
    ):
        there = sims.run(
            scenario,
            compile_when="never",
            device="meta",
            simulated_by=partial(sharded, shards=2, crew=OnCards),
        ).rows
    torch.testing.assert_close(getattr(there, "held", there), here, rtol=1e-4, atol=1e-5)
