"""Pictures: what they show, and that they come out the same twice."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from PIL import Image

from topology import drawing, graphs, sequences, spectrum
from topology.catalogue import FAMILIES, build
from topology.drawing.layouts import layout, wrapped_links
from topology.drawing.networks import links_of
from topology.errors import InvalidParameter, TooLarge


@pytest.mark.parametrize(
    "family",
    [family for family in FAMILIES if family.name not in {"adaptive-matching", "file", "matrix"}],
    ids=lambda family: family.name,
)
def test_layouts_keep_nodes_apart_and_in_the_picture(family):
    named = build(family.example)
    positions = layout(named)
    assert positions.shape == (named.sequence.n, 2)
    assert np.abs(positions).max() <= 1 + 1e-9
    gaps = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    gaps[np.diag_indices(len(gaps))] = np.inf
    assert gaps.min() > 0.04


@pytest.mark.parametrize("dimension", [2, 3, 5])
def test_corners_of_cubes_do_not_cover_each_other(dimension):
    positions = layout(build(f"hypercube:{dimension}"))
    gaps = np.linalg.norm(positions[:, None] - positions[None], axis=2) + 9 * np.eye(2**dimension)
    assert gaps.min() > 0.04


def test_links_are_those_of_the_matrix():
    pairs, directed = links_of(build("ring:5").sequence.matrix(0))
    assert (pairs, directed) == ([(0, 1), (0, 4), (1, 2), (2, 3), (3, 4)], False)
    pairs, directed = links_of(sequences.one_peer_exponential(5).matrix(1))
    assert directed
    assert pairs == [(i, (i + 2) % 5) for i in range(5)]


def test_a_graph_is_drawn_with_all_its_links_and_nodes():
    figure = drawing.draw_network(build("star:9"))
    (axes,) = figure.axes
    lines = [len(c.get_segments()) for c in axes.collections if isinstance(c, LineCollection)]
    nodes = [len(c.get_offsets()) for c in axes.collections if isinstance(c, PathCollection)]
    assert (lines, nodes) == ([8, 0], [9])


def test_links_around_a_torus_become_stubs():
    named = build("torus:4x5")
    around = wrapped_links(named)
    assert len(around) == 4 + 5
    figure = drawing.draw_network(named)
    inner, stubs = (c for c in figure.axes[0].collections if isinstance(c, LineCollection))
    assert len(inner.get_segments()) == graphs.torus((4, 5)).number_of_edges - 9
    assert len(stubs.get_segments()) == 2 * 9


def test_a_sequence_has_a_panel_for_each_round():
    figure = drawing.draw_network(build("base:6,k=1"))
    assert [axes.get_title() for axes in figure.axes] == ["round 1", "round 2", "round 3", "round 4"]


def test_what_is_too_large_for_links_is_drawn_as_a_pattern():
    figure = drawing.draw_network(build("ring:1600"))
    (line,) = figure.axes[0].lines
    assert len(line.get_xdata()) == 3 * 1600


def test_consensus_curves_are_logarithmic_and_end_where_consensus_is_exact():
    names = ("ring:25", "base:25,k=4")
    curves = {name: spectrum.consensus_curve(build(name).sequence, 20) for name in names}
    (axes,) = drawing.plot_consensus_curves(curves).axes
    assert axes.get_yscale() == "log"
    ring, base, dot = axes.lines
    assert ring.get_ydata() == pytest.approx(curves["ring:25"])
    assert len(base.get_ydata()) == 3
    assert dot.get_xdata()[0] == 2


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_files_come_out_the_same_twice(tmp_path, suffix):
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        drawing.save(drawing.draw_network(build("hypercube:3")), path)
    first, second = (path.read_bytes() for path in paths)
    assert first == second


def test_an_animation_has_a_frame_for_each_round_and_ends_in_one_colour(tmp_path):
    path = tmp_path / "base.gif"
    drawing.animate_mixing(build("base:6,k=1"), path, rounds=4)
    with Image.open(path) as image:
        assert image.n_frames == 5
        heat = []
        for frame in (0, 4):
            image.seek(frame)
            pixels = np.asarray(image.convert("RGB"))
            heat.append(pixels[120:250, 420:560].reshape(-1, 3).std(axis=0).max())
    assert heat[0] > 50
    assert heat[1] < 5


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda path: drawing.save(drawing.draw_network(build("ring:4")), path / "a.bmp"), InvalidParameter),
        (lambda _: drawing.draw_network(build("ring:4"), rounds=[]), InvalidParameter),
        (lambda path: drawing.animate_mixing(build("ring:300"), path / "a.gif", rounds=2), TooLarge),
        (lambda path: drawing.animate_mixing(build("ring:4"), path / "a.png", rounds=2), InvalidParameter),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, call, error):
    with pytest.raises(error):
        call(tmp_path)
