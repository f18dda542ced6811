"""Sweeps as TOML: what they may say, and what is said of their mistakes."""

import pytest

import sims
from sims.errors import InvalidScenario, InvalidSweep
from sims.sweeping.settings import load_sweep, parse_sweep

BASE = """
scenario = "digits"
seeds = [1, 2]
[grid]
training.learning_rate = [0.1, 0.2]
"topology" = [{ name = "ring" }, { name = "complete" }]
[set]
topology = { name = "ring" }
stop.rounds = 7
"""


def test_dotted_and_nested_keys_are_the_same():
    sweep = parse_sweep(BASE)
    assert sweep.grid == {
        "training.learning_rate": (0.1, 0.2),
        "topology": ({"name": "ring"}, {"name": "complete"}),
    }
    assert sweep.set == {"topology": {"name": "ring"}, "stop.rounds": 7}
    assert sweep.scenario["population"]["nodes"] == 100


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (('scenario = "digits"', ""), r"sweep: scenario: Field required"),
        (("seeds = [1, 2]", "seeds = [1, 1]"), r"seeds: expected different whole numbers"),
        (
            ("seeds = [1, 2]", "sedes = [1, 2]"),
            r"sweep:3:1: sedes: unknown key 'sedes'. Did you mean 'seeds'\?",
        ),
        (("[0.1, 0.2]", "0.1"), r"sweep:4:1: grid: training.learning_rate: expected a list"),
        (("[0.1, 0.2]", "[0.1, 0.2"), r"sweep:6:1: not TOML: Unclosed array"),
        (("[set]", "[random]\ndraws = 3\n[set]"), r"random.keys: Field required"),
        (
            (
                "[set]",
                '[random]\ndraws = 3\nkeys."training.momentum" = {distribution="uniform", low=1, high=0}\n[set]',
            ),
            r"random\.keys.*low \(1\.0\) must be below high",
        ),
        (
            ("[set]", '[random]\ndraws = 3\nkeys."stop.rounds" = {distribution="int", low=1, hihg=3}\n[set]'),
            r"random\.keys\.stop\.rounds\.hihg: unknown key 'hihg'\. Did you mean 'high'\?",
        ),
        (
            ("[set]", "[random]\ndraws = 3\n[random.keys]\nstop.rounds = {low=1, high=3}\n[set]"),
            r"random\.keys\.stop\.rounds\.distribution: required here: one of uniform, log-uniform, int, choice",
        ),
        (("[set]", "[tune]\nseeds = [2]\n[set]"), r"tune.seeds: \[2\] are also among the seeds reported"),
        (("seeds = [1, 2]", 'metric = "loss_mean"'), r"direction: say whether to 'maximise' or 'minimise'"),
        (("[set]", "[[variant]]\ntraining.optimiser_state = 0.9\n[set]"), r"variant 1 needs a `label`"),
    ],
)
def test_mistakes(change, complaint):
    assert change[0] in BASE
    with pytest.raises(InvalidSweep, match=complaint):
        parse_sweep(BASE.replace(*change))


def test_a_file_names_its_scenario_relative_to_itself(tmp_path):
    (tmp_path / "base.toml").write_text(
        '[population]\nnodes = 5\n[algorithm]\nname = "d_psgd"\n'
        '[network]\ndelay = {kind = "matrix", file = "r.csv"}'
    )
    (tmp_path / "s.toml").write_text('scenario = "base.toml"')
    table = load_sweep(tmp_path / "s.toml").scenario
    assert table["population"] == {"nodes": 5}
    assert table["network"]["delay"]["file"] == str(tmp_path / "r.csv")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InvalidSweep, match="no sweep 'nowhere'"):
        load_sweep("nowhere")
    (tmp_path / "s.toml").write_text('scenario = "digit"')
    with pytest.raises(InvalidScenario, match=r"s\.toml: scenario: .*Did you mean 'digits'"):
        load_sweep(tmp_path / "s.toml")


@pytest.mark.parametrize("read", [sims.sweep, sims.parse_sweep, sims.load_sweep])
def test_what_is_no_sweep_is_named(read):
    with pytest.raises(InvalidSweep, match="this is no sweep; expected"):
        read(3)
