"""The consensus distance against its definition, and its parts against the whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gossipfl import consensus
from gossipfl.consensus import consensus_distance, layer_distances
from gossipfl.tasks import find_task
from topology import spectrum


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("chosen", [None, [0, 3, 4], [2], []])
def test_it_is_that_of_the_shared_part_of_those_that_count(monkeypatch, dtype, chosen):
    monkeypatch.setattr(consensus, "_CHUNK_ROWS", 2)
    rows = torch.randn(7, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype) + 100
    among = None if chosen is None else np.isin(np.arange(7), chosen)
    found = consensus_distance(rows, 30, among)
    if chosen == []:
        assert math.isnan(found)
        return
    counted = rows[:, :30] if chosen is None else rows[chosen, :30]
    assert found == pytest.approx(spectrum.consensus_distance(counted.numpy()), rel=1e-5, abs=1e-12)
    rows[:, 30:] = math.nan
    assert consensus_distance(rows, 30, among) == found


def test_a_model_that_diverged_makes_it_no_number():
    rows = torch.ones(3, 4)
    rows[1, 2] = math.nan
    assert math.isnan(consensus_distance(rows, 4))
    assert consensus_distance(rows, 2) == 0


def test_layers_add_up_to_the_whole():
    task = find_task("tests.sims.worlds:blobs", {"model": "personal"})
    layout = task.layout
    rows = torch.randn(6, layout.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    layers = layer_distances(rows, layout)
    shared = {entry.name for entry in layout.entries if entry.group == "shared"}
    assert set(layers) == shared
    assert len(shared) < len(layout.entries)
    assert sum(layers.values()) == pytest.approx(consensus_distance(rows, layout.shared_size), rel=1e-9)
