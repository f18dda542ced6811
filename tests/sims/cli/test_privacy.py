from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gossipfl.errors import SettingError
from gossipfl.privacy.sampled_gaussian import Mechanism, sampled_epsilon
from sims.cli.privacy import app


@pytest.fixture
def ring(tmp_path: Path) -> str:
    file = tmp_path / "ring.toml"
    file.write_text(
        """
[population]
nodes = 16
[task]
name = "sims.scenarios.averages:averages"
options = { nodes = 16 }
partition = "contiguous"
[topology]
name = "ring"
[algorithm]
name = "d_psgd"
[training]
enabled = false
[stop]
rounds = 2
""",
        encoding="utf-8",
    )
    return str(file)


def _said(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_json_has_all_pairs_and_guarantees(ring: str) -> None:
    report = json.loads(_said(ring, "--noise", "2", "--delta", "1e-6", "--coalition", "2", "--json"))
    first, second, third = report["by_distance"][:3]
    assert (first["pairs"], first["reconstructed"], first["pairs_above_published"]) == (32, 32, 0)
    assert (second["largest_share"], round(second["published"], 4)) == (pytest.approx(1), 0.3333)
    assert second["pairs_above_published"] == 32
    assert (third["largest_share"], third["epsilon"]) == (0, 0)
    assert len(report["epsilons"]) == len(report["epsilons"][0]) == 16
    # Balle and Wang 2018: δ = Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ), with μ = Δ/σ = 1/2
    epsilon, mu = report["worst"]["epsilon"], 0.5
    above, below = (
        0.5 * math.erfc(-x / math.sqrt(2)) for x in (mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu)
    )
    assert above - math.exp(epsilon) * below == pytest.approx(1e-6, rel=1e-4)
    assert epsilon < report["worst"]["epsilon_by_rdp"] < 1.2 * epsilon
    assert report["local"] == {k: report["worst"][k] for k in ("epsilon", "epsilon_by_rdp")}
    (coalition,) = report["coalitions"]
    assert coalition["chosen"] == "the worst of all"
    assert coalition["reconstructed"] == 8  # two that are five apart see four different nodes each


def test_text_says_what_is_assumed_and_marks_published_bounds(ring: str) -> None:
    said = _said(ring, "--observer", "3", "--coalition", "5", "--pairs")
    assert "! 2" in said
    assert "greedily" in said
    assert "Assumed: nodes do as the algorithm says" in said
    assert "node 3 learns of 0: 0, 1: 4.377, 2: 4.377, 4: 4.377" in said


@pytest.mark.parametrize(
    "wrong", [("--noise", "0"), ("--delta", "1"), ("--coalition", "16"), ("--observer", "16")]
)
def test_wrong_questions_are_named(ring: str, wrong: tuple[str, str]) -> None:
    from gossipfl.errors import GossipflError

    with pytest.raises(GossipflError) as error:
        CliRunner().invoke(app, [ring, *wrong], catch_exceptions=False)
    assert "expected" in str(error.value)
    assert (
        isinstance(error.value, SettingError) or "1 … 15" in str(error.value) or "0 … 15" in str(error.value)
    )


PRIVATE = (
    "training.enabled=true", "training.batch_size=2", "training.privacy={clip=1.0,noise_multiplier=2.0}",
    "task.name=digits", "task.options={}", "task.partition=iid",
)  # fmt: skip


def test_private_training_is_accounted_as_it_is_declared(ring: str) -> None:
    changes = [part for each in PRIVATE for part in ("--set", each)]
    report = json.loads(_said(ring, *changes, "--observer", "0", "--json"))
    assert report["noise_multiplier"] == 2.0
    sampled = report["sampled"]
    samples = round(2 / sampled["rate"])
    assert (sampled["steps"], samples) == (2, 1437 // 16)
    expected = sampled_epsilon({Mechanism(2 / samples, 2.0): 2}, delta=1e-5)
    assert sampled["epsilon"] == pytest.approx(expected)
    assert sampled["epsilon"] < report["local"]["epsilon"] / 2
    assert "which samples were in them" in _said(ring, *changes, "--observer", "0")
    with pytest.raises(SettingError, match="noise multiplier of 2"):
        _said(ring, *changes, "--noise", "1")
