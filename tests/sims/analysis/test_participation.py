"""Gains and gifts of nodes, in simulated runs and in those of real peers."""

import dataclasses
import json
import math

import numpy as np
import polars as pl
import pytest
import torch
from typer.testing import CliRunner

from gossipfl.peer import Home, read_records
from gossipfl.training import Nodes
from sims.analysis import Questions, analyse, findings, load_runs
from sims.analysis.measures.participation import participation_of
from sims.analysis.output.tables import participants_table, summary
from sims.analysis.runs.problem import problem_of
from sims.cli.analyze import app
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
    assert found.steps == round(run.last("updates") / 6)
    trainer = problem.trainer()
    first = Nodes.start(problem.task.initial_row()[None], optimiser_state_size=trainer.optimiser_state_size)
    nodes, _ = trainer.train(first, np.array([4]), steps=found.steps)
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
        assert "together" in runner.invoke(app, [*paths, *quick]).stdout


def test_what_cannot_be_compared_is_noted(run):
    without = made([0.1, 0.5, 0.9])
    assert not participants_table(analyse([without], GAINS)).rows()
    diverged = run.rows.copy()
    diverged[0, 0] = np.nan
    notes = analyse([dataclasses.replace(run, rows=diverged)], GAINS).notes
    assert any("who gained and who gave is left out" in note for note in notes)
