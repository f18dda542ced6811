"""Earlier versions of a model: in memory, or on disk until nobody needs them."""

import torch

from gossipfl.peer.gossip.events import State
from gossipfl.peer.store import good_versions
from gossipfl.peer.store.good_versions import InMemory, OnDisk, kept_on_disk
from gossipfl.training import Nodes

LARGE = good_versions.LARGE_BYTES // 4


def read(path):
    return path.read_bytes()


def test_a_version_outlives_the_checkpoint_that_replaces_its_own(tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(b"first")
    kept = OnDisk(checkpoint, 7, read)
    (tmp_path / "next").write_bytes(b"second")
    (tmp_path / "next").replace(checkpoint)
    assert kept.event == 7
    assert kept.nodes() == b"first"
    del kept
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.name]


def test_only_large_models_are_kept_on_disk(tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(b"saved")
    keep = kept_on_disk(checkpoint, read)
    small = State(nodes=Nodes.start(torch.zeros(1, 10)), event=3)
    assert keep(small).nodes() is small.nodes
    large = State(nodes=Nodes.start(torch.zeros(1, LARGE)), event=4)
    kept = keep(large)
    assert isinstance(kept, OnDisk)
    assert (kept.event, kept.nodes()) == (4, b"saved")


def test_without_hard_links_a_large_model_stays_in_memory(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(1, "not permitted")

    monkeypatch.setattr(good_versions.os, "link", refused)
    large = State(nodes=Nodes.start(torch.zeros(1, LARGE)))
    assert isinstance(kept_on_disk(tmp_path / "none", read)(large), InMemory)
