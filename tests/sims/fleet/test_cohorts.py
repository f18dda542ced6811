"""Rounds of cohorts: equal to averaging by hand, with the noise that was promised."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from gossipfl.privacy import gaussian_guarantee
from gossipfl.training import Nodes
from sims.cli import app
from sims.errors import InvalidScenario, NotSimulable
from sims.fleet import Cohorts, CohortSettings, Promise, epsilon_of
from tests.sims.worlds import small, world_of

NODES = 20
WORLD = (f"population.nodes={NODES}", "training={batch_size=4,local_steps=2,learning_rate=0.1}")


def promise(
    epsilon: float = math.inf, *, takes_part: int = 1, summed: int = 1, colluding: int = 0
) -> Promise:
    return Promise(epsilon=epsilon, delta=1e-4, takes_part=takes_part, summed=summed, colluding=colluding)


def cohorts(settings: CohortSettings, promised: Promise, *overrides: str) -> Cohorts:
    return Cohorts(world_of(small(*WORLD, *overrides)), settings, promised)


@pytest.mark.parametrize("clip", [0.05, 100.0])
def test_two_rounds_equal_clipped_averages_computed_one_by_one(clip):
    settings = CohortSettings(cohort=8, passes=1, clip=clip, rate=0.7, momentum=0.5)
    found = cohorts(settings, promise())
    measured = list(found.run(every=1))
    world, row, velocity = found.world, found.world.first_rows()[0], 0.0
    for place in range(2):
        updates = []
        for phone in found.cohort_of(place):
            nodes, _ = world.trainer.train(Nodes.start(row[None]), np.array([phone]))
            update = nodes.rows[0] - row
            updates.append(update * min(1.0, clip / float(update.norm())))
        velocity = 0.5 * velocity + torch.stack(updates).mean(dim=0)
        row = row + 0.7 * velocity
    torch.testing.assert_close(found.row[0], row)
    assert [each.clipped for each in measured] == ([1.0, 1.0] if clip < 1 else [0.0, 0.0])
    assert measured[-1].metrics["accuracy"] == pytest.approx(
        float(world.task.evaluate(row[None], world.test_inputs, world.test_targets)["accuracy"])
    )


def test_everybody_takes_part_once_in_every_pass():
    found = cohorts(CohortSettings(cohort=5, passes=3), promise(takes_part=3))
    assert found.rounds == 12
    orders = [np.concatenate([found.cohort_of(4 * turn + place) for place in range(4)]) for turn in range(3)]
    assert all(sorted(order) == list(range(NODES)) for order in orders)
    assert any((orders[0] != other).any() for other in orders[1:])


def test_the_noise_in_the_model_is_what_the_promise_says():
    promised = promise(2.0, summed=5, colluding=1)
    settings = CohortSettings(cohort=10, passes=1, clip=0.3, momentum=0.0)
    without, noisy = (cohorts(settings, each) for each in (promise(), promised))
    first = noisy._noise()
    for each in (without, noisy):
        each._do_round()
    torch.testing.assert_close(noisy.row - without.row, first)
    drawn = [first]
    for noisy.round in range(1, 40):
        drawn.append(noisy._noise())
    noise = torch.cat(drawn)
    expected = 0.3 / promised.shift / math.sqrt(4 * 10)
    assert float(noise.std()) == pytest.approx(expected, rel=0.1)  # 720 numbers
    assert abs(float(noise.mean())) < 5 * expected / math.sqrt(noise.numel())


@pytest.mark.parametrize(("epsilon", "takes_part"), [(0.5, 1), (3.0, 7), (10.0, 28)])
def test_the_promise_is_the_accountants(epsilon, takes_part):
    pytest.importorskip("dp_accounting")
    promised = promise(epsilon, takes_part=takes_part, summed=20, colluding=4)
    # Gaussian mechanisms of multiplier z, one after another, are one of √m / z.
    shift = math.sqrt(takes_part) / promised.multiplier
    assert gaussian_guarantee(shift, delta=1e-4).epsilon == pytest.approx(epsilon, rel=1e-4)
    assert epsilon_of(shift, delta=1e-4) == pytest.approx(epsilon, rel=1e-6)
    known = math.sqrt(16) * promised.of_each  # of those who do not collude
    assert known == pytest.approx(promised.multiplier)
    assert promised.of_mean(1000) == pytest.approx(promised.of_each / math.sqrt(1000))


def test_sums_of_more_phones_need_less_noise():
    means = [promise(10.0, summed=summed).of_mean(1000) for summed in (1, 10, 1000)]
    assert means[0] / means[1] == pytest.approx(math.sqrt(10))
    assert means[0] / means[2] == pytest.approx(math.sqrt(1000))


def test_what_cannot_be_promised_or_simulated_is_named():
    with pytest.raises(InvalidScenario, match="knows each update"):
        promise(1.0, summed=5, colluding=5)
    with pytest.raises(InvalidScenario, match="epsilon above 0"):
        promise(-1.0)
    for settings, promised in (
        (CohortSettings(cohort=NODES + 1, passes=1), promise()),
        (CohortSettings(cohort=5, passes=2), promise(takes_part=1)),
        (CohortSettings(cohort=5, passes=1), promise(summed=6)),
    ):
        with pytest.raises(NotSimulable):
            cohorts(settings, promised)
    with pytest.raises(NotSimulable, match="batches of one size"):
        cohorts(CohortSettings(cohort=5, passes=1), promise(), "task.partition=quantity:1.5")


def test_the_command_says_what_remains(tmp_path):
    from sims.scenario import to_toml

    file = tmp_path / "blobs.toml"
    file.write_text(to_toml(small(*WORLD, "precision=float32")))
    asked = [
        "cohorts",
        str(file),
        "--cohort",
        "5",
        "--passes",
        "2",
        "--epsilon",
        "5",
        "--summed",
        "5",
        "--json",
    ]
    found = CliRunner().invoke(app, asked)
    assert found.exit_code == 0, found.output
    report = json.loads(found.output)
    assert report["rounds"] == 8 and report["promise"]["takes_part"] == 2
    assert report["promise"]["delta"] == pytest.approx(NODES**-1.1)
    assert len(report["measured"]) == 2 and report["measured"][-1]["noise_norm"] > 0
    assert CliRunner().invoke(app, asked[:-1]).exit_code == 0
