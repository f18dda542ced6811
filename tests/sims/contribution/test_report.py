"""Reports on participants: what they gain, from whom, and why some do not."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from scipy.stats import t as student
from torch import nn
from typer.testing import CliRunner

from gossipfl.tasks import Dataset, Task
from gossipfl.training import Nodes
from sims import contribution
from sims.cli import app
from sims.contribution.estimation import _who_gave_whom
from sims.contribution.gain import gains_of, mean_and_reach
from sims.contribution.online import online_effects
from sims.contribution.report import ContributionReport
from sims.contribution.shapley import Masks, every_coalition, exact
from sims.errors import DivergedCoalition, InvalidScenario
from sims.metrics.gains import fairness_of_gains, rank_correlation
from sims.running import run
from sims.scenario import load_scenario
from sims.world import build_world
from sims.world.trace_cache import Traces

_TRACES = Traces()  # traced once for all tests


def contributions(scenario: Path, **asked: Any) -> ContributionReport:
    """What is measured of a scenario."""
    return contribution.contributions(scenario, traces=_TRACES, **asked)


PARTIES = """
name = "parties"
[population]
nodes = 4
[task]
name = "tests.sims.contribution.test_report:party"
[topology]
name = "complete"
[algorithm]
name = "d_psgd"
[training]
batch_size = 8
learning_rate = 0.2
[stop]
rounds = 60
"""

KINDS = {
    "plenty": {},
    "more": {"seed": 1},
    "few": {"seed": 2, "samples": 8},
    "other": {"seed": 3, "flipped": 0.5, "tests": 30},
}


def party(*, seed: int = 0, samples: int = 60, flipped: float = 0.0, width: int = 4, tests: int = 40) -> Task:
    """Two classes in four dimensions; a share of the training labels is wrong."""

    def data() -> Dataset:
        generator = torch.Generator().manual_seed(seed)
        targets = torch.randint(2, (samples + tests,), generator=generator)
        inputs = torch.randn(samples + tests, 4, generator=generator) + 1.2 * (2 * targets[:, None] - 1)
        given = targets.clone()
        wrong = torch.randperm(samples, generator=generator)[: round(flipped * samples)]
        given[wrong] = 1 - given[wrong]
        return Dataset(
            train_inputs=inputs[:samples],
            train_targets=given[:samples],
            test_inputs=inputs[samples:],
            test_targets=targets[samples:],
        )

    return Task(
        name="party", model=lambda: nn.Sequential(nn.Linear(4, width), nn.Linear(width, 2)), data=data
    )


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("parties") / "parties.toml"
    tables = [
        f'[[task.nodes]]\nname = "{name}"\noptions = {{ {", ".join(f"{k} = {v}" for k, v in options.items())} }}\n'
        for name, options in KINDS.items()
    ]
    file.write_text(PARTIES + "".join(tables))
    return file


@pytest.fixture(scope="module")
def report(parties: Path) -> ContributionReport:
    return contributions(parties, metric="loss", over=("training.seed", ["0", "1", "2"]))


def test_nodes_with_samples_of_their_own_are_measured_on_their_own(
    parties: Path, report: ContributionReport
) -> None:
    world = build_world(load_scenario(parties), traces=_TRACES)
    assert world.trainer.data.counts.tolist() == [60, 60, 8, 60]
    assert [len(targets) for _, targets in world.own_tests] == [40, 40, 40, 30]
    assert torch.equal(world.own_tests[1][1], party(seed=1).dataset().test_targets)
    last = run(load_scenario(parties, overrides=["stop.rounds=2", "evaluate.per_node=true"]))
    assert last.nodes is not None
    own = [float(world.task.evaluate(last.rows[i : i + 1], *world.own_tests[i])["loss"][0]) for i in range(4)]
    assert last.nodes["loss"].to_numpy()[-4:] == pytest.approx(own, rel=1e-5)
    assert [each.name for each in report.participants] == list(KINDS)
    assert report.value == "everyone"


def test_what_each_got_from_the_others_is_what_it_gained(report: ContributionReport) -> None:
    assert report.exact
    for each, row in zip(report.participants, report.who_gave_whom or (), strict=True):
        assert math.isclose(sum(row), each.gain, abs_tol=1e-6)
        assert row[each.number] == 0
        assert each.received == pytest.approx(sum(row))
    total = sum(each.shapley for each in report.participants)
    assert math.isclose(total, report.everybody - report.nobody, abs_tol=1e-6)


def test_wrong_labels_and_few_samples_show(report: ContributionReport) -> None:
    by_name = {each.name: each for each in report.participants}
    assert (
        by_name["other"].gain > 0
    )  # who has bad data gains; who has few gives little, and has easy test samples
    assert by_name["few"].is_worse_off is (by_name["few"].gain_high < 0)
    assert any("few samples: 8" in reason for reason in by_name["few"].reasons)
    assert by_name["other"].label_noise == pytest.approx(0.5, abs=0.15)
    assert by_name["plenty"].label_noise < 0.1
    assert by_name["other"].gave == min(each.gave for each in report.participants if each.gave is not None)
    assert all(not each.reasons for each in report.participants if each.gain >= 0)


def test_who_gave_least_is_known_online_too(report: ContributionReport) -> None:
    online = [each.online for each in report.participants]
    assert min(online) == online[3]
    gave = [math.nan if each.gave is None else each.gave for each in report.participants]
    assert report.online_and_gave == pytest.approx(spearmanr(gave, online).statistic)
    lost = [each.leave_one_out for each in report.participants]
    assert report.online_and_left_out == pytest.approx(spearmanr(lost, online).statistic)


def test_online_effects_by_hand(parties: Path) -> None:
    world = build_world(load_scenario(parties, overrides=["stop.rounds=3", "topology.name=ring"]))
    found = online_effects(world, moments=1, samples=1000)
    rows = run(world.scenario).rows
    nodes = Nodes.start(rows, optimiser_state_size=world.trainer.optimiser_state_size)
    nodes = replace(nodes, ages=torch.full((4,), 3), steps=torch.full((4,), 3))
    sent = world.trainer.train(nodes, np.arange(4))[0].rows
    assert found is not None
    for j in range(4):
        for i in range(4):
            if (i - j) % 4 not in (1, 3):
                assert math.isnan(found[j, i])
                continue
            merged = (sent[j : j + 1] + sent[i : i + 1]) / 2
            before, after = (
                float(world.task.evaluate(each, *world.own_tests[j])["loss"][0])
                for each in (sent[j : j + 1], merged)
            )
            assert found[j, i] == pytest.approx(before - after, abs=1e-5)


def test_hostile_rows_are_not_taken_for_honest_ones(parties: Path) -> None:
    attack = ["attack.name=sign_flip", "attack.count=1"]
    assert online_effects(build_world(load_scenario(parties, overrides=attack))) is None


def test_who_gave_whom_is_each_ones_own_game() -> None:
    """Of three, against the definition written out: the mean over both orders of the other two."""
    values = np.random.default_rng(0).normal(size=(8, 3))
    found = _who_gave_whom(values)
    masks = every_coalition(3)
    code = {tuple(np.flatnonzero(mask).tolist()): c for c, mask in enumerate(masks)}
    for j in range(3):
        for i in range(3):
            if i == j:
                assert found[j, i] == 0
                continue
            (k,) = set(range(3)) - {i, j}

            def v(*members: int, of: int = j) -> float:
                return float(values[code[tuple(sorted(members))], of])

            assert found[j, i] == pytest.approx(((v(i, j) - v(j)) + (v(i, j, k) - v(j, k))) / 2)


class Measured:
    """A game of one participant, measured on parts of its test samples."""

    n = 1

    def __init__(self, together: list[float], alone: list[float]) -> None:
        self.together, self.alone, self.measure = together, alone, self
        self.alone_values = np.array([np.mean(alone)])

    def of_members(self, masks: Masks) -> NDArray[np.float64]:
        return np.array([[np.mean(self.together)]])

    def in_parts(self, rows: list[float], whose: Any) -> list[Any]:
        return [(np.array(rows), np.ones(len(rows)))]


def test_a_test_sample_counts_once_however_often_it_is_used() -> None:
    games: Any = [Measured([1.0, 3.0, 2.0], [0.0, 0.0, 1.0]), Measured([2.0, 2.0, 5.0], [0.0, 1.0, 1.0])]
    same, others = (gains_of(games, same_tests=same) for same in (True, False))
    assert same.mean.tolist() == others.mean.tolist() == pytest.approx([2.0])
    for found, values in ((same, [1.5, 2.0, 2.5]), (others, [1.0, 3.0, 1.0, 2.0, 1.0, 4.0])):
        reach = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
        assert found.high - found.mean == pytest.approx(reach)
        assert found.mean - found.low == pytest.approx(reach)


def test_without_permutations_only_what_is_lost_is_known(parties: Path) -> None:
    found = contributions(parties, overrides=["stop.rounds=4"], permutations=0, metric="loss")
    assert found.coalitions == 5
    assert not found.exact
    assert all(math.isnan(each.shapley) for each in found.participants)
    lost = [each.leave_one_out for each in found.participants]
    gains = [each.gain for each in found.participants]
    assert found.fairness.given_and_gained == pytest.approx(rank_correlation(np.array(lost), np.array(gains)))
    assert found.to_dict()["participants"][0]["shapley"] is None


def test_sampled_reports_know_no_pairs(parties: Path) -> None:
    found = contributions(parties, overrides=["stop.rounds=4"], permutations=4)
    assert not found.exact
    assert found.who_gave_whom is None
    assert all(each.gave is None for each in found.participants)
    total = sum(each.shapley for each in found.participants)
    assert math.isclose(total, found.everybody - found.nobody, abs_tol=1e-6)


def test_intervals_of_parts_are_students_where_parts_are_equal() -> None:
    values = np.random.default_rng(0).normal(size=9)
    mean, reach = mean_and_reach(values, np.full(9, 4.0), 0.9)
    assert mean == pytest.approx(values.mean())
    assert reach == pytest.approx(student.ppf(0.95, 8) * values.std(ddof=1) / 3)
    assert math.isnan(mean_and_reach(values[:1], np.ones(1), 0.9)[1])


def with_kinds(parties: Path, kinds: dict[str, dict[str, Any]], name: str, **changes: str) -> Path:
    """A scenario of other participants."""
    text = PARTIES.replace("nodes = 4", f"nodes = {len(kinds)}").replace("rounds = 60", "rounds = 4")
    for old, new in changes.items():
        text = text.replace(old, new)
    tables = [
        f"[[task.nodes]]\nname = {json.dumps(name)}\n"
        f"options = {{ {', '.join(f'{k} = {v}' for k, v in options.items())} }}\n"
        for name, options in kinds.items()
    ]
    file = parties.with_name(f"{name}.toml")
    file.write_text(text + "".join(tables), encoding="utf-8")
    return file


ODD = {"": {"seed": 0}, "node [bold] 1": {"seed": 0}, "医院 | x": {"seed": 2, "samples": 1, "tests": 1}}


def test_odd_participants_have_answers(parties: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two with the same samples, one with one sample and one test sample, and names of any kind."""
    file = with_kinds(parties, ODD, "odd")
    found = contributions(file, metric="loss")
    assert [each.name for each in found.participants] == list(ODD)
    assert [each.samples for each in found.participants] == [60, 60, 1]
    assert math.isnan(found.participants[2].gain_low)  # one test sample has no deviation
    assert math.isclose(
        sum(each.shapley for each in found.participants), found.everybody - found.nobody, abs_tol=1e-6
    )
    assert "duplicate: it has the data of node 1" in found.participants[0].flags
    monkeypatch.setattr(contribution, "contributions", lambda *_, **__: found)
    said = CliRunner().invoke(app, ["contribution", str(file), "--metric", "loss"])
    assert said.exit_code == 0, said.output
    assert "node [bold] 1" in said.output


