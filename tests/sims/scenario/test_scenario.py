"""Scenario files: what they say, and what is said of those that are wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

import sims
from sims.errors import InvalidScenario
from sims.scenario import load_scenario, parse_scenario, to_toml
from tests.sims.worlds import SMALL, small

READY = sorted((Path(sims.__file__).parent / "scenarios").glob("*.toml"))

WRONG = """seed = 3
[population]
nodes = 100
[algorithm]
name = "gossip_learning"
[network]
los = 0.1
loss = 2
[network.delay]
kind = "uniform"
low = 3.0
high = 1.0
[[churn.events]]
at = 3
action = "heal"
[[churn.events]]
at = 4
action = "drop"
"""


def test_every_mistake_is_named_with_its_line_and_its_remedy():
    with pytest.raises(InvalidScenario) as caught:
        parse_scenario(WRONG, source="net.toml")
    lines = sorted(str(caught.value).splitlines())
    assert len(lines) == 4
    assert lines[0].startswith("net.toml:16:1: churn.events.1: a 'drop' event needs 'fraction'")
    assert lines[1].startswith("net.toml:7:1: network.los: unknown key 'los'. Did you mean 'loss'?")
    assert lines[2].startswith("net.toml:8:1: network.loss: expected a number less than 1; got 2")
    assert lines[3].startswith("net.toml:9:1: network.delay: low (3.0) must not be above high (1.0)")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("nodes = 24", "nodes = 1"), r"t:5:1: population.nodes: .* greater than or equal to 2"),
        (
            ('name = "gossip_learning"', 'name = "gossip"'),
            r"t:11:1: algorithm.name: there is no algorithm 'gossip'; expected one of ",
        ),
        (('name = "gossip_learning"', ""), r"t:10:1: algorithm.name: required here: one of .*choco"),
        (("nodes = 24", ""), r"t:4:1: population.nodes: Field required"),
        (("nodes = 24", "nodes = "), r"t:5:9: not TOML: Invalid value"),
        (("[task]", "[tusk]"), r"t:6:1: tusk: unknown key 'tusk'. Did you mean 'task'\?"),
        (("nodes = 24", "nodes = true"), r"t:5:1: population.nodes: expected a number; got True"),
        (
            ("[population]", "[task.partition]\nfile = 'a.csv'\ncolumns = 'b'\n[population]"),
            r"task.partition.columns: unknown key 'columns'. Did you mean 'column'\?$",
        ),
        (
            ("[population]", "[algorithm.flow]\nkind = 'simple'\ncapacity = true\n[population]"),
            r"algorithm.flow.capacity: expected a number; got True$",
        ),
        (
            (SMALL, "population.nodes = 4\nalgorithm.name = 'd_psgd'\ntopology.nmae = 'ring'"),
            r"topology.nmae: .*no parameter 'nmae'.* No name is given, so it is 'complete'$",
        ),
    ],
)
def test_mistakes(change, complaint):
    with pytest.raises(InvalidScenario, match=complaint):
        parse_scenario(SMALL.replace(*change), source="t")


@pytest.mark.parametrize(
    ("up", "said"),
    [
        ("0", "network.links.up: expected a number greater than 0; got 0"),
        ("'fast'", "network.links.up: expected a valid number or a list; got 'fast'"),
        ("[1, 2, 3, 0]", "network.links.up.3: expected a number greater than 0; got 0"),
        (
            "[1, 'x']",
            "network.links.up.1: expected a valid number, unable to parse string as a number; got 'x'",
        ),
    ],
)
def test_a_value_of_several_forms_has_one_mistake_in_the_form_that_it_has(up, said):
    with pytest.raises(InvalidScenario) as caught:
        parse_scenario(SMALL, source="t", overrides=[f"network.links.up={up}"])
    assert str(caught.value) == f"--set network.links.up={up}: {said}"


def test_written_out_and_read_again_it_is_the_same():
    scenario = small(
        "churn.process={kind='sessions',online={median=3.0,spread=0.5},offline={median=1.0,spread=1.0}}",
        "churn.events=[{at=3,action='drop',fraction=0.5}]",
        "topology={name='random_regular',degree=4}",
    )
    assert parse_scenario(to_toml(scenario)) == scenario


def test_another_name_resets_its_table():
    overrides = ["algorithm.order=combine-then-adapt", "algorithm.name=d_psgd", "topology.name=ring"]
    scenario = load_scenario("digits", overrides=overrides)
    assert (scenario.algorithm.name, scenario.algorithm.order) == ("d_psgd", "combine-then-adapt")
    assert scenario.topology.arguments == {}
    same = load_scenario(
        "digits", overrides=["algorithm.name=gossip_learning", "topology.name=random_regular"]
    )
    assert same == load_scenario("digits")
    with pytest.raises(InvalidScenario, match=r"there is no algorithm 'dpsgd'; .*Did you mean 'd_psgd'\?"):
        small("algorithm.name=dpsgd")
    with pytest.raises(
        InvalidScenario, match=r"'merge' belongs to another algorithm .*known are .*order"
    ) as error:
        small("algorithm={name='d_psgd',merge='MU'}")
    assert "exchange" not in str(error.value)


def test_overrides_take_toml_values_and_bare_words():
    scenario = small("network.loss=0.25", "topology.name=path", "task.options.model=mlp", "stop.rounds=7")
    assert (scenario.network.loss, scenario.topology.name) == (0.25, "path")
    assert (scenario.task.options, scenario.stop.rounds) == ({"model": "mlp"}, 7)


@pytest.mark.parametrize("override", ["network.loss", "=3", "network..loss=1"])
def test_an_override_that_is_none_is_refused(override):
    with pytest.raises(InvalidScenario, match="an override sets one value"):
        small(override)


def test_one_text_is_no_list_of_overrides():
    with pytest.raises(InvalidScenario, match=r"expected overrides=\['network\.loss=0\.2'\]"):
        load_scenario("digits", overrides="network.loss=0.2")


def test_an_override_that_descends_into_a_value_is_refused():
    with pytest.raises(InvalidScenario, match="plain value"):
        small("seed.x=3")


def test_files_are_relative_to_the_scenario(tmp_path):
    (tmp_path / "s.toml").write_text(SMALL + "[network.delay]\nkind = 'matrix'\nfile = 'rtt.npz'\n")
    assert load_scenario(tmp_path / "s.toml").network.delay.file == tmp_path / "rtt.npz"


def test_a_missing_scenario_names_the_ready_made_ones():
    with pytest.raises(InvalidScenario, match="Did you mean 'digits'"):
        load_scenario("digit")


def test_nobody_may_be_left_at_the_start():
    with pytest.raises(InvalidScenario, match="nobody would be there"):
        small("churn.events=[{at=3,action='join',nodes=24}]")


@pytest.mark.parametrize("file", READY, ids=[file.stem for file in READY])
def test_ready_made_scenarios_are_valid_and_say_what_they_are(file):
    scenario = load_scenario(file)
    assert scenario.name == file.stem
    assert file.read_text().startswith("# ")


OWN = """
from dataclasses import dataclass
from gossipfl.algorithms import RoundAlgorithm

