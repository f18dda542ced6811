"""Partitions of the user's own: a file of lists or owners, and a function."""

import json

import numpy as np
import pytest

from sims.errors import InvalidScenario
from sims.scenario import load_scenario, parse_scenario
from sims.world import build_world
from tests.sims.worlds import SMALL, small

LISTS = [[5, 3], [0, 1, 239], [5], [7]]


def parts(scenario):
    data = build_world(scenario).trainer.data
    return [part.tolist() for part in np.split(data.indices, data.offsets[1:-1])]


def written(tmp_path, name, content):
    file = tmp_path / name
    if name.endswith(".npy"):
        np.save(file, content)
    else:
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def with_file(file, *overrides, nodes=4):
    return small(
        f"population.nodes={nodes}", f"task.partition={{file='{file}'}}", "topology.name=complete", *overrides
    )


def every_third(targets, nodes, seed):
    return [np.arange(node + seed % 2, len(targets), nodes) for node in range(nodes)]


def nothing_for_the_second(targets, nodes, seed):
    return [[0], *[[]] * (nodes - 1)]


def failing(targets, nodes, seed):
    raise KeyError("no such hospital")


def test_lists_of_samples_are_the_nodes(tmp_path):
    """Samples may stay out, and several nodes may have one."""
    assert parts(with_file(written(tmp_path, "parts.json", LISTS))) == LISTS


@pytest.mark.parametrize("name", ["owners.csv", "owners.npy"])
def test_every_owner_is_a_node(tmp_path, name):
    owners = np.array([["b", "a", "c"][i % 3] for i in range(240)])
    file = written(tmp_path, name, owners if name.endswith("npy") else "user\n" + "\n".join(owners) + "\n")
    expected = [[i for i in range(240) if owners[i] == owner] for owner in "abc"]
    assert parts(with_file(file, nodes=3)) == expected


def test_a_column_of_several_is_named(tmp_path):
    lines = "\n".join(f"{i},{i % 3}" for i in range(240))
    file = written(tmp_path, "table.csv", f"id,hospital\n{lines}\n")
    chosen = f"task.partition={{file='{file}',column='hospital'}}"
    assert parts(small("population.nodes=3", "topology.name=complete", chosen))[1] == list(range(1, 240, 3))
    with pytest.raises(InvalidScenario, match=r"which column .* column = one of id, hospital; got None"):
        build_world(with_file(file, nodes=3))


def test_files_are_found_beside_the_scenario(tmp_path):
    written(tmp_path, "parts.json", LISTS)
    text = SMALL.replace("nodes = 24", "nodes = 4").replace(
        '"tests.sims.worlds:blobs"', '"tests.sims.worlds:blobs"\npartition = { file = "parts.json" }'
    )
    (tmp_path / "own.toml").write_text(text)
    assert parts(load_scenario(tmp_path / "own.toml")) == LISTS


def test_files_number_all_samples_even_where_some_are_held_out(tmp_path):
    everything = [list(range(node, 240, 4)) for node in range(4)]
    file = written(tmp_path, "parts.json", everything)
    whole = build_world(with_file(file)).trainer.data
    part = build_world(with_file(file, "evaluate.validation=0.25")).trainer.data
    assert part.counts.sum() == 180
    for node in range(4):
        own = whole.inputs[whole.indices[whole.offsets[node] : whole.offsets[node + 1]]]
        kept = part.inputs[part.indices[part.offsets[node] : part.offsets[node + 1]]]
        assert {tuple(row) for row in kept.tolist()} <= {tuple(row) for row in own.tolist()}
    with pytest.raises(InvalidScenario, match=r"all samples of node [0-3] are held out"):
        build_world(with_file(written(tmp_path, "few.json", [[0], [1], [2], [3]]), "evaluate.validation=0.9"))


def test_a_function_divides():
    chosen = f"task.partition={__name__}:every_third"
    scenario = small("population.nodes=3", "topology.name=complete", "seed=3", chosen)
    assert parts(scenario) == [list(range(node + 1, 240, 3)) for node in range(3)]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([[0], [1]], "expected 4 lists of sample numbers; got 2 lists"),
        ([[0], [1], [2], [240]], r"gives node 3 no list .* from 0 to 239.*got \[240\]"),
        ([[0], [1], [2], []], "gives node 3 no list"),
        ([[0], [1], [2], [1, 1]], "each once"),
        ([[0], [1], [2], ["a"]], "gives node 3 no list"),
        ([[0], [1], [2], [0.5]], "gives node 3 no list"),
        ([[0], [1], [2], [[1], [2, 3]]], "gives node 3 no list"),
        ({"a": [1]}, "got dict"),
        ("[[0], [1]", "cannot be read.*JSONDecodeError"),
    ],
)
def test_what_is_no_division_is_named(tmp_path, content, complaint):
    with pytest.raises(InvalidScenario, match=complaint):
        build_world(with_file(written(tmp_path, "parts.json", content)))


def test_owners_of_another_number_and_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(InvalidScenario, match="expected 240 owners; got 2"):
        build_world(with_file(written(tmp_path, "two.csv", "user\na\nb\n"), nodes=2))
    with pytest.raises(InvalidScenario, match="has samples without an owner"):
        lines = "\n".join([*["a,1"] * 239, ",1"])
        gap = written(tmp_path, "gap.csv", f"user,x\n{lines}\n")
        chosen = f"task.partition={{file='{gap}',column='user'}}"
        build_world(small("population.nodes=2", "topology.name=complete", chosen))
    with pytest.raises(InvalidScenario, match="each owner of samples is a node; expected 3 nodes; got 4"):
        build_world(with_file(written(tmp_path, "three.npy", np.arange(240) % 3)))
    with pytest.raises(InvalidScenario, match=r"cannot be read.*FileNotFoundError"):
        build_world(with_file(tmp_path / "none.json"))
    with pytest.raises(InvalidScenario, match="expected one dimension; got 2"):
        build_world(with_file(written(tmp_path, "flat.npy", np.zeros((2, 2)))))


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nothing_for_the_second", "gives node 1 no list of samples"),
        ("failing", r"failed; expected partition\(targets, nodes, seed\).*KeyError: 'no such hospital'"),
        ("missing", "missing"),
    ],
)
def test_a_function_that_does_not_divide_is_named(name, complaint):
    chosen = f"task.partition={__name__}:{name}"
    with pytest.raises(InvalidScenario, match=complaint):
        build_world(small("population.nodes=3", "topology.name=complete", chosen))


@pytest.mark.parametrize(
    ("scheme", "said"),
    [
        (
            "shard:2",
            r"no partition 'shard:2'; expected iid, .*natural, module:function.* Did you mean 'shards'\?",
        ),
        ("naturl", r"there is no partition 'naturl'.* Did you mean 'natural'\?"),
        ("shards:0", "partition 'shards' needs a parameter"),
    ],
)
def test_an_unknown_scheme_is_named_where_it_stands(scheme, said):
    with pytest.raises(InvalidScenario, match=f"--set task.partition={scheme}: task.partition: .*{said}"):
        parse_scenario(SMALL, overrides=[f"task.partition={scheme}"])
