"""Cores and cards of shards, so that all find a place at once."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sims.errors import NotSimulable
from sims.sharding.placement import means_of_each, share_of_each


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 12), st.integers(1, 6))
def test_all_have_a_place_and_none_could_have_a_core_more(machines, shards, most):
    share = share_of_each(machines, shards=shards, most=most)
    assert 0 < share <= most
    assert sum(int(machine / share + 1e-6) for machine in machines) >= shards
    if 1 <= share < most:
        assert sum(machine // (share + 1) for machine in machines) < shards
    if share < 1:
        assert sum(machines) < shards
        others = round(1 / share) - 1
        assert sum(machine * others for machine in machines) < shards


def nodes(*resources):
    gone = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}
    return [gone, *({"Alive": True, "Resources": each} for each in resources)]


def test_shards_without_cores_of_their_own_share_some_and_that_is_said(caplog):
    two = nodes({"CPU": 1.0}, {"CPU": 1.0})
    with caplog.at_level(logging.WARNING):
        assert means_of_each(two, shards=2, threads=1, device="cpu") == {"num_cpus": 1}
        assert not caplog.records
        assert means_of_each(two, shards=3, threads=1, device="cpu") == {"num_cpus": 0.5}
    assert "3 shards of 1 threads share the 2 CPUs of the cluster, 0.5 for each" in caplog.text
    assert means_of_each(nodes({"memory": 1.0}), shards=3, threads=1, device="cpu") == {"num_cpus": 0}


def test_shards_on_cards_ask_for_cards():
    cards = nodes({"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0})
    assert means_of_each(cards, shards=2, threads=4, device="cuda") == {"num_cpus": 4, "num_gpus": 1}
    assert means_of_each(cards, shards=4, threads=4, device="cuda:0") == {"num_cpus": 4, "num_gpus": 0.5}
    with pytest.raises(NotSimulable, match=r"no machine of the cluster has a GPU; got device cuda"):
        means_of_each(nodes({"CPU": 8.0}), shards=2, threads=4, device="cuda")
