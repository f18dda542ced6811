"""Settings made in Python: what is wrong with them is said by name, as it is of those in files."""

import pytest

from gossipfl.errors import SettingError
from gossipfl.settings import (
    BootstrapSettings,
    CheckpointSettings,
    EvaluationSettings,
    ExchangeSettings,
    GossipSettings,
    MembershipSettings,
    NetworkSettings,
    PeerSettings,
    RecordsSettings,
    RoundsSettings,
    RuntimeSettings,
    TaskSettings,
    TrainingSettings,
    ViewSettings,
)
from gossipfl.settings.gate import GateSettings
from gossipfl.settings.outgoing import ClipSettings, CodecSettings, MaskSettings, NoiseSettings
from sims.errors import InvalidScenario, InvalidSweep
from sims.scenario import Scenario
from sims.scenario.course import EvaluateSection, StopSection
from sims.scenario.network import LognormalDelay, UniformDelay
from sims.scenario.scenario import PopulationSection
from sims.sweeping.settings import Sweep, Uniform

TABLES = [
    BootstrapSettings, CheckpointSettings, EvaluationSettings, ExchangeSettings, MembershipSettings,
    NetworkSettings, PeerSettings, RecordsSettings, RoundsSettings, RuntimeSettings, TaskSettings,
    TrainingSettings, ViewSettings, GateSettings, ClipSettings, CodecSettings, MaskSettings, NoiseSettings,
    EvaluateSection, PopulationSection, StopSection, Scenario, Sweep,
]  # fmt: skip
WRONG = [
    (TrainingSettings, {"learning_rate": 0}, "learning_rate: expected a number greater than 0; got 0"),
    (TrainingSettings, {"learning_rate": float("nan")}, "learning_rate: expected a finite number; got nan"),
    (TrainingSettings, {"learning_rate": "fast"}, "learning_rate: expected a valid number.*; got 'fast'"),
    (TrainingSettings, {"optimiser": "adam"}, "optimiser: expected 'sgd' or 'adamw'; got 'adam'"),
    (TrainingSettings, {"momentum": 1.0}, "momentum: expected a number less than 1; got 1.0"),
    (TrainingSettings, {"optimiser": "adamw", "momentum": 0.5}, "momentum would be without effect"),
    (TrainingSettings, {"learning_rat": 1}, "unknown key 'learning_rat'.*Did you mean 'learning_rate'"),
    (GossipSettings, {"algorithm": 3}, "algorithm: expected a valid string; got 3"),
    (RuntimeSettings, {"number": -1}, "number: expected a number greater than or equal to 0; got -1"),
    (NoiseSettings, {"deviation": -1}, "deviation: expected a number greater than 0; got -1"),
    (PeerSettings, {"training": {"batch_size": 0}}, "training.batch_size: expected a number greater than 0"),
    (UniformDelay, {"kind": "uniform", "low": 2, "high": 1}, "low .* must not be above high"),
    (LognormalDelay, {"kind": "lognormal", "median": float("inf"), "sigma": 1}, "median: expected a finite"),
    (Uniform, {"distribution": "uniform", "low": 2, "high": 1}, "low .* must be below high"),
    (PopulationSection, {"nodes": 0}, "nodes: expected a number greater than"),
]


@pytest.mark.parametrize(("table", "values", "said"), WRONG)
@pytest.mark.parametrize("how", ["constructor", "model_validate"])
def test_what_is_wrong_is_said_by_name(table, values, said, how):
    make = table if how == "constructor" else lambda **given: table.model_validate(given)
    with pytest.raises(SettingError, match=rf"^{table.__name__}: .*{said}"):
        make(**values)


@pytest.mark.parametrize("table", TABLES)
def test_no_table_takes_what_it_does_not_know(table):
    with pytest.raises(SettingError, match="unknown key 'colour'"):
        table(colour="blue")


def test_every_mistake_in_tables_of_tables_is_listed_with_its_own_key():
    with pytest.raises(SettingError) as failed:
        PeerSettings(training={"batch_size": 0, "local_steps": 0}, exchange={"period": -1})
    lines = str(failed.value).splitlines()
    keys = {line.split(": ")[1] for line in lines}
    assert keys == {"exchange.period", "training.batch_size", "training.local_steps"}


def test_errors_of_scenarios_and_sweeps_are_theirs():
    with pytest.raises(InvalidScenario):
        StopSection(rounds=-1)
    with pytest.raises(InvalidSweep):
        Uniform(distribution="uniform", low=2, high=1)


def test_a_mapping_in_place_of_keys_is_refused_by_name():
    expected = (
        r"Scenario takes its keys by name; expected Scenario\(.*=…\), or a mapping after \*\*; got dict"
    )
    with pytest.raises(InvalidScenario, match=expected):
        Scenario({"population": {"nodes": 8}})
    with pytest.raises(SettingError, match=r"ExchangeSettings\(period=…\).*got float"):
        ExchangeSettings(2.0)
