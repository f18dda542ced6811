"""Measures of overlays against networkx, and overlays against the figures of their papers."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

from topology.errors import InvalidParameter
from topology.sampling import (
    CyclonSettings,
    cyclon_overlay,
    cyclon_period,
    draw_cyclon_period,
    hyparview_overlay,
    hyparview_period,
    measures,
)


def shuffled(overlay, periods, generator):
    for _ in range(periods):
        overlay, _ = cyclon_period(overlay, draw_cyclon_period(overlay, generator))
    return overlay


@pytest.fixture(scope="module")
def sample():
    generator = np.random.default_rng(5)
    config = CyclonSettings(view_size=3, shuffle_length=2)
    overlay = shuffled(cyclon_overlay(60, generator=generator, settings=config), 5, generator)
    return overlay.views, generator.random(60) > 0.5


def as_networkx(views, alive, *, directed=False):
    graph = nx.DiGraph() if directed else nx.Graph()
    graph.add_nodes_from(np.flatnonzero(alive).tolist())
    graph.add_edges_from((i, int(j)) for i in graph for j in views[i] if j >= 0 and alive[j])
    return graph


def test_measures_agree_with_networkx(sample):
    views, alive = sample
    generator = np.random.default_rng(0)
    graph = as_networkx(views, alive)
    directed = as_networkx(views, alive, directed=True)
    groups = list(nx.connected_components(graph))
    hanging = measures.connectedness(views, alive)
    assert len(groups) > 1
    assert (hanging.peers, hanging.components, hanging.largest) == (
        alive.sum(),
        len(groups),
        max(map(len, groups)),
    )
    assert measures.clustering_coefficient(views, alive, generator=generator) == pytest.approx(
        nx.average_clustering(graph)
    )
    assert measures.in_degrees(views, alive).tolist() == [
        directed.in_degree(i) for i in np.flatnonzero(alive)
    ]
    hops = [h for i in graph for h in nx.single_source_shortest_path_length(graph, i).values() if h]
    path = measures.average_path_length(views, alive, sources=60, generator=generator)
    assert path == pytest.approx(np.mean(hops))
    named = views[alive][views[alive] >= 0]
    assert measures.dead_link_share(views, alive) == pytest.approx(np.mean(~alive[named]))


def test_vanishing_takes_the_share_asked_for():
    alive = np.arange(100) % 2 == 0
    after = measures.vanish(alive, 0.4, generator=np.random.default_rng(0))
    assert after.sum() == 30
    assert not (after & ~alive).any()
    with pytest.raises(InvalidParameter):
        measures.vanish(alive, 1.4, generator=np.random.default_rng(0))


def test_hyparview_path_length_of_table_1():
    """HyParView paper, table 1: 10,000 peers with an active view of 5, average shortest path 6.38542."""
    generator = np.random.default_rng(1)
    overlay = hyparview_overlay(10_000, generator=generator, newcomers_at_once=0.3)
    for _ in range(5):
        overlay = hyparview_period(overlay, generator)
    path = measures.average_path_length(overlay.views, overlay.alive, generator=generator)
    assert path == pytest.approx(6.38542, rel=0.01)


@pytest.mark.slow
def test_cyclon_row_of_table_1():
    """HyParView paper, table 1: 10,000 Cyclon peers with a view of 35, clustering .006836, path 2.60426."""
    generator = np.random.default_rng(1)
    config = CyclonSettings(view_size=35, shuffle_length=14)
    overlay = cyclon_overlay(10_000, generator=generator, start="ring", settings=config)
    overlay = shuffled(overlay, 50, generator)
    clustering = measures.clustering_coefficient(overlay.views, overlay.alive, generator=generator)
    assert clustering == pytest.approx(0.006836, rel=0.02)
    path = measures.average_path_length(overlay.views, overlay.alive, generator=generator)
    assert path == pytest.approx(2.60426, rel=0.005)


def test_hyparview_recovers_from_losing_four_fifths_at_once():
    generator = np.random.default_rng(2)
    overlay = hyparview_overlay(1_500, generator=generator, newcomers_at_once=0.3)
    for _ in range(4):
        overlay = hyparview_period(overlay, generator)
    alive = measures.vanish(overlay.alive, 0.8, generator=generator)
    torn = measures.connectedness(overlay.views, alive)
    assert torn.share < 0.3
    overlay = hyparview_period(replace(overlay, alive=alive), generator)
    assert measures.connectedness(overlay.views, alive).share > 0.99
    assert measures.dead_link_share(overlay.views, alive) == 0


def test_cyclon_turns_a_ring_into_something_more_even_than_a_random_graph():
    """Figures 3 to 5 of the Cyclon paper."""
    generator = np.random.default_rng(3)
    ring = cyclon_overlay(3_000, generator=generator, start="ring")
    chance = cyclon_overlay(3_000, generator=generator)
    after = shuffled(ring, 40, generator)
    spread, by_chance = (measures.in_degrees(o.views, o.alive).std() for o in (after, chance))
    assert measures.in_degrees(after.views, after.alive).mean() == pytest.approx(20)
    assert by_chance == pytest.approx(np.sqrt(20), rel=0.05)
    assert spread < by_chance / 2
    for measure, tolerance in (
        (measures.clustering_coefficient, 0.05),
        (measures.average_path_length, 0.01),
    ):
        came, expected = (measure(o.views, o.alive, generator=generator) for o in (after, chance))
        assert came == pytest.approx(expected, rel=tolerance)


def test_losing_peers_at_once_isolates_as_few_as_chance_predicts():
    """A peer with 2c links is cut off with probability f^2c (Cyclon paper, section 4.3, robustness)."""
    generator = np.random.default_rng(4)
    overlay = shuffled(cyclon_overlay(5_000, generator=generator), 20, generator)
    rest = measures.connectedness_after_failure(overlay.views, overlay.alive, 0.65, generator=generator)
    assert rest.whole
    rest = measures.connectedness_after_failure(overlay.views, overlay.alive, 0.9, generator=generator)
    predicted = rest.peers * 0.9**40
    assert 0 < rest.peers - rest.largest < 4 * predicted


@pytest.mark.parametrize(("healing", "periods"), [(0, 45), (8, 22)])
def test_dead_links_vanish_and_healing_makes_it_faster(healing, periods):
    generator = np.random.default_rng(6)
    overlay = shuffled(cyclon_overlay(2_000, generator=generator), 20, generator)
    alive = measures.vanish(overlay.alive, 0.5, generator=generator)
    overlay = replace(overlay, alive=alive, settings=CyclonSettings(healing=healing))
    halfway = shuffled(overlay, 10, generator)
    overlay = shuffled(halfway, periods - 10, generator)
    assert measures.dead_link_share(halfway.views, alive) > 0
    assert measures.dead_link_share(overlay.views, alive) == 0
    assert measures.connectedness(overlay.views, alive).whole


@pytest.mark.slow
def test_a_hundred_thousand_cyclon_peers():
    generator = np.random.default_rng(8)
    overlay = shuffled(cyclon_overlay(100_000, generator=generator, start="ring"), 60, generator)
    degrees = measures.in_degrees(overlay.views, overlay.alive)
    assert degrees.mean() == pytest.approx(20)
    assert degrees.std() < 2
    chance = cyclon_overlay(100_000, generator=generator)
    came, expected = (
        measures.average_path_length(o.views, o.alive, generator=generator) for o in (overlay, chance)
    )
    assert came == pytest.approx(expected, rel=0.01)
