"""Acceptance of received models by their distance."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.algorithms import GossipLearning, Message
from gossipfl.algorithms.gossip.acceptance import Acceptance
from gossipfl.algorithms.gossip.sharing import WHOLE, Sharing
from gossipfl.errors import SettingError
from gossipfl.training import Nodes


def nodes_of(*rows):
    nodes = Nodes.start(torch.tensor(rows, dtype=torch.float64))
    return nodes.with_shared(nodes.rows, ages=torch.full_like(nodes.ages, 5))


def message_of(*rows, age=9):
    shared = torch.tensor(rows, dtype=torch.float64)
    return Message(shared=shared, ages=torch.full((len(shared),), age))


def test_beyond_a_share_of_the_norm_models_are_pulled_in_to_it():
    acceptance = Acceptance(within="norm", radius=0.5)
    nodes = nodes_of([3.0, 4.0], [3.0, 4.0], [0.0, 0.0])
    _, came = acceptance.applied(nodes, message_of([3.0, 14.0], [3.0, 5.0], [0.0, 9.0]), WHOLE)
    assert came.shared.tolist() == [[3.0, 6.5], [3.0, 5.0], [0.0, 9.0]]
    assert came.ages.tolist() == [9, 9, 9]


@pytest.mark.parametrize("beyond", ["clip", "refuse"])
@pytest.mark.parametrize("within", ["norm", "history"])
def test_what_is_not_finite_is_never_merged(within, beyond):
    acceptance = Acceptance(within=within, beyond=beyond)
    nodes = acceptance.start(nodes_of([3.0, 4.0], [3.0, 4.0]))
    after, came = acceptance.applied(nodes, message_of([float("nan"), 4.0], [float("inf"), 4.0]), WHOLE)
    assert came.shared.equal(nodes.rows) and came.ages.tolist() == [5, 5]
    assert all(kept.isfinite().all() for kept in after.auxiliary.values())


@pytest.mark.parametrize("merge", ["RW", "MU", "UM"])
def test_a_refused_model_leaves_a_node_that_trains_its_own(merge):
    algorithm = GossipLearning(merge=merge, acceptance=Acceptance(within="norm", beyond="refuse"))
    nodes = nodes_of([3.0, 4.0])

    def update(each):
        return each.with_shared(each.rows + 1.0, ages=each.ages + 1)

    after = algorithm.on_receipt(nodes, message_of([-30.0, 4.0]), update=update)
    assert after.rows.tolist() == [[4.0, 5.0]] and after.ages.tolist() == [6]


def test_parts_are_measured_by_what_was_sent():
    sharing = Sharing(kind="partitioned", parts=2)
    message = Message(
        shared=torch.tensor([[3.0, 99.0, 3.0, 99.0]]), ages=torch.tensor([[9, 9]]), part=torch.tensor([0])
    )
    nodes = Nodes.start(torch.tensor([[2.0, 50.0, 2.0, 50.0]]), parts=2)
    _, came = Acceptance(within="norm", radius=0.6).applied(nodes, message, sharing)
    assert came.shared[0, ::2].tolist() == [3.0, 3.0]
    _, came = Acceptance(within="norm", radius=0.25).applied(nodes, message, sharing)
    assert came.shared[0, ::2].tolist() == [2.5, 2.5]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.5, 2.0), min_size=1, max_size=30), st.integers(1, 200))
def test_the_usual_distance_follows_the_honest_and_far_ones_move_it_slowly(distances, lies):
    acceptance = Acceptance(within="history", radius=2.0)
    nodes = acceptance.start(nodes_of([10.0, 0.0]))
    for distance in distances:
        nodes, _ = acceptance.applied(nodes, message_of([10.0, distance]), WHOLE)
    (usual,) = nodes.auxiliary.values()
    assert min(distances) <= float(usual) <= max(distances)
    for _ in range(lies):
        nodes, came = acceptance.applied(nodes, message_of([1e9, 0.0]), WHOLE)
        assert float((came.shared - nodes.rows).norm()) <= 2.0 * float(usual) * (1 + 1e-9)
        (later,) = nodes.auxiliary.values()
        assert float(later) <= float(usual) * (1 + 1 / 16) + 1e-12
        usual = later


def test_a_radius_without_effect_is_refused():
    with pytest.raises(SettingError, match=r"acceptance\.radius is without effect"):
        Acceptance(radius=1.0)
