"""Cases at the edges of accounting: each has a named answer."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from typer.testing import CliRunner

from gossipfl.errors import SettingError
from gossipfl.privacy import gaussian_guarantee
from gossipfl.privacy.correlated import composed_epsilon, correlated_losses
from gossipfl.privacy.gaussian import largest_shift
from sims.cli.privacy import app
from sims.privacy.attacks.auditing import advantage, epsilon_of_rates
from sims.privacy.errors import NotAccountable
from sims.privacy.knowledge import knowledge_of
from sims.privacy.linear_run import averaging
from sims.privacy.published import muffliato_pairwise
from sims.privacy.report import report_of
from sims.privacy.views import worst_coalition
from topology.errors import ExplainedError

SCENARIO = """
[population]
nodes = {nodes}
[task]
name = "sims.scenarios.averages:averages"
partition = "contiguous"
options = {{ nodes = {nodes} }}
[topology]
name = "complete"
[algorithm]
name = "muffliato"
deviation = {deviation}
[training]
enabled = false
[stop]
rounds = {rounds}
"""


def said(tmp_path: Path, *flags: str, nodes=3, deviation=1.0, rounds=2):
    file = tmp_path / "odd.toml"
    file.write_text(SCENARIO.format(nodes=nodes, deviation=deviation, rounds=rounds), encoding="utf-8")
    return CliRunner().invoke(app, [str(file), *flags])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--delta", "0"), "delta is a probability"),
        (("--delta", "1"), "delta is a probability"),
        (("--delta", "nan"), "delta is a probability"),
        (("--noise", "0"), "--noise above 0"),
        (("--noise", "inf"), "finite"),
        (("--sensitivity", "0"), "--sensitivity above 0"),
        (("--coalition", "3"), "leaves somebody out"),
        (("--coalition", "0"), "leaves somebody out"),
        (("--observer", "3"), "observers must be nodes"),
    ],
)
def test_impossible_questions_are_refused_by_name(tmp_path, flags, words):
    result = said(tmp_path, *flags)
    assert isinstance(result.exception, ExplainedError)
    assert words in str(result.exception)


@pytest.mark.parametrize(
    ("more", "words"), [({"nodes": 1}, "population.nodes"), ({"rounds": 0}, "stop.rounds")]
)
def test_networks_that_are_none_are_refused_by_name(tmp_path, more, words):
    result = said(tmp_path, **more)
    assert isinstance(result.exception, ExplainedError)
    assert words in str(result.exception)


TRAINING = """
[population]
nodes = 5
[task]
name = "digits"
[topology]
name = "complete"
[algorithm]
name = "d_psgd"
[training]
momentum = 0.0
[stop]
rounds = 2
"""


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ("algorithm={name='decor', deviation=2.0, edge_deviation=5.0}", "rounds"),
        ("algorithm={name='muffliato_sgd', deviation=2.0}", "rounds"),
        ("algorithm={name='zip_dl', deviation=2.0}", "overheard"),
        ("training.privacy={clip=1.0, noise_multiplier=2.0}", "sampled"),
        ("masked_sums={range=64.0}", "coalitions"),
        ("outgoing=[{kind='clip', norm=1.0}, {kind='noise', deviation=2.0}]", "changed"),
    ],
)
def test_every_report_is_one_json_object(tmp_path, more, part):
    file = tmp_path / "training.toml"
    file.write_text(TRAINING, encoding="utf-8")
    flags = [str(file), "--json", "--coalition", "2", "--set", more]
    result = CliRunner().invoke(app, [*flags, *(["--sensitivity", "2"] if "zip_dl" in more else [])])
    assert result.exception is None, result.exception
    report = json.loads(result.stdout, parse_constant=lambda number: pytest.fail(f"{number} is not JSON"))
    assert report[part], report


def test_two_nodes_see_one_another(tmp_path):
    result = said(tmp_path, "--coalition", "1", nodes=2)
    assert result.exit_code == 0, result.output
    assert "ε = 4.377" in result.output


@pytest.mark.parametrize("sensitivity", ["1e6", "1e9", "1e155"])
def test_a_huge_epsilon_is_a_number_or_infinite(tmp_path, sensitivity):
    result = said(tmp_path, "--sensitivity", sensitivity)
    assert result.exit_code == 0, result.output
    assert ("inf" in result.output) == (sensitivity == "1e155")


def test_large_shifts_go_on_where_dp_accounting_ends():
    below, above = (gaussian_guarantee(mu, delta=1e-5) for mu in (0.999e7, 1.001e7))
    assert below.epsilon < above.epsilon < below.epsilon * 1.01
    assert above.epsilon >= 1.001e7**2 / 2
    assert math.isinf(gaussian_guarantee(math.inf, delta=1e-5).epsilon)
    assert gaussian_guarantee(0.0, delta=1e-5).epsilon == 0


def test_nodes_that_are_linked_to_nobody_learn_nothing_and_lose_nothing():
    """Of five nodes one is alone, and two pairs see one another alone."""
    matrix = np.eye(5)
    matrix[1:3, 1:3] = matrix[3:, 3:] = 0.5
    run = averaging([csr_array(matrix)] * 3)
    assert knowledge_of(run, [0]).shares().tolist() == [1, 0, 0, 0, 0]
    np.testing.assert_allclose(knowledge_of(run, [1]).shares(), [0, 1, 1, 0, 0])
    assert muffliato_pairwise(run, [0]).tolist() == [1, 0, 0, 0, 0]
    report = report_of(run, noise=1.0, delta=1e-5)
    assert [each.distance for each in report.by_distance] == [1, -1]
    assert report.by_distance[1].guarantee.epsilon == 0
    assert report.by_distance[1].reconstructed == 0
    alone = report_of(run, noise=1.0, delta=1e-5, observers=[0])
    assert alone.worst.epsilon == 0


def test_a_network_of_one_has_nobody_to_learn_of():
    run = averaging([csr_array(np.eye(1))])
    with pytest.raises(NotAccountable, match="nobody to learn about"):
        report_of(run, noise=1.0, delta=1e-5)
    with pytest.raises(NotAccountable, match="leaves somebody out"):
        worst_coalition(run, 1)
    with pytest.raises(NotAccountable, match="observers must be nodes"):
        knowledge_of(run, [])


def test_everybody_together_knows_everything():
    run = averaging([csr_array(np.full((4, 4), 0.25))])
    assert knowledge_of(run, range(4)).shares().tolist() == [1, 1, 1, 1]
    assert np.isinf(
        correlated_losses(~np.eye(4, dtype=bool), deviation=1, edge_deviation=2, coalition=range(4))
    ).all()


def test_participants_that_are_alike_cannot_be_told_apart():
    alike = np.zeros(40)
    assert advantage(alike, alike) == 0
    assert epsilon_of_rates(alike, alike, delta=1e-5) == 0


@pytest.mark.parametrize("delta", [0.0, 1.0, -1.0, math.nan])
def test_what_is_no_probability_is_refused_everywhere(delta):
    for ask in (
        lambda: gaussian_guarantee(1.0, delta=delta),
        lambda: largest_shift(1.0, delta),
        lambda: composed_epsilon(1e-3, steps=10, delta=delta),
    ):
        with pytest.raises(SettingError, match="delta"):
            ask()
    with pytest.raises(SettingError, match="epsilon of at least 0"):
        largest_shift(-1.0, 1e-5)


def test_rounds_whose_rows_may_not_arrive_are_not_accounted(tmp_path):
    file = tmp_path / "lossy.toml"
    lossy = "[network]\nloss = 0.1\ndeadline = 1.0\n"
    file.write_text(SCENARIO.format(nodes=3, deviation=1.0, rounds=2) + lossy, encoding="utf-8")
    refused = CliRunner().invoke(app, [str(file)])
    assert refused.exit_code
    assert "network.loss, network.deadline" in str(refused.exception)
