"""A message-driven algorithm in a file of one's own: simulated, run by real peers, and replayed."""

import sys
from pathlib import Path

import polars as pl
import pytest

from gossipfl.cli.main import main
from gossipfl.errors import IncompatibleCharter, IncompatibleModel, InvalidAlgorithm, SettingError
from gossipfl.peer import Peer
from sims.calibration.calibrate import calibrate
from sims.metrics.evaluation import Evaluator
from sims.replay import replay
from sims.running.message_driven import MessageDriven
from sims.scenario import parse_scenario
from sims.world import build_world
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import network_of, quick_settings, records_of, running
from tests.sims.compiler.test_equality import FAILURES
from tests.sims.engine.test_engine import both, relative

ROOT = Path(__file__).parents[3]
NAME = "examples.momentum_gossip:MomentumGossip"
PEERS = {"gossip": {"algorithm": NAME}, "training": {"momentum": 0.9, "learning_rate": 0.05}}

DIGITS = """
[population]
nodes = 50
[task]
name = "digits"
partition = "shards:2"
[topology]
name = "complete"
[algorithm]
name = "examples.momentum_gossip:MomentumGossip"
[training]
learning_rate = 0.2
momentum = 0.9
batch_size = 8
"""


@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-10), ("float32", 1e-4)])
@pytest.mark.parametrize("model", ["linear", "personal"])
def test_simulated_it_equals_the_reference(precision, tolerance, model):
    expected, came, timeline = both(
        f"algorithm={{name='{NAME}'}}",
        f"precision={precision}",
        f"task.options.model={model}",
        "training.momentum=0.9",
        "training.learning_rate=0.05",
        "training.step_seconds=0.4",
        *FAILURES,
        threads=2,
    )
    assert relative(expected, came) < tolerance
    assert timeline.counts["lost"] > 5
    assert timeline.counts["unreachable"] > 5


def accuracy(*overrides):
    """Mean accuracy of all nodes after 30 rounds."""
    scenario = parse_scenario(DIGITS, overrides=overrides)
    world = build_world(scenario)
    simulation = MessageDriven(scenario, world, threads=1, compile_when="never", device="cpu")
    simulation.advance(30, between=lambda: True)
    evaluator = Evaluator(world, expected_rows=0, compile_when="never", threads=1)
    return float(evaluator(simulation.rows())["accuracy"].mean())


def test_on_data_that_differ_momentum_that_is_sent_along_is_worth_a_lot():
    sent, kept = accuracy(), accuracy("algorithm.kept=1.0")
    plain = accuracy(
        "algorithm={name='gossip_learning',exchange='push-pull',weighting='plain'}",
    )
    assert kept == plain  # to carry momentum and not to use it is gossip learning
    assert sent > kept + 0.3


@in_trio
async def test_real_peers_run_it_and_are_replayed(tmp_path):
    async with network_of(tmp_path, 3, **PEERS) as peers:
        await until(lambda: all(peer.status().step >= 12 for peer in peers))
    homes = [peer.home.directory for peer in peers]
    merges = [merge for peer in peers for merge in records_of(peer.home, "merge")]
    assert len(merges) > 12
    by_row, batched = replay(homes), replay(homes, batched=True)
    assert [peer.verdict for peer in by_row.peers] == ["identical"] * 3
    assert by_row.notes == ()
    assert max(peer.max_relative for peer in batched.peers) <= 1e-4
    assert calibrate(homes).scenario.algorithm.name == NAME


@pytest.mark.parametrize(
    "other",
    [
        {"gossip": {"algorithm": "gossip_learning"}, "training": PEERS["training"]},
        {"gossip": {"algorithm": NAME, "kept": 0.75}, "training": PEERS["training"]},
        {"gossip": {"algorithm": NAME}, "training": {"momentum": 0.0}},
    ],
    ids=["another algorithm", "other parameters", "no momentum"],
)
@in_trio
async def test_peers_that_run_something_else_are_refused(tmp_path, other):
    ours = Peer(tmp_path / "ours", settings=quick_settings(0, **PEERS))
    async with running(ours):
        bootstrap = ours.status().addresses
        theirs = Peer(tmp_path / "theirs", settings=quick_settings(1, bootstrap=bootstrap, **other))
        async with running(theirs):
            await until(lambda: refusals(ours) or refusals(theirs))
        assert not records_of(ours.home, "merge")
        assert not records_of(theirs.home, "merge")


def refusals(peer):
    counters = IncompatibleModel.counter(), IncompatibleCharter.counter()
    return sum(value for name, value in flat(peer.status().network) if name.endswith(counters))


def flat(tree, prefix=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@pytest.mark.parametrize(
    ("gossip", "error", "says"),
    [
        ({"algorithm": "examples.momentum_gossip:Momentum"}, InvalidAlgorithm, "Momentum"),
        ({"algorithm": "examples.no_such_file:Momentum"}, InvalidAlgorithm, "no_such_file"),
        ({"algorithm": NAME, "kept": 2}, SettingError, "kept"),
        ({"algorithm": NAME, "keep": 0.5}, SettingError, "'kept'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(tmp_path, gossip, error, says):
    with pytest.raises((error, SettingError), match=says):
        Peer(tmp_path / "peer", settings=quick_settings(0, gossip=gossip))
    assert not (tmp_path / "peer").exists()


def test_it_is_the_file_of_the_page_on_extending_and_runs_as_the_page_says(tmp_path, monkeypatch, capsys):
    page, example = ROOT / "docs" / "extend.md", ROOT / "examples" / "momentum_gossip.py"
    text = page.read_text(encoding="utf-8").partition("## A message-driven algorithm")[2]
    code = example.read_text(encoding="utf-8").partition('"""\n\n')[2]
    assert f"```py\n{code}```" in text
    assert len(example.read_text(encoding="utf-8").splitlines()) <= 60
    (tmp_path / "momentum_gossip.py").write_text(code)
    monkeypatch.delitem(
        sys.modules, "momentum_gossip", raising=False
    )  # the example, if another test imported it
    scenario = tmp_path / "own.toml"
    scenario.write_text(text.partition("```toml\n")[2].partition("```")[0])
    monkeypatch.setattr(
        sys, "argv", ["gossipfl", "sim", "run", str(scenario), "--out", str(tmp_path / "run")]
    )
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code, capsys.readouterr().err
    reached = pl.read_parquet(tmp_path / "run" / "evaluations.parquet")["accuracy_mean"][-1]
    assert f"{reached:.2f}" == "0.86"
