"""Compression in simulated rounds: published numbers of rounds, bytes as the wire writes them, scenarios."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import sims
from gossipfl.codecs import codec, exchange_keys
from gossipfl.wire import encode_model
from gossipfl.wire.body import body_buffers
from sims.compiler.timeline import Timeline
from sims.engine import Engine, RoundEngine
from sims.errors import InvalidScenario, NotSimulable
from sims.running.choice import simulation_of
from sims.scenario import Scenario, load_scenario, to_toml
from sims.world.networks import round_network
from tests.sims.engine.test_engine import both, relative
from tests.sims.worlds import SECOND, conditions, small, world_of

CHOCO = Path(sims.__file__).parent / "scenarios" / "choco.toml"

BLOBS = ("population.nodes=8", "precision=float32", "evaluate.every=5")


def rounds_until(overrides: tuple[str, ...], ratios: tuple[float, ...]) -> list[int]:
    """Rounds until ‖X − X̄‖²_F has fallen to each of the ratios of what it was, from N(0, 1) drawn by NumPy."""
    scenario = load_scenario(CHOCO, overrides=overrides)
    engine = RoundEngine(world_of(scenario), round_network(scenario).sequence, compile_when="never")
    engine.nodes.rows.copy_(torch.from_numpy(np.random.default_rng(0).standard_normal((25, 2000))))

    def distance() -> float:
        return float((engine.rows() - engine.rows().mean(0)).square().sum())

    first, reached = distance(), []
    for ratio in ratios:
        while distance() >= ratio * first:
            engine.run_round()
        reached.append(engine.round)
    engine.close()
    return reached


@pytest.mark.parametrize(
    ("algorithm", "expected", "tolerance"),
    [
        ("{name='d_psgd'}", [51, 160], 0),
        ("{name='choco'}", [51, 160], 0),
        ("{name='choco',codec='qsgd:256'}", [51, 160], 0.02),
        ("{name='choco',codec='sign',consensus_step_size=0.3}", [181, 644], 0.05),
        ("{name='choco',codec='top:0.01',consensus_step_size=0.046}", [1138, 3485], 0.05),
    ],
)
def test_the_ready_made_scenario_needs_the_published_rounds(algorithm, expected, tolerance):
    reached = rounds_until((f"algorithm={algorithm}",), (1e-2, 1e-4))
    assert reached == pytest.approx(expected, rel=tolerance)


def test_the_ready_made_scenario_runs_and_measures_what_it_sends():
    result = sims.run(CHOCO, overrides=("stop.rounds=20", "evaluate.every=10"))
    distances = result.evaluations["consensus_distance"].to_list()
    assert distances[0] == pytest.approx(2000 * 24 / 25, rel=0.1)
    assert distances[-1] < 0.1 * distances[0]
    last = result.evaluations.row(-1, named=True)
    assert last["messages"] == 20 * 50
    assert last["bytes"] == 20 * 50 * (4 + 2000 * 10 // 8)


@pytest.mark.parametrize(
    "name", ["bfloat16", "int8", "qsgd:16:128", "sign", "top:3", "top:0.5", "random:0.5"]
)
def test_bytes_accounted_are_the_bytes_of_a_frame(name):
    """Less what is documented around them: preamble and header, and padding of tensors to multiples of eight."""
    scenario = small(*BLOBS, f"algorithm={{name='d_psgd',codec='{name}'}}")
    world = world_of(scenario)
    simulation = simulation_of(scenario, world, threads=1, compile_when="never", device="cpu")
    simulation.advance(3, between=lambda: False)
    counts = simulation.counts()
    assert counts["messages"] == 3 * 16
    row = simulation.rows()[0, : world.layout.shared_size].contiguous()
    simulation.close()
    frame = encode_model(
        row, codec=codec(name), task=bytes(32), layout=bytes(32), age=3, incarnation=1, sequence=1, event=3
    )
    payload = codec(name).encode(row)
    framing = frame.buffers[0].nbytes  # preamble and header
    padding = sum(part.nbytes for part in body_buffers(payload)) - sum(each.data.nbytes for each in payload)
    assert 0 <= padding < 8
    assert counts["bytes"] / counts["messages"] == frame.size - framing - padding


def test_receivers_of_simulated_messages_decode_what_peers_would():
    """A round of D-PSGD with a codec is W times what the wire's decoder gives, for every node."""
    scenario = small(*BLOBS, "algorithm={name='d_psgd',codec='qsgd:8'}", "training.enabled=false", "seed=11")
    world, sequence = world_of(scenario), round_network(scenario).sequence
    engine = RoundEngine(world, sequence, compile_when="never")
    size = world.layout.shared_size
    start = torch.randn(8, world.layout.size, generator=torch.Generator().manual_seed(5))
    engine.nodes.rows.copy_(start)
    engine.run_round()
    keys = exchange_keys(torch.arange(8), seed=11, round_number=0)
    received = torch.stack(
        [
            codec("qsgd:8").decode(codec("qsgd:8").encode(row[:size].contiguous(), key=int(key)), size)
            for row, key in zip(start, keys, strict=True)
        ]
    )
    W = torch.from_numpy(sequence.matrix(0).toarray()).float()
    assert torch.allclose(engine.rows()[:, :size], W @ received, rtol=1e-6, atol=1e-7)
    engine.close()


