"""Padded batches: few programmes for many sizes, and what batches as they are give."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gossipfl.training import NodeData, Nodes
from sims.compiler.reference import Reference
from sims.compiler.timeline import Timeline
from sims.engine import Engine
from sims.engine import batch_sizes as module
from sims.engine.batch_sizes import BatchSizes
from sims.engine.buffers import batch_buffer, pool_of
from sims.engine.engine import Phases
from sims.engine.local import BlockTraining
from sims.scenario import parse_scenario
from sims.sharding.part import data_of
from sims.world import build_world
from tests.sims.worlds import SECOND, conditions

BATCH = 16


def world_of(model="linear", loss="", some="", algorithm="d_psgd", extra=""):
    return build_world(
        parse_scenario(
            f"""
            precision = "float64"
            [population]
            nodes = 20
            [task]
            name = "tests.sims.engine.padded_models:task"
            partition = "natural"
            options = {{model = "{model}", loss = "{loss}", some = "{some}"}}
            [topology]
            name = "ring"
            [algorithm]
            name = "{algorithm}"
            [training]
            batch_size = {BATCH}
            learning_rate = 0.1
            {extra}
            """
        )
    )


def trained(world, rows):
    nodes = Nodes.start(rows, optimiser_state_size=world.trainer.optimiser_state_size)
    return training_of(world).update(nodes)


def training_of(world):
    return BlockTraining(
        world, expected_rounds=0, threads=1, compile_when="never", device=torch.device("cpu"), phases=Phases()
    )


@pytest.mark.parametrize(
    "model",
    ["linear", "transformer", *(pytest.param(each, marks=pytest.mark.slow) for each in ("cnn", "lstm"))],
)
def test_padded_batches_give_what_batches_as_they_are_give(model, caplog):
    world = world_of(model, extra="momentum = 0.9")
    rows = world.task.initial_row().double().repeat(20, 1)
    rows += 0.1 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(5), dtype=rows.dtype)
    nodes = Nodes.start(rows, optimiser_state_size=world.trainer.optimiser_state_size)
    local = training_of(world)
    padded = local.update(nodes)
    assert (
        len(local.blocks._programmes)
        == 4
        < len(np.unique(np.minimum(world.trainer.data.counts, BATCH)))
        == 15
    )
    plain, _ = world.trainer.train(nodes, np.arange(20))
    assert torch.allclose(padded.optimiser_state, plain.optimiser_state, rtol=1e-9, atol=1e-12)
    assert torch.allclose(padded.rows, plain.rows, rtol=1e-9, atol=1e-12)
    assert "not padded" not in caplog.text


def test_what_pads_a_batch_is_of_the_nodes_own_samples():
    samples = torch.arange(9)
    parts = [np.array([8, 1]), np.array([0, 2, 3]), np.array([4, 5, 6, 7]), np.array([8, 1, 3])]
    data = NodeData.partitioned(samples, samples, parts)
    trainer = SimpleNamespace(data=data, settings=SimpleNamespace(seed=1))
    buffer = batch_buffer(pool_of(data, torch.device("cpu")), rows=4, local_steps=2, size=5, padded=True)
    buffer.gather(trainer, np.arange(4), np.zeros(4, dtype=np.int64), np.array([7, 0, 3, 1]))
    found, _, weights = buffer.on(torch.device("cpu"))
    for node, part in enumerate(parts):
        for step in range(2):
            assert found[node, step].tolist() == np.resize(part, 5).tolist()
            assert weights[node, step].tolist() == [float(s < len(part)) for s in range(5)]


def test_messages_find_the_same_in_padded_batches():
    world = world_of(algorithm="gossip_learning")
    given = conditions(world.scenario, world)
    engine, reference = Engine(world, compile_when="never"), Reference(world, given)
    assert [(group.batch, group.padded) for group in engine._groups.all] == [
        (4, True), (8, True), (16, False), (16, True),
    ]  # fmt: skip
    reference.run(6 * SECOND)
    timeline = Timeline(given)
    for window in timeline.windows(6 * SECOND):
        timeline.kept(engine.execute(window))
    engine.close()
    assert engine.phases.updates > 100
    expected = torch.cat([each.rows for each in reference.models])
    assert torch.allclose(engine.rows(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ({"model": "batchnorm"}, "change what it learns"),
        ({"model": "batchnorm without memory"}, "change what it learns"),
        ({"model": "less the mean of a batch"}, "change what it learns"),
        ({"loss": "own"}, "none of torch's"),
        ({"loss": "class weights"}, "no plain mean"),
        ({"loss": "a sum"}, "no plain mean"),
        ({"some": "ignored"}, "count less"),
        ({"some": "weighted"}, "count less"),
    ],
    ids=str,
)
def test_what_cannot_be_padded_keeps_its_batches_and_is_named(chosen, reason, caplog):
    world = world_of(**chosen)
    sizes = BatchSizes.of_world(world)
    assert not sizes.padded.any()
    assert sizes.of.tolist() == np.minimum(world.trainer.data.counts, BATCH).tolist()
    assert f"{world.task.name}: batches of 15 sizes are not padded" in caplog.text
    assert reason in caplog.text


def test_few_sizes_stay_as_they_are(monkeypatch):
    world = world_of()
    assert BatchSizes.of_world(world).padded.any()
    monkeypatch.setattr(module, "FEW", 15)
    assert not BatchSizes.of_world(world).padded.any()


def parts_of(world, *members):
    return [world.of_part(data_of(world.trainer.data, np.array(each))) for each in members]


SHARDS = [0, 3, 4, 5, 9, 17], [1, 2, 6, 7, 8, 10, 11, 13, 14, 15, 16, 18, 19], [12]


def test_shards_pad_as_all_do_and_train_to_the_same_bits():
    world = world_of()
    everybody = BatchSizes.of_world(world)
    assert everybody.padded.any()
    rows = 0.1 * torch.randn(20, world.layout.size, generator=torch.Generator().manual_seed(5)).double()
    whole = trained(world, rows).rows
    for members, part in zip(SHARDS, parts_of(world, *SHARDS), strict=True):
        sizes = BatchSizes.of_world(part)
        assert sizes.of.tolist() == everybody.of[members].tolist()
        assert sizes.padded.tolist() == everybody.padded[members].tolist()
        assert torch.equal(trained(part, rows[members]).rows, whole[members])


@pytest.mark.parametrize("chosen", [{"some": "ignored"}, {"model": "less the mean of a batch"}], ids=str)
def test_what_cannot_be_padded_is_so_in_every_shard(chosen):
    world = world_of(**chosen)
    [part] = parts_of(world, [1])  # none of whose three samples is ignored
    assert BatchSizes.of_world(world).of.tolist()[1] == 3
    assert BatchSizes.of_world(part).of.tolist() == [3]
    assert (part.trainer.data.targets != -100).all()