@dataclass(frozen=True)
class SlowMomentum(RoundAlgorithm):
    beta: float = 0.5
    alpha: float = 1.0
"""


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("betta", r"unknown key 'betta'\. Did you mean 'beta'\?$"),
        ("xyz", r"unknown key 'xyz'; known are alpha, beta, codec, weights$"),
    ],
)
def test_a_wrong_parameter_of_ones_own_class_is_told_from_its_own(tmp_path, key, hint):
    (tmp_path / "class_with_beta.py").write_text(OWN, encoding="utf-8")
    text = SMALL.replace('"gossip_learning"', f'"class_with_beta:SlowMomentum"\n{key} = 1')
    with pytest.raises(InvalidScenario, match=rf"t:12:1: algorithm\.{key}: {hint}"):
        parse_scenario(text, source="t", directory=tmp_path)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("network.los=0.1", r"^--set network\.los=0\.1: network\.los: unknown key"),
        (
            "population.nodes=1",
            r"^--set population\.nodes=1: population\.nodes: .* greater than or equal to 2",
        ),
        ("topolgy.name=ring", r"^--set topolgy\.name=ring: topolgy: unknown .*Did you mean 'topology'\?$"),
        (
            "topology.degree=4",
            r"^--set topology\.degree=4: topology\.degree: .*ring has no parameter 'degree'",
        ),
        ("topology.weigths=lazy", r"^--set topology\.weigths=lazy: .*Did you mean 'weights'\?"),
        (
            "topology.weights=metropolis",
            r"^--set .*: topology\.weights: .*takes metropolis-hastings or .*Did you mean '.*-hastings'",
        ),
        ("topology.name=rign", r"^--set topology\.name=rign: topology\.name: .*Did you mean 'ring'\?"),
        ("topology.name=random-regular", r"^--set topology\.name=random-regular: .*degree is missing"),
        ("topology=ring:degre=3", r"^--set topology=ring:degre=3: topology: .*no parameter 'degre'"),
        (
            "topology.name=random-regular:degree=x",
            r"^--set topology\.name=random-regular:degree=x: topology: .*degree takes a whole number ≥ 1, not 'x'",
        ),
        ("topology=3", r"^--set topology=3: topology: expected a table, or an expression .*; got 3$"),
        (
            "network.delay.kind=uniform",
            r"^--set network\.delay\.kind=uniform: network\.delay\.low: Field required",
        ),
        ("task.name=digts", r"^--set task\.name=digts: task\.name: .*Did you mean 'digits'\?$"),
        (
            'task.metrics=["recall"]',
            r"^--set task\.metrics=.*: task\.metrics: there is no metric 'recall'; exp",
        ),
        (
            "algorithm.codec=flaot16",
            r"^--set algorithm\.codec=flaot16: algorithm\.codec: .*; got 'flaot16'\. Did you mean 'float16'\?$",
        ),
    ],
)
def test_a_mistake_in_an_override_is_not_blamed_on_the_file(override, said):
    with pytest.raises(InvalidScenario, match=said) as caught:
        parse_scenario(SMALL, source="t", overrides=[override])
    assert str(caught.value).count("; got ") <= 1


def test_a_mistake_in_a_table_of_a_topology_has_its_line():
    text = SMALL.replace('name = "ring"', 'name = "random-regular"\ndegree = 4.5')
    with pytest.raises(InvalidScenario, match=r"^t:10:1: topology\.degree: .* a whole number ≥ 1, not 4\.5"):
        parse_scenario(text, source="t", overrides=["topology.seed=3"])
    with pytest.raises(
        InvalidScenario, match=r"^--set topology\.sed=3: topology\.sed: .*Did you mean 'seed'"
    ):
        parse_scenario(text.replace("4.5", "4"), source="t", overrides=["topology.sed=3"])


def test_a_mistake_in_the_file_is_not_blamed_on_an_override():
    text = SMALL.replace("nodes = 24", "nodes = 1")
    with pytest.raises(InvalidScenario, match=r"^t:5:1: population\.nodes"):
        parse_scenario(text, source="t", overrides=["network.loss=0.1"])


def test_an_unknown_key_is_recognised_by_its_value():
    """A topology's `mode` is an algorithm's `variant`: what is given says which key is meant."""
    table = {
        "population": {"nodes": 8},
        "algorithm": {"name": "epidemic_learning", "degree": 2, "mode": "local"},
    }
    with pytest.raises(
        InvalidScenario, match=r"unknown key 'mode'\. Did you mean 'variant', which takes 'local'\?"
    ):
        load_scenario(table)
    table["algorithm"]["mode"] = "somewhere"
    with pytest.raises(InvalidScenario, match=r"known are codec, degree, variant, weights"):
        load_scenario(table)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"algorithm": {"flow": {"capcity": 3}}}, r"flow\.capcity: .*Did you mean 'capacity'\?$"),
        ({"algorithm": {"flow": {"xyz": 3}}}, r"'xyz'; known are capacity, kind, reserve, useful$"),
        ({"algorithm": {"flow": {"xyz": "randomized"}}}, r"Did you mean 'kind', which takes 'randomized'\?$"),
        (
            {"algorithm": {"flow": {"kind": "randomised"}}},
            r"or 'randomized'; got 'randomised'\. Did you mean 'randomized'\?$",
        ),
        ({"algorithm": {"sharing": {"part": 3}}}, r"sharing\.part: .*Did you mean 'parts'\?$"),
        ({"outgoing": [{"kind": "clip", "nrm": 1}]}, r"outgoing\.0\.nrm: .*Did you mean 'norm'\?"),
        ({"churn": {"events": [{"at": 1, "action": "dropp"}]}}, r"got 'dropp'\. Did you mean 'drop'\?"),
    ],
)
def test_keys_and_words_of_tables_in_tables_have_hints(table, said):
    algorithm = {"name": "gossip_learning", **table.get("algorithm", {})}
    with pytest.raises(InvalidScenario, match=said):
        load_scenario({"population": {"nodes": 8}, **table, "algorithm": algorithm})


@pytest.mark.parametrize("given", [{"population": {"nodes": 8}}, 3, None])
def test_what_is_no_text_is_named(given):
    with pytest.raises(InvalidScenario, match="text of a TOML file"):
        parse_scenario(given)


@pytest.mark.slow
def test_a_script_names_what_it_defines_itself(tmp_path):
    (tmp_path / "mine.py").write_text(
        """
import numpy as np
import sims
from tests.sims.worlds import blobs


def halves(targets, nodes, seed):
    return np.array_split(np.argsort(np.asarray(targets), kind="stable"), nodes)


def pairs():
    W = np.kron(np.eye(5), np.full((2, 2), 0.5))
    return [W, np.roll(W, (1, 1), axis=(0, 1))]


scenario = {
    "population": {"nodes": 10},
    "task": {"name": "__main__:blobs", "partition": "__main__:halves"},
    "topology": {"name": "__main__:pairs"},
    "algorithm": {"name": "d_psgd"},
    "stop": {"rounds": 4},
    "evaluate": {"every": 2},
}
print(sims.run(scenario, compile_when="never").evaluations["round"].to_list())
"""
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "mine.py")], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.stdout == "[0.0, 2.0, 4.0]\n", done.stderr