@pytest.mark.parametrize(
    "algorithm",
    [
        "{name='choco',codec='qsgd:64'}",
        "{name='deep_squeeze',codec='int8'}",
        "{name='power_gossip'}",
        "{name='d_psgd',codec='int8'}",
    ],
)
def test_they_learn_about_as_well_as_d_psgd_at_a_fraction_of_its_bytes(algorithm):
    overrides = (*BLOBS, "stop.rounds=30", "task.options={model='mlp'}", "task.partition=shards:2")
    plain = sims.run(small(*overrides, "algorithm={name='d_psgd'}"), compile_when="never").evaluations
    ours = sims.run(small(*overrides, f"algorithm={algorithm}"), compile_when="never").evaluations
    assert ours["accuracy_mean"][-1] > plain["accuracy_mean"][-1] - 0.05
    assert ours["bytes"][-1] < 0.75 * plain["bytes"][-1]


@pytest.mark.parametrize(
    "algorithm",
    ["{name='choco',codec='top:0.2',consensus_step_size=0.3}", "{name='power_gossip',iterations=1}"],
)
def test_a_resumed_run_ends_as_one_that_was_not_interrupted(algorithm, tmp_path):
    overrides = (*BLOBS, "stop.rounds=20", f"algorithm={algorithm}", "task.options={model='mlp'}")
    whole = sims.run(small(*overrides), compile_when="never")
    scenario = small(*overrides)
    world = world_of(scenario)
    first = simulation_of(scenario, world, threads=1, compile_when="never", device="cpu")
    first.advance(7, between=lambda: False)
    second = simulation_of(scenario, world, threads=1, compile_when="never", device="cpu")
    second.restore(first.state())
    second.advance(20, between=lambda: False)
    assert second.rows().equal(whole.rows)
    assert second.counts()["bytes"] == whole.evaluations["bytes"][-1]
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("topology", "algorithm", "said"),
    [
        ("{name='one_peer_exponential'}", "choco", "choco needs the same matrix in every round"),
        ("{name='one_peer_exponential'}", "deep_squeeze", "deep_squeeze needs symmetric mixing"),
        ("{name='one_peer_exponential'}", "power_gossip", "power_gossip needs the same matrix"),
    ],
)
def test_mixing_they_are_not_defined_on_is_refused_by_name(topology, algorithm, said):
    scenario = small(*BLOBS, f"topology={topology}", f"algorithm={{name='{algorithm}'}}")
    with pytest.raises(NotSimulable, match=said):
        RoundEngine(world_of(scenario), round_network(scenario).sequence, compile_when="never")


def test_misspelt_codecs_are_named_with_their_place():
    with pytest.raises(
        InvalidScenario, match=r"algorithm\.codec: no codec has this name.*Did you mean 'qsgd'"
    ):
        small("algorithm={name='choco',codec='qgsd:16'}")
    with pytest.raises(InvalidScenario, match=r"algorithm\.codec: the codec top is written otherwise.*0\.01"):
        small("algorithm={name='d_psgd',codec='top:150%'}")
    with pytest.raises(InvalidScenario, match=r"algorithm\.consensus_step_size.*less than or equal to 1"):
        small("algorithm={name='choco',consensus_step_size=2}")


def test_codecs_survive_being_written(tmp_path):
    scenario = small("algorithm={name='choco',codec='top:0.01',consensus_step_size=0.046}")
    file = tmp_path / "again.toml"
    file.write_text(to_toml(scenario), encoding="utf-8")
    again = load_scenario(file)
    assert isinstance(again, Scenario)
    assert again == scenario


CLIP_AND_NOISE = "outgoing=[{kind='clip',norm=1.5},{kind='noise',deviation=0.2}]"


@pytest.mark.parametrize(
    "overrides",
    [
        ("algorithm.codec=int8:7",),
        ("algorithm.codec=bfloat16", "algorithm.merge=UM", "algorithm.exchange=push-pull"),
        ("algorithm={name='ad_psgd',codec='int8'}",),
        ("algorithm.codec=qsgd:16:8", "algorithm.exchange=push-pull"),
        (CLIP_AND_NOISE, "algorithm.exchange=push-pull"),
        (CLIP_AND_NOISE, "algorithm={name='ad_psgd'}"),
    ],
    ids=str,
)
def test_gossip_with_a_codec_equals_the_reference(overrides):
    failures = ("network.loss=0.1", "network.jitter=0.3", "network.delay={kind='uniform',low=0.1,high=0.9}")
    expected, came, timeline = both(*overrides, *failures, threads=2, block=4, most_operations=250)
    assert relative(expected, came) < 1e-10
    assert timeline.counts["delivered"] > 10