def test_two_participants_and_no_fewer(parties: Path) -> None:
    two = {name: KINDS[name] for name in ("plenty", "few")}
    found = contributions(with_kinds(parties, two, "two"), metric="loss")
    assert found.coalitions == 1  # of more than one
    assert found.participants[0].shapley == pytest.approx(found.participants[1].shapley, abs=1e-6)
    for each, other in (found.participants, found.participants[::-1]):
        assert each.received == pytest.approx(other.gave) == pytest.approx(each.gain, abs=1e-6)
    with pytest.raises(
        InvalidScenario, match=r"population\.nodes: expected a number greater than or equal to 2"
    ):
        contributions(with_kinds(parties, {"plenty": {}}, "one"))


def test_models_that_diverge_are_named(parties: Path) -> None:
    for metric in ("loss", "accuracy"):
        with pytest.raises(DivergedCoalition, match="diverged"):
            contributions(parties, metric=metric, overrides=["training.learning_rate=1e30", "stop.rounds=9"])


def test_more_than_eight_are_sampled_with_intervals(parties: Path) -> None:
    nine = {f"p{seed}": {"seed": seed, "samples": 12, "tests": 10} for seed in range(9)}
    found = contributions(with_kinds(parties, nine, "nine"), metric="loss")
    assert not found.exact
    assert found.permutations == 18
    assert all(each.shapley_low < each.shapley < each.shapley_high for each in found.participants)


