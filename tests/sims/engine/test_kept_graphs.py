"""Graphs of earlier runs: used where they do what is asked for, and by nobody else's hand."""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from gossipfl.caches import cache_directory
from gossipfl.kernels import building
from gossipfl.tasks.one_by_one import one_by_one
from sims.engine import products
from sims.engine.batching import Batching
from sims.engine.kept_graphs import is_noted, keep, kept, note, place_of
from sims.engine.programme import Programme
from sims.engine.written_graphs import Unreadable, Unwritable, read, written
from sims.errors import SimulationError
from tests.sims.worlds import small, world_of

RUN = """
import json, sys
import sims
from sims.scenario import parse_scenario
scenario = parse_scenario('''
seed = 3
[population]
nodes = 12
[task]
name = "digits"
samples_per_node = 8
[topology]
name = "ring"
[algorithm]
name = "{algorithm}"
[stop]
rounds = 3
[evaluate]
every = 3
''')
result = sims.run(scenario)
print(json.dumps([
    [name for name in ("sympy", "torch._inductor", "torch._dynamo") if name in sys.modules],
    result.rows.tolist(),
]))
"""


@pytest.fixture
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "gossipfl"


def run(caches, algorithm="gossip_learning"):
    known = {"NUMBA_CACHE_DIR": str(cache_directory() / "kernels"), "XDG_CACHE_HOME": str(caches)}
    command = [sys.executable, "-c", RUN.replace("{algorithm}", algorithm)]
    done = subprocess.run(command, env={**os.environ, **known}, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("algorithm", ["gossip_learning", pytest.param("pens", marks=pytest.mark.slow)])
def test_a_second_run_imports_no_compiler_and_computes_the_same(algorithm, tmp_path):
    first, second = run(tmp_path, algorithm), run(tmp_path, algorithm)
    assert "sympy" in first[0]
    assert second[0] == []
    assert second[1] == first[1]


def trained(x, y):
    slope = torch.where(y == 0, -torch.inf, x.log_softmax(1)).clamp(min=-1e30)
    return (x - 0.5 * slope.to(torch.float64).to(x.dtype), torch.full((2,), 7, dtype=torch.int32))


def test_a_graph_survives_writing():
    arguments = torch.randn(4, 3), torch.arange(12).reshape(4, 3)
    graph = make_fx(trained)(*arguments)
    again = read(written(graph))
    assert again.code == graph.code
    for found, expected in zip(again(*arguments), graph(*arguments), strict=True):
        assert torch.equal(found, expected)
    forms = [node.meta["tensor_meta"].shape for node in again.graph.nodes if "tensor_meta" in node.meta]
    assert torch.Size([4, 3]) in forms


def test_constants_and_foreign_calls_are_not_written():
    constant = torch.randn(3)
    with pytest.raises(Unwritable, match="get_attr"):
        written(make_fx(lambda x: x + constant)(torch.randn(3)))
    foreign = make_fx(torch.sin)(torch.randn(3))
    (call,) = [node for node in foreign.graph.nodes if node.op == "call_function"]
    call.target = print
    with pytest.raises(Unwritable, match="print"):
        written(foreign)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[[]]",
        '[["call_function", "a", "os.system.default", [{"text": "true"}], {}, null]]',
        '[["call_function", "a", "aten.__class__.default", [], {}, null]]',
        '[["call_function", "a", "aten.sin.default", [{"node": "b"}], {}, null]]',
        '[["call_function", "a", "aten.sin.default", [{"constant": "load"}], {}, null]]',
        '[["call_module", "a", "b", [{"nothing": 1}], {}, null]]',
    ],
)
def test_other_texts_are_no_graphs(text):
    with pytest.raises(Unreadable):
        read(text)


RETURNS = '["output", "output", "output", [{"node": "a"}], {}, null]'


@pytest.mark.parametrize(
    "line",
    [
        '["placeholder", "a", "a=RAN.append(1)", [], {}, null]',
        '["call_function", "a", "aten.zeros.default", [[1]], {"pin_memory=RAN.append(1), layout": null}, null]',
        '["placeholder", "a", "class", [], {}, null]',
        '["placeholder", "a", 7, [], {}, null]',
        '["placeholder", "a", "a", [], {}, null], ["placeholder", "b", "a", [], {}, null]',
        '["placeholder", "a", "a", [], {}, [[1e400], "float32"]]',
    ],
)
def test_names_that_are_code_are_refused_before_they_run(line, monkeypatch):
    ran = []
    monkeypatch.setattr("builtins.RAN", ran, raising=False)
    with pytest.raises(Unreadable):
        read(f"[{line}, {RETURNS}]")
    assert ran == []