@pytest.mark.parametrize("rows", ["full", "int16"])
def test_what_a_codec_draws_does_not_depend_on_blocks(rows):
    """But on the receiver's number, also where its row is gathered to another place."""
    scenario = small(
        "precision=float32",
        "algorithm={name='gossip_learning',codec='qsgd:4'}",
        f"engine={{rows='{rows}',rounding='nearest'}}",
    )
    world, found = world_of(scenario), []
    for block in (2, 4):
        timeline = Timeline(conditions(scenario, world), most_operations=200)
        engine = Engine(world, compile_when="never", block=block)
        for window in timeline.windows(8 * SECOND):
            timeline.kept(engine.execute(window))
        engine.close()
        found.append(engine.rows().clone())
    assert torch.equal(*found)


def test_gossip_with_a_codec_learns_and_counts_its_bytes():
    ends = [
        sims.run(small("stop.rounds=20", "evaluate.every=20", *overrides)).evaluations.row(-1, named=True)
        for overrides in ((), ("algorithm.codec=int8",))
    ]
    assert ends[1]["accuracy_mean"] == pytest.approx(ends[0]["accuracy_mean"], abs=0.03)
    assert [end["bytes"] / end["messages"] for end in ends] == [18 * 4, 18 + 4]


@pytest.mark.parametrize(
    ("algorithm", "said"),
    [
        ("{name='gossip_learning',codec='top:0.1'}", "error feedback"),
        ("{name='ad_psgd',codec='sign'}", "error feedback"),
        ("{name='gossip_learning',codec='int8',sharing={kind='subsampled'}}", "whole models"),
        ("{name='push_sum',codec='int8'}", "'codec' belongs to another algorithm"),
    ],
)
def test_gossip_refuses_codecs_that_would_lose_models(algorithm, said):
    with pytest.raises(InvalidScenario, match=said):
        small(f"algorithm={algorithm}")


@pytest.mark.parametrize(
    ("outgoing", "algorithm", "said"),
    [
        ("{kind='mask',share=0.1}", "{name='gossip_learning'}", "knows no rounds.*subsampled"),
        ("{kind='codec',name='top:0.1'}", "{name='ad_psgd'}", "outgoing: top leaves so much.*error feedback"),
        ("{kind='clip',norm=1.0}", "{name='push_sum'}", r"moves mass between its nodes, which clip:1\.0"),
        (
            "{kind='clip',norm=1.0}",
            "{name='gossip_learning',sharing={kind='partitioned'}}",
            "outgoing is for whole models",
        ),
    ],
)
def test_messages_that_cannot_be_transformed_are_refused(outgoing, algorithm, said):
    scenario = small(f"outgoing=[{outgoing}]", f"algorithm={algorithm}")
    with pytest.raises(InvalidScenario, match=said):
        world_of(scenario).message_bytes  # noqa: B018  (asked before anything is simulated)


def test_a_question_and_its_answer_have_noise_of_their_own():
    """Everybody starts at one model and nothing is trained: what two nodes differ by is noise."""
    quiet = (
        "training.enabled=false",
        "stop.rounds=1",
        "algorithm.exchange=push-pull",
        "network.period_sigma=0",
    )
    noisy, _, _ = both("outgoing=[{kind='noise',deviation=1.0}]", *quiet)
    calm, _, _ = both(*quiet)
    moved = (noisy - calm)[(noisy - calm).abs().sum(1) > 0]
    assert len(moved) > 10
    correlations = np.corrcoef(moved.numpy())[np.triu_indices(len(moved), 1)]
    assert np.abs(correlations).max() < 0.99
    assert world_of(small("outgoing=[{kind='noise',deviation=1.0}]")).message_bytes == 18 * 4


TWICE = '''"""Two exchanges, one of them compressed."""

from dataclasses import dataclass
from typing import Annotated

from gossipfl.algorithms import Exchange, Parameter, RoundAlgorithm
from gossipfl.codecs import Compressor


@dataclass(frozen=True, slots=True, kw_only=True)
class Twice(RoundAlgorithm):
    """Send models in full, and zeros through a codec."""

    codec: Annotated[Compressor | None, Parameter("of what is sent beside models")] = None

    def round(self, nodes, context):
        """Do one round."""
        mixed = yield Exchange(nodes.rows[:, : context.shared_size])
        yield Exchange(0 * mixed.rows, compressor=self.codec)
        return nodes.with_shared(mixed.rows, ages=nodes.ages)
'''


def test_an_algorithms_own_codec_is_for_what_it_says_alone(tmp_path, monkeypatch):
    """The other exchange goes in full."""
    (tmp_path / "twice.py").write_text(TWICE)
    monkeypatch.chdir(tmp_path)
    algorithm = "algorithm={name='twice:Twice'"
    size = world_of(small(*BLOBS)).layout.shared_size
    for own, bytes_of_both in (("", 8 * size), (",codec='bfloat16'", 6 * size)):
        scenario = small(*BLOBS, f"{algorithm}{own}}}")
        simulation = simulation_of(
            scenario, world_of(scenario), threads=1, compile_when="never", device="cpu"
        )
        simulation.advance(1, between=lambda: False)
        counts = simulation.counts()
        simulation.close()
        assert counts["bytes"] == counts["messages"] // 2 * bytes_of_both
