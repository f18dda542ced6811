"""Transfers that share links, against rates and times found in other ways."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sims.clock.fair_shares import fair_rates
from sims.clock.transfers import Transfers
from sims.compiler.timeline.links import Change, links_of
from sims.scenario.network import NetworkSection

SPEEDS = st.floats(0.1, 100) | st.just(float("inf"))


@st.composite
def networks(draw):
    links, transfers = draw(st.integers(1, 6)), draw(st.integers(1, 10))
    through = draw(
        st.lists(
            st.lists(st.integers(-1, links - 1), min_size=3, max_size=3),
            min_size=transfers,
            max_size=transfers,
        )
    )
    through = [[link if each.index(link) == k else -1 for k, link in enumerate(each)] for each in through]
    limits = draw(st.lists(SPEEDS, min_size=transfers, max_size=transfers))
    capacities = draw(st.lists(SPEEDS, min_size=links, max_size=links))
    return np.array(through), np.array(limits), np.array(capacities)


@settings(max_examples=150, deadline=None)
@given(networks())
def test_rates_are_max_min_fair(network):
    """No link carries more than it can, and each transfer has a bottleneck in which nobody is faster."""
    through, limits, capacities = network
    rates = fair_rates(through, limits, capacities)
    uses = [[link in each for each in through.tolist()] for link in range(len(capacities))]
    loads = [rates[use].sum() for use in uses]
    assert all(load <= capacity * (1 + 1e-9) for load, capacity in zip(loads, capacities, strict=True))
    for f, rate in enumerate(rates):
        at_its_limit = rate >= limits[f] * (1 - 1e-9)
        full = (
            load >= capacity * (1 - 1e-9) and rate >= rates[use].max() * (1 - 1e-9)
            for use, load, capacity in zip(uses, loads, capacities, strict=True)
            if use[f]
        )
        assert at_its_limit or any(full) or np.isinf(rate)


def ended(network, transfers):
    """When transfers end that all begin at 0: sender, receiver and megabits of each."""
    section = NetworkSection.model_validate({"links": network})
    under_way = Transfers(links_of(section, seed=0, numbers=range(6)))
    for number, (sender, receiver, megabits) in enumerate(transfers):
        under_way.begin(
            ((number, 0), sender, receiver), sender=sender, receiver=receiver, bits=megabits * 1e6
        )
    found = {}
    while len(under_way):
        for (number, _), _, _ in under_way.advance(under_way.next_end()):
            found[number] = under_way.now
    return [found[number] for number in range(len(transfers))]


@pytest.mark.parametrize(
    ("network", "transfers", "times"),
    [
        pytest.param({"up": 10}, [(0, 1, 20)], [2], id="alone"),
        pytest.param({"up": 10}, [(0, 1, 20), (0, 2, 20)], [4, 4], id="two share an uplink"),
        pytest.param({"up": 10}, [(0, 1, 10), (0, 2, 20)], [2, 3], id="the longer has the rest alone"),
        pytest.param({"up": 20, "down": 100}, [(0, 1, 40), (2, 1, 40)], [2, 2], id="home links"),
        pytest.param({"up": 100, "down": 20}, [(0, 1, 40), (2, 1, 40)], [4, 4], id="a downlink is shared"),
        pytest.param(
            {"up": [1, 9, 9, 9, 9, 9], "down": 10},
            [(0, 1, 4), (2, 1, 36)],
            [4, 4],
            id="the rest is another's",
        ),
        pytest.param(
            {"up": 10, "shared": [{"nodes": [0, 1], "up": 10}]},
            [(0, 2, 10), (1, 3, 10), (0, 1, 10)],
            [2, 2, 2],
            id="an office's line, and traffic inside it",
        ),
        pytest.param(
            {"up": 10, "changes": [{"since": 1, "until": 3, "factor": 0.5}]},
            [(0, 1, 30)],
            [4],
            id="slower a while",
        ),
        pytest.param(
            {"up": 10, "changes": [{"until": 1, "every": 2, "factor": 0.1, "nodes": [0]}]},
            [(0, 1, 22), (2, 3, 22)],
            [4, 2.2],
            id="every other second, at one node",
        ),
        pytest.param(
            {"up": 10, "down": 10, "both_ways": 0.8},
            [(0, 1, 8), (1, 0, 16)],
            [1, 1.8],
            id="both ways, then one",
        ),
        pytest.param(
            {"up": 10, "down": 10, "both_ways": 0.5},
            [(0, 1, 10), (1, 2, 10), (3, 4, 10)],
            [2, 2, 1],
            id="from one and to another",
        ),
        pytest.param(
            {"both_ways": 0.5, "shared": [{"nodes": [0, 1], "up": 10, "down": 10}]},
            [(0, 2, 10), (3, 1, 10)],
            [2, 2],
            id="both ways in an office's line",
        ),
    ],
)
def test_transfers_take_what_links_allow(network, transfers, times):
    assert ended(network, transfers) == pytest.approx(times)


def test_rows_both_ways_slow_one_another_on_measured_paths(tmp_path):
    (tmp_path / "links.csv").write_text("0,10\n10,0")
    network = {"file": tmp_path / "links.csv", "hosts": [0, 1, 0, 1, 0, 1], "both_ways": 0.8}
    assert ended(network, [(0, 1, 8), (1, 0, 8), (2, 3, 10)]) == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(
    ("since", "until", "every"),
    [(0.01, 0.05, 0.09), (0.1, 0.4, 0.7), (0.0, 0.3, 0.7), (64_800, 82_800, 86_400)],
)
def test_links_that_change_again_and_again_do_so_whatever_is_rounded(since, until, every):
    """From one moment of change to the next they are alternately as always and different."""
    change = Change(times=(since, until, every), factor=0.5, nodes=np.ones(1, dtype=bool))
    now, under_way = 0.0, since == 0
    for turn in range(1000):
        assert change.is_under_way(now) == under_way
        before, now, under_way = now, change.next(now), not under_way
        assert now > before
        assert change.is_under_way((before + now) / 2) != under_way
        at = since if under_way else until
        assert now == pytest.approx(at + (turn + (since == 0 and under_way)) // 2 * every, rel=1e-12)
