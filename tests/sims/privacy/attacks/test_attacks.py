"""Attacks on what nodes sent: right where the answer is known, and blind where noise leaves nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import sims
from gossipfl.privacy import gaussian_guarantee
from gossipfl.privacy.factorised import sensitivities
from gossipfl.privacy.sampled_gaussian import Mechanism, sampled_epsilon
from gossipfl.rows import to_tensors
from sims.cli.privacy import app
from sims.privacy.attacks.claims import claim_of
from sims.privacy.attacks.inversion import inputs_of_linear_layer, inverted, stolen_gradient
from sims.privacy.attacks.linkability import linked
from sims.privacy.attacks.membership import likelihood_ratios, losses_of_samples, measured, observed_runs
from sims.privacy.attacks.report import attack_report
from sims.privacy.attacks.sent_rows import Setting, setting_of
from sims.privacy.errors import NotAccountable
from sims.privacy.round_mechanisms import rounds_loss
from sims.scenario import load_scenario
from sims.world import build_world
from topology.errors import ExplainedError

SCENARIO = """
[population]
nodes = 6
[task]
name = "digits"
partition = "iid"
samples_per_node = 24
[topology]
name = "ring"
[algorithm]
name = "d_psgd"
[training]
learning_rate = 0.5
batch_size = 8
[stop]
rounds = 30
"""


def _setting(tmp_path: Path, *overrides: str) -> Setting:
    return setting_of(build_world(load_scenario(_file(tmp_path), overrides=overrides)))


def _file(tmp_path: Path) -> Path:
    file = tmp_path / "scenario.toml"
    file.write_text(SCENARIO, encoding="utf-8")
    return file


@pytest.mark.parametrize("noise", ["[]", "[{kind = 'clip', norm = 2.0}, {kind = 'noise', deviation = 0.1}]"])
def test_rows_are_seen_as_they_are_mixed(tmp_path: Path, noise: str) -> None:
    """What neighbours saw, mixed by the weights, is what the simulation holds after the round."""
    overrides = ["stop.rounds=3", f"outgoing={noise}"]
    setting = _setting(tmp_path, *overrides)
    sent = setting.run(kept=[2]).rows[2]
    held = sims.run(setting.scenario, compile_when="never").rows
    weights = torch.from_numpy(setting.network.sequence.matrix(2).toarray()).float()
    assert torch.allclose(weights @ sent, held, atol=1e-5)
    assert not torch.allclose(sent, held, atol=1e-3)


def test_another_seed_draws_other_noise_and_other_batches(tmp_path: Path) -> None:
    setting = _setting(
        tmp_path, "stop.rounds=1", "training.enabled=false", "outgoing=[{kind='noise',deviation=1.0}]"
    )
    rows = [setting.run(kept=[0], seed=seed).rows[0] for seed in (1, 1, 2)]
    assert torch.equal(rows[0], rows[1])
    assert (rows[0] - rows[2]).std() == pytest.approx(2**0.5, rel=0.05)


def test_losses_of_samples_are_those_of_each_alone(tmp_path: Path) -> None:
    setting = _setting(tmp_path, "stop.rounds=2")
    sent = setting.run(kept=[1])
    data = sent.world.trainer.data
    owners = np.repeat(np.arange(6), data.counts)[::7]
    samples = data.indices[::7]
    found = losses_of_samples(sent.world, sent.rows[1], owners, samples)
    for owner, sample, loss in zip(owners, samples, found, strict=True):
        alone = sent.world.task.evaluate(sent.rows[1][[owner]], *data.at(np.array([sample])))["loss"]
        assert loss == pytest.approx(float(alone[0]), rel=1e-4)


def test_members_are_told_from_others_and_senders_by_their_data(tmp_path: Path) -> None:
    observed = observed_runs(_setting(tmp_path), runs=6)
    assert observed.included.mean() == pytest.approx(0.5, abs=0.06)
    for scores in (-observed.losses, likelihood_ratios(observed), likelihood_ratios(observed, online=False)):
        found = measured(observed, scores, delta=1e-5)
        assert found.auc > 0.6
        assert found.advantage > 0.15
        assert found.true_rates[0.1].value > 0.15
    shuffled = np.random.default_rng(0).permuted(observed.losses, axis=1)
    assert measured(observed, -shuffled, delta=1e-5).auc == pytest.approx(0.5, abs=0.06)
    links = linked(observed, nodes=range(6), trained_on=True)
    assert links.top1.low > links.chance
    assert links.models == 36


def test_labels_of_ones_own_give_a_sender_away(tmp_path: Path) -> None:
    """By data that it was not trained on, a model is linked to its sender as far as their data are alike."""
    shares = ["task={name='digits',partition='shards:2'}", "stop.rounds=3"]
    observed = observed_runs(_setting(tmp_path, *shares), runs=3)
    assert linked(observed, nodes=range(6), trained_on=False).top1.low > 1 / 6


def test_noise_hides_members(tmp_path: Path) -> None:
    noise = "outgoing=[{kind='clip',norm=1.0},{kind='noise',deviation=5.0}]"
    setting = _setting(tmp_path, noise)
    observed = observed_runs(setting, runs=3)
    found = measured(observed, -observed.losses, delta=1e-5)
    assert found.auc == pytest.approx(0.5, abs=0.08)
    claim = claim_of(observed.runs, delta=1e-5)
    assert claim.epsilon > found.epsilon_of_one_run
    assert "30 rows of norm 1" in claim.why


def test_every_row_and_every_step_is_claimed_for(tmp_path: Path) -> None:
    noise = "outgoing=[{kind='clip',norm=1.0},{kind='noise',deviation=4.0}]"
    two = _setting(tmp_path, noise, "algorithm.name=gradient_tracking", "stop.rounds=3").run(kept=[2])
    assert two.releases == 6
    assert claim_of([two], delta=1e-5).epsilon == pytest.approx(
        gaussian_guarantee(6**0.5 * 2 / 4, delta=1e-5).epsilon
    )
    private = _setting(
        tmp_path,
        "training.privacy={clip=1.0,noise_multiplier=1.0}",
        "training.local_steps=2",
        "stop.rounds=3",
    )
    run = private.run(kept=[2])
    assert (run.steps, run.releases) == (6, 3)
    with pytest.raises(NotAccountable, match="private training"):
        inverted(private, private.run(kept=[1, 2]), observer=0, victims=[1], round_number=2)
    assert claim_of([run], delta=1e-5).epsilon == sampled_epsilon({Mechanism(8 / 24, 1.0): 6}, delta=1e-5)
    cyclic = _setting(
        tmp_path,
        "training.privacy={clip=1.0,noise_multiplier=1.0,sampling='cyclic',bands=2}",
        "stop.rounds=4",
    )
    shift = float(np.linalg.norm(sensitivities(2, apart=3, steps=4)))  # nothing for sampling: it is no secret
    claimed = claim_of([cyclic.run(kept=[3])], delta=1e-5).epsilon
    assert claimed == pytest.approx(gaussian_guarantee(shift, delta=1e-5).epsilon)
    gradients = _setting(
        tmp_path, "algorithm={name='decor',clip=1.0,deviation=5.0,edge_deviation=9.0}", "stop.rounds=3"
    )
    claim = claim_of([gradients.run(kept=[2])], delta=1e-5)
    assert claim.epsilon == rounds_loss(gradients.scenario, delta=1e-5).epsilon < 4


ALL_SEEN = ("topology.name=complete", "stop.rounds=4", "training.batch_size=1")


def test_who_sees_all_rows_computes_the_gradient_and_the_input(tmp_path: Path) -> None:
    setting = _setting(tmp_path, *ALL_SEEN)
    sent = setting.run(kept=[1, 2])
    stolen = stolen_gradient(setting, sent, observer=0, victim=3, round_number=2)
    assert torch.allclose(stolen.row, sent.rows[1].mean(dim=0), atol=1e-6)
    layout, module = sent.world.layout, sent.world.task.build_module()
    found = inputs_of_linear_layer(module, to_tensors(stolen.gradient, layout), size=64)
    assert len(found)
    assert (found - stolen.inputs.flatten()).abs().max(dim=1).values.min() < 1e-3
    result = inverted(setting, sent, observer=0, victims=[2, 3], round_number=2, steps=60)
    assert (result.samples, result.recognised) == (2, 1.0)
    assert result.psnr > 40 > 25 > result.psnr_of_others


def test_noise_and_batches_end_reconstruction(tmp_path: Path) -> None:
    found = {}
    for name, more in {
        "alone": (),
        "batch": ("training.batch_size=16",),
        "noise": ("outgoing=[{kind='noise',deviation=0.1}]",),
    }.items():
        setting = _setting(tmp_path, *ALL_SEEN, *more)
        sent = setting.run(kept=[1, 2])
        found[name] = inverted(setting, sent, observer=0, victims=[1], round_number=2, steps=60)
    assert found["alone"].psnr > max(found["batch"].psnr, found["noise"].psnr) + 10
    assert found["noise"].recognised == 0


def test_gossip_is_attacked_in_the_end_and_not_inverted(tmp_path: Path) -> None:
    scenario = load_scenario(_file(tmp_path), overrides=["algorithm.name=gossip_learning", "stop.rounds=20"])
    report = attack_report(scenario, runs=3, looks=4, observer=1)
    assert report.looks == 1
    assert report.senders == (0, 2)
    assert report.membership["loss"].auc > 0.55
    assert "inversion" in report.left_out
    assert math.isinf(report.claim.epsilon)
    private = load_scenario(
        _file(tmp_path),
        overrides=[
            "algorithm.name=gossip_learning",
            "stop.rounds=6",
            "training.privacy={clip=1.0,noise_multiplier=2.0}",
        ],
    )
    claim = attack_report(private, runs=3).claim
    assert "private steps" in claim.why
    assert 0 < claim.epsilon < 40
    assert report.row_space is not None


def test_the_command_says_all_of_it(tmp_path: Path) -> None:
    flags = [str(_file(tmp_path)), "--runs", "3", "--set", "stop.rounds=2", "--set", "training.batch_size=1"]
    result = CliRunner().invoke(app, ["attack", *flags, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["claim"]["epsilon"] is None
    assert set(found["membership"]) == {"loss", "LiRA offline", "LiRA online"}
    assert set(found["inversion"]) == {"round 2"}
    assert found["row_space"]["others"] == 5
    said = CliRunner().invoke(app, ["attack", *flags, "--set", "stop.rounds=1", "--observer", "2"])
    assert "2 are attacked" in said.output
    assert "Not tried: inversion" in said.output
    assert "Claimed at δ = 1e-05: nothing" in said.output
    assert CliRunner().invoke(app, [str(_file(tmp_path)), "--set", "stop.rounds=2"]).exit_code == 0


@pytest.mark.parametrize(
    ("more", "asked", "said"),
    [
        (("attack={name='sign_flip',count=1}",), {}, "honest nodes"),
        (("algorithm.name=power_gossip",), {}, "do not send their models"),
        ((), {"observer": 6}, "must be a node"),
        ((), {"looks": 0}, "at least one look"),
        (("task.samples_per_node=1",), {}, "too few samples"),
    ],
)
def test_what_cannot_be_attacked_is_refused_by_name(
    tmp_path: Path, more: tuple[str, ...], asked: dict[str, int], said: str
) -> None:
    scenario = load_scenario(_file(tmp_path), overrides=["stop.rounds=2", *more])
    with pytest.raises(ExplainedError, match=said):
        attack_report(scenario, runs=3, **asked)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.4, 1.0])
def test_no_attack_proves_more_than_private_training_claims(tmp_path: Path, noise: float) -> None:
    """Over seeds, and with as many looks as there are."""
    privacy = f"training.privacy={{clip=1.0,noise_multiplier={noise}}}"
    for seed in range(6):
        setting = _setting(tmp_path, privacy, f"seed={seed}", "stop.rounds=10")
        observed = observed_runs(setting, runs=5, looks=4)
        claim = claim_of(observed.runs, delta=1e-5)
        assert 0 < claim.epsilon < np.inf
        for scores in (
            -observed.losses,
            likelihood_ratios(observed),
            likelihood_ratios(observed, online=False),
        ):
            found = measured(observed, scores, delta=1e-5)
            assert found.epsilon_of_one_run < claim.epsilon
            assert found.epsilon < claim.epsilon
