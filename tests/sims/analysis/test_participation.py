"""Gains and gifts of nodes, in simulated runs and in those of real peers."""

import dataclasses
import json
import math

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import sem, t
from typer.testing import CliRunner

from gossipfl.peer import Home, read_records
from gossipfl.training import Nodes
from sims.analysis import Questions, analyse, findings, load_runs
from sims.analysis.measures.participation import _told, participation_of
from sims.analysis.output.participants import participants_table
from sims.analysis.output.report import participants
from sims.analysis.output.report.page import report_page
from sims.analysis.output.tables import summary
from sims.analysis.runs.problem import problem_of
from sims.cli.analyze import app
from sims.contribution.alone import trained_alone
from sims.contribution.estimation import contributions
from sims.contribution.measuring import Measure
from tests.sims.analysis.made import made, simulated
from tests.sims.analysis.test_recorded import with_times
from tests.sims.replay.recorded import recorded_run, rewrite

GAINS = Questions(pooled="none", theory=False, gains=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load_runs([simulated(tmp_path_factory.mktemp("runs") / "one", "population.nodes=6")])[0]


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    return with_times(recorded_run(tmp_path_factory.mktemp("peers"), peers=3, rounds=6))


def test_nodes_of_a_simulation_are_trained_alone_as_long(run):
    problem = problem_of(run)
    found = participation_of(run, problem, "accuracy")
    assert (found.steps == round(run.last("updates") / 6)).all()
    trainer = problem.trainer()
    first = Nodes.start(problem.task.initial_row()[None], optimiser_state_size=trainer.optimiser_state_size)
    nodes, _ = trainer.train(first, np.array([4]), steps=int(found.steps[4]))
    assert found.alone[4] == pytest.approx(problem.evaluate(nodes.rows)["accuracy"][0])
    assert found.together == pytest.approx(problem.evaluate(torch.from_numpy(run.rows))["accuracy"])
    assert found.fairness.mean == pytest.approx((found.together - found.alone).mean())
    assert not found.recorded
    assert np.isfinite(found.gave).all()


def test_losses_have_their_sign_changed(run):
    found = participation_of(run, problem_of(run), "loss")
    assert (found.together < 0).all()
    assert found.fairness.level.worst_tenth == pytest.approx(-found.together.min())


def test_findings_and_tables_say_it(run):
    analysis = analyse([run], GAINS)
    said = findings(analysis)
    assert any("steps alone, nodes gain" in sentence for sentence in said)
    assert any("lowered the loss of others most" in sentence for sentence in said)
    table = participants_table(analysis)
    assert table["node"].to_list() == [str(node) for node in range(6)]
    assert table["gain_per_sample"].to_list() == pytest.approx((table["gain"] / table["samples"]).to_list())
    assert summary(analysis)["participants"] == table.to_dicts()
    assert summary(analyse([run], Questions(pooled="none", theory=False)))["participants"] == []


def test_the_page_shows_it_with_reasons(run):
    analysis = analyse([run], GAINS)
    measured = analysis.groups[0].runs[0]
    found = measured.participation
    text = report_page(analysis)
    assert '<section id="participants">' in text
    assert "rank correlation of given and gained" in text
    for i in range(6):
        assert f"<td>{found.samples[i]:,}</td>" in text
        interval = f"{found.low[i]:+.4g} … {found.high[i]:+.4g}"
        gain, each = found.gains[i], found.gains[i] / found.samples[i]
        assert f"<td>{gain:+.4g}</td><td>{interval}</td><td>{each:+.4g}</td>" in text
    assert 'id="participants"' not in report_page(analyse([run], Questions(pooled="none", theory=False)))
    worse = dataclasses.replace(
        found, together=found.alone - 0.1, reasons=(("it has <few> samples",), *found.reasons[1:])
    )
    text = participants.participants_section(analysis) + participants._card("one", worse, "accuracy")
    assert "it has &lt;few&gt; samples" in text
    assert "nothing sets its data apart" in text


def test_who_has_less_than_alone_is_told_why(run):
    found = participation_of(run, problem_of(run), "accuracy")
    assert all(reasons == () for gain, reasons in zip(found.gains, found.reasons, strict=True) if gain >= 0)
    problem = problem_of(run)
    first = problem.task.initial_row()[None]
    targets = problem.data.targets.clone()
    wrong = problem.data.indices[problem.data.offsets[2] : problem.data.offsets[3]]
    targets[wrong] = (targets[wrong] + 1) % 3
    problem = dataclasses.replace(problem, data=dataclasses.replace(problem.data, targets=targets))
    gains = np.array([0.1, 0.1, -0.1, 0.1, 0.1, -0.1])
    rows = torch.from_numpy(run.rows)
    flags, reasons = _told(problem, first, rows, gains, np.arange(6), steps=np.array([40] * 4 + [0, 40]))
    assert any("wrong labels" in flag for flag in flags[2])
    assert any("free rider" in flag for flag in flags[4])
    assert flags[0] == flags[1] == flags[3] == flags[5] == ()
    assert "it averages with wrong labels: node 2" in reasons[5]
    assert any("of its labels look wrong" in reason for reason in reasons[2])
    assert not any("labels look wrong" in reason for reason in reasons[5])
    assert reasons[0] == ()


def test_real_peers_are_measured_on_their_own_samples(homes):
    (network,) = load_runs(homes)
    problem = problem_of(network)
    found = participation_of(network, problem, network.metrics[0])
    assert found.labels == ("peer 0", "peer 1", "peer 2")
    for i in range(3):
        values = problem.task.evaluate(torch.from_numpy(network.rows[i : i + 1]), *problem.own_tests[i])
        assert found.together[i] == pytest.approx(float(values[network.metrics[0]][0]))
    assert not found.recorded
    assert found.samples.tolist() == problem.data.counts.tolist()


def test_recorded_effects_are_means_by_sender(homes):
    (network,) = load_runs(homes)
    before = {home: [file.read_bytes() for file in (home / "records").glob("*.jsonl")] for home in homes}
    ids = [
        str(read_records(Home(home).records).filter(pl.col("kind") == "start")["peer"][0]) for home in homes
    ]
    given = {}
    try:
        for home in homes:

            def with_effects(records):
                for number, record in enumerate(records):
                    if record["kind"] == "merge" and record["sender"] != ids[2]:
                        record["effect"] = number / 10
                        given.setdefault(record["sender"], []).append(number / 10)
                    yield record

            for file in (home / "records").glob("*.jsonl"):
                rewrite(file, with_effects)
        found = participation_of(network, problem_of(network), network.metrics[0])
    finally:
        for home, contents in before.items():
            for file, content in zip((home / "records").glob("*.jsonl"), contents, strict=True):
                file.write_bytes(content)
    assert found.recorded
    assert found.gave[:2] == pytest.approx([np.mean(given[peer]) for peer in ids[:2]])
    assert math.isnan(found.gave[2])


def test_the_command_shows_it_for_both(run, homes):
    runner = CliRunner()
    for paths in ([str(run.path)], [str(home) for home in homes]):
        quick = ["--pooled", "none", "--no-theory", "--gains"]
        found = json.loads(runner.invoke(app, [*paths, *quick, "--json"]).stdout)
        assert {"node", "samples", "alone", "together", "gain", "gave"} <= found["participants"][0].keys()
        assert "Shapley" in runner.invoke(app, [*paths, *quick, "--contributions"]).stdout


def test_intervals_are_those_of_gains_on_the_same_test_samples(run):
    problem = problem_of(run)
    few = tuple(part[:30] for part in problem.own_tests[0])  # so each is a part of its own
    problem = dataclasses.replace(problem, own_tests=(few,))
    found = participation_of(run, problem, "loss", confidence=0.8)
    measure = Measure(problem.task, problem.own_tests, "loss")
    alone = trained_alone(problem.trainer(), problem.task.initial_row()[None], found.steps)
    each = [measure.in_parts(rows, np.arange(6)) for rows in (torch.from_numpy(run.rows), alone)]
    for i in range(6):
        gains = each[0][i][0] - each[1][i][0]
        low, high = t.interval(0.8, len(gains) - 1, gains.mean(), sem(gains))
        assert (found.low[i], found.high[i]) == pytest.approx((low, high))


def test_coalitions_are_those_of_the_scenario(run):
    analysis = analyse([run], dataclasses.replace(GAINS, metric="accuracy", contributions=True))
    found = analysis.groups[0].runs[0].participation
    report = contributions(run.path / "scenario.toml", metric="accuracy")
    assert found.worth.shapley == pytest.approx([each.shapley for each in report.participants])
    assert found.worth.left_out == pytest.approx([each.leave_one_out for each in report.participants])
    assert found.worth.coalitions == report.coalitions
    assert any("the largest Shapley value" in sentence for sentence in findings(analysis))
    table = participants_table(analysis)
    assert table["gave_others"].to_list() == pytest.approx([each.gave for each in report.participants])
    assert "lost without it" in report_page(analysis)


def test_what_cannot_be_compared_is_noted(run):
    without = made([0.1, 0.5, 0.9])
    assert not participants_table(analyse([without], GAINS)).rows()
    diverged = run.rows.copy()
    diverged[0, 0] = np.nan
    notes = analyse([dataclasses.replace(run, rows=diverged)], GAINS).notes
    assert any("who gained and who gave is left out" in note for note in notes)
