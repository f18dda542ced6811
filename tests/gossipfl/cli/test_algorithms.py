"""``gossipfl algorithms``: what it prints, as text and as JSON, and what it says of mistakes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gossipfl.algorithms import algorithm_names

from .test_main import cli

__all__ = ["cli"]

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_all_are_listed(cli):
    code, out, _ = cli("algorithms", "list")
    assert code == 0
    assert all(name in out for name in algorithm_names())
    code, out, _ = cli("algorithms", "list", "--json")
    listed = json.loads(out)
    assert [each["name"] for each in listed] == algorithm_names()
    assert all(each["paper"] and each["rule"] for each in listed)


def test_one_is_shown_with_its_parameters(cli):
    code, out, _ = cli("algorithms", "show", "choco")
    assert code == 0
    for part in ("Koloskova", "x̂ ← x̂ + q", "one symmetric doubly stochastic matrix", "restart_every"):
        assert part in out
    assert "consensus_step_size: float, above 0 and at most 1 = 1.0" in out
    (step_size,) = [
        each
        for each in json.loads(cli("algorithms", "show", "choco", "--json")[1])["parameters"]
        if each["name"] == "consensus_step_size"
    ]
    assert (step_size["default"], step_size["range"]) == (1.0, "above 0 and at most 1")


def test_ones_own_is_shown_and_checked(cli, monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    code, out, _ = cli("algorithms", "show", "noloco:NoLoCo")
    assert (code, "Kolehmainen" in out) == (0, True)
    code, out, _ = cli("algorithms", "check", "noloco:NoLoCo", "--set", "momentum=0.3")
    assert (code, "FAIL" in out, out.count("ok  ") > 5) == (0, False, True)


def test_a_broken_one_fails_the_check(cli, monkeypatch, tmp_path):
    text = (EXAMPLES / "noloco.py").read_text().replace("mean_slow - slow", "mean_slow * 1.1 - slow")
    (tmp_path / "broken_noloco.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    code, out, _ = cli("algorithms", "check", "broken_noloco:NoLoCo")
    assert code == 1
    assert "FAIL without training the mean of all models stays" in out
    findings = json.loads(cli("algorithms", "check", "broken_noloco:NoLoCo", "--json")[1])
    assert [bool(each["problem"]) for each in findings].count(True) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "chocho"], "Did you mean 'choco'?"),
        (["show", "nowhere:Rule"], "there is no module 'nowhere'"),
        (["show", "json:loads"], "'json:loads' is not an algorithm"),
        (["check", "choco", "--set", "codc=sign"], "Did you mean 'codec'?"),
        (["check", "choco", "--set", "consensus_step_size=2"], "less than or equal to 1"),
    ],
)
def test_mistakes_are_named(cli, arguments, words):
    code, _, err = cli("algorithms", *arguments)
    assert code == 2
    assert words in err


def test_help_needs_no_torch():
    code = "import sys, gossipfl.cli.algorithms, gossipfl.cli.peer; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
