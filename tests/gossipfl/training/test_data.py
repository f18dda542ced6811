"""Samples of nodes: which node has which."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gossipfl.errors import InvalidPartition
from gossipfl.training import NodeData, Nodes

INPUTS, TARGETS = torch.arange(20.0).reshape(10, 2), torch.arange(10)


def test_each_node_gathers_its_own_samples() -> None:
    data = NodeData.partitioned(INPUTS, TARGETS, [np.array([7, 1, 4]), np.array([0]), np.array([9, 2])])
    assert data.counts.tolist() == [3, 1, 2]
    assert data.numbers.tolist() == [0, 1, 2]
    inputs, targets = data.gather(np.array([2, 0, 2]), np.array([[0, 1], [2, 0], [1, 1]]))
    assert targets.tolist() == [[9, 2], [4, 7], [2, 2]]
    assert torch.equal(inputs, INPUTS[targets])


def test_a_peer_owns_everything_it_has() -> None:
    data = NodeData.of_one_node(INPUTS, TARGETS, number=5)
    assert data.numbers.tolist() == [5]
    assert torch.equal(data.gather(np.array([0]), np.arange(10)[None])[0][0], INPUTS)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "own no sample.*no nodes"),
        ([[0], []], "own no sample.*got node 1 with none.*fewer peers"),
        ([[0, 10]], r"outside the pool; expected 0 … 9; got \(0, 10\)"),
        ([[-1]], "outside the pool"),
    ],
)
def test_parts_that_do_not_fit_the_pool_are_refused(parts: list[list[int]], message: str) -> None:
    with pytest.raises(InvalidPartition, match=message):
        NodeData.partitioned(INPUTS, TARGETS, [np.array(part, dtype=np.int64) for part in parts])


def test_a_pool_of_unequal_lengths_is_refused() -> None:
    with pytest.raises(InvalidPartition, match="differ in number; expected 10; got 9"):
        NodeData.partitioned(INPUTS, TARGETS[:9], [np.array([0])])


def test_other_shared_parameters_leave_the_rest_of_a_node() -> None:
    nodes = Nodes.start(torch.arange(10.0).reshape(2, 5), optimiser_state_size=3)
    after = nodes.with_shared(torch.zeros(2, 2), ages=torch.tensor([4, 5]))
    assert after.rows.tolist() == [[0, 0, 2, 3, 4], [0, 0, 7, 8, 9]]
    assert after.ages.tolist() == [4, 5]
    assert nodes.rows[1].tolist() == [5, 6, 7, 8, 9]
    assert after.select(torch.tensor([1, 1])).ages.tolist() == [5, 5]
