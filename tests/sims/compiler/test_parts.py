"""Small parts of the engine, each against a plain counterpart."""

import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from gossipfl.consensus import consensus_distance
from gossipfl.training import NodeData, batch_positions
from sims.engine.batches import gather_batches
from sims.engine.blocks import block_size, wave_width
from sims.engine.buffers import batch_buffer, pool_of
from sims.engine.graph_passes import classes_first
from sims.engine.programme import Programme
from sims.engine.workers import Workers
from sims.metrics.evaluation import Evaluator
from tests.sims.worlds import small, world_of


@pytest.mark.parametrize("dtypes", [(torch.float32, torch.int64), (torch.float64, torch.float32)])
def test_gathered_batches_are_those_of_the_peers(dtypes):
    generator = np.random.default_rng(0)
    counts = generator.integers(5, 60, 40)
    parts = np.split(generator.permutation(counts.sum()), counts.cumsum()[:-1])
    inputs = torch.randn(int(counts.sum()), 3, 2).to(dtypes[0])
    targets = torch.randint(0, 9, (len(inputs),)).to(dtypes[1])
    data = NodeData.partitioned(inputs, targets, parts, numbers=np.arange(40) + 100)
    node, updates, steps = generator.integers(0, 40, 200), generator.integers(0, 50, 200), np.arange(40) * 3
    pool = pool_of(data, torch.device("cpu"))
    buffer = batch_buffer(pool, rows=200, local_steps=2, size=5)
    gather_batches(
        buffer.bytes, pool.bytes,
        2, 7, node, updates, steps, data.offsets, data.indices, data.numbers,
    )  # fmt: skip
    for k in range(2):
        positions = batch_positions(
            seed=7,
            nodes=data.numbers[node],
            steps=steps[node] + 2 * updates + k,
            counts=data.counts[node],
            size=5,
        )
        expected = data.gather(node, positions)
        for leaf, wanted in zip(buffer.gathered, expected, strict=True):
            assert torch.equal(leaf[:, k], wanted)


def test_classes_first_changes_the_order_of_memory_and_not_the_numbers():
    world = world_of(small("task.options.model=mlp"))
    rows = world.first_rows() + 0.1 * torch.randn(4, world.layout.size, dtype=torch.float64)
    inputs = torch.randn(4, 20, 5, dtype=torch.float64)
    targets = torch.randint(0, 3, (4, 20))

    def gradient(rows, inputs, targets):
        return world.trainer.gradients(rows, inputs, targets, [])[1]

    assert world.trainer.gradients.vectorised  # tried before anything is traced, as the engine does
    graph = make_fx(gradient)(rows, inputs, targets)
    products_before = [n for n in graph.graph.nodes if n.target is torch.ops.aten.bmm.default]
    rewritten = classes_first(graph)
    products = [n for n in rewritten.graph.nodes if n.target is torch.ops.aten.bmm.default]
    assert len(products) <= len(products_before)
    copies = [n for n in rewritten.graph.nodes if n.target is torch.ops.aten.transpose.int]
    assert copies
    assert torch.allclose(
        rewritten(rows, inputs, targets), gradient(rows, inputs, targets), rtol=1e-13, atol=1e-15
    )


def test_a_function_that_cannot_be_traced_runs_all_the_same():
    def by_value(x):
        return x * 2 if float(x.sum()) > 0 else x

    programme = Programme(
        by_value, (torch.ones(2),), growing=(), calls=1, compile_when="never", threads=1, name="by value"
    )
    assert programme.tier == "eager"
    assert not programme.thread_safe
    assert programme(0, -torch.ones(2)).tolist() == [-1, -1]


def test_without_a_compiler_the_traced_graph_is_used(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    programme = Programme(
        torch.sin, (torch.ones(2),), growing=(0,), calls=1e12, compile_when="auto", threads=1, name="sine"
    )
    assert programme.tier == "traced"


def test_evaluation_agrees_with_the_task_whatever_the_block():
    world = world_of(small("task.options.model=mlp"))
    rows = world.first_rows() + torch.randn(37, world.layout.size, dtype=torch.float64)
    evaluator = Evaluator(world, expected_rows=0, threads=2, compile_when="never")
    measured = evaluator(rows)
    expected = world.task.evaluate(rows, world.test_inputs, world.test_targets)
    evaluator.close()
    assert measured["accuracy"] == pytest.approx(expected["accuracy"].numpy())
    assert measured["loss"] == pytest.approx(expected["loss"].numpy())


def test_a_sample_of_nodes_is_measured_the_same_one_each_time():
    world = world_of(small("evaluate.nodes=5"))
    nodes = [Evaluator(world, expected_rows=0).nodes.tolist() for _ in range(2)]
    assert nodes[0] == nodes[1]
    assert len(set(nodes[0])) == 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_consensus_distance_is_its_definition(dtype):
    rows = (torch.randn(5000, 7, dtype=torch.float64) + 100).to(dtype)
    among = np.arange(5000) % 3 == 0
    for chosen in (among, np.ones(5000, dtype=bool)):
        shared = rows[torch.from_numpy(chosen)][:, :4].double()
        expected = ((shared - shared.mean(0)) ** 2).sum(1).mean().item()
        assert consensus_distance(rows, 4, chosen) == pytest.approx(expected, rel=1e-5)
    assert np.isnan(consensus_distance(rows, 4, np.zeros(5000, dtype=bool)))


def test_workers_share_everything_once_and_pass_on_errors():
    workers, seen = Workers(3, always=True), []
    workers.share(lambda _, first, last: seen.extend(range(first, last)), 2, 12)
    assert sorted(seen) == list(range(2, 12))

    def fails(thread, first, last):
        del first, last
        if thread == 2:
            raise ValueError("two")

    with pytest.raises(ValueError, match="two"):
        workers.share(fails, 0, 3)
    workers.close()


def test_workers_find_out_which_way_is_faster(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("sims.engine.workers.time.perf_counter", lambda: clock[0])
    for faster in ("alone", "shared"):
        workers, ways = Workers(2), []

        def run(thread, first, last, faster=faster, ways=ways):
            if thread:
                return
            ways.append("shared" if last - first < 8 else "alone")
            clock[0] += 1.0 if ways[-1] == faster else 3.0

        for _ in range(200):
            workers.share(run, 0, 8)
        workers.close()
        assert ways[:2] == ["alone", "shared"]
        assert 0.9 < ways.count(faster) / len(ways) < 1  # the other way is tried now and then


def test_blocks_fit_the_cache_and_the_network():
    assert block_size(row_bytes=2600, nodes=1000) == 64
    assert block_size(row_bytes=38_440, nodes=1000) == 16
    assert block_size(row_bytes=425_984, nodes=200) == 8
    assert block_size(row_bytes=4 << 20, nodes=200) == 4
    assert block_size(row_bytes=10**8, nodes=1000) == 1
    assert block_size(row_bytes=2600, nodes=3) == 1
    for nodes in (2, 24, 100, 1000, 10**6):
        block = block_size(row_bytes=2600, nodes=nodes)
        assert wave_width(nodes=nodes, block=block) % block == 0
        assert wave_width(nodes=nodes, block=block) >= block