def test_a_graph_that_others_could_have_written_is_not_used(caches):
    place = place_of("a key")
    graph = keep(place, make_fx(torch.sin)(torch.randn(3)))
    assert torch.equal(kept(place)(torch.ones(3)), graph(torch.ones(3)))
    place.chmod(0o666)
    assert kept(place) is None
    place.chmod(0o600)
    place.parent.chmod(0o777)
    assert kept(place) is None
    place.parent.chmod(0o700)
    assert kept(place) is not None
    place.write_text("[[")
    assert kept(place) is None


def programme(function, *example):
    return Programme(
        function,
        example,
        growing=(),
        calls=1,
        compile_when="never",
        threads=1,
        name="a test",
        recipe="the same",
    )


def test_a_graph_that_does_something_else_now_is_traced_again(caches):
    x = torch.randn(4, 3)
    first = programme(lambda x: (x * 2,), x)
    (file,) = (caches / "traces").iterdir()
    before = file.read_text()
    second = programme(lambda x: (x * 3,), x)
    assert (first.tier, second.tier) == ("traced", "traced")
    assert torch.equal(second(0, x)[0], x * 3)
    assert file.read_text() != before


def test_rows_one_by_one_are_those_together():
    """With which graphs that were kept are compared, so that nothing is loaded that batching needs."""
    world = world_of(small("precision=float32"))
    rows = world.first_rows()[:1] + 0.1 * torch.randn(4, world.layout.size)
    inputs, targets = world.trainer.data.inputs[:12], world.trainer.data.targets[:12]
    batches = inputs.reshape(4, 3, *inputs.shape[1:]), targets.reshape(4, 3, *targets.shape[1:])
    expected = world.task.evaluate(rows, world.test_inputs, world.test_targets)
    slopes = world.trainer.gradients.together(rows, *batches).gradients
    with one_by_one():
        for name, values in world.task.evaluate(rows, world.test_inputs, world.test_targets).items():
            assert torch.allclose(values, expected[name], atol=1e-5)
        found = world.trainer.gradients.together(rows, *batches).gradients
    assert torch.allclose(found, slopes, atol=1e-6)
    assert not torch.equal(rows[0], rows[1])


def test_what_was_noted_is_tried_before_anything_is_traced(caches, monkeypatch):
    world = world_of(small("precision=float32"))
    first = Batching.of(world)
    assert first.holds
    again = world_of(small("precision=float32"))
    asked = []
    monkeypatch.setattr(type(again.trainer.gradients), "require_same", lambda _: asked.append(1))
    second = Batching.of(again)
    assert second.holds
    assert not asked
    second.require()
    second.require()
    assert asked == [1]

    def departs(_):
        raise RuntimeError("rows together come out otherwise")

    third = Batching.of(world_of(small("precision=float32")))
    monkeypatch.setattr(type(again.trainer.gradients), "require_same", departs)
    place = third._place
    assert is_noted(place)
    with pytest.raises(SimulationError, match=r"no longer train together.*Run it again"):
        third.require()
    assert not is_noted(place)


def test_notes_are_by_key(caches):
    note(place_of("one"))
    assert is_noted(place_of("one"))
    assert not is_noted(place_of("another"))


def test_graphs_traced_while_the_compiler_fails_are_not_kept(caches, monkeypatch):
    compiler = caches.parent / "compiler"
    compiler.write_text("#!/bin/sh\nexit 1\n")
    compiler.chmod(0o700)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setattr(building, "_FAILED", set())
    products._kernel.cache_clear()

    def graphs(function, *example):
        programme(function, *example)
        return [*(caches / "traces").glob("*.json")]

    assert not graphs(lambda a, b: (torch.bmm(a, b),), torch.rand(4, 64, 128), torch.rand(4, 128, 64))
    products._kernel.cache_clear()
    building._FAILED.clear()  # as in another process
    assert len(graphs(lambda a: (2 * a,), torch.rand(4, 64))) == 1
