"""Entry points of an installed package: used by name in the commands, a scenario and a sweep."""

import json
from pathlib import Path

import polars as pl
import pytest

from gossipfl.tasks import find_task
from tests.gossipfl.cli.test_main import cli

__all__ = ["cli"]

EXAMPLE = (Path(__file__).parents[1] / "examples" / "coarse.py").read_text(encoding="utf-8")
MODULE = (
    EXAMPLE.replace("coarse:Coarse", "coarse")
    + '''
from typing import Annotated

import networkx as nx

from gossipfl.algorithms import Exchange, Parameter, RoundAlgorithm


@dataclass(frozen=True)
class Lazy(RoundAlgorithm):
    """Train, and go a part of the way to the neighbours' mean."""

    name = "lazy_averaging"
    rule = "X ← X + γ(W − I)X after a step"

    part: Annotated[float, Parameter("γ: part of the way", gt=0, le=1)] = 0.5

    def round(self, nodes, context):
        trained = context.local.update(nodes)
        shared = trained.rows[:, : context.shared_size]
        mixed = yield Exchange(shared)
        return trained.with_shared(shared + self.part * (mixed.rows - shared), ages=trained.ages)


def ladder(n: int, rungs: Annotated[int, "one rung every so many steps"] = 1) -> nx.Graph:
    """Two paths with rungs between them."""
    graph = nx.path_graph(n // 2)
    graph.add_edges_from((n // 2 + i, n // 2 + j) for i, j in nx.path_graph(n // 2).edges)
    graph.add_edges_from((i, n // 2 + i) for i in range(0, n // 2, rungs))
    return graph


def certainty(outputs, targets):
    """Mean probability of the class that is most likely."""
    return outputs.softmax(dim=-1).amax(dim=-1).mean()
'''
)
POINTS = {
    "gossipfl.algorithms": {"lazy_averaging": "offered_package:Lazy"},
    "gossipfl.topologies": {"ladder": "offered_package:ladder"},
    "gossipfl.codecs": {"coarse": "offered_package:Coarse"},
    "gossipfl.metrics": {"certainty": "offered_package:certainty"},
}
SCENARIO = """\
name = "offered"
topology = { name = "ladder", rungs = 2 }
[population]
nodes = 8
[algorithm]
name = "lazy_averaging"
part = 0.25
codec = "coarse:200"
[task]
name = "digits"
metrics = ["certainty"]
[training]
learning_rate = 0.1
[evaluate]
every = 4
[stop]
rounds = 8
"""
SWEEP = """\
scenario = "scenario.toml"
seeds = [1]
grid.algorithm = [{ name = "d_psgd" }, { name = "lazy_averaging", part = 0.5 }]
grid.topology = ["ring", "ladder"]
"""


@pytest.fixture
def gossipfl(cli, installed, monkeypatch, tmp_path):
    """Run the command where such a package is installed, and nothing of it is in the current directory."""
    installed("offered_package", MODULE, POINTS)
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    (tmp_path / "sweep.toml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code, out, err = cli(*arguments)
        assert code == 0, err
        return out

    return run


def test_the_commands_show_its_algorithm_and_topology(gossipfl):
    shown = gossipfl("algorithms", "show", "lazy_averaging")
    assert "X ← X + γ(W − I)X after a step" in shown
    assert "part" in shown
    assert "γ: part of the way" in shown
    assert "one rung every so many steps" in gossipfl("topology", "list", "ladder")


def test_a_scenario_names_them(gossipfl, tmp_path):
    gossipfl("sim", "run", "scenario.toml", "--out", "run", "--compile", "never")
    evaluations = pl.read_parquet(tmp_path / "run" / "evaluations.parquet")
    assert evaluations["accuracy_mean"][-1] > evaluations["accuracy_mean"][0]
    assert evaluations["certainty_mean"].is_between(0, 1).all()
    message = find_task("digits").layout.shared_size + 8  # a byte a number, and two ends
    assert evaluations["bytes"][-1] == evaluations["messages"][-1] * message


@pytest.mark.slow
def test_a_sweep_names_them(gossipfl, tmp_path):
    gossipfl("sim", "sweep", "sweep.toml", "--out", "sweep", "--jobs", "2", "--compile", "never")
    summary = json.loads((tmp_path / "sweep" / "summary.json").read_text())
    points = [point["values"] for point in summary["points"]]
    assert len({json.dumps(point) for point in points}) == 4
    assert all(point["finished"] == 1 for point in summary["points"])