def test_fairness_of_gains() -> None:
    gains = np.array([0.1, -0.2, 0.3, 0.4])
    found = fairness_of_gains(
        np.array([0.5, 0.5, 0.5, 0.5]), gains, samples=np.array([1, 2, 3, 4]), gave=-gains, is_loss=False
    )
    assert found.worse_off == 1
    assert found.worst_decile == pytest.approx(-0.2)
    assert found.spread == pytest.approx(gains.std())
    assert found.per_sample == pytest.approx((0.1, -0.1, 0.1, 0.1))
    assert found.given_and_gained == pytest.approx(-1)
    assert found.level.jain == pytest.approx(1)
    assert math.isnan(rank_correlation(gains, np.ones(4)))


def test_the_command_prints_a_table_and_json(parties: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured, runner = contribution.contributions, CliRunner()
    monkeypatch.setattr(
        contribution, "contributions", lambda *given, **asked: measured(*given, traces=_TRACES, **asked)
    )
    arguments = ["contribution", str(parties), "--metric", "loss", "--set", "stop.rounds=3", "--threads", "1"]
    said = runner.invoke(app, arguments)
    assert said.exit_code == 0, said.output
    assert all(f"{name} got" in said.output for name in KINDS)
    assert "all coalitions" in said.output
    found: dict[str, Any] = json.loads(runner.invoke(app, [*arguments, "--json"]).output)
    assert found["coalitions"] == 11
    assert found["rows"] == 4 + 6 * 2 + 4 * 3
    assert len(found["participants"]) == 4


def test_refusals(parties: Path) -> None:
    with pytest.raises(InvalidScenario, match="repeats must differ"):
        contributions(parties, over=("training.seed", ["1", "1"]))
    with pytest.raises(InvalidScenario, match="one table for each of 5 nodes"):
        load_scenario(parties, overrides=["population.nodes=5"])
    with pytest.raises(InvalidScenario, match="need no partition"):
        load_scenario(parties, overrides=["task.partition=shards:2"])
    file = parties.with_name("unlike.toml")
    file.write_text(parties.read_text().replace("flipped = 0.5", "width = 5"))
    with pytest.raises(InvalidScenario, match="the task of 'other' is another"):
        build_world(load_scenario(file))
    with pytest.raises(InvalidScenario, match="mean model is nobody's"):
        contributions(parties, value="mean_model")
    assert exact(np.zeros(4)).tolist() == [0, 0]
