"""Measures of an algorithm's own, in the records of a run and in an analysis of it."""

import numpy as np

from sims.analysis.comparison.measuring import measure
from sims.analysis.comparison.questions import Questions
from sims.analysis.runs.loading import load_runs
from sims.metrics.network_metrics import observed_columns
from sims.running.run import run
from sims.scenario import parse_scenario

SCENARIO = """
[population]
nodes = 4
[task]
name = "tests.sims.worlds:blobs"
[algorithm]
name = "noloco"
[topology]
name = "complete"
[training]
batch_size = 4
[evaluate]
every = 1
[stop]
rounds = 2
"""


def columns_after(out=None, *overrides):
    done = run(parse_scenario(SCENARIO, overrides=overrides), compile_when="never", out=out)
    table = done.evaluations
    return table.select([name for name in table.columns if name.startswith("algorithm/")])


def test_wrong_residues_are_in_the_records_with_bits_alone(tmp_path):
    assert columns_after().width == 0
    close = columns_after(None, "algorithm.bits=4", "algorithm.reach=50.0")
    assert close.columns == ["algorithm/wrong_residues", "algorithm/wrong_residues_max"]
    assert close.to_numpy().max() == 0
    apart = columns_after(tmp_path / "apart", "algorithm.bits=4", "algorithm.reach=0.01")
    assert apart["algorithm/wrong_residues"].to_list()[0] == 0  # before the start
    assert 0.3 < apart["algorithm/wrong_residues"][-1] <= apart["algorithm/wrong_residues_max"][-1] <= 1
    asked = Questions(theory=False)
    said = measure(load_runs([tmp_path / "apart"])[0], "accuracy", pooled=None, questions=asked).notes
    [note] = [each for each in said if each.startswith("wrong residues")]
    assert f"{apart['algorithm/wrong_residues_max'][-1]:.3g} at the most" in note


def test_nodes_that_do_not_count_are_left_out():
    values = {"share": np.array([0.0, 0.5, 1.0])}
    found = observed_columns(values, np.array([True, True, False]))
    assert found == {"algorithm/share": 0.25, "algorithm/share_max": 0.5}
    assert np.isnan(list(observed_columns(values, np.zeros(3, dtype=bool)).values())).all()
